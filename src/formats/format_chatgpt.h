/*
 * format_chatgpt.h
 *		What the two files of the ChatGPT export share.
 */
#ifndef FORMAT_CHATGPT_H
#define FORMAT_CHATGPT_H

#include "document.h"

/* What the order of the messages is made of. */
extern const DocumentField chatgpt_order_fields[];
extern const int chatgpt_norder_fields;

extern bool
chatgpt_read_message(const JsonbValue *object, TransferMessage *message, DocumentExtras *extras,
					 DocumentTools *tools, const DocumentPlace *place);
extern void chatgpt_write_message(DocumentOut *out, const TransferMessage *message, TransferText id,
								  const JsonbValue *own, TransferText default_model);

extern void chatgpt_default_model(TransferConversation *conversation, TransferText model);

#endif /* FORMAT_CHATGPT_H */
