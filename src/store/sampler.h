/*
 * sampler.h
 *		The first dictionary, from the texts of a bulk load.
 */
#ifndef STORE_SAMPLER_H
#define STORE_SAMPLER_H

#include "postgres.h"

#include "utils/uuid.h"

typedef struct StoreSampler StoreSampler;

/* A sampler in this context; NULL: the database has a dictionary, or shall have none. */
extern StoreSampler *sampler_create(MemoryContext context);

/* Shows the sampler the next row's content. */
extern void sampler_add(StoreSampler *sampler, const text *account_id, const pg_uuid_t *id,
						const char *content, uint32 length);

/*
 * Trains a dictionary if there is enough to train from and still none.  Called
 * before the statement writes its first segment.  Needs an SPI connection.
 */
extern void sampler_train(StoreSampler *sampler);

#endif /* STORE_SAMPLER_H */
