/* Name servers from several sources, in one resolv.conf. */
#ifndef INIT_NAMES_H
#define INIT_NAMES_H

#include <stdint.h>

#include "base/loop.h"

/* Sources are files in path_run()/dns, one a source ("eth0.dhcp"), in the
 * syntax of resolv.conf(5); whenever one changes, path_run()/resolv.conf is
 * made of all of them. 0 or -errno. */
int names_init(struct loop *loop);

/* Replaces the source INTERFACE.KIND. */
void names_set(const char *interface, const char *kind,
	       const uint8_t (*address)[16], int n);

/* Opens that file; of an ordinary host, where names_init() was not called,
 * /etc/resolv.conf. The caller closes it. -errno. */
int names_open(void);

#endif
