/* Containers that sleep: what ZRUN_SLEEP and ZRUN_WAKE share. */
#ifndef ZRUN_SLEEP_H
#define ZRUN_SLEEP_H

#include "criu.h"
#include "start.h"

/* What criu calls the network namespace, which is not its to make. */
#define SLEEP_NETWORK "network"

/* How criu is called for container id; path becomes its directory and must
 * live as long as the options. */
void sleep_options(struct criu_options *options, const char *id,
		   char path[static 4096]);

/* sleep_restore.c: in a worker, with what s has made: criu makes the processes,
 * which are left stopped, the id of the first in file SLEEP_PID_FILE of the
 * state's directory. 0 or -errno with the fault set. */
#define SLEEP_PID_FILE "criu.pid"
int sleep_restore(struct start *s);

#endif
