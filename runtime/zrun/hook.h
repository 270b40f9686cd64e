/* Running the hooks of a config: programs that the engine names and that get
 * the container's state as JSON on their standard input. */
#ifndef ZRUN_HOOK_H
#define ZRUN_HOOK_H

#include "oci/runtime_config.h"

#define HOOK_DETAIL_SIZE 108

struct hook_place {
	int state; /* memfd with the state */
	int dir;   /* working directory; -1: as it is */
	int watch; /* when its other end closes all ends; -1 */
};

/* A memfd that hook_state_fill() writes and seals later; so no hook can change
 * what the next one reads, and one that does not read it harms nobody. */
int hook_state_open(void);
int hook_state_fill(int fd, const char *text, size_t size);

/* Runs one after the other up to the first that fails: one that cannot be
 * executed, exits other than 0, is killed or takes longer than its timeout
 * (its process group is killed then). A hook dies with us. Allocates nothing. 0
 * or -errno with what failed in detail. Source: runtime specification,
 * config.md, POSIX-platform Hooks. */
int hooks_run(const struct runtime_hooks *hooks, const struct hook_place *place,
	      char detail[HOOK_DETAIL_SIZE]);

#endif
