/* What the tests of Compose files share: a project of files that name others
 * beside them, and the hub's reading of what zctl sends. */
#ifndef TEST_COMPOSE_READ_H
#define TEST_COMPOSE_READ_H

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yyjson.h>

#include "compose_json.h"
#include "ctl/compose.h"
#include "oci/desired.h"
#include "tap.h"

#define WEB(lines)   "services:\n  web:\n    image: hub/web:1\n" lines
#define APP(members) "[{\"name\":\"web\",\"image\":\"hub/web:1\"" members "}]"

static char *variable(const char *name)
{
	static char set[] = "shell";

	return !strcmp(name, "SET") ? set : NULL;
}

/* What the files name beside them. */
static int read_beside(const char *path, size_t max, char **text, size_t *size)
{
	static const struct {
		const char *path, *text;
	} files[] = {
		{ "web.env",
		  "# of web\nA=1\nexport B = \"two\\nlines $SET\" # c\n"
		  "C='$SET'\nD=d # e\n\nSET\n" },
		{ "more.env", "A=more\nE=e\n" },
		{ "bad.env", "A=1\nno name here\n" },
		{ "nginx.conf", "worker_processes 1;\n" },
		{ "binary", "\xff\xfe" },
		{ "start", "#!/bin/sh\n" },
		{ "rules/a", "of a\n" },
		{ "rules/more/b", "of b\n" },
		{ "secret", "s3cret\n" },
		{ "base.yaml", "services:\n  base:\n    image: hub/web:1\n"
			       "    environment: [A=base]\n"
			       "  old:\n    extends: base\n    gpus: all\n" },
	};

	if (!strcmp(path, "html") || !strcmp(path, "empty") ||
	    !strcmp(path, "rules") || !strcmp(path, "rules/more"))
		return -EISDIR;
	for (size_t i = 0; i < sizeof(files) / sizeof(*files); i++) {
		if (strcmp(files[i].path,
			   strncmp(path, "./", 2) ? path : path + 2) != 0)
			continue;
		*size = strlen(files[i].text);
		if (*size > max)
			return -EFBIG;
		*text = strdup(files[i].text);
		return *text ? 0 : -ENOMEM;
	}
	return -ENOENT;
}

static int list_beside(const char *path,
		       int (*each)(const char *name, void *arg), void *arg)
{
	static const char *const entries[][2] = { { "html", "index.html" },
						  { "rules", "a" },
						  { "rules", "more" },
						  { "rules/more", "b" } };
	bool is_empty = !strcmp(path, "empty"), is_there = is_empty;
	int r = 0;

	for (size_t i = 0; i < sizeof(entries) / sizeof(*entries); i++) {
		if (strcmp(entries[i][0], path) != 0)
			continue;
		is_there = true;
		r = r ? r : each(entries[i][1], arg);
	}
	return is_there ? r : -ENOENT;
}

static const char dotenv[] = "DOT=dot\nSET=file\n";
static const char *const granted[] = { "capability:NET_ADMIN",
				       "device:/dev/ttyS0:rw", NULL };
static const struct compose_config config = {
	.grant = granted,
	.variable = variable,
	.read = read_beside,
	.list = list_beside,
	.dotenv = { dotenv, sizeof(dotenv) - 1 },
};

static int read_files_granting(const char *const *yaml,
			       const char *const *grants, struct compose *c)
{
	static const char *const names[] = { "f", "g", "h" };
	struct compose_file files[3];
	size_t n = 0;

	for (; n < 3 && yaml[n]; n++)
		files[n] = (struct compose_file){ names[n], span_of(yaml[n]) };
	struct compose_config granting = config;

	granting.grant = grants;
	return compose_read(files, n, &granting, c);
}

static int read_files(const char *const *yaml, struct compose *c)
{
	return read_files_granting(yaml, granted, c);
}

/* What zctl sends the hub must take. */
static bool hub_takes(yyjson_mut_doc *doc)
{
	char *text = yyjson_mut_write(doc, 0, NULL);
	char error[DESIRED_ERROR_SIZE] = "";
	struct desired d;
	int err = desired_parse_apps(span_of(text), &d, error);

	if (err == 0)
		desired_free(&d);
	else
		printf("# the hub says: %s\n", error);
	free(text);
	return err == 0;
}

static inline void becomes(const char *name, const char *const *yaml,
			   const char *json)
{
	struct compose *c = calloc(1, sizeof(*c));
	int err = read_files(yaml, c);

	if (err)
		printf("# %s\n", c->problems.line[0]);
	ok(err == 0 && json_is(c->apps, json) && hub_takes(c->apps), "%s",
	   name);
	compose_end(c);
	free(c);
}

static inline void refuses(const char *name, const char *const *yaml,
			   const char *line)
{
	struct compose *c = calloc(1, sizeof(*c));
	int err = read_files(yaml, c);
	bool fits = err == -EINVAL && !strcmp(c->problems.line[0], line);

	if (!fits)
		printf("# %d, %u problems\n# got  %s\n# want %s\n", err,
		       c->problems.n, c->problems.line[0], line);
	ok(fits, "refused: %s", name);
	compose_end(c);
	free(c);
}

#endif
