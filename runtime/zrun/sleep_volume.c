/* The volumes of a container that sleeps, for which nobody has a mount: the
 * file `volumes` of its checkpoint has a line for each, a path beneath
 * /data/volumes. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "base/path.h"
#include "base/span.h"
#include "policy.h"
#include "resident.h"
#include "sleep.h"

#define LIST "volumes"

enum { LIST_SIZE_MAX = 1 << 20 };

int sleep_volumes_keep(int image_dir, const struct runtime_config *config)
{
	autofree char *text = NULL;
	size_t size = 0;
	FILE *list = open_memstream(&text, &size);

	if (!list)
		return -ENOMEM;
	for (size_t i = 0; i < config->n_mount; i++) {
		const struct runtime_mount *m = &config->mount[i];

		if (m->bind && policy_volume(m->source))
			fprintf(list, "%s\n", policy_volume(m->source));
	}
	if (fclose(list) != 0)
		return -ENOMEM;
	return file_swap(image_dir, LIST, text, size);
}

bool sleep_has_volume(const char *id, const char *name)
{
	autofree char *text = NULL;
	char path[ZRUN_ID_SIZE + sizeof(LIST) + 1];
	struct span line, first;
	size_t size;

	snprintf(path, sizeof(path), "%.63s/" LIST, id);
	if (file_read(resident.checkpoints, path, LIST_SIZE_MAX, &text, &size) <
	    0)
		return false;
	for (struct span rest = { text, size }; span_cut(&rest, '\n', &line);)
		if (span_cut(&line, '/', &first) && span_is(first, name))
			return true;
	return false;
}
