#define _GNU_SOURCE
#include "criu.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "cli.h"

#define LOG_SIZE_MAX (16 << 20)

static const char *const flags[] = {
	"--tcp-established", "--ext-unix-sk", "--shell-job",
	"--file-locks",	     "--auto-dedup",  "--lazy-pages",
};

#define N_FLAGS (sizeof(flags) / sizeof(flags[0]))

int criu_option(struct criu_options *options, int option, struct fault *fault)
{
	static const char *const modes[] = { "soft", "full", "strict",
					     "ignore" };

	if (option < (int)N_FLAGS) {
		options->given[option] = true;
		return 0;
	}
	switch (option) {
	case CRIU_IMAGE_PATH:
		options->image_path = optarg;
		return 0;
	case CRIU_WORK_PATH:
		options->work_path = optarg;
		return 0;
	case CRIU_EMPTY_NS:
		options->empty_ns = optarg;
		if (strcmp(optarg, "network") == 0)
			return 0;
		return fault_set(fault, 0, "--empty-ns %.20s: want network",
				 optarg);
	}
	options->manage_cgroups_mode = optarg;
	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		if (strcmp(optarg, modes[i]) == 0)
			return 0;
	}
	return fault_set(fault, 0,
			 "--manage-cgroups-mode %.20s: want soft, full, "
			 "strict or ignore",
			 optarg);
}

void criu_add(struct criu_command *command, const char *fmt, ...)
{
	size_t room = sizeof(command->word) / sizeof(command->word[0]) - 1;
	va_list args;

	va_start(args, fmt);
	if (command->n == room)
		command->failed = -E2BIG;
	else if (vasprintf(&command->word[command->n], fmt, args) < 0)
		command->failed = -ENOMEM;
	else
		command->n++;
	va_end(args);
}

void criu_begin(struct criu_command *command, const char *verb,
		const struct criu_options *options)
{
	criu_add(command, "%s", cli.criu ? cli.criu : "criu");
	criu_add(command, "%s", verb);
	criu_add(command, "--images-dir");
	criu_add(command, "%s", options->image_path);
	criu_add(command, "--work-dir");
	criu_add(command, "%s", options->work_path);
	criu_add(command, "--log-file");
	criu_add(command, "%s.log", verb);
	criu_add(command, "-v%s",
		 options->log_level ? options->log_level : "4");
	criu_add(command, "--manage-cgroups=%s",
		 options->manage_cgroups_mode ? options->manage_cgroups_mode
					      : "soft");
	if (options->network_lock) {
		criu_add(command, "--network-lock");
		criu_add(command, "%s", options->network_lock);
	}
	if (options->empty_ns)
		criu_add(command, "--empty-ns=net");
	for (size_t i = 0; i < N_FLAGS; i++) {
		if (options->given[i])
			criu_add(command, "%s", flags[i]);
	}
}

/* "(00.02) Error (criu/kerndat.c:1615): text": the first of them tells the
 * cause, the later ones the consequences; that it may not have more descriptors
 * than it needs is none. */
static void log_error_line(const struct criu_options *options, const char *verb,
			   char *line, size_t size)
{
	autoclose int dir = open(options->work_path,
				 O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	autofree char *text = NULL;
	char name[32];
	size_t n;

	snprintf(name, sizeof(name), "%s.log", verb);
	*line = '\0';
	if (dir < 0 || file_read(dir, name, LOG_SIZE_MAX, &text, &n) < 0)
		return;
	char *at = strstr(text, "Error (");

	while (at && memmem(at, strcspn(at, "\n"), "rlimit: ", 8))
		at = strstr(at + 1, "Error (");
	if (at)
		snprintf(line, size, ": %.*s", (int)strcspn(at, "\n"), at);
}

pid_t criu_start(struct criu_command *command, int (*enter)(void *arg),
		 void *arg, struct fault *fault)
{
	const char *criu = command->word[0], *verb = command->word[1];

	if (command->failed)
		return fault_set(fault, command->failed, "%s %s", criu, verb);
	pid_t parent = getpid(), pid = fork();

	if (pid == 0) {
		/* Who waits for it sees to it that it ends. */
		prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
		if (getppid() != parent)
			_exit(126);
		if (enter && enter(arg) < 0)
			_exit(126);
		execvp(criu, command->word);
		_exit(errno == ENOENT ? 127 : 126);
	}
	return pid < 0 ? fault_set(fault, -errno, "%s", criu) : pid;
}

int criu_wait(const struct criu_command *command,
	      const struct criu_options *options, pid_t pid,
	      struct fault *fault)
{
	const char *criu = command->word[0], *verb = command->word[1];
	int status = 0;
	char line[160];

	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (status == 0)
		return 0;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
		return fault_set(fault, 0,
				 "%s: there is no such program; install criu "
				 "or name it with --criu",
				 criu);
	if (WIFSIGNALED(status))
		return fault_set(fault, -ECANCELED, "%s %s was killed", criu,
				 verb);
	log_error_line(options, verb, line, sizeof(line));
	return fault_set(fault, 0, "criu %s failed%s; see %.100s/%s.log", verb,
			 line, options->work_path, verb);
}

int criu_run(struct criu_command *command, const struct criu_options *options,
	     int (*enter)(void *arg), void *arg, struct fault *fault)
{
	pid_t pid = criu_start(command, enter, arg, fault);

	return pid < 0 ? pid : criu_wait(command, options, pid, fault);
}
