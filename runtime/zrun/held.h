/* A process that has executed its program and is held before the first
 * instruction of it, by ptrace(2): what execve costs is paid before anybody
 * waits for it. The one thread of serve is the tracer; should that die, the
 * kernel kills what it holds. A tracee's end is told to its parent once the
 * tracer knows of it, so that each of these leaves none behind. */
#ifndef ZRUN_HELD_H
#define ZRUN_HELD_H

#include <stdbool.h>
#include <sys/types.h>

/* The process, which has not called execve yet, will be held. 0 or -errno. */
int held_begin(pid_t pid);
/* Whether it is held; asked until it is true, and not again. */
bool held_look(pid_t pid);
/* It goes on. 0; or -ESRCH: it was killed while it was held. */
int held_release(pid_t pid);
/* Kills it, wherever it is, and if it lives. */
void held_kill(pid_t pid);

#endif
