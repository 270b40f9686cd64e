/* Making the process that becomes a container, or joins one.
 *
 * launch_clone() makes the child, which runs its plan; messages from it are
 * read with launch_receive(), blocking or when the channel is readable. After
 * CHILD_READY the caller notes whatever must survive it and says
 * launch_go(); the channel's end then means that execve was reached.
 *
 * launch_early() saves both the wait for each other where there is nothing that
 * the parent must know first: the caller notes what it has to, and says
 * launch_go(), while the child is still at its plan. */
#ifndef ZRUN_LAUNCH_H
#define ZRUN_LAUNCH_H

#include "cgroup.h"
#include "child.h"

struct launch {
	const char *id;
	struct runtime_config *config;
	struct plan plan;
	const int *join_fd;  /* by namespace: joined before the child is made,
			      * which has a user namespace; NULL */
	int join_pid;	     /* pid namespace to join; -1 */
	int cgroup_dir;	     /* the child enters it first; -1 */
	int resctrl;	     /* group that it is put into; -1 */
	int exe;	     /* cli.exe, to be closed; -1 */
	bool parent_is_init; /* CLONE_PARENT: init reaps it (DESIGN §4) */
	bool exec;	     /* no new namespaces */
	bool privileged;     /* launch_init() was called by uid 0 */
	/* This process does nothing but wait for its child until that executes
	 * its program: the child may share its memory (launch_clone.c). */
	bool alone;

	pid_t pid;
	int pidfd;
	int channel;

	/* private */
	bool early;	    /* launch_early() */
	bool network_apart; /* launch_network() makes it */
	int network;	    /* once it is made; -1 */
	bool born_inside;   /* CLONE_INTO_CGROUP */
	bool heard;	    /* a message has come */

	struct child child; /* public; large at its end */
};

/* Descriptors at -1, child fields at their defaults. */
void launch_init(struct launch *l, const char *id,
		 struct runtime_config *config);
/* launch_clone.c. 0 or -errno with fault set. */
int launch_clone(struct launch *l, struct fault *fault);
/* Makes a plan that has been made do without CHILD_READY, and put what is
 * staged in state_dir (-1: nothing) in place by itself. False, and nothing has
 * changed, where the child has a memory of its own or the parent a part to do
 * (launch_ready()). */
bool launch_early(struct launch *l, int state_dir);
/* The same once more, if the child was born dead for no fault of its own.
 * -ESRCH without a fault if it was not. */
int launch_clone_again(struct launch *l, struct fault *fault);
/* Reads one message. Returns CHILD_READY; CHILD_HOOKS, which only a config with
 * hooks brings (launch_go() answers both); CHILD_AGAIN, after launch_early()
 * only, when it was born dead and another one waits for launch_go(); 0 when the
 * channel ended (after launch_go: execve was reached); -errno with fault set
 * when the child failed. Answers CHILD_NEEDS_MAPS by itself. */
int launch_receive(struct launch *l, struct fault *fault);
/* launch_network.c, all for launch_early(): where the network namespace is made
 * by the parent, has the plan take it over as late as it may. */
void launch_network_apart(struct launch *l);
/* After each clone: makes it, and gives it to the child. 0 or -errno with fault
 * set. */
int launch_network(struct launch *l, struct fault *fault);
/* In the child. 0 or -errno. */
int launch_network_take(int channel);
/* launch_ready.c: gives the waiting child what only the parent may; called by
 * launch_receive(). 0 or -errno with fault set. */
int launch_ready(struct launch *l, struct fault *fault);
/* Binds process pid (0: the caller) to processors. 0 or -errno. */
int launch_affinity(pid_t pid, const struct runtime_number_set *cpus);
int launch_go(struct launch *l);
/* Turns the child's failure message into the fault; returns its error. */
int launch_fault(const struct plan *plan, const struct child_message *message,
		 struct fault *fault);
/* Kills and, when it is our child, reaps it. */
void launch_kill(struct launch *l);
/* Closes and frees all, the config excepted. */
void launch_close(struct launch *l);

/* Capabilities that this process can hand on; new_user: into a user namespace
 * of the child's own. */
uint64_t launch_grantable(bool new_user);

#endif
