#define _GNU_SOURCE
#include "traffic.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/span.h"
#include "dns.h"
#include "fds.h"
#include "listener.h"

/* #syscalls: write close clock_gettime */

struct traffic {
	char container[64];
	unsigned int users; /* of traffic_get() */
	int freezer;	    /* -1: not watched */
	bool frozen, quiet, lulled;
	bool wakes_at_byte;
	bool closing, closed; /* to be, is closed for clients */
	uint64_t named_ms;    /* its address was told last; 0: never */
	struct timer named;   /* until that is forgotten, or all is answered */
	bool draining;	      /* closed, and znode waits for its end */
	bool answers;	      /* no more than answers are waited for */
	uint32_t quiet_ms;    /* 0: never told to be quiet */
	unsigned int flows;   /* into it; of these such whose client may say */
	unsigned int come;    /* are being connected */
	unsigned int open, asked;   /* more, and that wait for an answer */
	uint64_t used_ms, asked_ms; /* last payload; last one in */
	uint64_t woken_us;	    /* until the first answer since; else 0 */
	struct timer timer;
	struct loop_share share;
};

static struct loop *loop;
static struct traffic table[TRAFFIC_MAX];
static unsigned int n_used; /* rows beyond were never needed */
static struct traffic nobody = { .freezer = -1 };
static struct peer *znode;
static void (*on_ended)(struct peer *);

/* ---------------------------------------------------------------- events */

/* One that does not take its events would not know what is frozen: to begin
 * anew is safe. */
static void tell_of(const char *name, struct znet_event e)
{
	struct peer *p = znode;

	if (!p)
		return;
	e.head.size = sizeof(e);
	text_copy(e.container, sizeof(e.container), name);
	if (ipc_send(p->fd, &e, sizeof(e), NULL, 0) == 0)
		return;
	traffic_peer_gone(p);
	on_ended(p);
}

static void tell(const struct traffic *t, struct znet_event e)
{
	e.open = t->open;
	tell_of(t->container, e);
}

static int freezer_write(const struct traffic *t, const char *value)
{
	/* ENODEV: the container has ended. */
	if (write(t->freezer, value, 1) == 1 || errno == ENODEV)
		return 0;
	return -errno;
}

static void thaw(struct traffic *t, enum znet_wake by)
{
	int error;

	if (!t->frozen)
		return;
	t->frozen = false;
	error = freezer_write(t, "0");
	if (error < 0)
		log_error(t->container, "cannot thaw it: %s", strerror(-error));
	if (by <= ZNET_BY_BYTE)
		t->woken_us = clock_us();
}

static void timer_arm(struct traffic *t)
{
	t->quiet = t->lulled = false;
	if (t->freezer >= 0 && t->quiet_ms)
		timer_set(loop, &t->timer, (t->quiet_ms + 1) / 2);
}

/* The container is needed. */
static void used(struct traffic *t, enum znet_wake by)
{
	bool was_frozen = t->frozen;

	t->closing = false;
	t->used_ms = clock_ms();
	thaw(t, by);
	if (was_frozen || t->quiet)
		timer_arm(t);
	if (was_frozen)
		tell(t,
		     (struct znet_event){ .head.verb = ZNET_WOKEN, .by = by });
}

/* In how many milliseconds it has been silent for `ms`; 0: it has. Who waits to
 * be connected is not silent: it may be about to listen. */
static uint64_t until_silent(const struct traffic *t, uint64_t ms)
{
	uint64_t now = clock_ms();
	uint64_t due = t->asked	 ? t->asked_ms + TRAFFIC_WORK_MAX_MS
		       : t->come ? t->used_ms + TRAFFIC_WORK_MAX_MS
				 : t->used_ms + ms;

	return due > now ? due - now : 0;
}

/* Half the time without a word is told too, for what else is to be measured
 * over a time in which nothing was asked. */
static void timer_fire(struct timer *timer)
{
	struct traffic *t = container_of(timer, struct traffic, timer);
	uint32_t half_ms = (t->quiet_ms + 1) / 2;
	uint64_t left = until_silent(t, half_ms);

	if (left) {
		t->lulled = false;
		timer_set(loop, timer, left);
	} else if (!t->lulled) {
		t->lulled = true;
		left = until_silent(t, t->quiet_ms);
		timer_set(loop, timer, left < half_ms ? half_ms : left);
		tell(t, (struct znet_event){ .head.verb = ZNET_LULL });
	} else {
		left = until_silent(t, t->quiet_ms);
		t->quiet = left == 0;
		if (left)
			timer_set(loop, timer, left);
		else
			tell(t, (struct znet_event){ .head.verb = ZNET_QUIET });
	}
}

/* ------------------------------------------------------------------ rows */

static struct traffic *row_find(const char *container)
{
	for (struct traffic *t = table; t < table + n_used; t++) {
		if ((t->users || t->freezer >= 0) &&
		    strcmp(t->container, container) == 0)
			return t;
	}
	return NULL;
}

static void named_fire(struct timer *timer);

static struct traffic *row_new(const char *container)
{
	struct traffic *t = table;

	while (t < table + n_used && (t->users || t->freezer >= 0))
		t++;
	if (t == table + TRAFFIC_MAX)
		return NULL;
	if (t == table + n_used)
		n_used++;
	*t = (struct traffic){
		.freezer = -1,
		.timer.fire = timer_fire,
		.named.fire = named_fire,
	};
	text_copy(t->container, sizeof(t->container), container);
	return t;
}

struct traffic *traffic_get(const char *container)
{
	struct traffic *t = row_find(container);

	if (!t)
		t = row_new(container);
	if (!t)
		t = &nobody;
	t->users++;
	return t;
}

void traffic_put(struct traffic *t)
{
	t->users--;
}

struct loop_share *traffic_share(struct traffic *t)
{
	return &t->share;
}

static void row_forget(struct traffic *t)
{
	thaw(t, ZNET_BY_HAND);
	timer_cancel(&t->timer);
	if (t->freezer >= 0)
		fds_give(FDS_HELD, 1, NULL);
	fd_close(&t->freezer);
	t->quiet = t->lulled = t->closing = false;
}

/* ----------------------------------------------------------------- flows */

void traffic_use(struct traffic *t)
{
	used(t, ZNET_BY_BYTE);
}

void traffic_begin(struct traffic_flow *f, struct traffic *t)
{
	*f = (struct traffic_flow){ .of = t };
	t->users++;
	t->flows++;
	t->open++;
	if (!t->wakes_at_byte)
		used(t, ZNET_BY_CONNECTION);
}

static void drain_try(struct traffic *t);

/* One that waits for a long answer, or to be connected, has no more to wait
 * for. */
static void timer_shorten(struct traffic *t)
{
	if (!t->asked && !t->come &&
	    t->timer.deadline_ms > clock_ms() + t->quiet_ms)
		timer_arm(t);
}

static void asked_set(struct traffic_flow *f, bool asked)
{
	struct traffic *t = f->of;

	if (f->asked == asked)
		return;
	f->asked = asked;
	t->asked += asked ? 1 : -1U;
	timer_shorten(t);
	if (t->answers && !t->asked)
		drain_try(t);
}

static void close_try(struct traffic *t)
{
	if (!t->closing || t->open || !(t->frozen || t->quiet))
		return;
	t->closing = false;
	t->closed = true;
	listeners_update();
	tell_of(t->container, (struct znet_event){ .head.verb = ZNET_CLOSED,
						   .open = t->flows });
}

/* When it will have drained, if nothing happens; UINT64_MAX: it will not. */
static uint64_t drained_ms(const struct traffic *t)
{
	if (t->answers && !t->flows)
		return 0;
	if (t->answers && !t->asked && !t->come)
		return t->used_ms + TRAFFIC_ANSWERED_MS;
	if (t->answers || t->flows)
		return UINT64_MAX;
	return t->named_ms ? t->named_ms + DNS_SERVICE_TTL_S * 1000 : 0;
}

static void drain_try(struct traffic *t)
{
	uint64_t now = clock_ms(), until = drained_ms(t);

	if (!t->draining || until == UINT64_MAX ||
	    (t->named.deadline_ms && until > now))
		return;
	if (t->named.deadline_ms) {
		timer_cancel(&t->named);
		traffic_put(t);
	}
	if (until > now) {
		t->users++; /* the row stays while its timer runs */
		timer_set(loop, &t->named, until - now);
	} else {
		tell(t, (struct znet_event){ .head.verb = ZNET_DRAINED });
	}
}

static void named_fire(struct timer *timer)
{
	struct traffic *t = container_of(timer, struct traffic, named);

	drain_try(t);
	traffic_put(t);
}

void traffic_named(struct traffic *t)
{
	t->named_ms = clock_ms();
}

static void drain(struct traffic *t, bool answers)
{
	t->draining = t->closed = true;
	t->answers = answers;
	listeners_update();
	drain_try(t);
}

void traffic_part(struct traffic_flow *f)
{
	if (!f->of || f->parted || f->asked)
		return;
	f->parted = true;
	f->of->open--;
	close_try(f->of);
}

void traffic_end(struct traffic_flow *f)
{
	struct traffic *t = f->of;

	if (!t)
		return;
	asked_set(f, false);
	traffic_came(f);
	t->flows--;
	traffic_part(f);
	f->of = NULL;
	drain_try(t);
	traffic_put(t);
}

void traffic_move(struct traffic_flow *f, struct traffic *t)
{
	if (f->of == t)
		return;
	traffic_end(f);
	traffic_begin(f, t);
	f->comes = true;
	t->come++;
}

void traffic_came(struct traffic_flow *f)
{
	struct traffic *t = f->of;

	if (!t || !f->comes)
		return;
	f->comes = false;
	t->come--;
	timer_shorten(t);
}

unsigned int traffic_in_flight(const struct traffic *t)
{
	return t->come + t->asked;
}

bool traffic_is_closed(const struct traffic *t)
{
	return t->closed;
}

bool traffic_is_nameless(const struct traffic *t)
{
	return t->closed && !t->answers;
}

void traffic_knock(const char *app)
{
	tell_of(app, (struct znet_event){ .head.verb = ZNET_KNOCK });
}

void traffic_crowd(const char *app)
{
	tell_of(app, (struct znet_event){ .head.verb = ZNET_CROWD });
}

void traffic_in(struct traffic_flow *f)
{
	if (!f->of)
		return;
	asked_set(f, true);
	used(f->of, ZNET_BY_BYTE);
	f->of->asked_ms = f->of->used_ms;
}

void traffic_out(struct traffic_flow *f)
{
	struct traffic *t = f->of;
	uint64_t woken_us;

	if (!t)
		return;
	asked_set(f, false);
	t->used_ms = clock_ms();
	if (t->quiet)
		timer_arm(t);
	woken_us = t->woken_us;
	t->woken_us = 0;
	if (woken_us)
		tell(t, (struct znet_event){
				.head.verb = ZNET_ANSWERED,
				.us = (uint32_t)(clock_us() - woken_us) });
}

/* -------------------------------------------------------------- requests */

static void watch_begin(struct traffic *t, const struct znet_request *q,
			struct ipc_fds *fds)
{
	if (t->freezer < 0) {
		t->freezer = ipc_fds_take(fds, 0);
		if (t->freezer >= 0)
			fds_take(FDS_HELD, 1, NULL);
	}
	if (t->closed) {
		t->closed = false;
		listeners_update();
	}
	if (t->freezer < 0)
		return;
	t->quiet_ms = q->quiet_ms;
	t->wakes_at_byte = q->flags & ZNET_WAKE_AT_BYTE;
	t->used_ms = clock_ms();
	timer_cancel(&t->timer);
	if (!t->frozen)
		timer_arm(t);
}

static void freeze(struct traffic *t, const struct znet_request *q)
{
	bool may = q->flags & ZNET_FREEZE_NOW ? !t->asked && !t->come
					      : t->quiet;
	int error = may ? freezer_write(t, "1") : -EBUSY;

	if (error < 0) {
		tell(t, (struct znet_event){ .head.verb = ZNET_BUSY,
					     .error = error });
		return;
	}
	t->frozen = true;
	t->woken_us = 0;
	timer_cancel(&t->timer);
	tell(t, (struct znet_event){ .head.verb = ZNET_FROZEN });
}

static void obey(struct traffic *t, const struct znet_request *q,
		 struct ipc_fds *fds)
{
	switch ((enum znet_verb)q->head.verb) {
	case ZNET_WATCH:
		watch_begin(t, q, fds);
		return;
	case ZNET_FREEZE:
		if (t->freezer >= 0 && !t->frozen)
			freeze(t, q);
		return;
	case ZNET_THAW:
		used(t, ZNET_BY_HAND);
		return;
	case ZNET_FORGET:
		row_forget(t);
		return;
	case ZNET_CLOSE:
		t->closing = t->freezer >= 0;
		close_try(t);
		return;
	case ZNET_DRAIN:
		drain(t, q->flags & ZNET_DRAIN_ANSWERS);
		return;
	case ZNET_STATUS:
	case ZNET_OUTLET:
	case ZNET_RULE:
	case ZNET_KNOCKS:
		return;
	}
}

bool traffic_request(struct peer *p, const struct znet_request *q,
		     struct ipc_fds *fds)
{
	struct traffic *t;

	if (q->head.verb < ZNET_WATCH || q->head.verb > ZNET_DRAIN ||
	    !memchr(q->container, '\0', sizeof(q->container)))
		return false;
	if (znode && znode != p)
		traffic_peer_gone(znode);
	znode = p;
	if (q->head.verb == ZNET_KNOCKS) {
		listeners_knock_again();
		return true;
	}
	t = row_find(q->container);
	if (!t && q->head.verb == ZNET_WATCH)
		t = row_new(q->container);
	if (t)
		obey(t, q, fds);
	else if (q->head.verb == ZNET_DRAIN)
		tell_of(q->container,
			(struct znet_event){ .head.verb = ZNET_DRAINED });
	else if (q->head.verb == ZNET_WATCH)
		log_error(q->container,
			  "more than %d containers: it is not "
			  "watched and stays awake",
			  TRAFFIC_MAX);
	return true;
}

void traffic_peer_gone(const struct peer *p)
{
	if (p != znode)
		return;
	znode = NULL;
	for (struct traffic *t = table; t < table + n_used; t++) {
		if (t->freezer >= 0)
			row_forget(t);
		/* Whoever comes next says it again; till then what the route
		 * leads to is served. */
		if (t->draining)
			t->draining = t->closed = t->answers = false;
	}
	listeners_update();
}

void traffic_init(struct loop *on, void (*ended)(struct peer *))
{
	loop = on;
	on_ended = ended;
}
