/* The job `mount-data`: persistent storage, made at first boot. */
#ifndef INIT_DATA_H
#define INIT_DATA_H

/* Ends with /data mounted: from the medium if there is one that works, else in
 * memory. The exit code, always 0 then. */
int data_main(int argc, char **argv);

#endif
