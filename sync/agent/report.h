/* The body of PUT /v1/nodes/ID/observed, as sync(5) has it. */
#ifndef AGENT_REPORT_H
#define AGENT_REPORT_H

#include <stddef.h>
#include <stdint.h>

#include "node/znode.h"
#include "oci/digest/digest.h"

/* New JSON text of *size bytes, the caller frees it; NULL without memory.
 * *change is equal for two reports that differ in counters only. refusal: why
 * the last document was not taken, or "". */
char *report_make(const struct znode_app *rows, unsigned n, const char *refusal,
		  size_t *size, struct digest *change);

#endif
