/* zctl: the operator's command. See zctl.1. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/output.h"
#include "ctl.h"
#include "option.h"
#include "wire/cert.h"

#define LIST OPT_EVERYWHERE

const struct ctl_command ctl_commands[] = {
	{ "nodes", command_nodes, "", "the nodes of the hub", LIST, 0, 0,
	  WORD_NONE },
	{ "ps", command_ps, "[NODE]", "what runs where", LIST | OPT(ALL), 0, 1,
	  WORD_NODE },
	{ "top", command_top, "[NODE]", "the same, kept fresh", LIST | OPT(ALL),
	  0, 1, WORD_NODE },
	{ "devices", command_devices, "NODE",
	  "what of a node can be granted by its name", LIST, 1, 1, WORD_NODE },
	{ "apply", command_apply, "", "run what a Compose file says",
	  LIST | OPT(FILE) | OPT(PROFILE) | OPT(GRANT) | OPT(APPLICATION) |
		  OPT(NODE) | OPT(DRY_RUN) | OPT(WAIT),
	  0, 0, WORD_NONE },
	{ "apps", command_apps, "[APPLICATION]", "what was applied", LIST, 0, 1,
	  WORD_APPLICATION },
	{ "rm", command_rm, "APPLICATION", "end and forget an application",
	  LIST, 1, 1, WORD_APPLICATION },
	{ "logs", command_logs, "[NODE/]APP", "what an app wrote",
	  LIST | OPT(FOLLOW) | OPT(LINES) | OPT(TAIL) | OPT(SINCE_TIME), 1, 1,
	  WORD_APP },
	{ "freeze", command_wish, "[NODE/]APP", "freeze an app for now", LIST,
	  1, 1, WORD_APP },
	{ "thaw", command_wish, "[NODE/]APP", "let a frozen app run", LIST, 1,
	  1, WORD_APP },
	{ "sleep", command_wish, "[NODE/]APP", "put an app on disk for now",
	  LIST, 1, 1, WORD_APP },
	{ "wake", command_wish, "[NODE/]APP", "let one that sleeps run", LIST,
	  1, 1, WORD_APP },
	{ "events", command_events, "", "what happened",
	  LIST | OPT(FOLLOW) | OPT(SINCE), 0, 0, WORD_NONE },
	{ "push", command_push, "IMAGE", "send an image to the hub",
	  LIST | OPT(IMAGE), 1, 1, WORD_FILE },
	{ "images", command_images, "", "the images of the hub", LIST, 0, 0,
	  WORD_NONE },
	{ "token create", command_token_create, "", "let nodes enrol",
	  LIST | OPT(USES) | OPT(EXPIRES) | OPT(PLACE) | OPT(LABEL) |
		  OPT(REGISTRY),
	  0, 0, WORD_NONE },
	{ "token ls", command_token_ls, "", "tokens that are still good", LIST,
	  0, 0, WORD_NONE },
	{ "token rm", command_token_rm, "ID", "forget a token", LIST, 1, 1,
	  WORD_TOKEN },
	{ "revoke", command_revoke, "NODE", "shut a node out for ever", LIST, 1,
	  1, WORD_NODE },
	{ "version", command_version, "", "of zctl", LIST, 0, 0, WORD_NONE },
	{ "completion", command_completion, "bash|zsh",
	  "a script for the shell", LIST, 1, 1, WORD_SHELL },
	{ "help", command_help, "[COMMAND]", "of one command, or this", LIST, 0,
	  2, WORD_COMMAND },
};

const unsigned ctl_n_commands = sizeof(ctl_commands) / sizeof(*ctl_commands);

static const char *const not_built[] = {
	"tree",		  "run", "diff",	 "kill",    "mv",
	"exec",		  "cp",	 "port-forward", "volumes", "update",
	"support-bundle",
};

/* How many words of argv are the command's name; 0: it is another one. */
static int name_matches(const char *name, int argc, char **argv)
{
	const char *second = strchr(name, ' ');
	size_t n = second ? (size_t)(second - name) : strlen(name);

	if (strlen(argv[0]) != n || memcmp(argv[0], name, n))
		return 0;
	if (!second)
		return 1;
	return argc > 1 && !strcmp(argv[1], second + 1) ? 2 : 0;
}

/* The command that argv begins with, or NULL; *n is how many words it is. */
static const struct ctl_command *command_find(int argc, char **argv, int *n)
{
	for (unsigned i = 0; i < ctl_n_commands; i++) {
		*n = name_matches(ctl_commands[i].name, argc, argv);
		if (*n)
			return &ctl_commands[i];
	}
	return NULL;
}

static bool is_group(const char *word)
{
	size_t n = strlen(word);

	for (unsigned i = 0; i < ctl_n_commands; i++)
		if (!strncmp(ctl_commands[i].name, word, n) &&
		    ctl_commands[i].name[n] == ' ')
			return true;
	return false;
}

static int no_command(const char *word)
{
	for (size_t i = 0; i < sizeof(not_built) / sizeof(*not_built); i++)
		if (!strcmp(word, not_built[i])) {
			log_error(word, "not built yet");
			return EXIT_USAGE;
		}
	if (is_group(word))
		log_error(word, "create, ls or rm what? See zctl help %s",
			  word);
	else
		log_error(word, "no such command; see zctl help");
	return EXIT_USAGE;
}

int command_help(struct ctl *ctl)
{
	bool found = false;
	int n;

	if (ctl->argc == 0) {
		help_all(stdout);
		return EXIT_DONE;
	}
	for (unsigned i = 0; i < ctl_n_commands; i++) {
		const char *name = ctl_commands[i].name;
		size_t size = strlen(ctl->argv[0]);

		n = name_matches(name, ctl->argc, ctl->argv);
		if (!n && (ctl->argc > 1 || strncmp(name, ctl->argv[0], size) ||
			   name[size] != ' '))
			continue;
		if (found)
			putchar('\n');
		help_command(&ctl_commands[i], stdout);
		found = true;
	}
	return found ? EXIT_DONE : no_command(ctl->argv[0]);
}

static int usage(const struct ctl_command *command)
{
	log_error(command->name, "usage: zctl %s%s%s; see zctl %s --help",
		  command->name, command->arguments[0] ? " " : "",
		  command->arguments, command->name);
	return EXIT_USAGE;
}

static int command_run(struct ctl *ctl, int n, int argc, char **argv)
{
	/* Its name's last word is what getopt skips. */
	int first = options_read(ctl, ctl->command->options, false,
				 argc - (n - 1), argv + (n - 1));

	if (first < 0)
		return EXIT_USAGE;
	ctl->argc = argc - (n - 1) - first;
	ctl->argv = argv + (n - 1) + first;
	if (ctl->help) {
		help_command(ctl->command, stdout);
		return EXIT_DONE;
	}
	if (ctl->argc < ctl->command->min || ctl->argc > ctl->command->max)
		return usage(ctl->command);
	if (wire_init() < 0) {
		log_error(NULL, "no random numbers");
		return EXIT_FAILED;
	}
	return ctl->command->run(ctl);
}

static int dispatch(struct ctl *ctl, int argc, char **argv)
{
	int n, first = options_read(ctl, OPT_EVERYWHERE | OPT(VERSION), true,
				    argc, argv);

	if (first < 0)
		return EXIT_USAGE;
	if (ctl->help) {
		help_all(stdout);
		return EXIT_DONE;
	}
	if (ctl->version)
		return command_version(ctl);
	if (first >= argc) {
		help_all(stderr);
		return EXIT_USAGE;
	}
	argc -= first;
	argv += first;
	if (!strcmp(argv[0], "__complete"))
		return complete_words(argc - 1, argv + 1);
	ctl->command = command_find(argc, argv, &n);
	if (!ctl->command && is_group(argv[0]) && argc > 1 &&
	    (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h"))) {
		ctl->argc = 1;
		ctl->argv = argv;
		return command_help(ctl);
	}
	return ctl->command ? command_run(ctl, n, argc, argv)
			    : no_command(argv[0]);
}

/* What was closed is no place for a socket: whatever is printed would go
 * there. To one that is only read nothing can be written, which is told. */
static void descriptors_hold(void)
{
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		if (fcntl(fd, F_GETFD) < 0)
			(void)open("/dev/null",
				   fd == STDERR_FILENO ? O_WRONLY : O_RDONLY);
}

/* Who reads no more has seen what he wanted. */
static int output_check(int code)
{
	int err = output_flush();

	if (err == 0 || code != EXIT_DONE)
		return code;
	if (err != -EPIPE)
		log_error("standard output", "%s", strerror(-err));
	return EXIT_FAILED;
}

int main(int argc, char **argv)
{
	struct ctl ctl = { .timeout_s = 30,
			   .lines = CTL_LINES_UNSAID,
			   .uses = 1,
			   .expires_s = 24 * 3600,
			   .wait_s = 120,
			   .place = "" };
	int code;

	log_open("zctl");
	descriptors_hold();
	code = dispatch(&ctl, argc, argv);
	return output_check(code);
}
