/* Secrets of applications: plain only in what an operator puts and in memory.
 * In the store they are sealed to this hub's intermediate key, in a node's
 * document to the node's. */
#ifndef HUB_SECRET_H
#define HUB_SECRET_H

#include <yyjson.h>

#include "hub.h"

/* Remembers a node's public key, to seal to. 0 or -errno of store_put(). */
int secret_node_key(struct hub *hub, const char *node,
		    const struct cert_public *public);

/* Seals what is plain in an app, for the store. What cannot be sealed is "". */
void secrets_keep(struct hub *hub, yyjson_mut_doc *doc, yyjson_mut_val *app);

/* Seals what the store has of an app to a node instead; "" where the node's key
 * is not known. */
void secrets_give(struct hub *hub, const char *node, yyjson_mut_doc *doc,
		  yyjson_mut_val *app);

#endif
