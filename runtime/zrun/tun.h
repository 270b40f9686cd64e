/* The TUN of a container's network namespace, on whose other end znet is. */
#ifndef ZRUN_TUN_H
#define ZRUN_TUN_H

#include <stdbool.h>
#include <stdint.h>

#include "oci/runtime_config.h"

/* Makes the TUN of the network namespace that the caller is in: up, with
 * default routes for IPv4 and IPv6 from address (host byte order, already on
 * `lo`) and from the IPv6 address that belongs to it, unless IPv6 is switched
 * off. The descriptor, which keeps the namespace alive, or -errno. */
int tun_open(uint32_t address, bool *has_address6);

/* The same in the namespace of process pidfd, handed to init for znet with the
 * note that its config asks for. 0 or -errno. */
int tun_give(const char *id, int pidfd, uint32_t address,
	     const struct text_map *annotations);

/* Init forgets the TUN of a container, if it has one. */
void tun_drop(const char *id);
/* The same, but whoever closes the last descriptor of a TUN waits for the
 * kernel to take it apart, some ten milliseconds: init must not. A descriptor,
 * or -errno where there is none. */
int tun_take(const char *id);

#endif
