/* One application of node.json on its way from desired to actual.
 *
 * Everything here is level-triggered: events and replies only change facts
 * (is the process alive, is there an exit record, did the image arrive), and
 * app_step() then does the next thing that the state's row asks for. So it does
 * not matter in which order facts arrive, nor whether they were learnt before
 * or after znode was killed and started again.
 *
 * Each start is an instance with a container id of its own, NAME-NUMBER. What
 * a later znode must know of it lies in the note that init keeps with its
 * process. The record of its end stays in init until the next start. */
#ifndef NODE_APP_H
#define NODE_APP_H

#include "base/node_json.h"
#include "init/init.h"
#include "net/route.h"

#include "call.h"
#include "image.h"
#include "link.h"
#include "znode.h"

#define APP_NOTE_MAGIC 0x7a6e3131 /* "zn11" */

/* Kept by init with an instance's process. */
struct app_note {
	uint32_t magic;
	uint32_t restarts;
	uint32_t backoff_ms; /* that was waited before this start */
	uint32_t stopped;    /* 1: by a person, not to be started */
	struct digest image;
};

struct app_port {
	uint16_t host, container;
	bool bound;
	enum net_route_state state; /* last told to init */
	char to[INIT_NAME_SIZE];
};

struct app {
	struct app_host *host;
	const struct node_app *want; /* NULL: runs, but nobody wants it */
	char name[ZNODE_NAME_SIZE];
	char address[16]; /* inside its namespace */
	enum znode_state state;
	uint64_t since_ms; /* CLOCK_BOOTTIME */
	bool in_use;

	/* Wishes of a person on the node. */
	bool stopped, restart;
	/* It ended, or failed, and is not to be tried again. */
	bool final;
	char reason[ZNODE_TEXT_SIZE];

	/* The image, once found; whether zrun has it. */
	struct node_image *image;
	bool pulled;

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
	struct timer timer;    /* next attempt; in STOPPING: patience */
	struct timer rebind;   /* next attempt to bind ports */
	struct timer redelete; /* next attempt to remove remains */
	unsigned n_ports;
	struct app_port port[NODE_PORTS_MAX];
};

/* What all applications share. */
struct app_host {
	struct loop *loop;
	struct link link;
	int boot;		       /* the ZOOID partition, or -1 */
	void (*changed)(struct app *); /* after each step */
};

/* Fills an unused app; want NULL for one that nobody wants, then id is the
 * container's. number: for its address. */
void app_init(struct app *app, struct app_host *host,
	      const struct node_app *want, unsigned number);

/* Facts from init about the current instance. */
void app_process(struct app *app, const struct init_event *event);
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

/* Binds, drops and redirects the published ports as the state asks
 * (app_port.c). */
void app_ports(struct app *app);
/* Whether it is to run, as far as wishes and policy go. */
bool app_should_run(const struct app *app);

/* The sealed memfd with the config for a start, or -errno with a reason in
 * app->reason. */
int app_config(struct app *app);

void app_describe(const struct app *app, struct znode_app *row);
const char *znode_state_name(uint32_t state);

#endif
