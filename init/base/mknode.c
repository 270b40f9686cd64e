/* mknode FOLDER - says in one line what the node will be whose ZOOID partition
 * holds what is in FOLDER, by the reader that the node itself has. What is
 * wrong goes to standard error, as the node would say it; the exit status is 1
 * then. Runs where an image is made and written, on the host. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fd.h"
#include "node_json.h"

static struct node_json node;

static int fail(const char *folder, const char *name, const char *why)
{
	fprintf(stderr, "%s%s%s\n", folder, name, why);
	return 1;
}

static int tell(void)
{
	printf("node %s, ", node.name);
	if (node.hub.n_hub)
		printf("hub %s, token %s", node.hub.hub[0], node.hub.id);
	else
		printf("no hub");
	if (node.n_app)
		printf(", %u applications of its own", node.n_app);
	printf("\n");
	return 0;
}

int main(int argc, char **argv)
{
	const char *folder = argc == 2 ? argv[1] : "";
	autoclose int dir = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	autofree char *text = NULL;
	autofree void *scratch = NULL;
	char error[NODE_ERROR_SIZE];
	size_t size;

	if (dir < 0)
		return fail(folder, ": ", strerror(errno));
	int r = file_read(dir, "node.json", NODE_JSON_SIZE_MAX, &text, &size);

	if (r == -ENOENT) {
		printf("no node.json: a node zooid, no hub\n");
		return 0;
	}
	if (r < 0)
		return fail(folder, "/node.json: ", strerror(-r));
	scratch = malloc(NODE_SCRATCH_SIZE(size));
	if (!scratch)
		return fail(folder, "/node.json: ", strerror(ENOMEM));
	r = node_json_parse(text, size, scratch, NODE_SCRATCH_SIZE(size), &node,
			    error);
	return r < 0 ? fail(folder, "/", error) : tell();
}
