/* The connection to the hub: what it is dialled for, and how it comes back. */
#ifndef AGENT_LINK_H
#define AGENT_LINK_H

#include "wire/http.h"
#include "zagent.h"

/* Starts to dial; agent.has_hub and identity are there. 0 or -errno. */
int link_open(void);
/* Ends it in order. */
void link_close(void);

/* The connection when the hub knows us on it, else NULL. */
struct http_client *link_client(void);

/* The watch stream's reply began: we are in. */
void link_welcome(void);
/* It is of no use any more: comes back after a while. error as errno, why one
 * line; the calls on it are over. */
void link_lost(int error, const char *why);
/* The hub said 401 or 403. */
void link_forbidden(const char *why);
/* The hub asked us to connect anew. */
void link_again(void);
/* A call on it got no answer in time: is it still there? */
void link_suspect(void);

/* The period of PINGs, in seconds. */
uint32_t link_heartbeat_s(void);

/* How it stands; reply text for ZAGENT_STATUS. */
void link_status(struct zagent_status *status);

#endif
