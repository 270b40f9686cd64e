/* The program that is the first process of containers which ask for one
 * (runtime/reap/zreap.c). */
#ifndef ZRUN_REAPER_H
#define ZRUN_REAPER_H

#include "launch.h"

/* Whether the config asks for it (ZRUN_ANNOTATION_INIT). */
bool reaper_wanted(const struct runtime_config *config);
/* Lets the child execute it in place of its program, which it then runs. 0 or
 * -errno with fault set; the descriptor is launch_close()'s. */
int reaper_give(struct launch *l, struct fault *fault);

#endif
