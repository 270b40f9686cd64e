/* The hardware watchdog: when init's loop stands still, the machine resets. */
#ifndef INIT_WATCHDOG_H
#define INIT_WATCHDOG_H

#include "base/loop.h"

/* Opens the best watchdog there is and kicks it from the loop for ever. A
 * machine without one is only told so. */
void watchdog_init(struct loop *loop);

#endif
