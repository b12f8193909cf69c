/*
 * account.h
 *		The account that a call works on.
 */
#ifndef MEMORY_ACCOUNT_H
#define MEMORY_ACCOUNT_H

#include "postgres.h"

#include "utils/guc.h"

/* Defines memory_ext.account; called once, from _PG_init. */
extern void account_init(void);

/*
 * The account this session is confined to.  NULL: it is not confined.  Empty,
 * which is no account's id: it sees nothing, because its role is to set
 * memory_ext.account and has not.
 */
extern const char *account_confined(void);

/* Whether the session may see the account's data. */
extern bool account_visible(const text *account_id);

/*
 * The account a call works on; NULL stands for the one that the session is
 * confined to.  Errors: 22004 none given, 22023 bad length, 42501 not the
 * session's account, or the session is to name one and has not.
 */
extern text *account_check(text *account_id);

/* Whether two account_ids are the same. */
extern bool account_same(const text *a, const text *b);

/* The order of account_ids as keys: in which their rows are read and locked. */
extern int account_compare(const text *a, const text *b);

/* The check of a setting whose value is an account_id, or empty. */
extern bool account_check_setting(char **newval, void **extra, GucSource source);

/* Refuses a confined session what concerns all accounts.  Error: 42501. */
extern void account_check_unconfined(void);

/* Whether the session's role has been made an operator by memory.grant_access. */
extern bool account_is_operator(void);

#endif /* MEMORY_ACCOUNT_H */
