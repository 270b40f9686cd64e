/* GET /metrics in Prometheus' text format, for operators and viewers, and for
 * anyone over loopback. */
#ifndef HUB_METRICS_H
#define HUB_METRICS_H

#include "hub.h"

uint64_t metrics_resident_bytes(const struct hub *hub);
void metrics_request(struct hub *hub, struct http_request *request);

#endif
