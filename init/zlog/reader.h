/* The pipes that init keeps for the output of services and containers, and what
 * is read from them. */
#ifndef ZLOG_READER_H
#define ZLOG_READER_H

#include <stdint.h>

#include "base/loop.h"
#include "zlog.h"

enum { READER_MAX = 2112 };

void reader_init(struct loop *loop);

/* Reads pipe number n of `name` (a service or a container) on; fd becomes the
 * reader's. */
void reader_add(const char *name, uint32_t n, int fd,
		const struct zlog_keep *keep);

/* The pipe is gone from init: takes what is still in it, then ends. */
void reader_remove(const char *name, uint32_t n);

#endif
