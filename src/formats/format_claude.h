/*
 * format_claude.h
 *		Blocks of a message's content, which Claude's exports and Anthropic's
 *		Messages API share.
 */
#ifndef FORMAT_CLAUDE_H
#define FORMAT_CLAUDE_H

#include "document.h"

extern const DocumentPartRules claude_blocks;
extern const DocumentStepWrite claude_steps; /* without images and files */

#endif /* FORMAT_CLAUDE_H */
