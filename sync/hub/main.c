/* zhub: the hub of an organism of nodes. See zhub.8. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/output.h"
#include "command.h"
#include "restore.h"
#include "version.h"
#include "wire/cert.h"

static const struct {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *help;
} commands[] = {
	{ "init", command_init,
	  "[--name NAME] [--listen ADDRESS:PORT] "
	  "[--upstream HOST[,default]] ... --address HOST[:PORT] ..." },
	{ "serve", command_serve, "[--listen ADDRESS:PORT]" },
	{ "token", command_token,
	  "[--uses N] [--expires 24h] [--place P] "
	  "[--label K=V] [--registry]" },
	{ "operator", command_operator, "[--viewer | --revoke] NAME" },
	{ "status", command_status, "[-o json]" },
	{ "backup", command_backup, "[--no-images] FILE" },
	{ "restore", command_restore, "FILE" },
};

enum { COMMANDS = sizeof(commands) / sizeof(*commands) };

static void help(FILE *to)
{
	fputs("usage: zhub COMMAND [--dir DIR] ...\n\n", to);
	for (size_t i = 0; i < COMMANDS; i++)
		fprintf(to, "  %-9s %s\n", commands[i].name, commands[i].help);
	fputs("\nDIR is $ZOOID_HUB or /var/lib/zooid-hub unless given. "
	      "See zhub(8).\n",
	      to);
}

int command_usage(const char *command)
{
	for (size_t i = 0; i < COMMANDS; i++)
		if (!strcmp(commands[i].name, command))
			fprintf(stderr, "usage: zhub %s [--dir DIR] %s\n",
				command, commands[i].help);
	return EXIT_USAGE;
}

/* zhub COMMAND --help */
static bool wants_help(int argc, char **argv)
{
	for (int i = 2; i < argc; i++)
		if (!strcmp(argv[i], "--help"))
			return true;
	return false;
}

const char *command_folder_name(const char *dir)
{
	const char *env = getenv("ZOOID_HUB");

	return dir ? dir : env && env[0] ? env : "/var/lib/zooid-hub";
}

/* Unless whoever has the lock is at it. */
static int restore_go_on(int dir)
{
	autoclose int lock = command_lock(dir);

	if (lock == -EBUSY)
		log_error(NULL, "a restore is under way in the folder: try "
				"again");
	return lock < 0 ? lock : 0;
}

int command_folder(const char *dir)
{
	const char *name = command_folder_name(dir);
	autoclose int fd = -1;
	int err;

	if (!name[0]) {
		log_error(NULL, "--dir: want a folder");
		return -EINVAL;
	}
	fd = open(name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0) {
		err = -errno;
		log_error(name, "%s%s", strerror(-err),
			  err == -ENOENT ? ": make it with zhub init" : "");
		return err;
	}
	err = restore_is_due(fd) ? restore_go_on(fd) : 0;
	return err < 0 ? err : fd_take(&fd);
}

int command_lock(int dir)
{
	autoclose int fd = openat(dir, "lock", O_RDWR | O_CREAT | O_CLOEXEC,
				  0600);
	int err = fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0 ? -errno : 0;

	if (err == -EWOULDBLOCK)
		return -EBUSY;
	if (err < 0)
		log_error("lock", "%s", strerror(-err));
	else
		err = restore_settle(dir);
	return err < 0 ? err : fd_take(&fd);
}

void command_store_path(const char *dir, char path[512])
{
	snprintf(path, 512, "%s/store.db", command_folder_name(dir));
}

static int command_run(int argc, char **argv)
{
	if (argc > 1 &&
	    (!strcmp(argv[1], "--help") || !strcmp(argv[1], "help"))) {
		help(stdout);
		return EXIT_DONE;
	}
	if (argc > 1 &&
	    (!strcmp(argv[1], "--version") || !strcmp(argv[1], "version"))) {
		printf("zhub %s\n", ZOOID_VERSION);
		return EXIT_DONE;
	}
	for (size_t i = 0; argc > 1 && i < COMMANDS; i++) {
		if (strcmp(argv[1], commands[i].name))
			continue;
		if (wants_help(argc, argv)) {
			printf("usage: zhub %s [--dir DIR] %s\n",
			       commands[i].name, commands[i].help);
			return EXIT_DONE;
		}
		if (wire_init() < 0) {
			log_error(NULL, "no random numbers");
			return EXIT_FAILED;
		}
		return commands[i].run(argc - 1, argv + 1);
	}
	help(stderr);
	return EXIT_USAGE;
}

int main(int argc, char **argv)
{
	int code, err;

	log_open("zhub");
	code = command_run(argc, argv);
	err = output_flush();
	if (err == 0 || code != EXIT_DONE)
		return code;
	log_error("standard output", "%s", strerror(-err));
	return EXIT_FAILED;
}
