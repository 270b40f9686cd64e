/* What a console can do. */
#ifndef INIT_CONSOLE_VERBS_H
#define INIT_CONSOLE_VERBS_H

struct console_verb {
	const char *name;
	const char *help;
	/* Prints to stdout; argv[0] is the verb. */
	void (*run)(int argc, char **argv);
};

/* NULL when there is none of that name. */
const struct console_verb *console_verb_find(const char *name);

#endif
