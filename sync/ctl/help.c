/* --help, made of the tables of commands and options. */
#include <string.h>

#include "ctl.h"
#include "option.h"

void help_all(FILE *to)
{
	fputs("usage: zctl COMMAND ...\n\n", to);
	for (unsigned i = 0; i < ctl_n_commands; i++) {
		const struct ctl_command *c = &ctl_commands[i];
		int n = fprintf(to, "  %s %s", c->name, c->arguments);

		fprintf(to, "%*s%s\n", n < 26 ? 26 - n : 1, "", c->summary);
	}
	fputs("\nThe credential is --hub-file FILE, else $ZOOID_OPERATOR, "
	      "else\n"
	      "$ZOOID_HUB/operator.json, else ~/.config/zooid/operator.json.\n"
	      "zctl COMMAND --help tells the options of a command; see "
	      "zctl(1).\n",
	      to);
}

static void option_line(const struct ctl_option_row *row, FILE *to)
{
	char text[64];
	int n = snprintf(text, sizeof(text), "  %c%c%s --%s%s%s",
			 row->letter ? '-' : ' ',
			 row->letter ? row->letter : ' ',
			 row->letter ? "," : " ", row->name,
			 !row->value		? ""
			 : row->value[0] == '[' ? ""
						: " ",
			 !row->value		? ""
			 : row->value[0] == '[' ? "[=TIME]"
						: row->value);

	fprintf(to, "%s%*s%s\n", text, n < 28 ? 28 - n : 1, "", row->help);
}

void help_command(const struct ctl_command *command, FILE *to)
{
	fprintf(to, "usage: zctl %s [OPTION...]%s%s\n%s\n\n", command->name,
		command->arguments[0] ? " " : "", command->arguments,
		command->summary);
	for (int i = 0; i < OPTIONS_N; i++)
		if (command->options & 1u << i && !(OPT_EVERYWHERE & 1u << i))
			option_line(&ctl_options[i], to);
	for (int i = 0; i < OPTIONS_N; i++)
		if (command->options & 1u << i && OPT_EVERYWHERE & 1u << i)
			option_line(&ctl_options[i], to);
}
