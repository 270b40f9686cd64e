/* zctl: what its commands share. See zctl.1.
 *
 * A command gets its options in struct ctl, asks the hub (ask.h), prints a
 * table (table.h) or the hub's JSON, and returns an exit code. Whoever finds a
 * fault says it once with log_error(object, "what; what to do") and returns the
 * code, which callers pass up. */
#ifndef CTL_CTL_H
#define CTL_CTL_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum ctl_exit {
	EXIT_DONE,
	EXIT_FAILED,
	EXIT_USAGE,
	EXIT_REFUSED = 100,
	EXIT_AGAIN = 111,
	EXIT_INTERRUPTED = 130, /* by Ctrl-C */
};

enum { CTL_LIST_MAX = 64 };
#define CTL_LINES_UNSAID UINT64_MAX

struct ctl_list {
	unsigned n;
	const char *item[CTL_LIST_MAX];
};

/* What the command line says. */
struct ctl {
	const struct ctl_command *command;
	int argc; /* what is neither command nor option */
	char **argv;
	const char *hub_file, *name, *place, *since_time;
	struct ctl_list nodes, labels, files, profiles, grants;
	uint64_t timeout_s, lines, since, uses, expires_s, wait_s;
	bool json, all, follow, dry_run, registry, help, version, has_wait;
};

struct ctl_command {
	const char *name; /* one word or two */
	int (*run)(struct ctl *ctl);
	const char *arguments; /* for the line of usage */
	const char *summary;
	uint32_t options; /* a bit for each enum ctl_option */
	uint8_t min, max; /* arguments */
	enum ctl_word {
		WORD_NONE,
		WORD_NODE,
		WORD_APPLICATION,
		WORD_APP,
		WORD_TOKEN,
		WORD_FILE,
		WORD_COMMAND,
		WORD_SHELL,
	} word; /* what completes the first argument */
};

/* ---- main.c ---- */

extern const struct ctl_command ctl_commands[];
extern const unsigned ctl_n_commands;

/* ---- commands ---- */

int command_nodes(struct ctl *ctl);
int command_ps(struct ctl *ctl);
int command_top(struct ctl *ctl);
int command_apply(struct ctl *ctl);
int command_rm(struct ctl *ctl);
int command_apps(struct ctl *ctl);
int command_devices(struct ctl *ctl);
int command_logs(struct ctl *ctl);
int command_wish(struct ctl *ctl);
int command_events(struct ctl *ctl);
int command_token_create(struct ctl *ctl);
int command_token_ls(struct ctl *ctl);
int command_token_rm(struct ctl *ctl);
int command_push(struct ctl *ctl);
int command_images(struct ctl *ctl);
int command_revoke(struct ctl *ctl);
int command_version(struct ctl *ctl);
int command_completion(struct ctl *ctl);
int command_help(struct ctl *ctl);

/* zctl __complete WORD...: prints what the last word may become, a line each.
 * It never fails and takes two seconds at most. */
int complete_words(int argc, char **argv);

/* ---- help.c ---- */

void help_all(FILE *to);
void help_command(const struct ctl_command *command, FILE *to);

#endif
