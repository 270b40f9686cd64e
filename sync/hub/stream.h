/* Streams that a node opens because the hub asked: the hub joins the node's
 * POST /v1/streams/STREAM to the operator's request that waits for it. */
#ifndef HUB_STREAM_H
#define HUB_STREAM_H

#include "api.h"

#define STREAM_PATH "/v1/streams/"

void stream_request(struct hub *hub, struct http_request *request);
void streams_free(struct hub *hub);

#endif
