/* What one boot leaves on /data for the next: the time and a random seed. */
#ifndef INIT_KEEP_H
#define INIT_KEEP_H

/* The job `keep`, once /data is there: sets the clock to no less than the time
 * kept, feeds the seed to the kernel and keeps new ones. The exit code. */
int keep_main(int argc, char **argv);

/* The last child of a node: keeps time and seed, syncs, unmounts. The exit
 * code. */
int keep_and_unmount(void *unused);

#endif
