/* zrun state, list: what is printed as JSON. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <yyjson.h>

#include "base/fd.h"
#include "base/path.h"
#include "base/stamp.h"
#include "cli.h"
#include "json_put.h"
#include "option.h"
#include "state_json.h"

enum { OWNER_SIZE = 32 };

void cli_print_json(yyjson_mut_doc *doc)
{
	autofree char *text = yyjson_mut_write(
		doc,
		YYJSON_WRITE_PRETTY_TWO_SPACES | YYJSON_WRITE_NEWLINE_AT_END,
		NULL);

	if (text)
		fputs(text, stdout);
	yyjson_mut_doc_free(doc);
}

/* No look-up of names: it would drag in all of the C library's. */
static void owner_name(int dir, char out[static OWNER_SIZE])
{
	struct stat st = { 0 };

	fstat(dir, &st);
	if (st.st_uid == 0)
		snprintf(out, OWNER_SIZE, "root");
	else
		snprintf(out, OWNER_SIZE, "#%u", st.st_uid);
}

/* Annotations are not kept twice: they come from the copy of the config. */
static yyjson_mut_val *container_json(yyjson_mut_doc *doc, int dir,
				      const struct state *state)
{
	enum status status = state_status(dir, state);
	struct fault ignored = { "" };
	struct runtime_config config;
	char owner[OWNER_SIZE];
	bool read = container_config(dir, &config, &ignored) == 0;
	yyjson_mut_val *top = state_json(doc, state, status,
					 read ? &config.annotations : NULL);

	owner_name(dir, owner);
	json_put_text(doc, top, "owner", owner);
	if (read)
		runtime_config_free(&config);
	return top;
}

int command_state(int argc, char **argv)
{
	struct container c;

	if (container_only(&c, argc, argv) < 0)
		return 1;
	yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);

	yyjson_mut_doc_set_root(doc, container_json(doc, c.dir, &c.state));
	cli_print_json(doc);
	container_close(&c);
	return 0;
}

enum list_form { LIST_TABLE, LIST_JSON, LIST_QUIET };

static void list_row(int dir, const struct state *state)
{
	enum status status = state_status(dir, state);
	char created[STAMP_SIZE];
	char owner[OWNER_SIZE];

	stamp_make((time_t)state->created, created);
	owner_name(dir, owner);
	printf("%-15s %-11d %-11s %-20s %-20s %s\n", state->id,
	       status == STATUS_STOPPED ? 0 : state->pid, status_name(status),
	       state->bundle, created, owner);
}

static int list_all(int root, enum list_form form)
{
	yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *array = yyjson_mut_arr(doc);
	DIR *list = path_list(root, ".");
	struct fault fault = { "" };

	if (form == LIST_TABLE)
		printf("%-15s %-11s %-11s %-20s %-20s %s\n", "ID", "PID",
		       "STATUS", "BUNDLE", "CREATED", "OWNER");
	for (struct dirent *e; list && (e = readdir(list));) {
		struct state state;

		if (!state_id_valid(e->d_name))
			continue;
		autoclose int dir = state_open(root, e->d_name, &fault);

		if (dir < 0)
			continue;
		/* One that is half made is listed too, so that somebody can
		 * delete it. */
		if (state_read(dir, &state, &fault) < 0)
			state_empty(&state, e->d_name);
		if (form == LIST_QUIET)
			puts(e->d_name);
		else if (form == LIST_TABLE)
			list_row(dir, &state);
		else
			yyjson_mut_arr_append(array,
					      container_json(doc, dir, &state));
	}
	if (list)
		closedir(list);
	yyjson_mut_doc_set_root(doc, array);
	if (form == LIST_JSON)
		cli_print_json(doc);
	else
		yyjson_mut_doc_free(doc);
	return 0;
}

int command_list(int argc, char **argv)
{
	static const struct option options[] = {
		{ "format", required_argument, NULL, 'f' },
		{ "quiet", no_argument, NULL, 'q' },
		{ NULL, 0, NULL, 0 },
	};
	enum list_form form = LIST_TABLE;
	struct fault fault = { "" };
	bool quiet = false;
	int option;

	while ((option = option_next(argc, argv, "f:q", options, NULL)) >= 0) {
		if (option == 'q')
			quiet = true; /* whatever the format, as by runc */
		else if (option == 'f' && strcmp(optarg, "json") == 0)
			form = LIST_JSON;
		else if (option == '?')
			return 1;
		else if (strcmp(optarg, "table") != 0) {
			cli_error("--format: want table or json");
			return 1;
		}
	}
	autoclose int root = state_root(cli.root, true, &fault);

	if (root < 0) {
		cli_error(fault.text);
		return 1;
	}
	return list_all(root, quiet ? LIST_QUIET : form);
}
