/* Completion: the shells' scripts only call zctl __complete, so that all that
 * is known of commands and options is known in one place. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ask.h"
#include "base/log.h"
#include "option.h"
#include "show.h"

enum { ASK_S = 1 };

static const char bash_script[] =
	"# zctl completion for bash: source <(zctl completion bash)\n"
	"_zctl() {\n"
	"\tlocal IFS=$'\\n'\n"
	"\tCOMPREPLY=($(zctl __complete \"${COMP_WORDS[@]:1:COMP_CWORD}\" "
	"2>/dev/null))\n"
	"}\n"
	"complete -o default -F _zctl zctl\n";

static const char zsh_script[] =
	"#compdef zctl\n"
	"# zctl completion for zsh: source <(zctl completion zsh)\n"
	"_zctl() {\n"
	"\tlocal -a found\n"
	"\tfound=(\"${(@f)$(zctl __complete \"${(@)words[2,CURRENT]}\" "
	"2>/dev/null)}\")\n"
	"\tif [[ -n \"$found\" ]]; then\n"
	"\t\tcompadd -- \"${found[@]}\"\n"
	"\telse\n"
	"\t\t_files\n"
	"\tfi\n"
	"}\n"
	"compdef _zctl zctl\n";

int command_completion(struct ctl *ctl)
{
	const char *shell = ctl->argv[0];

	if (strcmp(shell, "bash") != 0 && strcmp(shell, "zsh") != 0) {
		log_error(shell, "no completion for it; want bash or zsh");
		return EXIT_USAGE;
	}
	fputs(!strcmp(shell, "bash") ? bash_script : zsh_script, stdout);
	return EXIT_DONE;
}

/* ---- candidates ---- */

/* A candidate is printed when it begins as the word does. `lead` is what stays
 * in front of it: "n1," of "n1,n2". */
struct word {
	const char *text; /* to be completed */
	char lead[256];
};

static void offer(const struct word *w, const char *candidate)
{
	/* A node's or image's name is a stranger's text. */
	for (const char *c = candidate; *c; c++)
		if (*c <= ' ' || *c > '~')
			return;
	if (!strncmp(candidate, w->text, strlen(w->text)))
		printf("%s%s\n", w->lead, candidate);
}

/* The members `key` of the array `list` at the hub's path; rows as NODE/NAME
 * too. */
static void offer_list(const struct ctl *ctl, const struct word *w,
		       const char *path, const char *list, const char *key)
{
	struct ctl quick = *ctl;
	struct ask ask = { .quiet = true };
	yyjson_doc *doc = NULL;
	yyjson_arr_iter iter;
	yyjson_val *array = NULL, *row;

	quick.timeout_s = ASK_S;
	if (!ask_open(&ask, &quick) &&
	    !ask_list(&ask, path, list, &doc, &array)) {
		yyjson_arr_iter_init(array, &iter);
		while ((row = yyjson_arr_iter_next(&iter))) {
			char both[160];

			offer(w, text_of(row, key));
			if (strcmp(list, "rows") != 0)
				continue;
			snprintf(both, sizeof(both), "%s/%s",
				 text_of(row, "node"), text_of(row, "name"));
			offer(w, both);
		}
	}
	yyjson_doc_free(doc);
	ask_close(&ask);
}

static void offer_commands(const struct word *w, const char *first)
{
	for (unsigned i = 0; i < ctl_n_commands; i++) {
		const char *name = ctl_commands[i].name;
		const char *second = strchr(name, ' ');
		char word[32];

		if (first) {
			if (second && !strncmp(name, first, strlen(first)) &&
			    name + strlen(first) == second)
				offer(w, second + 1);
			continue;
		}
		snprintf(word, sizeof(word), "%.*s",
			 (int)(second ? second - name : (int)strlen(name)),
			 name);
		/* A group once. */
		if (!second || !i ||
		    strncmp(ctl_commands[i - 1].name, word, strlen(word)) != 0)
			offer(w, word);
	}
}

static void offer_options(const struct word *w, uint32_t mask)
{
	for (int i = 0; i < OPTIONS_N; i++) {
		char name[40];

		snprintf(name, sizeof(name), "--%s", ctl_options[i].name);
		if (mask & 1u << i)
			offer(w, name);
	}
}

static void offer_word(const struct ctl *ctl, const struct word *w,
		       enum ctl_word word)
{
	switch (word) {
	case WORD_NODE:
		offer_list(ctl, w, "/v1/nodes", "nodes", "name");
		break;
	case WORD_APPLICATION:
		offer_list(ctl, w, "/v1/apps", "apps", "name");
		break;
	case WORD_APP:
		offer_list(ctl, w, "/v1/ps?fresh=0", "rows", "name");
		break;
	case WORD_TOKEN:
		offer_list(ctl, w, "/v1/tokens", "tokens", "id");
		break;
	case WORD_COMMAND:
		offer_commands(w, NULL);
		break;
	case WORD_SHELL:
		offer(w, "bash");
		offer(w, "zsh");
		break;
	case WORD_FILE:
	case WORD_NONE:
		break;
	}
}

/* ---- where the word stands ---- */

/* The option whose value the word is, or -1. */
static int option_before(uint32_t mask, const char *previous)
{
	for (int i = 0; i < OPTIONS_N; i++) {
		const struct ctl_option_row *row = &ctl_options[i];
		bool is_long = !strncmp(previous, "--", 2) &&
			       !strcmp(previous + 2, row->name);
		bool is_short = previous[0] == '-' && row->letter &&
				previous[1] == row->letter && !previous[2];

		if (mask & 1u << i && row->value && row->value[0] != '[' &&
		    (is_long || is_short))
			return i;
	}
	return -1;
}

static void offer_value(const struct ctl *ctl, struct word *w, int option)
{
	const char *comma = strrchr(w->text, ',');

	if (option == OPT_OUTPUT) {
		offer(w, "json");
		offer(w, "table");
	} else if (option == OPT_NODE) {
		if (comma && (size_t)(comma - w->text) < sizeof(w->lead) - 1) {
			snprintf(w->lead, sizeof(w->lead), "%.*s",
				 (int)(comma - w->text + 1), w->text);
			w->text = comma + 1;
		}
		offer_list(ctl, w, "/v1/nodes", "nodes", "name");
	}
}

static const struct ctl_command *command_named(const char *first,
					       const char *second)
{
	char both[64];

	snprintf(both, sizeof(both), "%s %s", first, second ? second : "");
	for (unsigned i = 0; i < ctl_n_commands; i++)
		if (!strcmp(ctl_commands[i].name, first) ||
		    !strcmp(ctl_commands[i].name, both))
			return &ctl_commands[i];
	return NULL;
}

/* The words that are neither options nor their values, of argv before the
 * last; at most 3. */
static unsigned plain_words(int argc, char **argv, uint32_t mask,
			    const char *plain[3])
{
	unsigned n = 0;

	for (int i = 0; i < argc - 1 && n < 3; i++)
		if (argv[i][0] != '-' &&
		    (i == 0 || option_before(mask, argv[i - 1]) < 0))
			plain[n++] = argv[i];
	return n;
}

int complete_words(int argc, char **argv)
{
	struct word w = { .text = argc ? argv[argc - 1] : "" };
	const struct ctl_command *command = NULL;
	const char *plain[3] = { NULL };
	struct ctl ctl = { 0 };
	unsigned n = plain_words(argc, argv, OPT_EVERYWHERE, plain), own;
	uint32_t mask;
	int option;

	/* Whoever types waits for no hub. */
	alarm(ASK_S + 1);
	if (n)
		command = command_named(plain[0], plain[1]);
	mask = command ? command->options : OPT_EVERYWHERE;
	n = plain_words(argc, argv, mask, plain);
	own = command && strchr(command->name, ' ') ? 2 : 1;
	for (int i = 0; i + 2 < argc; i++)
		if (!strcmp(argv[i], "--hub-file"))
			ctl.hub_file = argv[i + 1];
	option = argc > 1 ? option_before(mask, argv[argc - 2]) : -1;
	if (option >= 0)
		offer_value(&ctl, &w, option);
	else if (w.text[0] == '-')
		offer_options(&w, mask);
	else if (n == 0)
		offer_commands(&w, NULL);
	else if (!command && n == 1)
		offer_commands(&w, plain[0]);
	else if (command && n == own)
		offer_word(&ctl, &w, command->word);
	return EXIT_DONE;
}
