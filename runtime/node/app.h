/* One application on its way from desired to actual; it is wanted by node.json
 * or by the hub's document.
 *
 * Everything here is level-triggered: events and replies only change facts
 * (is the process alive, is there an exit record, did the image arrive), and
 * app_step() then does the next thing that the state's row asks for. So it does
 * not matter in which order facts arrive, nor whether they were learnt before
 * or after znode was killed and started again.
 *
 * Each start is an instance with a container id of its own, NAME-NUMBER. What
 * a later znode must know of it lies in the note that init keeps with its
 * process. The record of its end stays in init until the next start.
 *
 * An instance is outdated when it was started from another content than what
 * is wanted now. It goes on until the image of the next one is here, and beyond
 * that, in a slot of its own, until the next one is ready (app_replace.c). */
#ifndef NODE_APP_H
#define NODE_APP_H

#include "base/node_json.h"
#include "init/init.h"
#include "net/route.h"
#include "oci/desired.h"
#include "zlog/zlog.h"

#include "call.h"
#include "checkpoint.h"
#include "document.h"
#include "image.h"
#include "limits.h"
#include "link.h"
#include "reactor.h"
#include "reclaim.h"
#include "scale.h"
#include "sleep.h"
#include "znode.h"

#define APP_NOTE_MAGIC 0x7a6e3133 /* "zn13" */

/* Leaves room for "-" and the number of an instance in an id. */
enum { APP_NAME_MAX = 52 };

/* Kept by init with an instance's process. */
struct app_note {
	uint32_t magic;
	uint32_t restarts;
	uint32_t backoff_ms;  /* that was waited before this start */
	uint32_t stopped;     /* 1: by a person, not to be started */
	uint32_t number;      /* of its address */
	uint32_t stop_signal; /* 0: what its image says */
	uint32_t stop_grace_ms;
	uint32_t pod; /* instance whose namespaces it shares, 0: none */
	struct digest image;
	struct digest content; /* of struct desired_app; node.json's: 0 */
	uint32_t rests;	       /* 1: to end until a client comes (reactor.c) */
	uint32_t extra;	       /* 1: beside the first one (scale.h) */
	uint64_t born_ms;      /* CLOCK_BOOTTIME of its start, also when it has
				* slept since */
	uint32_t health;       /* when it fell asleep; 0 too before there was
				* this member */
	uint32_t restored;     /* 1: from a checkpoint (checkpoint.h) */
	uint8_t unused[64];
	struct zlog_keep keep;
};

_Static_assert(offsetof(struct app_note, keep) == ZLOG_KEEP_AT,
	       "where zlog looks for it");

struct app_port {
	uint16_t host, container;
	uint8_t address[16]; /* see struct desired_port */
	bool udp;
	uint8_t proxy_protocol; /* likewise */
	bool bound;
	int error;		    /* why not, or 0 */
	uint64_t told;		    /* hash of the route that init has */
	enum net_route_state state; /* thereof */
};

/* The health of the instance that runs (app_health.c). */
struct app_health {
	enum znode_health state;
	/* What the document and the image say together; times in ms. */
	bool is_checked;
	uint32_t interval, timeout, start_period, start_interval, retries;
	uint32_t failures; /* in a row */
	bool probing;	   /* a probe's process is there, or asked for */
	bool late;	   /* and was killed */
	int process;	   /* memfd of what is run, or -1 */
	struct call call;
	struct timer timer; /* the next probe, or the patience with this one */
};

struct app {
	struct app_host *host;
	/* NULL: runs, but nobody wants it. One of node.json has no digest. */
	const struct desired_app *want;
	const struct node_app *local; /* what node.json says, or NULL */
	char name[ZNODE_NAME_SIZE];
	uint32_t number; /* of its address, 0: none yet */
	enum znode_state state;
	uint64_t since_ms; /* CLOCK_BOOTTIME */
	bool in_use;
	bool refused; /* for good, as it is in the document */
	bool kept;    /* whether it is wanted is not known: left alone */

	/* The instance before this one, which serves until this is ready; and
	 * the other way round. */
	struct app *old, *successor;
	struct app *extra_of; /* see scale.h; else NULL */
	bool retired;	      /* an old instance: not shown */
	enum {
		APP_SERVES,
		APP_DRAINS, /* no client is led to it, some are left */
		APP_DRAINED,
	} drain; /* of one that is to end */

	/* Wishes of a person on the node. */
	bool stopped, restart;
	/* It ended, or failed, and is not to be tried again. */
	bool final;
	char reason[ZNODE_TEXT_SIZE];

	/* The image of what is wanted, once found; whether zrun has it. */
	bool found, pulled;
	bool ran; /* an instance of ran_image was started, not before here */
	struct digest ran_image;
	bool suspect; /* zrun could not use what is in its store */
	struct digest manifest;
	uint64_t image_bytes;
	struct call fetch;
	/* While the layers come zrun unpacks them, until the pipe that this
	 * is an end of hangs up. */
	struct call unpack;
	int unpack_pipe;
	bool unpacked;
	struct timer refetch; /* next attempt */
	uint32_t refetch_ms;  /* last wait */

	/* The last instance. */
	char id[INIT_NAME_SIZE];
	uint32_t instance;
	bool alive;   /* init holds its process */
	bool record;  /* init holds the record of its end */
	bool remains; /* zrun may hold something of it */
	uint32_t pid;
	uint64_t started_ms, ended_ms;
	int32_t exit_code, exit_status;
	struct app_note note;

	struct call call;
	unsigned n_volumes; /* that are ready for the next start */
	/* By mount, what is unsealed for the next start; or NULL. */
	char **secret;
	unsigned n_secrets; /* mounts that were looked at for one */
	struct app_health health;
	struct app_reactor reactor;
	struct app_sleep sleep;
	struct app_checkpoint checkpoint;
	struct app_limits limits;
	struct app_reclaim reclaim;
	/* Conditions of others that it meets, a bit each, then whether its
	 * namespaces can be joined. */
	uint8_t met;
	struct timer timer;    /* next attempt; in STOPPING: patience */
	struct timer rebind;   /* next attempt to bind ports */
	struct timer redelete; /* next attempt to remove remains */
	struct timer lifetime; /* its end */
	unsigned n_ports;
	struct app_port port[DESIRED_PORTS_MAX];
	uint64_t told; /* hash of the row that watchers know (server.c) */
};

/* What all applications share. */
struct app_host {
	struct loop *loop;
	struct link link;
	int boot;   /* the ZOOID partition, or -1 */
	int images; /* zrun's store, or -1 */
	int run;    /* where resolv.conf is, or -1 */
	int null;   /* /dev/null */
	struct document document;
	void (*changed)(struct app *); /* after each step */
	void (*port_freed)(void);
	/* Whether another one fetches the image that this one wants, and the
	 * end of that. */
	bool (*others_fetch)(const struct app *);
	void (*fetched)(struct app *);
	/* A number that no application has. */
	uint32_t (*number)(void);
	/* The application of that name, or NULL. */
	struct app *(*find)(const char *name);
	/* An unused slot under that name, or NULL. */
	struct app *(*slot)(const char *name);
	/* Those that wait for this one may go on. */
	void (*met)(struct app *);
	/* Those that wait for zrun to look at the document may go on. */
	void (*looked)(void);
	/* Whether others share its namespaces. */
	bool (*is_shared)(const struct app *);
};

/* Whether its image is being fetched. */
bool app_image_comes(const struct app *app);

/* Fills an unused app that nobody wants yet. */
void app_init(struct app *app, struct app_host *host, const char *name);
/* What is wanted from now on; it stays the caller's and outlives its use here.
 * want NULL: nobody wants it any more. Nothing is touched where the content is
 * the same. */
void app_want(struct app *app, const struct desired_app *want,
	      const struct node_app *local);
/* It cannot run as it is wanted: says why, and nothing else happens. */
void app_refuse(struct app *app, const char *reason);

/* Facts from init about the current instance. */
void app_process(struct app *app, const struct init_event *event);
/* What was kept of it, by init or zrun serve; of another version it is empty.
 */
void app_note_take(struct app *app, const struct app_note *note);
/* Judges what was found in init's store when znode started. */
void app_adopt(struct app *app);
/* A listener that was there before this znode. */
void app_listener(struct app *app, const struct init_event *event);

/* Does what can be done now. */
void app_step(struct app *app);

/* Wishes: stop, start, restart. */
void app_wish(struct app *app, enum znode_verb verb);
/* Whether a wish has led to where it can lead. */
bool app_settled(const struct app *app, enum znode_verb verb);

/* app_health.c: how its health is seen, once its image is read. */
void app_health_set(struct app *app, const struct image_config *image);
/* To be called when it began to run, and when that is over. */
void app_health_begin(struct app *app);
void app_health_end(struct app *app);
/* While it is frozen its health stays what it is. */
void app_health_pause(struct app *app);
void app_health_resume(struct app *app);
/* What init tells of a process that was executed in it. */
void app_health_event(struct app *app, const struct init_event *event);

/* app_depends.c: the first that it waits for before it starts, or NULL. */
const struct desired_dependency *app_waits_for(const struct app *app);
/* Tells those that wait for it, where what they wait for has changed. */
void app_met(struct app *app);

/* app_pod.c: whether others can join its namespaces now. */
bool app_pod_is_open(const struct app *app);
/* Whom it shares namespaces with, or NULL; whether it can join them now; and
 * whether those that it runs in are no longer that one's. */
struct app *app_pod_owner(const struct app *app);
bool app_pod_is_ready(const struct app *app);
bool app_pod_is_lost(const struct app *app);

/* app_secret.c: whether the secrets of the next start are here; else one is
 * being unsealed, or that failed. Then to be dropped. */
bool app_secrets_ready(struct app *app);
bool app_secrets_missing(const struct app *app);
void app_secrets_drop(struct app *app);

/* app_replace.c: whether the next instance may run beside this one, which it
 * may not where they would share volumes or namespaces. */
bool app_may_overlap(const struct app *app);
/* The instance moves into a slot of its own and serves on; this slot is free
 * for the next. False where there is none. */
bool app_retire(struct app *app);
/* Whether clients may be led to it. */
bool app_is_ready(const struct app *app);
/* The old instance may go. */
void app_release(struct app *app);
/* Whether an instance may be asked to end: an old one once no connection leads
 * into it, or after ten minutes, counted from the first call; one whose place
 * the next one takes only after it once it has answered, or its grace period
 * is over. */
bool app_is_drained(struct app *app);
/* Whether an old instance of the same application drains; ends that, where
 * nobody wants its answers any more. */
bool app_drains_for(const struct app *app);
void app_drain_end(const struct app *app);
/* What is of an instance changes places. */
void app_swap(struct app *app, struct app *other);
/* Of two instances found when znode started, `app` gets the newer one. */
void app_pair(struct app *app, struct app *other);

/* app_lifetime.c: whether it has run for as long as it may; in how many ms it
 * will have (0: not, or it has); sets the timer that steps it then. */
bool app_is_aged(const struct app *app);
uint32_t app_aged_in_ms(const struct app *app);
void app_lifetime_step(struct app *app);

/* Binds, drops and redirects the published ports as the state asks
 * (app_port.c). */
void app_ports(struct app *app);
/* Makes the table of ports that of what is wanted. */
void app_ports_want(struct app *app);
/* The address inside its namespace. */
void app_address(struct app *app, char text[16]);

/* Whether it is to run, as far as wishes and policy go. */
bool app_should_run(const struct app *app);
/* Whether the last instance is one of another content. */
bool app_is_outdated(const struct app *app);
/* Whether that instance came from the hub's document. */
bool app_is_from_hub(const struct app *app);

/* The sealed memfd with the config for a start, or -errno with a reason in
 * app->reason. */
int app_config(struct app *app);
/* The same for a person to look at: without secrets. */
int app_config_shown(struct app *app);
/* The same with the process that probes its health. */
int app_probe(struct app *app);

void app_describe(const struct app *app, struct znode_app *row);

#endif
