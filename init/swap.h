/* The job `swap`: memory that nobody uses at present is compressed (zram). */
#ifndef INIT_SWAP_H
#define INIT_SWAP_H

/* Makes half as much of it as there is memory. The exit code. */
int swap_main(int argc, char **argv);

#endif
