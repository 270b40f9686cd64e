/* zrun: OCI runtime for Linux containers; the command line. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/output.h"
#include "base/stamp.h"
#include "cli.h"
#include "json_put.h"
#include "option.h"
#include "scope.h"
#include "version.h"

#ifndef ZRUN_VERSION
#define ZRUN_VERSION "0.1"
#endif

struct cli cli = { .exe = -1 };

void cli_beside(const char *program, char path[static 4096])
{
	const char *slash = strrchr(cli.self, '/');

	snprintf(path, 4096, "%.*s%s", slash ? (int)(slash - cli.self) + 1 : 0,
		 cli.self, program);
}

static char *json_line(const char *level, const char *text)
{
	yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *top = yyjson_mut_obj(doc);
	char stamp[STAMP_SIZE];

	stamp_make(time(NULL), stamp);
	yyjson_mut_doc_set_root(doc, top);
	json_put_text(doc, top, "level", level);
	json_put_text(doc, top, "msg", text);
	json_put_text(doc, top, "time", stamp);
	char *line = yyjson_mut_write(doc, YYJSON_WRITE_NEWLINE_AT_END, NULL);

	yyjson_mut_doc_free(doc);
	return line;
}

/* As logrus has it: time="..." level=error msg="...", with \" and \\. */
static char *text_line(const char *level, const char *text)
{
	char *line = malloc(2 * strlen(text) + 100);
	char stamp[STAMP_SIZE];

	if (!line)
		return NULL;
	stamp_make(time(NULL), stamp);
	int n = sprintf(line, "time=\"%s\" level=%s msg=\"", stamp, level);

	for (; *text; text++) {
		if (*text == '"' || *text == '\\')
			line[n++] = '\\';
		line[n++] = *text == '\n' ? ' ' : *text;
	}
	memcpy(line + n, "\"\n", 3);
	return line;
}

static int log_open_file(void)
{
	int fd = open(cli.log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);

	return fd < 0 ? -errno : fd;
}

/* Engines read the last line of the file that --log names. */
static void log_to_file(const char *level, const char *text)
{
	autoclose int fd = log_open_file();
	autofree char *line = cli.log_json ? json_line(level, text)
					   : text_line(level, text);

	if (fd >= 0 && line)
		fd_write(fd, line, strlen(line));
}

/* Without a file JSON goes there, as by runc and crun. */
static void log_to_stderr(const char *level, const char *text)
{
	autofree char *line = !cli.log && cli.log_json ? json_line(level, text)
						       : NULL;

	if (line)
		fd_write(2, line, strlen(line));
	else if (strcmp(level, "error") == 0)
		log_error(NULL, "%s", text);
	else
		log_warning(NULL, "%s", text);
}

static void message(const char *level, const char *text)
{
	char line[600];

	if (cli.container)
		snprintf(line, sizeof(line), "container %s: %s", cli.container,
			 text);
	else
		snprintf(line, sizeof(line), "%s", text);
	if (cli.log)
		log_to_file(level, line);
	log_to_stderr(level, line);
}

void cli_error(const char *text)
{
	message("error", text);
}

void cli_warning(const char *text)
{
	message("warning", text);
}

int cli_usage(const struct command *command)
{
	printf("usage: zrun %s %s%s\n\n%s.\n", command->name,
	       *command->options ? "[OPTIONS] " : "", command->arguments,
	       command->summary);
	if (*command->options)
		printf("\n%s", command->options);
	return 1;
}

static int usage(void)
{
	printf("usage: zrun [--root DIR] [--log FILE] [--log-format text|json] "
	       "COMMAND ...\n\nOCI runtime for Linux containers. "
	       "Commands:\n\n");
	for (size_t i = 0; i < n_commands; i++)
		printf("  %-10s %-18s %s\n", commands[i].name,
		       commands[i].arguments, commands[i].summary);
	printf("\n`zrun COMMAND --help` tells the options; see zrun(8).\n");
	return 0;
}

enum {
	OPTION_ROOT = 256,
	OPTION_LOG,
	OPTION_FORMAT,
	OPTION_SYSTEMD,
	OPTION_MANAGER,
	OPTION_ROOTLESS,
	OPTION_CRIU,
	OPTION_DEBUG
};

static const struct option options[] = {
	{ "root", required_argument, NULL, OPTION_ROOT },
	{ "log", required_argument, NULL, OPTION_LOG },
	{ "log-format", required_argument, NULL, OPTION_FORMAT },
	{ "systemd-cgroup", no_argument, NULL, OPTION_SYSTEMD },
	{ "cgroup-manager", required_argument, NULL, OPTION_MANAGER },
	{ "rootless", required_argument, NULL, OPTION_ROOTLESS },
	{ "criu", required_argument, NULL, OPTION_CRIU },
	{ "debug", no_argument, NULL, OPTION_DEBUG },
	{ "help", no_argument, NULL, 'h' },
	{ "version", no_argument, NULL, 'v' },
	{ NULL, 0, NULL, 0 },
};

static int use_systemd(const char *option)
{
	struct fault fault = { "" };
	int r = scope_usable(option, &fault);

	cli.systemd_cgroup = r == 0;
	if (r == 0)
		return 0;
	cli_error(fault.text);
	return -2;
}

static int read_manager(const char *name)
{
	if (strcmp(name, "systemd") == 0)
		return use_systemd("--cgroup-manager systemd");
	cli.no_cgroup = strcmp(name, "disabled") == 0;
	if (cli.no_cgroup || strcmp(name, "cgroupfs") == 0)
		return 0;
	cli_error("--cgroup-manager: want cgroupfs, systemd or disabled");
	return -2;
}

static bool is_rootless_word(const char *word)
{
	return strcmp(word, "true") == 0 || strcmp(word, "false") == 0 ||
	       strcmp(word, "auto") == 0;
}

/* A file that cannot be written is told before anything is done. It is not kept
 * open: its number may be one that --preserve-fds means. Who reads a pipe would
 * take the closing for its end. */
static int check_log(void)
{
	struct fault fault = { "" };
	const char *path = cli.log;
	struct stat st;

	if (!path || (stat(path, &st) == 0 && S_ISFIFO(st.st_mode)))
		return 0;
	autoclose int fd = log_open_file();

	if (fd >= 0)
		return 0;
	cli.log = NULL;
	fault_set(&fault, fd, "--log %.200s", path);
	cli_error(fault.text);
	return fd;
}

/* Returns the index of the command in argv, or -1 - exit code. */
static int read_options(int argc, char **argv)
{
	int option, r;

	while ((option = option_next(argc, argv, "+hvV", options, NULL)) >= 0) {
		switch (option) {
		case OPTION_ROOT:
			cli.root = optarg;
			break;
		case OPTION_LOG:
			/* crun's way to say it */
			cli.log = optarg +
				  (strncmp(optarg, "file:", 5) == 0 ? 5 : 0);
			break;
		case OPTION_FORMAT:
			cli.log_json = strcmp(optarg, "json") == 0;
			if (cli.log_json || strcmp(optarg, "text") == 0)
				break;
			cli_error("--log-format: want text or json");
			return -2;
		case OPTION_SYSTEMD:
			r = use_systemd("--systemd-cgroup");
			if (r < 0)
				return r;
			break;
		case OPTION_MANAGER:
			r = read_manager(optarg);
			if (r < 0)
				return r;
			break;
		case OPTION_ROOTLESS:
			if (is_rootless_word(optarg))
				break;
			cli_error("--rootless: want true, false or auto");
			return -2;
		case OPTION_CRIU:
			cli.criu = optarg;
			break;
		case OPTION_DEBUG:
			break;
		case 'h':
			usage();
			return -1;
		case 'v':
		case 'V':
			puts("zrun version " ZRUN_VERSION
			     "\ncommit: " ZOOID_VERSION "\nspec: " OCI_VERSION);
			return -1;
		default:
			return -2;
		}
	}
	return optind;
}

static bool wants_help(int argc, char **argv)
{
	/* Past the first operand the words belong to somebody else. */
	for (int i = 1; i < argc && argv[i][0] == '-'; i++) {
		if (strcmp(argv[i], "--help") == 0 ||
		    strcmp(argv[i], "-h") == 0)
			return true;
	}
	return false;
}

static int command_enter(const struct command *command, int argc, char **argv,
			 int at)
{
	struct fault fault = { "" };

	cli.command = command->name;
	if (command->enters && exe_guard(argv, &fault) < 0) {
		cli_error(fault.text);
		return 1;
	}
	optind = 0; /* start over on the command's own words */
	return command->run(argc - at, argv + at);
}

static const struct command *command_find(const char *name)
{
	char text[120];

	for (size_t i = 0; i < n_commands; i++) {
		if (strcmp(name, commands[i].name) == 0)
			return &commands[i];
	}
	snprintf(text, sizeof(text), "no command \"%.60s\"; see zrun --help",
		 name);
	cli_error(text);
	return NULL;
}

/* Somebody without privilege has a directory of his own. */
static const char *standard_root(void)
{
	static char path[4096];
	const char *runtime = getenv("XDG_RUNTIME_DIR");

	if (geteuid() == 0)
		return CLI_ROOT;
	if (runtime && *runtime)
		snprintf(path, sizeof(path), "%s/zrun", runtime);
	else
		snprintf(path, sizeof(path), "/run/user/%u/zrun", geteuid());
	return path;
}

/* What was printed and did not get out is a failure, whatever was done. */
static int output_end(int status)
{
	struct fault fault = { "" };
	int err = output_flush();

	if (err == 0)
		return status;
	fault_set(&fault, err, "standard output");
	cli.container = NULL;
	cli_error(fault.text);
	return 1;
}

static int command_line(int argc, char **argv)
{
	int at = read_options(argc, argv);

	if (at < 0)
		return -1 - at;
	if (at == argc) {
		usage();
		return 1;
	}
	if (check_log() < 0)
		return 1;
	if (!cli.root)
		cli.root = standard_root();
	bool help = strcmp(argv[at], "help") == 0;

	if (help && ++at == argc)
		return usage();
	const struct command *command = command_find(argv[at]);

	if (!command)
		return 1;
	if (!help && !wants_help(argc - at, argv + at))
		return command_enter(command, argc, argv, at);
	cli_usage(command);
	return 0;
}

int main(int argc, char **argv)
{
	log_open("zrun");
	cli.self = argv[0];
	return output_end(command_line(argc, argv));
}
