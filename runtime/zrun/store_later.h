/* Requests to init whose replies nobody waits for: they come through serve's
 * loop, in the order of the requests, on a connection of their own. What is
 * kept of a bud goes with that connection. */
#ifndef ZRUN_STORE_LATER_H
#define ZRUN_STORE_LATER_H

#include <stdint.h>

#include "init/init.h"

/* Embedded in who asks; one request at a time. */
struct init_later {
	void (*done)(struct init_later *, int error);
};

/* Each 0, and done is called later; or -errno, and it is not: -EAGAIN when too
 * many are on their way. */
int init_bud_put(uint32_t pid, int pidfd, struct init_later *later);
int init_name(const char *container, const uint8_t note[INIT_NOTE_SIZE],
	      uint32_t pid, const int output[2], struct init_later *later);
/* It is not to be called any more. */
void init_later_end(const struct init_later *later);

#endif
