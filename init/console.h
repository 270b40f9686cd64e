/* The status screen and the few verbs on a node's own terminals. */
#ifndef INIT_CONSOLE_H
#define INIT_CONSOLE_H

/* How many consoles the kernel has. */
int console_count(void);

/* init console N: serves the N-th console of the kernel (0 is the first) until
 * its terminal hangs up. 0 when there is no such console, else 1. */
int console_main(int argc, char **argv);

#endif
