/* A container of serve that is being started: what its files share. */
#ifndef ZRUN_START_H
#define ZRUN_START_H

#include "join.h"
#include "pool.h"
#include "resident.h"
#include "store_later.h"
#include "store_link.h"

struct start {
	struct watch channel;
	struct timer timer;
	struct pool_wait wait;
	struct init_later later;
	struct container_work work; /* of one that wakes */
	struct pool_bud bud;	    /* taken early; its channel is -1: none */
	struct asker asker;
	struct resident_container *container;
	struct resident_container before; /* that, while it has no id */
	struct runtime_config config;
	struct launch launch;
	struct state state;
	struct cgroup cgroup;
	struct join join; /* namespaces of another container */
	uint8_t note[INIT_NOTE_SIZE];
	int config_fd;
	int state_dir;
	int root;      /* for a bud: detached mount */
	int output[2]; /* our ends, until init has them */
	int *mount_fd;
	const char *devices;		   /* of grants_devices() */
	char checkpoint[ZRUN_ID_SIZE + 1]; /* that it is restored from */
	bool keeps;			   /* its config, for a checkpoint */
	bool made;			   /* something of it is to be swept */
	bool has_layer;			   /* writable, of its own */
	bool ready;			   /* it has said so */
	bool is_held;  /* or will be, at the begin of its program (held.h) */
	bool is_bud;   /* to init, which keeps its process */
	bool naming;   /* init has been told the name */
	bool kept;     /* as a container's by init */
	bool released; /* told to go: the channel's end means execve */
	int error;     /* it has failed; told when init has answered */
	struct fault fault;
};

/* serve_start.c */
/* For container c; NULL: for one that has no id yet. NULL when there is no
 * memory. */
struct start *start_new(struct resident_container *c);
/* Does all up to where a bud can be ready, and no process of another kind: 0;
 * or -ENOTSUP, -EAGAIN or any other error with the fault set. */
int start_ahead(struct start *s, const struct asked *asked);
void start_free(struct start *s);
/* Gives init the process and its output. 0 or -errno with the fault set. */
int start_keep(struct start *s);
/* Kills what there is, removes it, and frees both it and the container. */
void start_undo(struct start *s);

/* start_make.c: what is made of a request before there is a process. Each 0 or
 * -errno with the fault set. */
int start_read(struct start *s, const struct asked *asked);
int start_make(struct start *s);
/* For one that slept: its writable layer is used again. */
int start_make_again(struct start *s);
int start_state(struct start *s);
/* The container's cgroup with its limits: a new one, named by its id. */
int start_cgroup(struct start *s);
/* That of a bud, whose directory s has: its limits; then that it is the
 * container's. */
int start_cgroup_limit(struct start *s);
int start_cgroup_name(struct start *s);

#endif
