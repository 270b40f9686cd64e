/* The body of PUT /v1/nodes/ID/observed, as sync(5) has it. */
#ifndef AGENT_REPORT_H
#define AGENT_REPORT_H

#include <stddef.h>
#include <stdint.h>

#include "node/znode.h"
#include "oci/digest/digest.h"

struct report {
	const struct znode_app *rows;
	unsigned n;
	uint64_t epoch, revision; /* of the document they are of, or 0 */
	const char *refusal; /* why the last document was not taken, or "" */
};

/* New JSON text of *size bytes, the caller frees it; NULL without memory.
 * *change is equal for two reports that differ in counters only. */
char *report_make(const struct report *report, size_t *size,
		  struct digest *change);

#endif
