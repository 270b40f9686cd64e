#include "option.h"

#include <errno.h>
#include <getopt.h>
#include <string.h>

#include "base/log.h"
#include "base/span.h"

#define AT(member) (unsigned)offsetof(struct ctl, member)

const struct ctl_option_row ctl_options[OPTIONS_N] = {
	[OPT_HUB_FILE] = { "hub-file", 0, "FILE",
			   "the credential, operator.json", OPTION_TEXT,
			   AT(hub_file) },
	[OPT_OUTPUT] = { "output", 'o', "json", "JSON instead of a table",
			 OPTION_OUTPUT, AT(json) },
	[OPT_TIMEOUT] = { "timeout", 't', "TIME",
			  "how long an answer may take (30s)", OPTION_SECONDS,
			  AT(timeout_s) },
	[OPT_HELP] = { "help", 'h', NULL, "this text", OPTION_FLAG, AT(help) },
	[OPT_ALL] = { "all", 'a', NULL, "what does not run too, and more of it",
		      OPTION_FLAG, AT(all) },
	[OPT_FOLLOW] = { "follow", 'f', NULL, "go on until Ctrl-C", OPTION_FLAG,
			 AT(follow) },
	[OPT_LINES] = { "lines", 'n', "N", "begin with the last N lines (100)",
			OPTION_NUMBER, AT(lines) },
	[OPT_TAIL] = { "tail", 0, "N", "the same", OPTION_NUMBER, AT(lines) },
	[OPT_VERSION] = { "version", 0, NULL, "of zctl", OPTION_FLAG,
			  AT(version) },
	[OPT_SINCE] = { "since", 0, "REVISION", "only what came after it",
			OPTION_NUMBER, AT(since) },
	[OPT_SINCE_TIME] = { "since", 0, "TIME",
			     "only what is no older: 10m, 1h30m, or "
			     "2026-11-26T19:00:00Z",
			     OPTION_TEXT, AT(since_time) },
	[OPT_FILE] = { "file", 'f', "FILE",
		       "the Compose file; - is standard input; several are "
		       "laid over each other",
		       OPTION_LIST, AT(files) },
	[OPT_PROFILE] = { "profile", 0, "PROFILE",
			  "of services that run only with it; may be repeated",
			  OPTION_LIST, AT(profiles) },
	[OPT_GRANT] = { "grant", 0, "GRANT",
			"what services may have beyond the default, such as "
			"device:/dev/ttyUSB0; may be repeated",
			OPTION_LIST, AT(grants) },
	[OPT_APPLICATION] = { "name", 0, "NAME",
			      "of the application; else the file says it",
			      OPTION_TEXT, AT(name) },
	[OPT_IMAGE] = { "name", 0, "NAME[:TAG]",
			"of the image on the hub; else that of the file",
			OPTION_TEXT, AT(name) },
	[OPT_NODE] = { "node", 0, "NODE,...", "where to run; '*' is everywhere",
		       OPTION_LIST, AT(nodes) },
	[OPT_DRY_RUN] = { "dry-run", 0, NULL,
			  "print what would be sent; change nothing",
			  OPTION_FLAG, AT(dry_run) },
	[OPT_WAIT] = { "wait", 0, "[TIME]",
		       "until all run or one failed (120s); 0s: do not",
		       OPTION_WAIT, AT(wait_s) },
	[OPT_USES] = { "uses", 0, "N", "how many nodes may enrol (1)",
		       OPTION_NUMBER, AT(uses) },
	[OPT_EXPIRES] = { "expires", 0, "TIME", "how long it is good for (24h)",
			  OPTION_SECONDS, AT(expires_s) },
	[OPT_PLACE] = { "place", 0, "PLACE", "of the nodes, as tokyo/rack3",
			OPTION_TEXT, AT(place) },
	[OPT_LABEL] = { "label", 'l', "KEY=VALUE",
			"of the nodes; may be repeated", OPTION_LIST,
			AT(labels) },
	[OPT_REGISTRY] = { "registry", 0, NULL,
			   "a password for skopeo, podman and docker",
			   OPTION_FLAG, AT(registry) },
};

enum { NUMBER_MAX = 1000000000 };

static int refuse(const struct ctl_option_row *row, const char *want)
{
	char name[40];

	snprintf(name, sizeof(name), "--%s", row->name);
	log_error(name, "want %s", want);
	return -EINVAL;
}

static int value_read(struct ctl *ctl, const struct ctl_option_row *row,
		      const char *text)
{
	void *into = (char *)ctl + row->offset;
	struct ctl_list *list = into;
	const char **string = into;
	uint64_t *number = into;
	bool *flag = into;

	switch (row->kind) {
	case OPTION_FLAG:
		*flag = true;
		return 0;
	case OPTION_TEXT:
		*string = text;
		return text[0] ? 0 : refuse(row, "a value that is not empty");
	case OPTION_NUMBER:
		return span_u64(span_of(text), INT64_MAX, number) < 0
			       ? refuse(row, "a whole number")
			       : 0;
	case OPTION_SECONDS:
		return span_seconds(span_of(text), number) < 0 || !*number
			       ? refuse(row, "a time as 90s, 15m, 24h or 7d")
			       : 0;
	case OPTION_OUTPUT:
		*flag = !strcmp(text, "json");
		return *flag || !strcmp(text, "table")
			       ? 0
			       : refuse(row, "json or table");
	case OPTION_LIST:
		if (list->n == CTL_LIST_MAX)
			return refuse(row, "at most 64 of them");
		list->item[list->n++] = text;
		return 0;
	case OPTION_WAIT:
		ctl->has_wait = true;
		return text && span_seconds(span_of(text), number) < 0
			       ? refuse(row, "a time as 90s or 15m")
			       : 0;
	}
	return -EINVAL;
}

/* What getopt wants to know of the options in mask; val is the row plus 256,
 * letters are themselves. */
static void tables_make(uint32_t mask, bool first_only, struct option *options,
			char *letters)
{
	*letters++ = first_only ? '+' : ':';
	if (first_only)
		*letters++ = ':';
	for (int i = 0; i < OPTIONS_N; i++) {
		const struct ctl_option_row *row = &ctl_options[i];

		if (!(mask & 1u << i))
			continue;
		*options++ = (struct option){ row->name,
					      row->kind == OPTION_WAIT
						      ? optional_argument
					      : row->value ? required_argument
							   : no_argument,
					      NULL, 256 + i };
		if (row->letter) {
			*letters++ = row->letter;
			if (row->value)
				*letters++ = ':';
		}
	}
	*letters = '\0';
	*options = (struct option){ 0 };
}

static const struct ctl_option_row *row_of(uint32_t mask, int c)
{
	for (int i = 0; i < OPTIONS_N; i++)
		if (mask & 1u << i &&
		    (c == 256 + i || c == ctl_options[i].letter))
			return &ctl_options[i];
	return NULL;
}

static void complain(const struct ctl *ctl, int c, const char *word)
{
	char letter[3] = { '-', (char)optopt, '\0' };
	const char *name = optopt && optopt < 256 ? letter : word;

	const char *of = ctl->command ? ctl->command->name : "";

	log_error(name, "%s; see zctl %s%s--help",
		  c == ':' ? "a value is missing" : "no such option", of,
		  *of ? " " : "");
}

int options_read(struct ctl *ctl, uint32_t mask, bool first_only, int argc,
		 char **argv)
{
	struct option options[OPTIONS_N + 1];
	char letters[2 * OPTIONS_N + 3];
	int c;

	tables_make(mask, first_only, options, letters);
	opterr = 0;
	optind = 0; /* anew */
	while ((c = getopt_long(argc, argv, letters, options, NULL)) != -1) {
		const struct ctl_option_row *row = row_of(mask, c);

		if (c == '?' || c == ':' || !row) {
			complain(ctl, c, argv[optind - 1]);
			return -EINVAL;
		}
		if (value_read(ctl, row, optarg) < 0)
			return -EINVAL;
	}
	return optind;
}
