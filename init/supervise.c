/* init on an ordinary host: the same table, store and reaper below a
 * subreaper, without mounts and without a machine to switch off. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/path.h"
#include "base/span.h"
#include "node.h"
#include "power.h"
#include "reaper.h"
#include "server.h"
#include "spawn.h"
#include "store.h"
#include "svc.h"
#include "table.h"

enum { DIRS_MAX = 8, FILE_MAX = 64 << 10 };

static struct loop loop;
static struct svc_row rows[SVC_MAX];
static char programs[SVC_MAX][256];
static int n_rows;
static const char *dirs[DIRS_MAX];
static int n_dirs;

/* Finds `name` in the directories given, as $PATH would. */
static const char *program_find(const char *name, char *path, size_t size)
{
	const char *base = strrchr(name, '/');

	if (base && n_dirs == 0)
		return name;
	base = base ? base + 1 : name;
	for (int i = 0; i < n_dirs; i++) {
		snprintf(path, size, "%s/%s", dirs[i], base);
		if (access(path, X_OK) == 0)
			return path;
	}
	return NULL;
}

static void row_add(const struct svc_row *row, const char *program)
{
	rows[n_rows] = *row;
	rows[n_rows].argv[0] = program;
	n_rows++;
}

/* The daemons of a node that there are programs for. */
static void rows_of_table(void)
{
	static const enum table_row wanted[] = { ROW_ZLOG, ROW_ZRUN, ROW_ZNODE,
						 ROW_ZNET, ROW_ZAGENT };
	int place[ROW_COUNT];

	memset(place, -1, sizeof(place));
	for (size_t i = 0; i < sizeof(wanted) / sizeof(*wanted); i++) {
		const struct svc_row *row = &table_rows[wanted[i]];
		const char *program = program_find(
			row->argv[0], programs[n_rows], sizeof(programs[0]));

		if (!program)
			continue;
		place[wanted[i]] = n_rows;
		row_add(row, program);
	}
	for (int i = 0; i < n_rows; i++) {
		uint32_t needs = rows[i].needs;

		rows[i].needs = 0;
		for (int j = 0; j < ROW_COUNT; j++)
			if (needs & 1u << j && place[j] >= 0)
				rows[i].needs |= 1u << place[j];
	}
}

static int word_flag(const char *word)
{
	static const struct {
		const char *name;
		uint32_t flag;
	} flags[] = {
		{ "once", SVC_ONCE },
		{ "give-up", SVC_GIVE_UP },
		{ "silent", SVC_SILENT },
		{ "first-down", SVC_FIRST_DOWN },
		{ "uncounted", SVC_UNCOUNTED },
		{ "kmsg", SVC_KMSG },
	};

	for (size_t i = 0; i < sizeof(flags) / sizeof(*flags); i++)
		if (strcmp(flags[i].name, word) == 0)
			return (int)flags[i].flag;
	return 0;
}

static int needs_set(struct svc_row *row, char *names)
{
	char *rest = NULL;

	for (char *n = strtok_r(names, ",", &rest); n;
	     n = strtok_r(NULL, ",", &rest)) {
		int i = svc_row_find(rows, n_rows, n);

		if (i < 0) {
			log_error(n, "needed by %s, but not above it",
				  row->name);
			return -EINVAL;
		}
		row->needs |= 1u << i;
	}
	return 0;
}

static int word_apply(struct svc_row *row, char *word)
{
	int flag = word_flag(word);

	row->flags |= (uint32_t)flag;
	if (flag)
		return 0;
	if (strncmp(word, "uid=", 4) == 0)
		row->uid = (uid_t)strtoul(word + 4, NULL, 10);
	else if (strncmp(word, "mode=", 5) == 0)
		row->socket_mode = (mode_t)strtoul(word + 5, NULL, 8);
	else if (strncmp(word, "start-ms=", 9) == 0)
		row->start_ms = (uint32_t)strtoul(word + 9, NULL, 10);
	else if (strncmp(word, "files=", 6) == 0)
		row->open_files = (uint32_t)strtoul(word + 6, NULL, 10);
	else if (strncmp(word, "needs=", 6) == 0)
		return needs_set(row, word + 6);
	else
		return -EINVAL;
	return 0;
}

/* NAME [once] [silent] [uid=N] [mode=0600] [files=N] [needs=A,B] ... :
 * PROGRAM [ARG...]
 */
static int row_parse(char *line)
{
	struct svc_row row = { 0 };
	char *rest = NULL, *word = strtok_r(line, " \t", &rest);
	const char *program;
	int n = 0;

	row.name = word;
	while ((word = strtok_r(NULL, " \t", &rest)) && strcmp(word, ":") != 0)
		if (word_apply(&row, word) < 0) {
			log_error(row.name, "%s: not understood", word);
			return -EINVAL;
		}
	while (n < SVC_ARGS_MAX - 1 && (word = strtok_r(NULL, " \t", &rest)))
		row.argv[n++] = word;
	if (n == 0 || !id_valid(span_of(row.name)) || n_rows == SVC_MAX) {
		log_error(row.name,
			  "want NAME [OPTION...] : PROGRAM [ARG...], "
			  "at most %d",
			  SVC_MAX);
		return -EINVAL;
	}
	program = row.argv[0][0] == '/'
			  ? row.argv[0]
			  : program_find(row.argv[0], programs[n_rows],
					 sizeof(programs[0]));
	if (!program) {
		log_error(row.argv[0], "not in the directories given");
		return -ENOENT;
	}
	row_add(&row, program);
	return 0;
}

static int rows_of_file(const char *name)
{
	char *text = NULL, *rest = NULL; /* rows point into it for ever */
	size_t size;
	int err = file_read(AT_FDCWD, name, FILE_MAX, &text, &size);

	if (err < 0)
		log_error(name, "%s", strerror(-err));
	for (char *line = err < 0 ? NULL : strtok_r(text, "\n", &rest);
	     line && err == 0; line = strtok_r(NULL, "\n", &rest)) {
		line += strspn(line, " \t");
		if (*line && *line != '#')
			err = row_parse(line);
	}
	return err;
}

static void supervise_finish(enum init_verb how)
{
	(void)how;
	loop_stop(&loop, EXIT_SUCCESS);
}

static void supervise_ready(void)
{
	log_info(NULL, "ready");
}

static int cgroup_open(void)
{
	return open("/sys/fs/cgroup/service",
		    O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static int parts_start(void)
{
	struct power_setup power = {
		.loop = &loop,
		.containers_kill = -1,
		.finish = supervise_finish,
		.on_term = INIT_POWEROFF,
		.on_int = INIT_POWEROFF,
	};
	struct svc_setup services = {
		.loop = &loop,
		.rows = rows,
		.n = n_rows,
		.cgroup = cgroup_open(),
		.kmsg = STDERR_FILENO,
		.settled = supervise_ready,
		.stopped = power_services_down,
	};
	int err = loop_init(&loop);

	if (err == 0 && prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0)
		err = -errno;
	store_init(server_changed);
	if (err == 0)
		err = spawn_init();
	if (err == 0)
		err = reaper_init(&loop);
	if (err == 0)
		err = server_init(&loop, power_end);
	if (err == 0)
		err = power_init(&power);
	if (err == 0)
		err = svc_init(&services);
	return err;
}

/* What is kept for all services is more than a shell gives a program; each of
 * them gets its own limit. */
static void files_limit_raise(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}

static int usage(void)
{
	fprintf(stderr, "usage: init --supervise [--services FILE] DIR...\n");
	return 2;
}

int supervise_main(int argc, char **argv)
{
	const char *file = NULL;
	int err;

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--services") == 0 && i + 1 < argc)
			file = argv[++i];
		else if (argv[i][0] == '-' || n_dirs == DIRS_MAX)
			return usage();
		else
			dirs[n_dirs++] = argv[i];
	}
	if (!file && n_dirs == 0)
		return usage();
	umask(022);
	files_limit_raise();
	err = file ? rows_of_file(file) : 0;
	if (err < 0)
		return EXIT_FAILURE;
	if (!file)
		rows_of_table();
	mkdir(path_run(), 0755);
	err = parts_start();
	if (err < 0) {
		log_error("start", "%s", strerror(-err));
		return EXIT_FAILURE;
	}
	svc_begin();
	return loop_run(&loop);
}
