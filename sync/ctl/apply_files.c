#define _GNU_SOURCE
#include "apply_files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"

enum { DOTENV_MAX = 64 << 10 };

/* What Compose looks for, in its order. */
static const char *const file_names[] = { "compose.yaml", "compose.yml",
					  "docker-compose.yaml",
					  "docker-compose.yml" };

/* Of the first file; there is one application a run. */
static int folder = AT_FDCWD;

int apply_files_read(const char *path, size_t max, char **text, size_t *size)
{
	return file_read(folder, path, max, text, size);
}

static int is_entry(const struct dirent *e)
{
	return strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
}

int apply_files_list(const char *path, int (*each)(const char *name, void *arg),
		     void *arg)
{
	struct dirent **entry;
	char from[PATH_MAX];

	if (snprintf(from, sizeof(from), "/proc/self/fd/%d/%s", folder, path) >=
	    PATH_MAX)
		return -ENAMETOOLONG;
	int n = scandir(folder == AT_FDCWD ? path : from, &entry, is_entry,
			alphasort);
	int r = n < 0 ? -errno : 0;

	for (int i = 0; i < n; i++) {
		if (r == 0)
			r = each(entry[i]->d_name, arg);
		free(entry[i]);
	}
	if (n >= 0)
		free(entry);
	return r;
}

/* Standard input may be a pipe, whose size nobody knows. */
static int stdin_read(char **text, size_t *size)
{
	ssize_t n;

	*text = malloc(COMPOSE_SOURCE_MAX + 2);
	n = *text ? fd_read(STDIN_FILENO, *text, COMPOSE_SOURCE_MAX + 1)
		  : -ENOMEM;
	if (n < 0)
		return (int)n;
	(*text)[n] = '\0';
	*size = (size_t)n;
	return n > COMPOSE_SOURCE_MAX ? -EFBIG : 0;
}

static int file_add(struct apply_files *files, const char *name)
{
	struct compose_file *file = &files->file[files->n];
	char **text = &files->text[files->n];
	bool is_stdin = !strcmp(name, "-");
	int err = is_stdin ? stdin_read(text, &file->text.size)
			   : file_read(AT_FDCWD, name, COMPOSE_SOURCE_MAX, text,
				       &file->text.size);

	files->n++;
	file->name = is_stdin ? "stdin" : name;
	file->text.data = *text;
	if (err == -EFBIG)
		log_error(file->name, "is larger than %u KB",
			  COMPOSE_SOURCE_MAX >> 10);
	else if (err < 0)
		log_error(file->name, "%s; give -f FILE", strerror(-err));
	return err < 0 ? EXIT_FAILED : EXIT_DONE;
}

static const char *file_find(void)
{
	for (size_t i = 0; i < sizeof(file_names) / sizeof(*file_names); i++)
		if (access(file_names[i], F_OK) == 0)
			return file_names[i];
	log_error("compose.yaml", "there is none here; give -f FILE");
	return NULL;
}

static int folder_open(const char *first)
{
	autofree char *path = strdup(first);
	char *slash = path ? strrchr(path, '/') : NULL;

	if (!slash)
		return EXIT_DONE;
	slash[slash == path] = '\0';
	folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (folder >= 0)
		return EXIT_DONE;
	log_error(path, "%s", strerror(errno));
	return EXIT_FAILED;
}

static int dotenv_load(struct apply_files *files)
{
	int err = file_read(folder, ".env", DOTENV_MAX, &files->dotenv,
			    &files->dotenv_size);

	if (err == 0 || err == -ENOENT)
		return EXIT_DONE;
	log_error(".env", "%s", strerror(-err));
	return EXIT_FAILED;
}

int apply_files_load(const struct ctl *ctl, struct apply_files *files)
{
	const char *found = ctl->files.n ? ctl->files.item[0] : file_find();
	int code = found ? folder_open(found) : EXIT_USAGE;

	if (!code && !ctl->files.n)
		code = file_add(files, found);
	for (unsigned i = 0; !code && i < ctl->files.n; i++)
		code = file_add(files, ctl->files.item[i]);
	return code ? code : dotenv_load(files);
}

void apply_files_free(struct apply_files *files)
{
	for (unsigned i = 0; i < files->n; i++)
		free(files->text[i]);
	free(files->dotenv);
	if (folder >= 0)
		close(folder);
	folder = AT_FDCWD;
}
