/* Asking zagent how the hub's registry is reached. */
#ifndef ZPULL_HUB_H
#define ZPULL_HUB_H

#include "base/loop.h"
#include "agent/zagent.h"

struct hub_ask {
	/* Called once from the loop: 0 and what zagent said, the root
	 * certificate in PEM (freed by the caller), or -errno, and text. */
	void (*done)(struct hub_ask *ask, int error);
	struct zagent_pull pull;
	char *root;
	size_t root_size;
	char text[200];

	struct watch watch; /* private */
	struct timer timer;
	struct loop *loop;
	int fd;
};

/* 0 or -errno with text. */
int hub_ask(struct loop *loop, struct hub_ask *ask);
/* No-op when nothing was asked. */
void hub_ask_stop(struct hub_ask *ask);

#endif
