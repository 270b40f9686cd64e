/* Calling criu(8), whose command line is the contract: checkpoint and restore
 * give it what their own options say and what the container's config means for
 * it. */
#ifndef ZRUN_CRIU_H
#define ZRUN_CRIU_H

#include <getopt.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "fault.h"
#include "oci/runtime_config.h"

/* What both commands take. */
struct criu_options {
	const char *image_path, *work_path;
	const char *manage_cgroups_mode, *empty_ns;
	const char *log_level;	  /* NULL: 4, all */
	const char *network_lock; /* NULL: criu's own */
	bool given[8];		  /* flags of criu_flags, by index */
};

/* Long options for getopt_long(3): criu_flags come as their index, the others
 * as the values below. */
enum {
	CRIU_IMAGE_PATH = 300, /* past the short options */
	CRIU_WORK_PATH,
	CRIU_MANAGE_CGROUPS,
	CRIU_EMPTY_NS,
	CRIU_OWN, /* the command's own options start here */
};

#define CRIU_LONG_OPTIONS                                                   \
	{ "tcp-established", no_argument, NULL, 0 },                        \
		{ "ext-unix-sk", no_argument, NULL, 1 },                    \
		{ "shell-job", no_argument, NULL, 2 },                      \
		{ "file-locks", no_argument, NULL, 3 },                     \
		{ "auto-dedup", no_argument, NULL, 4 },                     \
		{ "lazy-pages", no_argument, NULL, 5 },                     \
		{ "image-path", required_argument, NULL, CRIU_IMAGE_PATH }, \
		{ "work-path", required_argument, NULL, CRIU_WORK_PATH },   \
		{ "manage-cgroups-mode", required_argument, NULL,           \
		  CRIU_MANAGE_CGROUPS },                                    \
	{                                                                   \
		"empty-ns", required_argument, NULL, CRIU_EMPTY_NS          \
	}

/* Takes one of them, with optarg. 0 or -EINVAL with fault set. */
int criu_option(struct criu_options *options, int option, struct fault *fault);

struct criu_command {
	char *word[512];
	size_t n;
	int failed; /* -errno of the first word that found no room */
};

/* Adds a word, printed. */
__attribute__((format(printf, 2, 3))) void criu_add(
	struct criu_command *command, const char *fmt, ...);
/* Begins "criu VERB" with what the options say. */
void criu_begin(struct criu_command *command, const char *verb,
		const struct criu_options *options);

/* Runs it; `enter` is called in the child before. 0 or -errno with fault set,
 * in which stands criu's own last error out of its log. -ECANCELED: it was
 * killed, and what it was about is neither as before nor done. */
int criu_run(struct criu_command *command, const struct criu_options *options,
	     int (*enter)(void *arg), void *arg, struct fault *fault);

/* The two halves of it: the process, or -errno with fault set; its end. */
pid_t criu_start(struct criu_command *command, int (*enter)(void *arg),
		 void *arg, struct fault *fault);
int criu_wait(const struct criu_command *command,
	      const struct criu_options *options, pid_t pid,
	      struct fault *fault);

#endif
