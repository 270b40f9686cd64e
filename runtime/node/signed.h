/* Whether zrun serve has looked at the document that is obeyed: what it says of
 * grants and networks is serve's to judge each start by (ZRUN_GRANTS). Private
 * to app*.c and node.c. */
#ifndef NODE_SIGNED_H
#define NODE_SIGNED_H

struct app_host;

/* 1: it has; 0: it is asked to, and host->looked() comes; or -errno, once, with
 * signed_reason(). */
int signed_look(struct app_host *host);
const char *signed_reason(void);

#endif
