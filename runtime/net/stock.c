/* One connection to zrun serve, one request under way at a time, so an answer
 * needs no number to be matched. Whatever breaks (zrun serve was replaced),
 * the same happens: close, connect again, ask again for what is low. init
 * holds the listening socket, so to connect never waits for zrun serve. */
#define _GNU_SOURCE
#include "stock.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/span.h"
#include "fds.h"
#include "zrun/serve.h"

/* #syscalls: socket connect setsockopt */

enum { RETRY_MS = 200, FAILURE_PAUSE_MS = 500 };

static struct loop *loop;
static void (*on_answered)(struct stock *);
static struct stock stocks[STOCK_COUNT_MAX];
/* Never used from here on. */
static struct stock *stocks_end = stocks;
/* Whose answer is awaited. */
static struct stock *asking;
static int zrun = -1;
static struct watch zrun_watch = { .fd = -1 };
static struct timer retry;
static unsigned int n_total, n_total_max = STOCK_TARGET_MAX;
static bool failed_before; /* log a lasting failure once */

static void zrun_ready(struct watch *w, uint32_t events);
static void ask_next(void);

static void zrun_disconnect(void)
{
	watch_del(loop, &zrun_watch);
	fd_close(&zrun);
	if (asking)
		asking->asked = false;
	asking = NULL;
	if (!retry.deadline_ms)
		timer_set(loop, &retry, RETRY_MS);
}

static int zrun_connect(void)
{
	int error;

	zrun = ipc_connect("zrun");
	if (zrun < 0)
		return zrun;
	fcntl(zrun, F_SETFL, O_NONBLOCK);
	zrun_watch.ready = zrun_ready;
	error = watch_add(loop, &zrun_watch, zrun, EPOLLIN);
	if (error < 0)
		fd_close(&zrun);
	return error;
}

static void retry_fire(struct timer *t)
{
	(void)t;
	ask_next();
}

static void target_raise(struct stock *s)
{
	if (s->target < STOCK_TARGET_MAX)
		s->target *= 2;
}

/* How many to ask for now. */
static unsigned int stock_wants(struct stock *s)
{
	uint64_t now = clock_ms();

	if (s->asked_ms && now - s->asked_ms < STOCK_BUSY_MS)
		target_raise(s);
	s->asked_ms = now;
	return s->target - s->n;
}

_Static_assert((int)STOCK_V6 == ZRUN_SOCKETS_V6 &&
		       (int)STOCK_UDP == ZRUN_SOCKETS_UDP,
	       "a kind is sent as it is");

static int ask_for(struct stock *s)
{
	unsigned int want = stock_wants(s);
	struct zrun_request request = {
		.head = { sizeof(request), ZRUN_SOCKETS },
		.arg = want < ZRUN_SOCKETS_MAX ? want : ZRUN_SOCKETS_MAX,
		.flags = s->kind,
	};
	int error = zrun < 0 ? zrun_connect() : 0;

	text_copy(request.id, sizeof(request.id), s->container);
	if (error == 0)
		error = ipc_send(zrun, &request, sizeof(request), NULL, 0);
	if (error == 0) {
		s->asked = true;
		asking = s;
	}
	return error;
}

static bool is_low(const struct stock *s)
{
	return s->users && s->n <= s->target / 2 &&
	       (s->n == 0 || n_total < n_total_max);
}

/* The emptiest of those that are low; ones that failed lately wait. */
static struct stock *lowest(uint64_t *soonest_ms)
{
	uint64_t now = clock_ms();
	struct stock *found = NULL;

	*soonest_ms = 0;
	for (struct stock *s = stocks; s < stocks_end; s++) {
		if (!is_low(s))
			continue;
		if (s->after_ms > now) {
			if (!*soonest_ms || s->after_ms - now < *soonest_ms)
				*soonest_ms = s->after_ms - now;
		} else if (!found || s->n < found->n) {
			found = s;
		}
	}
	return found;
}

static void ask_next(void)
{
	uint64_t soonest_ms;
	struct stock *s;
	int error;

	if (asking)
		return;
	s = lowest(&soonest_ms);
	if (!s) {
		if (soonest_ms)
			timer_set(loop, &retry, soonest_ms);
		return;
	}
	error = ask_for(s);
	if (error < 0) {
		if (!failed_before)
			log_warning("zrun.sock", "%s; trying again",
				    strerror(-error));
		failed_before = true;
		zrun_disconnect();
		return;
	}
	failed_before = false;
}

/* What comes in pieces was sent in pieces: no waiting for more. A port that
 * was left a moment ago may be taken. For the lingering see flow.c. */
static void stream_options_set(int fd)
{
	const struct linger reset = { .l_onoff = 1, .l_linger = 0 };
	const int on = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
}

static void socket_add(struct stock *s, int fd)
{
	if (!(s->kind & STOCK_UDP))
		stream_options_set(fd);
	fcntl(fd, F_SETFL, O_NONBLOCK);
	s->fd[s->n++] = fd;
	n_total++;
	fds_take(FDS_HELD, 1, NULL);
}

static void answer_take(struct stock *s, const struct zrun_reply *reply,
			struct ipc_fds *fds)
{
	bool was_empty = s->n == 0;

	for (int i = 0; i < fds->n && s->n < STOCK_TARGET_MAX; i++)
		socket_add(s, ipc_fds_take(fds, i));
	if (reply->error < 0 || fds->n == 0) {
		if (s->after_ms == 0)
			log_warning(s->container, "no sockets: %.200s",
				    reply->text[0] ? reply->text
						   : strerror(-reply->error));
		s->after_ms = clock_ms() + FAILURE_PAUSE_MS;
	} else {
		s->after_ms = 0;
	}
	if (was_empty)
		on_answered(s);
}

static void zrun_ready(struct watch *w, uint32_t events)
{
	struct zrun_reply reply;
	struct ipc_fds fds = { 0 };
	struct stock *s = asking;
	int n = ipc_recv(w->fd, &reply, sizeof(reply), &fds);

	(void)events;
	if (n == -EAGAIN)
		return;
	if (n != 1 || !s) {
		ipc_fds_close(&fds);
		zrun_disconnect();
		return;
	}
	reply.text[sizeof(reply.text) - 1] = '\0';
	asking = NULL;
	s->asked = false;
	if (s->users)
		answer_take(s, &reply, &fds);
	ipc_fds_close(&fds);
	ask_next();
}

void stock_limit(unsigned int n)
{
	n_total_max = n;
}

void stock_init(struct loop *on, void (*answered)(struct stock *))
{
	loop = on;
	on_answered = answered;
	retry.fire = retry_fire;
}

struct stock *stock_get(const char *container, unsigned int kind)
{
	struct stock *s, *free_slot = NULL;

	for (s = stocks; s < stocks_end; s++) {
		if (s->users && s->kind == kind &&
		    !strcmp(s->container, container)) {
			s->users++;
			return s;
		}
		/* A slot whose answer is awaited is not free yet. */
		if (!free_slot && !s->users && !s->asked)
			free_slot = s;
	}
	s = free_slot;
	if (!s && stocks_end == stocks + STOCK_COUNT_MAX)
		return NULL;
	if (!s)
		s = stocks_end++;
	*s = (struct stock){
		.kind = kind,
		.users = 1,
		.target = STOCK_TARGET_FIRST,
	};
	text_copy(s->container, sizeof(s->container), container);
	ask_next();
	return s;
}

void stock_put(struct stock *s)
{
	if (--s->users)
		return;
	while (s->n) {
		fd_close(&s->fd[--s->n]);
		n_total--;
		fds_give(FDS_HELD, 1, NULL);
	}
}

bool stock_is_coming(const struct stock *s)
{
	return s->users && !s->n && !s->after_ms;
}

int stock_take(struct stock *s)
{
	int fd = -1;

	if (s->n) {
		fd = s->fd[--s->n];
		n_total--;
		fds_give(FDS_HELD, 1, NULL);
	}
	if (s->n == 0)
		target_raise(s);
	if (!asking && is_low(s))
		ask_next();
	return fd;
}
