/* POST /v1/enrol and /v1/renew: what a node asks for once, and every 60 days.
 * Both can be cut at any moment and asked again. */
#ifndef AGENT_ENROL_H
#define AGENT_ENROL_H

#include "wire/http.h"

/* done: 0 when the new identity is kept. -EACCES: the hub said no, and a
 * person has to do something; any other -errno: try again. why: one line. */
typedef void (*enrol_done)(int error, const char *why);

/* Whoever frees the client before hears nothing. 0 or -errno. */
int enrol_ask(struct http_client *client, enrol_done done);
int renew_ask(struct http_client *client, enrol_done done);

#endif
