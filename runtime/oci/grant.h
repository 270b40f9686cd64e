/* What a container may be given beyond the default, as the signed document
 * says it (desired.h, "grants") and an operator gives it:
 *
 *	capability:NET_ADMIN		one of the kernel's
 *	device:/dev/ttyUSB0[:ACCESS[:/dev/zigbee]]
 *					ACCESS of r, w, m: rwm unless said;
 *					then its path in the container, the same
 *					unless said
 *	bind:/sys[:ACCESS[:/host/sys]]	a file or folder of the node, with what
 *					is mounted below it; ACCESS ro or rw: rw
 *					unless said
 *	network:host, pid:host, ipc:host
 *					the node's namespace instead of its own
 *	privileged			every capability and device, no seccomp
 *					profile, no path hidden or read-only
 *
 * No I/O. */
#ifndef OCI_GRANT_H
#define OCI_GRANT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/span.h"

enum grant_kind {
	GRANT_CAPABILITY,
	GRANT_DEVICE,
	GRANT_BIND,
	GRANT_NETWORK,
	GRANT_PID,
	GRANT_IPC,
	GRANT_PRIVILEGED,
};

struct grant {
	enum grant_kind kind;
	unsigned capability; /* its number */
	/* DEVICE, BIND: on the node and in the container, within what was
	 * parsed. */
	struct span path, target;
	uint8_t access; /* RUNTIME_DEVICE_*, never 0; of a bind READ, WRITE */
};

#define GRANT_WANT                                                            \
	"want capability:NAME, device:/dev/PATH[:ACCESS[:/dev/TARGET]] with " \
	"ACCESS of r, w, m, bind:/PATH[:ro|rw[:/TARGET]], network:host, "     \
	"pid:host, ipc:host or privileged"

/* 0 or -EINVAL. */
int grant_parse(struct span text, struct grant *grant);

/* Whether who is given `given` may have `wanted`. */
bool grant_covers(const struct grant *given, const struct grant *wanted);

#endif
