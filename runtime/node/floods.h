/* Whose log floods: zlog tells of each application how many of its lines it
 * dropped, and is told what belongs into an application's log. */
#ifndef NODE_FLOODS_H
#define NODE_FLOODS_H

#include "app.h"

/* Asks zlog, and anew whenever it was replaced. */
void floods_open(struct loop *loop);

/* A line for the log of an application: why it does not run. */
void floods_say(const struct app *app, const char *text);

#endif
