/* Whose log floods: zlog tells of each application how many of its lines it
 * dropped. Private to main.c. */
#ifndef NODE_FLOODS_H
#define NODE_FLOODS_H

#include "base/loop.h"

/* Asks zlog, and anew whenever it was replaced. */
void floods_open(struct loop *loop);

#endif
