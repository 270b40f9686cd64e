/* The Compose files of an apply, and what they name beside them. */
#ifndef CTL_APPLY_FILES_H
#define CTL_APPLY_FILES_H

#include "compose.h"
#include "ctl.h"

struct apply_files {
	unsigned n;
	struct compose_file file[CTL_LIST_MAX];
	char *text[CTL_LIST_MAX];
	char *dotenv;
	size_t dotenv_size;
};

/* Reads the files of -f, "-" being standard input, or the one that lies here,
 * and .env in the folder of the first. An exit code; apply_files_free() either
 * way. */
int apply_files_load(const struct ctl *ctl, struct apply_files *files);
void apply_files_free(struct apply_files *files);

/* compose_config.read: a path relative to the folder of the first file. */
int apply_files_read(const char *path, size_t max, char **text, size_t *size);
/* compose_config.list. */
int apply_files_list(const char *path, int (*each)(const char *name, void *arg),
		     void *arg);

#endif
