/* The terminal of a container that runs in the foreground, led through this
 * process's own. */
#ifndef ZRUN_TERMINAL_H
#define ZRUN_TERMINAL_H

#include "fault.h"

/* Where the master side of the child's terminal goes: to the engine's socket
 * `path`; without one to us, where *ours receives it. 0 with *childs set, or
 * -errno with fault set. */
int console_open(const char *path, int *childs, int *ours, struct fault *fault);

/* Sends a pidfd to the engine's socket, as runc does. 0 or -errno with fault
 * set. */
int pidfd_send(const char *path, int pidfd, struct fault *fault);

/* Receives the master side that the child sent on sock. A descriptor or
 * -errno with fault set. */
int terminal_receive(int sock, struct fault *fault);

/* Passes bytes (master < 0: none) and signals between us and process pid until
 * it ends; returns its exit status as a shell has it. Signals must have been
 * blocked by foreground_block() before the process was made. */
int foreground_wait(int pid, int pidfd, int master);
void foreground_block(void);

#endif
