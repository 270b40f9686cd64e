/* The resident form, `zrun serve`: what its files share.
 *
 * Invariants:
 * 1. A container has state.json with a pid only after init was given its
 *    pidfd, and its program runs only when init has that. Of what was made
 *    ahead (ahead.h) init has it before there is a container, and kills it
 *    should serve die before it said which. So whatever has no pid when serve
 *    starts is half made, and is removed.
 * 2. The loop never waits for a container, a disk full of files to delete or a
 *    worker: such work is done in a child, watched by a descriptor.
 * 3. A connection has at most one request in hand; its next one is read after
 *    the reply. Who wants two things at once connects twice. */
#ifndef ZRUN_RESIDENT_H
#define ZRUN_RESIDENT_H

#include "image/store.h"
#include "init/init.h"
#include "launch.h"
#include "listening.h"
#include "serve.h"
#include "state.h"

#include "base/ipc.h"
#include "base/loop.h"
#include "base/peer.h"

enum {
	/* Of a node's applications, each while it is replaced. */
	RESIDENT_CONTAINERS_MAX = 2048,
	RESIDENT_CLIENTS_MAX = 64,
};

struct resident;

struct client {
	struct peer peer;
	uint64_t serial; /* tells a row from its next user */
	bool busy;	 /* a job answers later */
};

/* Who waits for the end of a job; the client may be gone by then. */
struct asker {
	struct client *client;
	uint64_t serial;
	uint32_t verb;
};

enum phase {
	PHASE_FREE,
	PHASE_STARTING,
	PHASE_RUNNING,
	PHASE_ENDED,
	PHASE_DELETING,
	PHASE_DOZING, /* on its way to sleep */
	PHASE_ASLEEP,
};

struct resident_container {
	enum phase phase;
	char id[ZRUN_ID_SIZE];
	pid_t pid;
	int pidfd;
	/* Its mount namespace, if serve began it: held until ZRUN_DELETE, so
	 * that a worker and not the end of the program waits for the mounts to
	 * be taken apart, and a writable layer to be synced. */
	int mounts;
	int tun; /* of one that has ended, for the same reason; or -1 */
	char cgroup[ZRUN_ID_SIZE]; /* name of the directory */
	uint32_t address;
	char digest[ZRUN_DIGEST_SIZE];
	char application[64];
	uint64_t capabilities; /* granted beyond the default */
	struct watch exit;     /* pidfd */
	/* While it sleeps: ZRUN_SLEEP's. */
	uint8_t note[INIT_NOTE_SIZE];
	int config; /* memfd, of ZRUN_START_KEEP; or -1 */
	struct listening listening;
	struct container_devices *devices; /* NULL: none was granted */
};

/* Slow work that a container waits for. */
struct container_work {
	struct resident_container *container;
	/* In the child: 0 or -errno, and the text of the reply. */
	int (*run)(struct container_work *work, char text[STORE_ERROR_SIZE]);
	/* In serve, with the reply that is about to be sent. */
	void (*finish)(struct container_work *work, struct zrun_reply *reply);
	struct timer timer; /* at its end the child is killed */
	pid_t pid;
};

/* A child that does slow work and reports once. */
struct job {
	struct watch report;
	int fd; /* -1: the row is free */
	struct asker asker;
	struct container_work *work; /* NULL: nobody else waits */
};

struct resident {
	struct loop loop;
	struct watch accept;
	int listener;
	int state;	 /* directory of the states */
	int containers;	 /* of the writable layers, /data/containers */
	int checkpoints; /* of those that sleep, /data/checkpoints */
	int grants;	 /* /data/grants, see serve_grants.c */
	int volumes;	 /* /data/volumes; -1 when there are none */
	int own_netns;
	bool is_btrfs;
	struct store store;
	struct cgroup cgroups; /* only root is used */
	int cgroup_dir;	       /* zooid in it: those of the containers */
	int links;	       /* ZRUN_CGROUP_LINKS */
	uint64_t serial;
	struct client client[RESIDENT_CLIENTS_MAX];
	struct resident_container container[RESIDENT_CONTAINERS_MAX];
	struct job job[RESIDENT_CLIENTS_MAX];
};

extern struct resident resident;

/* A request with what came along. */
struct asked {
	struct asker asker;
	const struct zrun_request *request;
	struct ipc_fds *fds;
};

/* Each answers at once, or keeps asked->asker and answers later; then it
 * returns SERVE_LATER. Else 0 or -errno, text in reply. */
enum { SERVE_LATER = 1 };
int serve_start(const struct asked *asked, struct zrun_reply *reply);
int serve_exec(const struct asked *asked, struct zrun_reply *reply);
int serve_kill(const struct asked *asked, struct zrun_reply *reply);
int serve_delete(const struct asked *asked, struct zrun_reply *reply);
int serve_unpack(const struct asked *asked, struct zrun_reply *reply);
int serve_forget(const struct asked *asked, struct zrun_reply *reply);
int serve_sockets(const struct asked *asked, struct zrun_reply *reply,
		  struct ipc_fds *fds);
int serve_freezer(const struct asked *asked, struct zrun_reply *reply,
		  struct ipc_fds *fds);
int serve_list(const struct asked *asked, struct zrun_reply *reply);
int serve_images(const struct asked *asked, struct zrun_reply *reply);
int serve_full(const struct asked *asked, struct zrun_reply *reply);
int serve_volume(const struct asked *asked, struct zrun_reply *reply);
int serve_volumes(const struct asked *asked, struct zrun_reply *reply);
int serve_snapshot(const struct asked *asked, struct zrun_reply *reply);
int serve_volume_remove(const struct asked *asked, struct zrun_reply *reply);
int serve_sleep(const struct asked *asked, struct zrun_reply *reply);
int serve_wake(const struct asked *asked, struct zrun_reply *reply);
int serve_grants(const struct asked *asked, struct zrun_reply *reply);
int serve_reclaim(const struct asked *asked, struct zrun_reply *reply);
int serve_listen(const struct asked *asked, struct zrun_reply *reply,
		 struct ipc_fds *fds);
int serve_checkpoint(const struct asked *asked, struct zrun_reply *reply);
int serve_restore(const struct asked *asked, struct zrun_reply *reply);
int serve_checkpoints(const struct asked *asked, struct zrun_reply *reply);
int serve_checkpoint_remove(const struct asked *asked,
			    struct zrun_reply *reply);

/* serve_job.c: does the work in a child and answers with what it returns; text
 * is the reply's. */
int serve_work(const struct asked *asked, struct zrun_reply *reply,
	       int (*work)(const struct zrun_request *request,
			   char text[STORE_ERROR_SIZE]));

/* The same for a container. The child holds what it has inherited until
 * finish() has returned, so that whoever closes the last descriptor of
 * something the kernel takes apart slowly is the child. */
int serve_container_work(const struct asked *asked, struct zrun_reply *reply,
			 struct container_work *work);

/* Removes a writable layer that no container has, in a child if it can. */
void serve_remove_layer(const char *id);
/* The same for a checkpoint. */
void serve_remove_checkpoint(const char *id);

/* Sends the late answer, with fds unless they are NULL, and lets the client's
 * next request be read. */
void serve_answer(const struct asker *asker, struct zrun_reply *reply,
		  const struct ipc_fds *fds);

/* serve_running.c */
/* The container that a request is about, if it runs; else NULL, with *error
 * and the reply's text set. */
struct resident_container *container_running(const struct asked *asked,
					     struct zrun_reply *reply,
					     int *error);
/* Opens the cgroup of the container. 0 or -errno; close it either way. */
int container_cgroup(const struct resident_container *c, struct cgroup *cg);

/* The number of a namespace of a process; 0 when there is none. */
ino_t container_namespace(pid_t pid, const char *kind);

/* serve_device.c: the devices that were granted follow the node's. */
/* Notes them, a line of the document each, in the state of a container that has
 * noted none; NULL: none. 0 or -errno, as the next. */
int devices_note(struct resident_container *c, int state_dir,
		 const char *lines);
/* Finds what was noted, before serve was killed maybe. */
int devices_find(struct resident_container *c, int state_dir);
/* Looks for them anew, if it has any and runs. */
void devices_follow(struct resident_container *c);
void devices_forget(struct resident_container *c);
/* And what was noted. */
void devices_drop(struct resident_container *c, int state_dir);
/* Does so for all whenever one comes or goes. 0 or -errno. */
int devices_watch(void);

/* serve_reclaim.c: takes back the swap that the worker of a serve that died
 * let it have. */
void container_swap_recover(const struct resident_container *c);

/* resident_container.c */
struct resident_container *container_find(const char *id);
/* The one after c that exists, the first one after NULL; NULL at the end. */
struct resident_container *container_next(struct resident_container *c);
struct resident_container *container_new(const char *id);
/* Watches the pidfd, which becomes the container's. */
int container_watch(struct resident_container *c, int pidfd);
/* Its first process has ended. */
void container_ended(struct resident_container *c);
/* There will be no checkpoint of it (any more). */
void container_unkeep(struct resident_container *c);
/* Init forgets what it holds of it. */
void container_drop(const char *id);
void container_free(struct resident_container *c);
/* The container is in cgroup `name`: others find it by the id. 0 or -errno. */
int container_cgroup_set(struct resident_container *c, const char *name);
/* Removes all that was made for a container: processes, cgroup, writable layer,
 * state. Blocks; for workers and the start of serve. */
int container_sweep(const struct resident_container *c,
		    char text[ZRUN_TEXT_SIZE]);
/* Finds again what an earlier serve left. */
void container_recover_all(void);
/* Makes the directories of the writable layer; 0 or -errno, as the others. */
int container_layer_make(const char *id);
int container_layer_rename(const char *from, const char *to);
int container_layer_remove(const char *id);

#endif
