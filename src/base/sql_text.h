/*
 * sql_text.h
 *		What SQL statements in C are written with.
 *
 * A statement may be planned under any search_path, so each operator in it is
 * named with its schema: "a" OP(=) "b".  OPERATOR() gives every operator the
 * same precedence, which binds tighter than a comparison does; parenthesize.
 * Text is joined by the compiler, and OP() brings its own spaces.
 */
#ifndef MEMORY_SQL_TEXT_H
#define MEMORY_SQL_TEXT_H

#define OP(operator) " OPERATOR(pg_catalog." #operator") "

#endif /* MEMORY_SQL_TEXT_H */
