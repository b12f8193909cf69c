/*
 * job_rights.c
 *		Who may have a job read and write files of the server, and who may stop
 *		it or go on with it.
 */
#include "postgres.h"

#include "catalog/pg_authid.h"
#include "miscadmin.h"
#include "utils/acl.h"

#include "account.h"
#include "job.h"

/* The name of the job's own role, palloc'd.  Error: 42704 it is gone. */
char *
job_role_name(const Job *job)
{
	char *name = GetUserNameFromId(job->role, true);

	if (name == NULL)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT),
						errmsg("the role of job " INT64_FORMAT " does not exist", job->id)));
	return name;
}

/*
 * Files of the server are for those whom COPY would let read or write them.
 * Error: 42501.
 */
void
job_check_files(const Job *job, Oid role)
{
	bool export = strcmp(job->kind, "export") == 0;

	if (strcmp(job->source, "file") != 0 ||
		has_privs_of_role(role, export ? ROLE_PG_WRITE_SERVER_FILES : ROLE_PG_READ_SERVER_FILES))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg(export ? "permission denied to write a file of the server"
						   : "permission denied to read a file of the server"),
			 errdetail("Only roles with the privileges of %s may.",
					   export ? "pg_write_server_files" : "pg_read_server_files"),
			 export ? errhint("Use \\copy (SELECT memory.export(...)) TO a file of the client.")
					: errhint("Copy the file's lines into memory.import_stage and CALL "
							  "memory.import_staged(), or into memory.import_documents.")));
}

/* Who may stop a job, or go on with it: its own role.  Error: 42501. */
void
job_check_owner(const Job *job)
{
	char *name = GetUserNameFromId(job->role, true);
	Oid me = GetOuterUserId();

	if ((name != NULL ? !has_privs_of_role(me, job->role) : !superuser_arg(me)) ||
		(account_confined() != NULL &&
		 (job->confined == NULL || strcmp(job->confined, account_confined()) != 0)))
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
						errmsg("job " INT64_FORMAT " is not yours", job->id),
						name != NULL ? errdetail("It belongs to role \"%s\".", name)
									 : errdetail("Its role does not exist any more.")));
}
