/* init as PID 1 of a node, and as a subreaper on an ordinary host. */
#ifndef INIT_NODE_H
#define INIT_NODE_H

#include <stdint.h>

/* PID 1 in its root. started_ms: CLOCK_BOOTTIME at which /init began. */
__attribute__((noreturn)) void node_run(uint64_t started_ms);

/* init --supervise [--services FILE] DIR...; the exit code. */
int supervise_main(int argc, char **argv);

#endif
