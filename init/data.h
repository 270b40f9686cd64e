/* The job `mount-data`: persistent storage, made at first boot. */
#ifndef INIT_DATA_H
#define INIT_DATA_H

/* Ends with /data mounted: from the medium if there is one that works, else in
 * memory. The exit code, always 0 then. */
int data_main(int argc, char **argv);

/* What init does when the job itself is stuck: /data in memory, over whatever
 * it may have mounted. Touches no disk. */
void data_in_memory(void);

#endif
