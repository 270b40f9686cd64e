/* The commands of zhub. Each takes its own arguments, its name first, and
 * returns an exit code: 0 done, 1 failed, 2 usage, 111 try again. */
#ifndef HUB_COMMAND_H
#define HUB_COMMAND_H

#include <yyjson.h>

#include "hub.h"

enum { EXIT_DONE, EXIT_FAILED, EXIT_USAGE, EXIT_AGAIN = 111 };

int command_init(int argc, char **argv);
int command_serve(int argc, char **argv);
int command_backup(int argc, char **argv);
int command_restore(int argc, char **argv);
int command_token(int argc, char **argv);
int command_operator(int argc, char **argv);
int command_status(int argc, char **argv);

/* Prints how the command is used, to standard error; EXIT_USAGE. */
int command_usage(const char *command);

/* Asks the hub that serves in the folder. 0 and a reply, which the caller
 * frees; -ECONNREFUSED (none serves there), silently; else -errno after one log
 * line, which may be the hub's own. */
struct command_question {
	const char *method, *path, *body; /* JSON or NULL */
};
int command_ask(const char *folder, const struct command_question *question,
		yyjson_doc **reply);
/* Where no hub serves: changes its store, in a hub of which only config, ca and
 * store are there. change commits and returns 0, or -errno after one log line.
 * An exit code. */
int command_store(const char *folder, int (*change)(struct hub *hub, void *),
		  void *context);

/* Opens the hub's folder: --dir, else $ZOOID_HUB, else /var/lib/zooid-hub; a
 * restore that was cut short is gone on with. A descriptor or -errno after one
 * log line. */
int command_folder(const char *dir);
const char *command_folder_name(const char *dir);

/* Takes the folder for this process alone, until it ends, and settles what a
 * restore left; -EBUSY when another zhub has it. Logs other errors only. A
 * descriptor to be kept, or -errno. */
int command_lock(int dir);

/* The path of the store, for SQLite, which wants one. */
void command_store_path(const char *dir, char path[512]);

/* Makes DIR/NAME.json and the folder DIR/NAME.d (ca.crt, client.cert,
 * client.key, for other programs) for an operator, over what is there: a key,
 * and a certificate for zooid:///KIND/NAME until what operator_issue() said. 0
 * or -errno after one log line. */
struct operator_plan {
	const char *kind, *name;
	int64_t not_after;
};
int operator_make(int dir, const struct config *config, const struct ca *ca,
		  const struct operator_plan *plan);

#endif
