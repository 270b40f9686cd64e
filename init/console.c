/* Who sits here has the machine in his hands, but a serial line also carries
 * noise: what is typed is a line of bounded length, looked up in a table, and
 * echoed back only with its control bytes replaced.
 *
 * Each verb runs in a child with a time-out, so that a disk that hangs takes
 * one answer with it and not the console. */
#define _GNU_SOURCE
#include "console.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/span.h"
#include "config.h"
#include "console_verbs.h"
#include "job.h"

#ifdef __GLIBC__
#include <crypt.h>
#endif

#define PROMPT "zooid> "

enum { LINE_SIZE = 256, ARGS_MAX = 4, VERB_MS = 20000, TRIES_MAX = 3 };

struct verb_call {
	const struct console_verb *verb;
	int argc;
	char **argv;
};

/* "tty0 ttyS0": the n-th word as a device; tty0 is whichever virtual terminal
 * is shown, a session needs one of its own. */
static int console_name(int n, char *name, size_t size)
{
	char text[256];
	struct span rest, word;
	autoclose int fd = open("/sys/class/tty/console/active",
				O_RDONLY | O_CLOEXEC);
	ssize_t used = fd < 0 ? -1 : fd_read(fd, text, sizeof(text));

	if (used <= 0)
		return -ENOENT;
	rest = (struct span){ text, (size_t)used };
	if (text[used - 1] == '\n')
		rest.size--;
	while (span_cut(&rest, ' ', &word)) {
		if (n-- > 0)
			continue;
		if (span_is(word, "tty0"))
			word = span_of("tty1");
		snprintf(name, size, "/dev/%.*s", (int)word.size, word.data);
		return 0;
	}
	return -ENOENT;
}

int console_count(void)
{
	char name[64];
	int n = 0;

	while (console_name(n, name, sizeof(name)) == 0)
		n++;
	return n;
}

static void terminal_set(bool echo)
{
	struct termios t;

	if (tcgetattr(STDIN_FILENO, &t) < 0)
		return;
	t.c_iflag = ICRNL | IXON;
	t.c_oflag = OPOST | ONLCR;
	t.c_cflag |= CREAD | CLOCAL;
	t.c_lflag = ISIG | ICANON | ECHOE | ECHOK | ECHOCTL | IEXTEN;
	if (echo)
		t.c_lflag |= ECHO;
	tcsetattr(STDIN_FILENO, TCSANOW, &t);
}

static int terminal_open(const char *name)
{
	int fd = open(name, O_RDWR | O_NOCTTY);

	if (fd < 0)
		return -errno;
	for (int i = 0; i <= 2; i++)
		dup2(fd, i);
	if (fd > 2)
		close(fd);
	setsid();
	ioctl(STDIN_FILENO, TIOCSCTTY, 1);
	terminal_set(true);
	return 0;
}

/* A line without its end. Of one that is too long the rest is thrown away.
 * False when the terminal is gone. */
static bool line_read(char *line, size_t size)
{
	size_t used = 0;

	for (;;) {
		char c;
		ssize_t n = read(STDIN_FILENO, &c, 1);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		if (c == '\n' || c == '\r')
			break;
		if (used + 1 < size)
			line[used++] = c;
	}
	line[used] = '\0';
	return true;
}

static void controls_replace(char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < ' ' || *text == 0x7f)
			*text = '?';
}

static int words_cut(char *line, char **argv)
{
	int argc = 0;
	char *rest = NULL;

	for (char *w = strtok_r(line, " \t", &rest); w && argc < ARGS_MAX;
	     w = strtok_r(NULL, " \t", &rest))
		argv[argc++] = w;
	return argc;
}

static int verb_run(void *arg)
{
	const struct verb_call *call = arg;

	signal(SIGINT, SIG_DFL);
	call->verb->run(call->argc, call->argv);
	fflush(stdout);
	return 0;
}

static void line_run(char *line)
{
	char *argv[ARGS_MAX];
	struct verb_call call = { .argv = argv };

	controls_replace(line);
	call.argc = words_cut(line, argv);
	if (call.argc == 0)
		return;
	call.verb = console_verb_find(argv[0]);
	if (call.verb)
		job_step(argv[0], verb_run, &call, VERB_MS);
	else
		printf("%s: not a command; try help\n", argv[0]);
}

static bool password_right(const char *given, const char *hash)
{
	const char *made = crypt(given, hash);
	unsigned char difference = 0;

	if (!made || strlen(made) != strlen(hash))
		return false;
	for (size_t i = 0; hash[i]; i++)
		difference |= (unsigned char)(made[i] ^ hash[i]);
	return difference == 0;
}

/* False when the terminal is gone or too many guesses were wrong: then init
 * starts us again, later each time. */
static bool unlock(const struct config *config)
{
	char line[LINE_SIZE];

	for (int i = 0; config->password[0]; i++) {
		bool read_ok, right;

		if (i == TRIES_MAX)
			return false;
		printf("password: ");
		fflush(stdout);
		terminal_set(false);
		read_ok = line_read(line, sizeof(line));
		terminal_set(true);
		printf("\n");
		right = read_ok && password_right(line, config->password);
		explicit_bzero(line, sizeof(line));
		if (!read_ok)
			return false;
		if (right)
			break;
		printf("wrong\n");
	}
	return true;
}

static void greet(const struct config *config)
{
	printf("\n");
	console_verb_find("version")->run(0, NULL);
	if (config->error[0])
		printf("%s\n", config->error);
	printf("Commands: help\n");
}

/* True when the user left, false when the terminal did. */
static bool session(const struct config *config)
{
	char line[LINE_SIZE];

	greet(config);
	for (;;) {
		printf(PROMPT);
		fflush(stdout);
		if (!line_read(line, sizeof(line)))
			return false;
		if (strcmp(line, "logout") == 0)
			return true;
		line_run(line);
	}
}

int console_main(int argc, char **argv)
{
	struct config config;
	char name[64];
	int err;

	if (argc != 2) {
		log_error("console", "want its number: 0, 1 ...");
		return 2;
	}
	if (console_name(atoi(argv[1]), name, sizeof(name)) < 0)
		return EXIT_SUCCESS;
	signal(SIGINT, SIG_IGN);
	signal(SIGQUIT, SIG_IGN);
	signal(SIGTSTP, SIG_IGN);
	unsetenv("ZOOID_SERVICE");
	log_open("init");
	err = terminal_open(name);
	if (err < 0) {
		log_error(name, "%s", strerror(-err));
		return EXIT_FAILURE;
	}
	config_load(&config);
	do
		if (!unlock(&config))
			return EXIT_FAILURE;
	while (session(&config));
	return EXIT_FAILURE;
}
