/*
 * formats_private.h
 *		The formats, a file each; formats.c has the table.
 */
#ifndef FORMATS_PRIVATE_H
#define FORMATS_PRIVATE_H

#include "format_names.h"
#include "formats.h"

extern const TransferFormat transfer_native; /* native.c */
extern const TransferFormat transfer_chatgpt;
extern const TransferFormat transfer_claude;
extern const TransferFormat transfer_openwebui;
extern const TransferFormat transfer_librechat;
extern const TransferFormat transfer_sharegpt;
extern const TransferFormat transfer_langchain;
extern const TransferFormat transfer_agents;
extern const TransferFormat transfer_anthropic;
extern const TransferFormat transfer_vercel;
extern const TransferFormat transfer_openai;

#endif /* FORMATS_PRIVATE_H */
