/* serve's side of init's descriptor store (init/init.h). */
#ifndef ZRUN_STORE_LINK_H
#define ZRUN_STORE_LINK_H

#include <stdint.h>

#include "init/init.h"

/* Each call is one request and its reply on a connection that is made anew
 * when it broke; init always answers, and serve has nothing to do without it.
 * 0 or -errno. */
int init_put(enum init_kind kind, const char *container, uint32_t n, int fd,
	     const uint8_t note[INIT_NOTE_SIZE]);
/* Several of one container, in one go. The first error; what was put before it
 * stays. */
struct init_item {
	enum init_kind kind;
	uint32_t n;
	int fd;
};
int init_put_all(const char *container, const uint8_t note[INIT_NOTE_SIZE],
		 const struct init_item *items, int n);
/* A descriptor, or -ENOENT ... */
int init_get(enum init_kind kind, const char *container, uint32_t n);
int init_drop(enum init_kind kind, const char *container, uint32_t n);

#endif
