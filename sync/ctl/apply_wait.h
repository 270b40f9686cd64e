/* Waits until what was applied runs. */
#ifndef CTL_APPLY_WAIT_H
#define CTL_APPLY_WAIT_H

#include "ask.h"

/* Until every app of the application on every node that is ready runs or
 * failed, with progress on standard error; as long as --wait says, or 120 s on
 * a terminal, else not at all. EXIT_DONE when all run, EXIT_FAILED when one
 * failed, EXIT_AGAIN when it took too long; one line says which. */
int apply_wait(struct ask *ask, const struct ctl *ctl, const char *name,
	       yyjson_val *reply);

#endif
