/* Options: one table for all commands, from which they are read, helped with
 * and completed. */
#ifndef CTL_OPTION_H
#define CTL_OPTION_H

#include "ctl.h"

enum ctl_option {
	OPT_HUB_FILE,
	OPT_OUTPUT,
	OPT_TIMEOUT,
	OPT_HELP,
	OPT_ALL,
	OPT_FOLLOW,
	OPT_LINES,
	OPT_TAIL,
	OPT_VERSION,
	OPT_SINCE,
	OPT_SINCE_TIME,
	OPT_FILE,
	OPT_PROFILE,
	OPT_GRANT,
	OPT_APPLICATION,
	OPT_IMAGE,
	OPT_NODE,
	OPT_DRY_RUN,
	OPT_WAIT,
	OPT_USES,
	OPT_EXPIRES,
	OPT_PLACE,
	OPT_LABEL,
	OPT_REGISTRY,
	OPTIONS_N,
};

#define OPT(o) (1u << OPT_##o)
/* Those that every command takes. */
#define OPT_EVERYWHERE (OPT(HUB_FILE) | OPT(OUTPUT) | OPT(TIMEOUT) | OPT(HELP))

struct ctl_option_row {
	const char *name;
	char letter;	   /* 0: none */
	const char *value; /* what follows it, for help; NULL: nothing */
	const char *help;
	enum {
		OPTION_FLAG,
		OPTION_TEXT,
		OPTION_NUMBER,
		OPTION_SECONDS,
		OPTION_OUTPUT,
		OPTION_LIST,
		OPTION_WAIT,
	} kind;
	unsigned offset; /* in struct ctl */
};

extern const struct ctl_option_row ctl_options[OPTIONS_N];

/* Takes the options in `mask` out of argv, whose first word is skipped. With
 * first_only it ends at the first word that is none. Returns the position of
 * the first other word (all others follow it), or -EINVAL after one line. */
int options_read(struct ctl *ctl, uint32_t mask, bool first_only, int argc,
		 char **argv);

#endif
