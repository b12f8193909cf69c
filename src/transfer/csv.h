/*
 * csv.h
 *		Messages as rows of CSV: columns by a header line, fields to a message.
 *		Records are cut out of bytes by csv_cut.c, a record into its fields by
 *		PostgreSQL's COPY (import_csv.c).
 */
#ifndef TRANSFER_CSV_H
#define TRANSFER_CSV_H

#include "postgres.h"

#include "csv_cut.h"
#include "formats.h"

/* The columns of memory.messages. */
typedef enum CsvColumn
{
	CSV_CONVERSATION_ID,
	CSV_ACCOUNT_ID,
	CSV_SEQ,
	CSV_PARENT_SEQ,
	CSV_ROLE,
	CSV_CONTENT,
	CSV_MODEL,
	CSV_TOKENS,
	CSV_CREATED_AT,
	CSV_MESSAGE_ID,
	CSV_METADATA,
	CSV_NCOLUMNS
} CsvColumn;

/* Which field of a record is which column. */
typedef struct CsvColumns
{
	int count;                  /* fields of a record */
	int field_of[CSV_NCOLUMNS]; /* -1: there is none */
	CsvColumn of[CSV_NCOLUMNS];
} CsvColumns;

/* The names of the columns, as one text; errors: 22023. */
extern char *csv_header(const CsvRecord *record, char delimiter, int encoding);
extern void csv_columns(const char *names, CsvColumns *columns);
extern const char *csv_column_name(CsvColumn column);

/*
 * A record's fields (NULL: null) as a message of a conversation, in the current
 * context.  False: refused; errors of values that cannot be read are thrown, and
 * *at then is their column.
 */
extern bool
csv_read(const CsvColumns *columns, char **fields, int nfields, TransferConversation *conversation,
		 TransferProblem *problem, volatile CsvColumn *at);

/* Its name is "csv"; documents are never of it. */
extern const TransferFormat csv_format;

#endif /* TRANSFER_CSV_H */
