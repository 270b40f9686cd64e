/* What a container may be given beyond the default, as the signed document
 * says it (desired.h, "grants") and an operator gives it:
 *
 *	capability:NET_ADMIN		one of the kernel's
 *	device:/dev/ttyUSB0[:ACCESS[:/dev/zigbee]]
 *					ACCESS of r, w, m: rwm unless said;
 *					then its path in the container, the same
 *					unless said
 *
 * No I/O. */
#ifndef OCI_GRANT_H
#define OCI_GRANT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/span.h"

enum grant_kind { GRANT_CAPABILITY, GRANT_DEVICE };

struct grant {
	enum grant_kind kind;
	unsigned capability; /* its number */
	/* DEVICE: on the node and in the container, within what was parsed. */
	struct span path, target;
	uint8_t access; /* RUNTIME_DEVICE_*, never 0 */
};

#define GRANT_WANT                                                          \
	"want capability:NAME or device:/dev/PATH[:ACCESS[:/dev/TARGET]], " \
	"ACCESS of r, w, m"

/* 0 or -EINVAL. */
int grant_parse(struct span text, struct grant *grant);

/* Whether who is given `given` may have `wanted`. */
bool grant_covers(const struct grant *given, const struct grant *wanted);

#endif
