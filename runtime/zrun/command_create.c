/* zrun create, start, run */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "create.h"
#include "option.h"
#include "state_json.h"
#include "terminal.h"

enum {
	OPTION_PID_FILE = 256,
	OPTION_CONSOLE,
	OPTION_PRESERVE,
	OPTION_KEEP,
	OPTION_NO_PIVOT,
	OPTION_NO_KEYRING,
	OPTION_PIDFD,
	OPTION_IGNORED
};

static const struct option options[] = {
	{ "bundle", required_argument, NULL, 'b' },
	{ "config", required_argument, NULL, 'f' },
	{ "detach", no_argument, NULL, 'd' },
	{ "pid-file", required_argument, NULL, OPTION_PID_FILE },
	{ "console-socket", required_argument, NULL, OPTION_CONSOLE },
	{ "preserve-fds", required_argument, NULL, OPTION_PRESERVE },
	{ "keep", no_argument, NULL, OPTION_KEEP },
	{ "no-pivot", no_argument, NULL, OPTION_NO_PIVOT },
	{ "no-new-keyring", no_argument, NULL, OPTION_NO_KEYRING },
	{ "pidfd-socket", required_argument, NULL, OPTION_PIDFD },
	{ "no-subreaper", no_argument, NULL, OPTION_IGNORED },
	{ NULL, 0, NULL, 0 },
};

struct flags {
	bool detach, keep;
};

static int read_options(int argc, char **argv, struct create *c,
			struct flags *flags)
{
	struct fault fault = { "" };
	int option, r;

	while ((option = option_next(argc, argv, "b:f:d", options, NULL)) >=
	       0) {
		switch (option) {
		case 'b':
			c->bundle = optarg;
			break;
		case 'f':
			c->config_file = optarg;
			break;
		case 'd':
			flags->detach = true;
			break;
		case OPTION_PID_FILE:
			c->pid_file = optarg;
			break;
		case OPTION_CONSOLE:
			c->console_socket = optarg;
			break;
		case OPTION_PRESERVE:
			r = option_preserve_fds(optarg, &c->preserve_fds,
						&fault);
			if (r < 0) {
				cli_error(fault.text);
				return r;
			}
			break;
		case OPTION_KEEP:
			flags->keep = true;
			break;
		case OPTION_NO_PIVOT:
			c->no_pivot = true;
			break;
		case OPTION_NO_KEYRING:
			c->no_new_keyring = true;
			break;
		case OPTION_PIDFD:
			c->pidfd_socket = optarg;
			break;
		case OPTION_IGNORED: /* what zrun never does anyway */
			break;
		default:
			return -EINVAL;
		}
	}
	r = cli_operand(argc, argv);
	c->id = argv[optind];
	return r;
}

static int absolute_paths(struct create *c)
{
	static char pid_file[4096], console[4096], root[4096], log[4096];
	static char config[4096], pidfd[4096];
	int r = path_absolute(&c->pid_file, pid_file, sizeof(pid_file));

	if (r == 0)
		r = path_absolute(&c->console_socket, console, sizeof(console));
	if (r == 0)
		r = path_absolute(&c->config_file, config, sizeof(config));
	if (r == 0)
		r = path_absolute(&c->pidfd_socket, pidfd, sizeof(pidfd));
	if (r == 0)
		r = path_absolute(&cli.root, root, sizeof(root));
	return r < 0 ? r : path_absolute(&cli.log, log, sizeof(log));
}

static int begin(int argc, char **argv, struct create *c, struct flags *flags)
{
	struct fault fault = { "" };
	int r = read_options(argc, argv, c, flags);

	if (r < 0)
		return r;
	r = absolute_paths(c);
	if (r < 0)
		return r;
	c->foreground = !c->wait_start && !flags->detach;
	if (c->foreground)
		foreground_block();
	r = create_container(c, &fault);
	if (r < 0)
		cli_error(fault.text);
	return r;
}

int command_create(int argc, char **argv)
{
	/* Large, and little of it is used. */
	static struct create c;
	struct flags flags = { 0 };

	c.wait_start = true;
	if (begin(argc, argv, &c, &flags) < 0)
		return 1;
	int r = launch_go(&c.launch);

	/* The child may live in this memory: nothing is freed. */
	if (r == 0)
		return 0;
	cli_error("the first process was killed");
	create_undo(&c);
	create_close(&c);
	return 1;
}

/* The socket answers with the failure of execve, or closes. */
static int start(struct container *c, struct fault *fault)
{
	struct child_message message;
	enum status status = state_status(-1, &c->state);

	/* One that is paused would not answer. */
	autoclose int sock = status == STATUS_PAUSED ? -EBUSY
						     : start_connect(c->dir);

	if (sock < 0) {
		return fault_set(fault, 0,
				 "cannot start a container that is "
				 "%s",
				 status_name(status));
	}
	if (send(sock, "s", 1, MSG_NOSIGNAL) != 1)
		return fault_set(fault, -errno, "start");
	ssize_t n = recv(sock, &message, sizeof(message), 0);

	if (n == (ssize_t)sizeof(message)) {
		struct op failed = { .code = message.code, .index = -1 };
		struct plan plan = { .op = &failed,
				     .n = message.code < OP_COUNT };

		message.op = 0;
		message.detail[sizeof(message.detail) - 1] = '\0';
		return launch_fault(&plan, &message, fault);
	}
	unlinkat(c->dir, STATE_START_SOCKET, 0);
	return 0;
}

/* Whose failure stops the container (runtime specification 1.3). */
static int poststart(struct container *c, struct fault *fault)
{
	struct runtime_config config;
	int r = container_config(c->dir, &config, fault);

	if (r < 0)
		return r;
	r = state_hooks(&config, RUNTIME_HOOK_POSTSTART, &c->state,
			STATUS_RUNNING, fault);
	runtime_config_free(&config);
	if (r < 0)
		container_kill(c);
	return r;
}

int command_start(int argc, char **argv)
{
	struct container c;
	struct fault fault = { "" };

	if (container_only(&c, argc, argv) < 0)
		return 1;
	int r = start(&c, &fault);

	if (r == 0)
		r = poststart(&c, &fault);
	container_close(&c);
	if (r < 0)
		cli_error(fault.text);
	return r < 0;
}

/* From ready to the program; returns the exit code. */
static int run(struct create *c, const struct flags *flags)
{
	struct fault fault = { "" };
	autoclose int master = -1;
	int r = 0;

	if (c->terminal >= 0)
		r = master = terminal_receive(c->terminal, &fault);
	if (r >= 0)
		r = create_execute(c, &fault);
	if (r == 0)
		r = state_hooks(&c->config, RUNTIME_HOOK_POSTSTART,
				&c->container.state, STATUS_RUNNING, &fault);
	if (r != 0) {
		cli_error(fault.text[0] ? fault.text
					: "the first process was killed");
		create_undo(c);
		return 1;
	}
	if (flags->detach)
		return 0;
	int status = foreground_wait(c->launch.pid, c->launch.pidfd, master);

	if (!flags->keep &&
	    container_destroy(&c->container, &c->config, &fault) < 0)
		cli_warning(fault.text);
	return status;
}

int command_run(int argc, char **argv)
{
	static struct create c;
	struct flags flags = { 0 };

	if (begin(argc, argv, &c, &flags) < 0)
		return 1;
	/* The process ends; the kernel frees all. */
	return run(&c, &flags);
}
