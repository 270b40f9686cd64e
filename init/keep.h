/* What one boot leaves on /data for the next: the time and a random seed. */
#ifndef INIT_KEEP_H
#define INIT_KEEP_H

/* Sets the clock to no less than the time kept on /data. */
void keep_clock_raise(void);

/* The job `keep`: feeds the seed to the kernel, keeps a new one and the time.
 * The exit code. */
int keep_main(int argc, char **argv);

/* The last child of a node: keeps time and seed, syncs, unmounts. The exit
 * code. */
int keep_and_unmount(void *unused);

#endif
