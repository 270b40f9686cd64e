/* Devices that come: an application that could not start for want of one does
 * not wait for its next attempt. Private to main.c. */
#ifndef NODE_DEVICES_H
#define NODE_DEVICES_H

#include "base/loop.h"

/* Before znode confines itself. Where the kernel does not tell of devices the
 * attempts alone find them; that is logged. */
void devices_open(struct loop *loop);

#endif
