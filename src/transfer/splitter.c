/*
 * splitter.c
 *		JSON documents out of a stream of bytes that comes in chunks of any size.
 *
 * Takes JSON lines, documents one behind the other with or without white space
 * between them, the record separators of RFC 7464, byte order marks, and one
 * array over any number of lines.  An array is a list of documents, unless the
 * test that the caller gave says of its first element that the array itself is
 * a document.
 *
 * Knows strings, brackets and the commas between values; what is between is for
 * the JSON parser to judge.  That is enough to see most broken documents where
 * they break, and to go on behind them:
 *
 *	- A line's end inside a string is not JSON.
 *	- A value behind a value without a comma, or a bracket that closes another
 *	  one, is a document that was cut off.
 *	- Where documents have been a line each, a line that begins with a bracket
 *	  is a new document, whatever the one before lacks.
 *
 * Behind a broken document the splitter goes on at the next line, where
 * documents are a line each; else at the next line that begins with a bracket;
 * inside an array, at the next line that is indented as its elements are.  What
 * is passed over belongs to the broken document.
 *
 * No catalog, no SPI, no errors thrown but for memory: the result says all.
 */
#include "postgres.h"

#include "splitter.h"

#define FIRST_BUFFER 8192

/* What is kept of a document that is not kept as a whole. */
#define KEPT_OF_LARGE 1024

/* Deeper brackets are counted only, not compared; the parser refuses them anyway. */
#define COMPARED_DEPTH 1024

/* What may come next in an array of documents. */
typedef enum Expected
{
	EXPECT_COMMA, /* a comma or the end */
	EXPECT_VALUE
} Expected;

/* What is being read. */
typedef enum Place
{
	BETWEEN, /* documents */
	INSIDE,  /* brackets */
	STRING,  /* inside brackets, or a document itself */
	ESCAPE,  /* behind a backslash in a string */
	SCALAR,  /* a number or a word that is a document itself */
	PASSING  /* over the rest of a broken document */
} Place;

struct Splitter
{
	Size max_document;
	SplitterArrayTest test;
	void *arg;

	const char *next; /* the chunk's rest */
	const char *end;
	bool finished; /* there is no other chunk */

	uint64 offset; /* of next */
	uint64 line;
	int64 indent; /* white space that the line began with; -1: something else came */
	int bom;      /* bytes of a byte order mark that were passed */

	bool in_array;
	Expected expected;
	int32 column;
	bool lines;

	/* the document at hand */
	Place place;
	uint64 began_line;
	uint64 began_offset;
	int64 began_indent;
	int depth;
	uint8 closing[COMPARED_DEPTH]; /* the bracket that each depth waits for */
	char last;                     /* the last byte that is not white space; 'v' of a value */
	bool line_begins;              /* the last byte was a line's end */
	bool undecided;                /* an array whose first element is not complete */
	Size element;                  /* where in the buffer that begins; 0: not yet */
	uint64 element_line;
	uint64 element_offset;
	int64 element_indent;
	const char *problem;
	uint64 problem_line;
	uint64 problem_offset;

	char *buffer; /* what has come of it */
	Size used;
	Size size;
	bool too_large;

	uint64 documents;
	SplitterMark mark;
};

static inline bool
is_space(char c)
{
	return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

static inline bool
opens(char c)
{
	return c == '{' || c == '[';
}

/* A splitter in the current memory context, for documents of so many bytes at most. */
Splitter *
splitter_create(Size max_document, SplitterArrayTest test, void *arg)
{
	Splitter *s = palloc0(sizeof(Splitter));

	s->max_document = max_document;
	s->test = test;
	s->arg = arg;
	s->line = 1;
	s->column = -1;
	s->size = FIRST_BUFFER;
	s->buffer = palloc(s->size);
	s->mark.line = 1;
	s->mark.column = -1;
	return s;
}

/* Goes on at the mark, with the rest of the input from there. */
void
splitter_resume(Splitter *s, const SplitterMark *mark)
{
	s->mark = *mark;
	s->offset = mark->offset;
	s->line = mark->line;
	s->documents = mark->documents;
	s->in_array = mark->in_array;
	s->expected = mark->value_next ? EXPECT_VALUE : EXPECT_COMMA;
	s->lines = mark->lines;
	s->column = mark->column;
	s->indent = mark->indent;
}

/* The place behind the last document, to go on from. */
void
splitter_mark(const Splitter *s, SplitterMark *mark)
{
	*mark = s->mark;
}

/* The next bytes of the input, which must stay until splitter_next asks for more. */
void
splitter_feed(Splitter *s, const char *data, Size length)
{
	Assert(s->next == s->end && !s->finished);
	s->next = data;
	s->end = data + length;
}

/* Nothing more comes. */
void
splitter_finish(Splitter *s)
{
	Assert(s->next == s->end);
	s->finished = true;
}

/* ---- the text of the document at hand ---- */

/* Keeps bytes of the chunk. */
static void
keep(Splitter *s, const char *data, Size length)
{
	if (s->used + length > s->max_document && s->place != PASSING)
		s->too_large = true;
	if (s->too_large || s->place == PASSING)
		length = s->used < KEPT_OF_LARGE ? Min(length, KEPT_OF_LARGE - s->used) : 0;
	if (s->used + length >= s->size)
	{
		while (s->used + length >= s->size)
			s->size *= 2; /* twice max_document at most */
		s->buffer = repalloc(s->buffer, s->size);
	}
	memcpy(s->buffer + s->used, data, length);
	s->used += length;
}

static void
begin_document(Splitter *s, Place place)
{
	s->place = place;
	s->began_line = s->line;
	s->began_offset = s->offset;
	s->began_indent = s->indent;
	s->depth = 0;
	s->last = 0;
	s->line_begins = false;
	s->undecided = false;
	s->element = 0;
	s->problem = NULL;
	s->used = 0;
	s->too_large = false;
	if (s->in_array && s->indent >= 0)
		s->column = (int32) Min(s->indent, PG_INT32_MAX);
}

/* Hands the document over; next is behind it. */
static SplitterResult
end_document(Splitter *s, SplitterDocument *document)
{
	memset(document, 0, sizeof(*document));
	s->documents++;
	if (s->too_large)
		s->used = Min(s->used, KEPT_OF_LARGE);
	s->buffer[s->used] = '\0';
	document->data = s->buffer;
	document->length = s->used;
	document->number = s->documents;
	document->line = s->began_line;
	document->offset = s->began_offset;
	document->bytes = s->offset - s->began_offset;
	document->problem = s->problem;
	document->problem_line = s->problem_line;
	document->problem_offset = s->problem_offset;

	if (s->in_array)
		s->expected = s->problem == NULL ? EXPECT_COMMA : EXPECT_VALUE;
	else if (s->problem == NULL)
		s->lines = s->began_indent == 0 && s->began_line == s->line;
	s->place = BETWEEN;

	s->mark.offset = s->offset;
	s->mark.line = s->line;
	s->mark.documents = s->documents;
	s->mark.in_array = s->in_array;
	s->mark.value_next = s->in_array && s->expected == EXPECT_VALUE;
	s->mark.lines = s->lines;
	s->mark.column = s->column;
	s->mark.indent = (int32) Min(s->indent, PG_INT32_MAX);
	if (s->problem != NULL)
		return SPLITTER_BROKEN;
	return s->too_large ? SPLITTER_TOO_LARGE : SPLITTER_DOCUMENT;
}

/*
 * The array that was begun as a document is a list of documents; its first
 * element becomes the document at hand.
 */
static void
become_list(Splitter *s)
{
	s->used -= Min(s->element, s->used);
	memmove(s->buffer, s->buffer + s->element, s->used);
	s->began_line = s->element_line;
	s->began_offset = s->element_offset;
	s->began_indent = s->element_indent;
	s->depth--;
	memmove(s->closing, s->closing + 1, sizeof(s->closing) - 1);
	s->in_array = true;
	s->column = (int32) Min(s->element_indent, PG_INT32_MAX);
}

/*
 * From here on the document is broken.  An array that breaks in its first
 * element is a list if that has a line of its own.
 */
static void
break_document(Splitter *s, const char *problem)
{
	if (s->undecided && s->element > 0 && s->element_indent >= 0)
		become_list(s);
	s->undecided = false;
	s->problem = problem;
	s->problem_line = s->line;
	s->problem_offset = s->offset;
}

/* Passes one byte. */
static void
step(Splitter *s)
{
	char c = *s->next++;

	s->offset++;
	if (c == '\n')
	{
		s->line++;
		s->indent = 0;
	}
	else if (s->indent >= 0 && is_space(c))
		s->indent++;
	else
		s->indent = -1;
}

/* ---- between documents ---- */

/* A byte order mark may stand before any document. */
static bool
passes_bom(Splitter *s, char c)
{
	static const char bom[] = "\xef\xbb\xbf";
	int64 indent = s->indent;

	if (c != bom[s->bom])
		return false;
	s->bom = (s->bom + 1) % 3;
	step(s);
	s->indent = indent;
	return true;
}

/* Commas and the end of an array of documents; true: c was one of them. */
static bool
passes_array_mark(Splitter *s, char c)
{
	if (!s->in_array)
		return false;
	if (c == ',' && s->expected == EXPECT_COMMA)
		s->expected = EXPECT_VALUE;
	else if (c == ']' && s->expected != EXPECT_VALUE)
		s->in_array = false;
	else
		return false;
	step(s);
	return true;
}

/* Begins the document that c is the first byte of. */
static void
begin_at(Splitter *s, char c)
{
	if (s->in_array && s->expected == EXPECT_COMMA)
	{
		begin_document(s, PASSING);
		break_document(s, "a comma or the array's end should be here");
	}
	else if (opens(c))
	{
		begin_document(s, INSIDE);
		s->undecided = c == '[' && !s->in_array;
	}
	else if (c == '"')
	{
		begin_document(s, STRING);
		keep(s, s->next, 1);
		step(s);
	}
	else if (c == '-' || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z'))
		begin_document(s, SCALAR);
	else
	{
		begin_document(s, PASSING);
		break_document(s, "no JSON value begins so");
	}
}

/* True: a document begins. */
static bool
find_document(Splitter *s)
{
	while (s->next < s->end)
	{
		char c = *s->next;

		if (s->bom == 0 && (is_space(c) || c == '\x1e'))
		{
			int64 indent = s->indent;

			step(s);
			if (c == '\x1e')
				s->indent = indent;
		}
		else if (!passes_bom(s, c) && !passes_array_mark(s, c))
		{
			s->bom = 0;
			begin_at(s, c);
			return true;
		}
	}
	return false;
}

/* ---- inside a document ---- */

/* Keeps the bytes from run to next, which have been read. */
static void
end_run(Splitter *s, const char *run)
{
	keep(s, run, s->next - run);
	s->offset += s->next - run;
}

/*
 * Reads a string up to its end, the chunk's end, or a line's end, which breaks
 * it.
 */
static void
read_string(Splitter *s)
{
	const char *p = s->next;

	for (;;)
	{
		if (p < s->end && s->place == ESCAPE && *p != '\n')
		{
			s->place = STRING;
			p++;
		}
		while (p < s->end && *p != '"' && *p != '\\' && *p != '\n')
			p++;
		if (p == s->end || *p == '\n')
			break;
		if (*p++ == '"')
		{
			s->place = INSIDE;
			s->last = 'v';
			break;
		}
		s->place = ESCAPE;
	}
	s->next = p;
	s->indent = -1;
	s->line_begins = false;
}

/* The array's first element is complete, or too large to tell. */
static void
decide_array(Splitter *s)
{
	s->undecided = false;
	s->buffer[s->used] = '\0';
	if (s->too_large || !s->test(s->arg, s->buffer + s->element, s->used - s->element))
		become_list(s);
}

static void
open_bracket(Splitter *s, const char *run)
{
	char c = *s->next;

	if (s->undecided && s->depth == 1 && s->element == 0)
	{
		s->element = s->used + (s->next - run);
		s->element_line = s->line;
		s->element_offset = s->offset + (s->next - run);
		s->element_indent = s->indent;
	}
	if (s->depth < COMPARED_DEPTH)
		s->closing[s->depth] = c == '{' ? '}' : ']';
	s->depth++;
	s->last = c;
}

/* Why no bracket or string can be here; NULL: it can. */
static const char *
out_of_place(const Splitter *s)
{
	if (s->last == 'v')
		return "a comma or a closing bracket should be here";
	if (opens(*s->next) && s->depth > 0 && s->depth <= COMPARED_DEPTH &&
		s->closing[s->depth - 1] == '}' && s->last != ':')
		return "a name should be here";
	return NULL;
}

/*
 * Whether a bracket that opens here, at a line's begin, is a new document's:
 * the one at hand was cut off.  No program breaks a line behind a colon.
 */
static bool
begins_another(const Splitter *s)
{
	if (s->depth == 0 || !opens(*s->next))
		return false;
	if (s->in_array)
		return out_of_place(s) != NULL && s->indent >= 0 && s->indent == s->column &&
			   s->line > s->began_line;
	return s->line_begins && s->began_indent == 0 &&
		   (s->lines || s->last == ':' || out_of_place(s) != NULL);
}

/*
 * Looks at a byte outside of strings.  NULL, or why the document cannot go on
 * with it.
 */
static const char *
read_byte(Splitter *s, const char *run)
{
	const char *problem = NULL;
	char c = *s->next;

	switch (c)
	{
		case '{':
		case '[':
			problem = out_of_place(s);
			if (problem == NULL)
				open_bracket(s, run);
			return problem;
		case '"':
			s->undecided = s->undecided && s->element > 0; /* texts are no documents */
			problem = out_of_place(s);
			if (problem == NULL)
				s->place = STRING;
			return problem;
		case '}':
		case ']':
			if (s->depth <= COMPARED_DEPTH && s->closing[s->depth - 1] != c)
				return "a closing bracket does not fit";
			s->depth--;
			s->last = 'v';
			break;
		case ',':
		case ':':
			s->last = c;
			break;
		case '\n':
			s->line++;
			s->indent = -1; /* the byte itself makes it 0 */
			break;
		case ' ':
		case '\t':
		case '\r':
			break;
		default:
			s->undecided = s->undecided && s->element > 0;
			s->last = 'v';
	}
	return NULL;
}

/*
 * Reads a document in brackets, or a string that is one.  True: it is complete,
 * or broken where another one begins.
 */
static bool
read_inside(Splitter *s)
{
	const char *run = s->next;

	while (s->next < s->end)
	{
		const char *problem;
		bool another;
		char c;

		if (s->place != INSIDE)
		{
			read_string(s);
			if (s->place != INSIDE && s->next < s->end)
			{
				end_run(s, run);
				break_document(s, "a line ends inside a string");
				s->place = PASSING;
				return false;
			}
			if (s->place == INSIDE && s->depth == 0)
				break;
			continue;
		}

		c = *s->next;
		another = begins_another(s);
		problem = another ? "the document ends before it is complete" : read_byte(s, run);
		if (problem != NULL)
		{
			end_run(s, run);
			break_document(s, problem);
			if (!another)
			{
				s->place = PASSING;
				return false;
			}
			/* it broke where the line before ended */
			s->problem_line--;
			s->problem_offset -= Min(s->indent + 1, s->problem_offset);
			return true;
		}
		s->next++;
		s->line_begins = c == '\n';
		s->indent = c == '\n' ? 0 : s->indent >= 0 && is_space(c) ? s->indent + 1 : -1;
		if (s->undecided && s->element > 0 && (s->depth == 1 || s->next - run > s->max_document))
		{
			end_run(s, run);
			run = s->next;
			decide_array(s);
		}
		if (s->depth == 0 && s->place == INSIDE)
			break;
	}
	end_run(s, run);
	if (s->undecided && s->too_large && s->element > 0)
		decide_array(s);
	return s->depth == 0 && s->place == INSIDE;
}

/* A word or number ends where something else begins; true: it has. */
static bool
read_scalar(Splitter *s)
{
	while (s->next < s->end)
	{
		char c = *s->next;

		if (is_space(c) || c == ',' || c == ']' || c == '}' || c == '"' || opens(c))
			return true;
		keep(s, s->next, 1);
		step(s);
	}
	return false;
}

/* Passes over the rest of a broken document; true: something begins that can be read. */
static bool
pass_over(Splitter *s)
{
	while (s->next < s->end)
	{
		if (s->in_array)
		{
			if (opens(*s->next) && s->column >= 0 && s->indent == s->column &&
				s->line > s->began_line)
				return true;
		}
		else if (s->indent == 0 && s->line > s->began_line && (s->lines || opens(*s->next)))
			return true;
		keep(s, s->next, 1);
		step(s);
	}
	return false;
}

/* The input ends: what is unfinished is a document all the same, or broken. */
static SplitterResult
end_input(Splitter *s, SplitterDocument *document)
{
	switch (s->place)
	{
		case BETWEEN:
			if (!s->in_array)
				return SPLITTER_MORE;
			begin_document(s, BETWEEN);
			break_document(s, "the input ends inside an array of documents");
			break;
		case SCALAR:
		case PASSING:
			break;
		case INSIDE:
		case STRING:
		case ESCAPE:
			break_document(s, "the input ends inside a document");
			break;
	}
	if (s->problem != NULL)
		s->in_array = false; /* nothing more is missing */
	return end_document(s, document);
}

/*
 * splitter_next
 *		The next document, or what stands in place of one.
 */
SplitterResult
splitter_next(Splitter *s, SplitterDocument *document)
{
	for (;;)
	{
		bool complete = false;

		if (s->finished)
			return end_input(s, document);
		switch (s->place)
		{
			case BETWEEN:
				if (!find_document(s))
					return SPLITTER_MORE;
				continue;
			case INSIDE:
			case STRING:
			case ESCAPE:
				complete = read_inside(s);
				break;
			case SCALAR:
				complete = read_scalar(s);
				break;
			case PASSING:
				complete = pass_over(s);
				break;
		}
		if (complete && s->undecided && s->problem == NULL)
			s->place = BETWEEN; /* an empty list of documents */
		else if (complete)
			return end_document(s, document);
		else if (s->next == s->end)
			return SPLITTER_MORE;
	}
}
