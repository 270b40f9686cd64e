/* zrun ps: the processes of a container, as the host sees them. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <yyjson.h>

#include "base/fd.h"
#include "cli.h"
#include "option.h"

struct pids {
	pid_t *item;
	size_t n, room;
};

static void pids_add(pid_t pid, void *arg)
{
	struct pids *pids = arg;

	if (pids->n == pids->room) {
		size_t room = pids->room ? pids->room * 2 : 64;
		pid_t *more = realloc(pids->item, room * sizeof(*more));

		if (!more)
			return;
		pids->item = more;
		pids->room = room;
	}
	pids->item[pids->n++] = pid;
}

static bool pids_have(const struct pids *pids, pid_t pid)
{
	for (size_t i = 0; i < pids->n; i++) {
		if (pids->item[i] == pid)
			return true;
	}
	return false;
}

static void print_pids(const struct pids *pids)
{
	yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *array = yyjson_mut_arr(doc);

	for (size_t i = 0; i < pids->n; i++)
		yyjson_mut_arr_add_int(doc, array, pids->item[i]);
	yyjson_mut_doc_set_root(doc, array);
	cli_print_json(doc);
}

/* Where in the title of ps the word PID stands; -1. */
static int pid_column(const char *title)
{
	int column = 0;

	for (const char *p = title; *p; column++) {
		p += strspn(p, " \n");
		size_t n = strcspn(p, " \n");

		if (n == 3 && strncmp(p, "PID", 3) == 0)
			return column;
		p += n;
	}
	return -1;
}

static pid_t pid_in(const char *line, int column)
{
	for (; column > 0; column--) {
		line += strspn(line, " ");
		line += strcspn(line, " ");
	}
	return (pid_t)strtol(line, NULL, 10);
}

static int filter(char *text, const struct pids *pids, struct fault *fault)
{
	char *save, *line = strtok_r(text, "\n", &save);
	int column = line ? pid_column(line) : -1;

	if (!line)
		return fault_set(fault, 0, "ps: printed nothing");
	if (column < 0)
		return fault_set(fault, 0,
				 "ps: prints no column PID with "
				 "these options");
	do {
		puts(line);
		do
			line = strtok_r(NULL, "\n", &save);
		while (line && !pids_have(pids, pid_in(line, column)));
	} while (line);
	return 0;
}

static int read_all(int fd, char **text)
{
	size_t room = 0, size = 0;
	ssize_t n = 1;

	for (; n > 0; size += (size_t)n) {
		if (size == room) {
			room = room ? room * 2 : 1 << 16;
			char *more = realloc(*text, room + 1);

			if (!more)
				return -ENOMEM;
			*text = more;
		}
		n = fd_read(fd, *text + size, room - size);
		if (n < 0)
			return (int)n;
	}
	(*text)[size] = '\0';
	return 0;
}

/* The host's ps knows all its options; it shows all processes, of which the
 * container's are picked. */
static int print_table(const struct pids *pids, char **options,
		       struct fault *fault)
{
	char *standard[] = { "ps", "-ef", NULL };
	int out[2], status = 0;
	autofree char *text = NULL;

	if (pipe2(out, O_CLOEXEC) < 0)
		return fault_set(fault, -errno, "pipe");
	options[-1] = "ps"; /* where the container's id was */
	pid_t pid = fork();

	if (pid == 0) {
		dup2(out[1], 1);
		execvp("ps", *options ? options - 1 : standard);
		_exit(127);
	}
	int r = pid < 0 ? -errno : 0;

	close(out[1]);
	if (r == 0)
		r = read_all(out[0], &text);
	close(out[0]);
	if (r < 0)
		fault_set(fault, r, "ps");
	if (pid > 0)
		waitpid(pid, &status, 0);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
		return fault_set(fault, 0,
				 "ps: cannot be executed (--format json "
				 "does without)");
	return r < 0 ? r : filter(text, pids, fault);
}

static int ps(struct container *c, const char *format, char **options,
	      struct fault *fault)
{
	struct pids pids = { 0 };
	int r = 0;

	container_processes(c, pids_add, &pids);
	if (strcmp(format, "json") == 0)
		print_pids(&pids);
	else
		r = print_table(&pids, options, fault);
	free(pids.item);
	return r;
}

int command_ps(int argc, char **argv)
{
	static const struct option options[] = {
		{ "format", required_argument, NULL, 'f' },
		{ NULL, 0, NULL, 0 },
	};
	const char *format = "table";
	struct fault fault = { "" };
	struct container c;
	int option;

	while ((option = option_next(argc, argv, "+f:", options, NULL)) >= 0) {
		if (option != 'f')
			return 1;
		format = optarg;
	}
	if (strcmp(format, "table") != 0 && strcmp(format, "json") != 0) {
		cli_error("--format: want table or json");
		return 1;
	}
	if (optind == argc) {
		cli_error("want a container id; see --help");
		return 1;
	}
	if (container_open(&c, argv[optind]) < 0)
		return 1;
	int r = ps(&c, format, argv + optind + 1, &fault);

	container_close(&c);
	if (r < 0)
		cli_error(fault.text);
	return r < 0;
}
