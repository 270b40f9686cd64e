/* Which devices of the node can be granted: GET /v1/nodes/NODE/devices. */
#ifndef AGENT_DEVICES_H
#define AGENT_DEVICES_H

#include "wire/http.h"

/* Answers on stream `name` with those that there are now. */
void devices_tell(struct http_client *client, const char *name);

#endif
