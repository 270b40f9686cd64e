/* Any bytes as node.json: refused with a line or taken within the limits. */
#include <stdlib.h>
#include <string.h>

#include "base/node_json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct node_json node;
	char error[NODE_ERROR_SIZE];
	size_t scratch_size = NODE_SCRATCH_SIZE(size);
	void *scratch = malloc(scratch_size);
	int result = node_json_parse((const char *)data, size, scratch,
				     scratch_size, &node, error);

	if ((result == 0) != (error[0] == '\0') ||
	    (result < 0 &&
	     (node.n_app || node.n_interface || node.n_registry)) ||
	    strchr(error, '\n'))
		abort();
	for (unsigned int i = 0; i < node.n_app; i++) {
		if (!node.app[i].name[0] || !node.app[i].image[0] ||
		    node.app[i].command[node.app[i].n_command])
			abort();
	}
	free(scratch);
	return 0;
}
