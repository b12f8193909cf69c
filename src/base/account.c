/*
 * account.c
 *		The account that a call works on: what an account_id must be, and the
 *		setting that confines a session to one.
 *
 * Used by every room; knows none.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/syscache.h"

#include "account.h"
#include "compat.h"
#include "memory_limits.h"

#define ACCOUNT_SETTING "memory_ext.account"

static char *confined_account = NULL;

/*
 * Whether the role that the session acts as may set memory_ext.account, which
 * is asked for each row: what it was for which role, until the catalogs change.
 */
static Oid chooser_role = InvalidOid;
static bool role_may_choose = false;

bool
account_check_setting(char **newval, void **extra, GucSource source)
{
	if (*newval == NULL || strlen(*newval) <= MEMORY_MAX_ACCOUNT_ID_BYTES)
		return true;
	GUC_check_errdetail("An account_id has at most %d bytes.", MEMORY_MAX_ACCOUNT_ID_BYTES);
	return false;
}

/* The role's privileges, or those of roles that it belongs to, may have changed. */
static void
forget_chooser(Datum arg, int cache, uint32 hash)
{
	chooser_role = InvalidOid;
}

/*
 * The setting that confines a session.  RESET and DISCARD take back the value
 * that ALTER ROLE or ALTER DATABASE gave it, as with any other setting.
 *
 * The library may be loaded long after the session began.  Until then the
 * setting is a mere name, to which a client may give a value as it connects,
 * over the one that ALTER ROLE gave it.  PostgreSQL takes back what the client
 * had no right to set, yet not the role's value: the session would be free.  It
 * ends here instead.
 */
void
account_init(void)
{
	bool was_set = GetConfigOption(ACCOUNT_SETTING, true, false) != NULL;

	CacheRegisterSyscacheCallback(PARAMETERACLNAME, forget_chooser, (Datum) 0);
	CacheRegisterSyscacheCallback(AUTHMEMROLEMEM, forget_chooser, (Datum) 0);
	CacheRegisterSyscacheCallback(AUTHOID, forget_chooser, (Datum) 0);
	DefineCustomStringVariable(
		ACCOUNT_SETTING, "Confines the session to one account; other accounts are not found.",
		"Empty: to none, where the role may set it; otherwise the session is not confined.",
		&confined_account, "", PGC_SUSET, 0, account_check_setting, NULL, NULL);
	if (was_set && !superuser_arg(GetSessionUserId()) &&
		compat_setting_source(ACCOUNT_SETTING) == PGC_S_DEFAULT)
		ereport(FATAL, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
						errmsg("permission denied to set parameter \"" ACCOUNT_SETTING "\""),
						errdetail("It was set when the session began."),
						errhint("Connect without it, or ask for GRANT SET ON PARAMETER.")));
}

/*
 * Whether the session acts as a role that has been granted the setting: a
 * gateway, which serves many accounts and says for each request which.  Where
 * it has said nothing, as after a connection pool's DISCARD ALL, it has
 * forgotten to, or begun anew, and is not to see all accounts.
 */
static bool
may_choose_account(void)
{
	Oid role = GetOuterUserId();

	if (chooser_role != role)
	{
		role_may_choose = !superuser_arg(role) &&
						  pg_parameter_aclcheck(ACCOUNT_SETTING, role, ACL_SET) == ACLCHECK_OK;
		chooser_role = role;
	}
	return role_may_choose;
}

const char *
account_confined(void)
{
	if (confined_account != NULL && confined_account[0] != '\0')
		return confined_account;
	return may_choose_account() ? "" : NULL;
}

bool
account_visible(const text *account_id)
{
	const char *confined = account_confined();

	return confined == NULL ||
		   (confined[0] != '\0' && strlen(confined) == VARSIZE_ANY_EXHDR(account_id) &&
			memcmp(confined, VARDATA_ANY(account_id), VARSIZE_ANY_EXHDR(account_id)) == 0);
}

/* Error 42501, in a session that is to name its account and has not. */
static void
refuse_unnamed(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE), errmsg("the session has named no account"),
			 errdetail("Its role may set " ACCOUNT_SETTING
					   ", and is confined to nothing until it does."),
			 errhint("SET LOCAL " ACCOUNT_SETTING " in the transaction of each request.")));
}

/*
 * account_check
 *		The account a call works on; NULL stands for the one that the session is
 *		confined to.  Errors: 22004 none given, 22023 bad length, 42501 not the
 *		session's account.
 */
text *
account_check(text *account_id)
{
	const char *confined = account_confined();
	Size length;

	if (confined != NULL && confined[0] == '\0')
		refuse_unnamed();
	if (account_id == NULL)
	{
		if (confined == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("account_id must not be null"),
					 errhint("Name the account, or confine the session to one by setting "
							 "memory_ext.account.")));
		return cstring_to_text(confined);
	}

	length = VARSIZE_ANY_EXHDR(account_id);
	if (length == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("account_id must not be empty"),
				 errhint("An account_id has 1 to %d bytes.", MEMORY_MAX_ACCOUNT_ID_BYTES)));
	if (length > MEMORY_MAX_ACCOUNT_ID_BYTES)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("account_id \"%.*s...\" has %zu bytes",
							   pg_mbcliplen(VARDATA_ANY(account_id), length, 32),
							   VARDATA_ANY(account_id), length),
						errhint("An account_id has 1 to %d bytes.", MEMORY_MAX_ACCOUNT_ID_BYTES)));

	if (!account_visible(account_id))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("account \"%s\" is not available in this session",
						text_to_cstring(account_id)),
				 errhint("The session is confined to another account by memory_ext.account.")));
	return account_id;
}

int
account_compare(const text *a, const text *b)
{
	Size a_length = VARSIZE_ANY_EXHDR(a);
	Size b_length = VARSIZE_ANY_EXHDR(b);
	int order = memcmp(VARDATA_ANY(a), VARDATA_ANY(b), Min(a_length, b_length));

	return order != 0 ? order : (a_length > b_length) - (a_length < b_length);
}

/* What works on all accounts is not for a session that may see one.  Error: 42501. */
void
account_check_unconfined(void)
{
	const char *confined = account_confined();

	if (confined != NULL && confined[0] == '\0')
		refuse_unnamed();
	if (confined != NULL)
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
						errmsg("the session is confined to one account, "
							   "but this works on all accounts"),
						errhint("Use a session without memory_ext.account.")));
}

PG_FUNCTION_INFO_V1(memory_account_visible);

/*
 * memory_account_visible(account_id text) → boolean
 *		Whether the session may see the account's data: true unless it is
 *		confined to another one.
 */
Datum
memory_account_visible(PG_FUNCTION_ARGS)
{
	text *account_id = PG_GETARG_TEXT_PP(0);

	PG_RETURN_BOOL(account_visible(account_id));
}

bool
account_same(const text *a, const text *b)
{
	Size length = VARSIZE_ANY_EXHDR(a);

	return length == VARSIZE_ANY_EXHDR(b) && memcmp(VARDATA_ANY(a), VARDATA_ANY(b), length) == 0;
}

PG_FUNCTION_INFO_V1(memory_check_account);

/*
 * memory_check_account(account_id text) → text
 *		account_check, for functions in SQL.
 */
Datum
memory_check_account(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(account_check(PG_ARGISNULL(0) ? NULL : PG_GETARG_TEXT_PP(0)));
}

bool
account_is_operator(void)
{
	Oid types[] = {TEXTOID};
	oidvector *arguments = buildoidvector(types, 1);
	Oid schema = get_namespace_oid("memory", false);
	Oid function = GetSysCacheOid3(PROCNAMEARGSNSP, Anum_pg_proc_oid, CStringGetDatum("forget"),
								   PointerGetDatum(arguments), ObjectIdGetDatum(schema));

	return OidIsValid(function) && compat_may_execute(function, GetOuterUserId());
}
