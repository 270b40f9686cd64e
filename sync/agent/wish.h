/* What an operator wants of an application for now: to freeze, thaw or wake it,
 * or put it to sleep, by znode and its rules. */
#ifndef AGENT_WISH_H
#define AGENT_WISH_H

#include "ask.h"

/* Whether ask->verb is such a wish. */
bool wish_is(const struct ask *ask);
void wish_open(struct http_client *client, const struct ask *ask);
/* The connection goes: forgets those that are not answered. */
void wish_close(void);

#endif
