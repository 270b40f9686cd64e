/* The lines of an application, from zlog to whoever asked at the hub. */
#ifndef AGENT_LOGS_H
#define AGENT_LOGS_H

#include "ask.h"

void logs_open(struct http_client *client, const struct ask *ask);
/* The connection goes: forgets those whose stream has not begun. */
void logs_close(void);

#endif
