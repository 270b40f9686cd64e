/* Pulls: images on their way from registries into layouts.
 *
 *	TOP		the document asked for: an index, or a manifest
 *	PLATFORM	the manifest that the index has for this platform
 *	CONFIG		the config, which says for whom the image is made
 *	LAYERS		a few at once; what the image store or another layout
 *			has is not fetched
 *
 * What the layout has already is not asked for again, so a pull that was
 * broken off goes on where it was, and one of an image that is all there needs
 * no network. Errors worth it are tried again a few times, from where the
 * bytes ended. */
#ifndef ZPULL_PULL_H
#define ZPULL_PULL_H

#include "oci/image_manifest.h"
#include "registry/remote.h"

#include "hub.h"
#include "site.h"

enum { PULL_TEXT_SIZE = 256, FETCHES_MAX = 3 };

/* When to try again. */
struct retry {
	unsigned attempts;
	uint64_t since_ms; /* of the first attempt that brought little */
};

/* The pause before the next attempt in ms, or -1: give up. `bytes` is what the
 * attempt that failed has brought. */
int retry_pause_ms(struct retry *retry, uint64_t bytes, unsigned after_s);

struct pull;

/* One blob on its way. */
struct fetch {
	struct pull *pull;
	const struct image_descriptor *blob; /* NULL: idle */
	enum fetch_state {
		FETCH_WAITING, /* another pull fetches it */
		FETCH_HASHING, /* the beginning that is there */
		FETCH_RUNNING,
		FETCH_PAUSED, /* before the next attempt */
	} state;
	int part; /* its file */
	/* What came since the loop last turned, to be written at once. */
	char *fresh;
	size_t fresh_bytes;
	struct timer fresh_timer;
	uint64_t part_bytes, synced_bytes; /* part_bytes with the fresh ones */
	uint64_t most_bytes;		   /* that any attempt ended with */
	bool anew; /* it was damaged once: fetched from zero */
	struct remote_get get;
	struct timer timer;
	struct retry retry;
};

enum pull_state {
	PULL_TOP,
	PULL_PLATFORM,
	PULL_CONFIG,
	PULL_LAYERS,
};

struct pull_want {
	/* Where it is; tag and digest say what. With `hub` its host is not
	 * used: zagent knows it. */
	struct reference reference;
	bool hub;
	const struct sites
		*sites; /* without hub; the caller's, until the end */
	const struct image_platform *platform;
	int layout; /* stays the caller's, until the end */
};

struct pull {
	/* Set by the owner before pull_start(), all else zero. */
	void (*progress)(struct pull *pull); /* bytes came; often */
	/* Once: all but the layers is there, and manifest and index are set;
	 * may be NULL. The pull must not be ended in it. */
	void (*begun)(struct pull *pull);
	/* Called once, last; the owner may start or free it. As for
	 * ZPULL_PULL (zpull.h). */
	void (*done)(struct pull *pull, int error);

	/* Results. */
	struct image_descriptor manifest; /* digest, size */
	char media_type[REMOTE_MEDIA_SIZE];
	char *index; /* bytes of an index that was asked for, or NULL */
	size_t index_size;
	uint64_t done_bytes, total_bytes; /* by pull_count(), and at the end */
	char text[PULL_TEXT_SIZE];

	/* Private. */
	bool busy; /* between pull_start() and its end */
	enum pull_state state;
	struct pull_want want;
	struct hub_ask hub;
	unsigned site; /* that is asked now */
	struct remote *remote;
	struct remote_get get; /* of a document */
	struct timer timer;
	struct retry retry, token_retry;
	struct image_manifest document; /* layers */
	bool stored[IMAGE_LAYERS_MAX];	/* which the image store has */
	unsigned next;			/* layer to be begun */
	struct fetch fetch[FETCHES_MAX];
	struct pull *sibling;
};

/* What all pulls of this process share. */
extern struct puller {
	struct loop *loop;
	int root;   /* of the layouts, or -1: there is just one */
	int stored; /* the image store, or -1 */
	/* Layouts that must not be removed for space. */
	bool (*is_wanted)(const char *name);

	struct remote_client *client; /* while there is a pull */
	struct pull *first;
} puller;

/* Begins; done() will be called from the loop. 0 or -errno. */
int pull_start(struct pull *pull, const struct pull_want *want);
/* Ends it without done(); what was fetched stays. No-op when idle. */
void pull_stop(struct pull *pull);

void pull_count(struct pull *pull);

/* fetch.c, for pull.c alone. Both tell the pull when a fetch ends. */
void fetch_start(struct fetch *fetch, struct pull *pull,
		 const struct image_descriptor *blob);
void fetch_stop(struct fetch *fetch);
void pull_fetched(struct pull *pull, struct fetch *fetch, int error);

#endif
