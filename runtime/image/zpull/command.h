/* The commands of zpull for people, and what they share with the daemon. */
#ifndef ZPULL_COMMAND_H
#define ZPULL_COMMAND_H

#include <stddef.h>

/* From here on foreign bytes may be read: files beneath the n directories, and
 * to be read those that resolving and certificates need and those beneath
 * `readable` (-1: none) and the image store. 0 or -errno, logged. */
int zpull_confine(const int *dirs, size_t n, int readable);

/* zpull fetch ...: the exit status. */
int command_fetch(int argc, char **argv);

extern const char command_usage[];

#endif
