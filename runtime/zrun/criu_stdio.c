#define _GNU_SOURCE
#include "criu_stdio.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <yyjson.h>

#include "base/fd.h"
#include "base/path.h"

#define LIST "descriptors.json"

int criu_stdio_keep(int image_dir, pid_t pid)
{
	yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *array = yyjson_mut_arr(doc);
	char path[48], target[512];
	size_t size = 0;

	for (int i = 0; i < 3; i++) {
		snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)pid, i);
		ssize_t n = readlink(path, target, sizeof(target) - 1);

		target[n < 0 ? 0 : n] = '\0';
		yyjson_mut_arr_add_strcpy(doc, array, target);
	}
	yyjson_mut_doc_set_root(doc, array);
	autofree char *text = yyjson_mut_write(doc, 0, &size);

	yyjson_mut_doc_free(doc);
	return text ? file_swap(image_dir, LIST, text, size) : -ENOMEM;
}

void criu_stdio_inherit(struct criu_command *command, const char *image_path)
{
	autoclose int dir = open(image_path,
				 O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	autofree char *text = NULL;
	size_t size;

	if (dir < 0 || file_read(dir, LIST, 4096, &text, &size) < 0)
		return;
	yyjson_doc *doc = yyjson_read(text, size, 0);
	yyjson_val *array = yyjson_doc_get_root(doc);

	for (size_t i = 0; i < 3 && i < yyjson_arr_size(array); i++) {
		const char *name = yyjson_get_str(yyjson_arr_get(array, i));

		if (!name || strncmp(name, "pipe:", 5) != 0)
			continue;
		criu_add(command, "--inherit-fd");
		criu_add(command, "fd[%zu]:%s", i, name);
	}
	yyjson_doc_free(doc);
}
