/*
 * format_names.h
 *		The formats' names: what users call them, and the keys in metadata under
 *		which each keeps what has no column.
 */
#ifndef FORMAT_NAMES_H
#define FORMAT_NAMES_H

#define FORMAT_NATIVE "native"
#define FORMAT_CHATGPT "chatgpt"
#define FORMAT_CLAUDE "claude"
#define FORMAT_OPENWEBUI "openwebui"
#define FORMAT_LIBRECHAT "librechat"
#define FORMAT_SHAREGPT "sharegpt"
#define FORMAT_LANGCHAIN "langchain"
#define FORMAT_AGENTS "agents"
#define FORMAT_ANTHROPIC "anthropic"
#define FORMAT_VERCEL "vercel"
#define FORMAT_OPENAI "openai"

/* All of them, to initialize an array. */
#define FORMAT_NAMES                                                                               \
	FORMAT_NATIVE, FORMAT_CHATGPT, FORMAT_CLAUDE, FORMAT_OPENWEBUI, FORMAT_LIBRECHAT,              \
		FORMAT_SHAREGPT, FORMAT_LANGCHAIN, FORMAT_AGENTS, FORMAT_ANTHROPIC, FORMAT_VERCEL,         \
		FORMAT_OPENAI

#endif /* FORMAT_NAMES_H */
