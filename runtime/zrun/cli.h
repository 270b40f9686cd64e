/* The one-shot command: what main.c parsed for all commands, and the table of
 * commands, one file command_*.c for each group. */
#ifndef ZRUN_CLI_H
#define ZRUN_CLI_H

#include <stdbool.h>

#include "launch.h"
#include "state.h"

#define CLI_ROOT    "/run/zrun"
#define OCI_VERSION "1.2.0" /* of what zrun prints */

struct cli {
	const char *self; /* argv[0] */
	const char *root; /* --root: directory of the states */
	const char *log;  /* --log: file that gets the messages too */
	bool log_json;
	bool no_cgroup;			 /* --cgroup-manager disabled */
	bool systemd_cgroup;		 /* --systemd-cgroup */
	const char *criu;		 /* --criu: NULL: from $PATH */
	const char *command, *container; /* for messages */
	int exe; /* the mount that exe_guard() goes on from, open; -1 */
};

extern struct cli cli;

/* command_table.c */
struct command {
	const char *name, *arguments, *summary, *options;
	int (*run)(int argc, char **argv);
	bool enters; /* makes a process that goes into a container */
};

extern const struct command commands[];
extern const size_t n_commands;

/* The path of a program that lies beside this one. */
void cli_beside(const char *program, char path[static 4096]);

/* Writes "zrun: container ID: text" to standard error and the log. */
void cli_error(const char *text);
void cli_warning(const char *text);
/* Prints the document and frees it. */
struct yyjson_mut_doc;
void cli_print_json(struct yyjson_mut_doc *doc);
/* Prints the command's usage and returns 1, as runc does for misuse. */
int cli_usage(const struct command *command);

int command_create(int argc, char **argv);
int command_run(int argc, char **argv);
int command_start(int argc, char **argv);
int command_exec(int argc, char **argv);
int command_state(int argc, char **argv);
int command_list(int argc, char **argv);
int command_kill(int argc, char **argv);
int command_delete(int argc, char **argv);
int command_pause(int argc, char **argv);
int command_resume(int argc, char **argv);
int command_spec(int argc, char **argv);
int command_features(int argc, char **argv);
int command_update(int argc, char **argv);
int command_ps(int argc, char **argv);
int command_checkpoint(int argc, char **argv);
int command_restore(int argc, char **argv);
int command_mounts(int argc, char **argv);
int command_events(int argc, char **argv);
int command_serve(int argc, char **argv);

/* A container opened by its id. */
struct container {
	int root, dir;
	struct state state;
	struct cgroup cgroup; /* dir -1 when it has none */
	bool damaged;	      /* state.json is: whether it runs is not known */
};

/* Wants one container id after the options. 0 or -EINVAL, reported. */
int cli_operand(int argc, char **argv);
/* 0 or -errno, reported. state.pid is 0 when the container is half made. */
int container_open(struct container *c, const char *id);
/* The same for who removes it whatever it is: where state.json is damaged,
 * c->damaged is set, and the cgroup is the one that it must have got. */
int container_open_damaged(struct container *c, const char *id);
/* The same for a command whose only argument is the id. */
int container_only(struct container *c, int argc, char **argv);
void container_close(struct container *c);
/* Parses the copy of its config; the caller frees it. 0 or -errno with fault
 * set. */
int container_config(int dir, struct runtime_config *config,
		     struct fault *fault);
/* Calls visit for each process of it. */
void container_processes(const struct container *c,
			 void (*visit)(pid_t pid, void *arg), void *arg);
/* Sends a signal to each. 0 or -errno. */
int container_signal(const struct container *c, int signal);
/* Kills its first process and waits until it has ended. */
void container_kill(const struct container *c);
/* Runs the poststop hooks, each whatever the one before did; a failure is only
 * a warning. */
void container_poststop(const struct state *state,
			const struct runtime_config *config);
/* Kills what is left of it, removes all that zrun made for it, and runs the
 * poststop hooks. */
int container_destroy(struct container *c, const struct runtime_config *config,
		      struct fault *fault);

/* Writes pid to a file by temp + rename. */
int pid_file_write(const char *path, pid_t pid, struct fault *fault);

/* Makes sure that no container can write to this program through /proc
 * (CVE-2019-5736); may execute it anew. cli.exe is then open. 0 or -errno with
 * fault set. */
int exe_guard(char **argv, struct fault *fault);

#endif
