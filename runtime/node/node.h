/* All applications of the node, and the daemon around them. */
#ifndef NODE_NODE_H
#define NODE_NODE_H

#include "app.h"

/* Room for applications and for containers that none of them wants. */
enum { NODE_SLOTS = 2 * (NODE_APPS_MAX + DESIRED_APPS_MAX) };

struct node {
	struct loop loop;
	struct app_host host;
	struct node_json json;
	struct desired_app local[NODE_APPS_MAX]; /* what it wants */
	bool readable;				 /* node.json could be read */
	bool synced;				 /* what init holds is known */
	bool depends; /* an application waits for, or joins, another */
	int n_slots;  /* of app: those beyond were never used */
	uint32_t named[NODE_SLOTS]; /* by slot, of its name; 0: unused */
	struct app app[NODE_SLOTS];
};

extern struct node node;

/* Reads node.json in directory node.host.boot and the stored document, and
 * makes their applications. Never fails: a node without a good file runs none
 * of it, and says why. */
void node_load(void);

/* Connects to init; applications are stepped once all that exists is known,
 * then `ready` is called. 0 or -errno, logged. */
int node_open(void (*ready)(void));

/* The slot of that name after `app`, the first one after NULL; NULL at the end.
 * There are several while an instance is replaced, or has others beside it. */
struct app *node_named(const char *name, struct app *app);
/* The application of that name, or NULL. */
struct app *node_find(const char *name);
/* That of a container, or NULL. */
struct app *node_by_id(const char *id);
/* The slot of that name, wanted or not; one that cannot run as it is wanted
 * does not count. */
struct app *node_slot(const char *name);
/* A slot that was unused, or NULL, logged. */
struct app *node_slot_new(const char *name);

/* Takes a document and obeys it, see document_take(). */
int node_obey(const struct offer *offer, char error[TRUST_ERROR_SIZE]);
/* To be called after a wish of a person: what is stopped may have to outlive
 * the boot. */
void node_stopped_changed(void);

/* reconcile.c: makes the slots those of node.host.document and steps none.
 * Before what init holds is known, and whenever a document came. */
void reconcile(void);
/* Whether a slot that nobody wants is left alone: what it belongs to cannot be
 * read. */
void reconcile_unwanted(struct app *app);

#endif
