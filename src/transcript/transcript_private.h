/*
 * transcript_private.h
 *		What the files of this room share with each other only.
 */
#ifndef TRANSCRIPT_PRIVATE_H
#define TRANSCRIPT_PRIVATE_H

#include "postgres.h"

#include "lib/stringinfo.h"

#include "transcript.h"

/* Raw payload to a transcript, without looking at the messages. */
extern struct varlena *transcript_pack(const TranscriptHeader *source, const char *raw,
									   const TranscriptCompression *compression);

/* Text form to messages in the current memory context, and back. */
extern TranscriptMessage *transcript_messages_from_text(const char *text, uint32 *n);
extern void transcript_messages_to_text(StringInfo out, const Transcript *t);

/*
 * A JSON text that must be an object, as jsonb.  With `corrupt` true the text
 * came from a transcript and an error is XX001, else it came from a user.
 */
extern Jsonb *
transcript_metadata_jsonb(const char *text, uint32 len, uint32 position, bool corrupt);

/* The text that a transcript keeps of a jsonb, terminated, palloc'd. */
extern char *transcript_metadata_text(Jsonb *metadata, uint32 position, uint32 *len);

#endif /* TRANSCRIPT_PRIVATE_H */
