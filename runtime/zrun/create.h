/* Creating a container from a bundle, up to the point where its program can
 * be started. */
#ifndef ZRUN_CREATE_H
#define ZRUN_CREATE_H

#include "cli.h"
#include "join.h"
#include "mount_source.h"
#include "scope.h"

struct create {
	/* from the command line */
	const char *id, *bundle, *pid_file, *console_socket, *pidfd_socket;
	const char *config_file; /* NULL: config.json of the bundle */
	unsigned preserve_fds;
	bool wait_start; /* create: the program waits for `zrun start` */
	bool no_pivot, no_new_keyring;
	bool foreground; /* a terminal without --console-socket is ours */

	/* results, for as long as the command lives */
	bool poststop_due; /* the first hooks could have run */
	int terminal;	   /* receives the master side; -1 */
	struct mount_sources sources;
	struct join join;
	struct scope scope;
	struct container container;
	struct runtime_config config;
	struct launch launch;
};

/* 0 or -errno with fault set; nothing is left then. After 0 the child waits
 * for launch_go(), or has got it (launch.early). */
int create_container(struct create *c, struct fault *fault);
/* Its first part: the state directory and the cgroup are made. */
int create_begin(struct create *c, struct fault *fault);
/* The cgroup's rules for devices. 0 or -errno with fault set. */
int create_devices(const struct create *c, struct fault *fault);
/* Lets the child go and waits until it executes its program. As
 * launch_receive(). */
int create_execute(struct create *c, struct fault *fault);
/* Releases what the struct holds; the container stays. */
void create_close(struct create *c);
/* Kills the child and removes all that was made. */
void create_undo(struct create *c);

/* Tells what the config asked for and does not get. */
void create_warnings(const struct runtime_config *config, uint64_t grantable);

#endif
