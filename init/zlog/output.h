/* The output pipes that init keeps for services and containers. */
#ifndef ZLOG_OUTPUT_H
#define ZLOG_OUTPUT_H

#include "base/loop.h"

/* Learns the names of init's services and watches its pipes; done anew when
 * init's connection breaks. 0 or -errno. */
int output_init(struct loop *loop);

#endif
