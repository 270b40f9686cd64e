/* A connection has one purpose, which decides what certificates it shows and
 * takes:
 *
 *	ENROL	shows none; takes an outdated one only when told that it is
 *		outdated, for a node without a clock cannot know
 *	TIME	shows none, takes an outdated one; asks for the time
 *	RENEW	shows ours, which is outdated, takes an outdated one
 *	SERVE	everything else
 *
 * After each the purpose is decided anew from what is known now, so every
 * road leads to SERVE: a clock of 1970 to TIME first, then, when our
 * certificate turns out to be outdated, to RENEW. Nothing is called outdated
 * by our clock alone: TIME comes first.
 *
 * The addresses of the hub are tried in turn, the next at once; after a round
 * comes a pause. What a person has to mend (a token that is refused, another
 * root) is told as ZAGENT_REFUSED and tried again more and more slowly. */
#define _GNU_SOURCE
#include "link.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "agent.h"
#include "base/log.h"
#include "clock.h"
#include "enrol.h"
#include "identity.h"
#include "logs.h"
#include "observe.h"
#include "pace.h"
#include "server.h"
#include "watch.h"
#include "wish.h"

enum {
	OPEN_MS = 8000,
	PONG_MS = 8000,
	WINDOW_BYTES = 64 << 10,
	DAY_MS = 24 * 3600 * 1000,
	SESSION_KEEP_MS = 600 * 1000,
	SETTLED_MS = 10000, /* a connection that lasted: failures forgotten */
	TIME_FRESH_MS = 60000,
	REASON_SIZE = 200,
};

struct agent agent;

enum purpose { LINK_ENROL, LINK_TIME, LINK_RENEW, LINK_SERVE };

static struct {
	struct http_client *client;
	struct tls *tls;
	enum purpose purpose;
	struct timer retry, beat, daily;
	struct backoff pause, refusals;
	struct heartbeat heartbeat;
	bool want_time, take_outdated, welcome;
	bool pinged;		 /* and not answered yet */
	bool refused;		 /* in this round */
	uint64_t welcome_ms;	 /* when it came */
	unsigned address, tried; /* of this round */
	char dialled[ENROL_ADDRESS_SIZE];
	/* The newest session, and the address that gave it. */
	char session[IDENTITY_SESSION_MAX], session_of[ENROL_ADDRESS_SIZE];
	size_t session_size;
	uint64_t session_kept_ms;
	enum zagent_state state;
	uint64_t since_ms;
	uint16_t dice; /* of this process, for the time of renewal */
	char reason[REASON_SIZE];
	char refusal[REASON_SIZE]; /* why `refused` */
} link_;

static void dial(void);

/* ---- what is told ---- */

static void state_set(enum zagent_state state)
{
	if (link_.state == state)
		return;
	link_.state = state;
	link_.since_ms = clock_boot_ms();
}

/* Each reason once, however often it is met. */
static void reason_set(const char *why)
{
	if (!strcmp(link_.reason, why))
		return;
	text_copy(link_.reason, sizeof(link_.reason), why);
	if (link_.refused)
		log_error("hub", "refused: %s", why);
	else
		log_warning("hub", "%s", why);
}

void link_status(struct zagent_status *status)
{
	status->state = agent.has_hub ? link_.state : ZAGENT_NONE;
	status->since_ms = link_.since_ms;
	text_copy(status->node, sizeof(status->node), identity.node);
	text_copy(status->name, sizeof(status->name),
		  identity.name[0] ? identity.name : agent.name);
	text_copy(status->hub, sizeof(status->hub), link_.dialled);
	text_copy(status->reason, sizeof(status->reason), link_.reason);
}

struct http_client *link_client(void)
{
	return link_.welcome ? link_.client : NULL;
}

uint32_t link_heartbeat_s(void)
{
	return link_.heartbeat.period_s;
}

static bool time_is_fresh(void)
{
	return clock_heard_ms() &&
	       clock_ms() - clock_heard_ms() < TIME_FRESH_MS;
}

/* ---- addresses ---- */

static unsigned addresses(void)
{
	return identity.enrolled ? identity.n_hub : agent.token.n_hub;
}

static const char *address_at(unsigned i)
{
	return identity.enrolled ? identity.hub[i] : agent.token.hub[i];
}

/* ---- the end of a connection ---- */

static void hang_up(void)
{
	struct http_client *client = link_.client;

	timer_cancel(&link_.beat);
	timer_cancel(&link_.daily);
	if (link_.welcome)
		state_set(ZAGENT_CONNECTING);
	link_.client = NULL;
	link_.welcome = false;
	watch_close();
	observe_offline();
	logs_close();
	wish_close();
	server_offline();
	http_client_free(client);
	tls_free(link_.tls);
	link_.tls = NULL;
}

static uint16_t dice(void)
{
	uint16_t random;

	wire_random(&random, sizeof(random));
	return random;
}

static void retry_in(uint32_t ms)
{
	timer_set(&agent.loop, &link_.retry, ms);
}

/* A round is over without success. */
static void pause_begin(const char *why)
{
	reason_set(link_.refused ? link_.refusal : why);
	link_.tried = 0;
	if (link_.refused) {
		state_set(ZAGENT_REFUSED);
		retry_in(backoff_slow_ms(&link_.refusals, dice()));
	} else {
		state_set(identity.enrolled ? ZAGENT_CONNECTING
					    : ZAGENT_ENROLLING);
		retry_in(backoff_next_ms(&link_.pause, dice()));
	}
	link_.refused = false;
}

/* Of a round, what a person has to mend is what is told. */
static void refusal_note(const char *why)
{
	link_.refused = true;
	text_copy(link_.refusal, sizeof(link_.refusal), why);
}

/* Another address, or a pause. */
static void failed(int error, const char *why)
{
	bool was_in = link_.welcome;
	bool lasted = was_in && clock_ms() - link_.welcome_ms > SETTLED_MS;

	hang_up();
	if (error == -EKEYREJECTED && !identity.enrolled)
		refusal_note(why);
	if (lasted)
		link_.pause.failures = 0;
	if (was_in) { /* the same one first: it was good */
		pause_begin(why);
		return;
	}
	link_.address = (link_.address + 1) % addresses();
	if (++link_.tried < addresses()) {
		retry_in(0);
		return;
	}
	pause_begin(why);
}

/* An end that decides: the purpose is another one now. */
static void proceed(void)
{
	hang_up();
	link_.tried = 0;
	link_.refused = false;
	retry_in(0);
}

static void refuse(const char *why)
{
	hang_up();
	refusal_note(why);
	pause_begin(why);
}

/* A certificate outside its dates: whose clock is right? */
static void outdated(int error, const char *why)
{
	if (!identity.enrolled) {
		link_.take_outdated = true;
		proceed();
	} else if (link_.purpose == LINK_SERVE && !time_is_fresh()) {
		link_.want_time = true;
		proceed();
	} else {
		failed(error, why);
	}
}

static void on_closed(struct http_client *client, int error, const char *text)
{
	char why[REASON_SIZE]; /* text is the client's, and goes with it */

	(void)client;
	text_copy(why, sizeof(why), text);
	if (link_.welcome && error == -ETIMEDOUT)
		heartbeat_died(&link_.heartbeat);
	if (error == -EKEYEXPIRED)
		outdated(error, why);
	else if (error == -EACCES && identity.enrolled)
		link_forbidden(why);
	else
		failed(error ? error : -ECONNRESET,
		       error ? why : "the hub closed the connection");
}

void link_lost(int error, const char *why)
{
	failed(error, why);
}

void link_again(void)
{
	failed(-ESHUTDOWN, "the hub asked to connect anew");
}

/* Our certificate is outdated by the hub's clock but not by ours, or we are
 * not wanted any more. */
void link_forbidden(const char *why)
{
	if (time_is_fresh()) {
		refuse(why);
	} else {
		link_.want_time = true;
		proceed();
	}
}

/* One at a time, lest a new one gives the old one more time. */
void link_suspect(void)
{
	if (!link_.client || link_.pinged)
		return;
	link_.pinged = true;
	http_ping(link_.client, PONG_MS);
}

/* ---- what a connection is for ---- */

static enum purpose purpose_now(void)
{
	if (!identity.enrolled)
		return LINK_ENROL;
	if (link_.want_time)
		return LINK_TIME;
	if (clock_now() > identity.facts.not_after)
		return time_is_fresh() ? LINK_RENEW : LINK_TIME;
	return LINK_SERVE;
}

static void time_done(int error, const char *why)
{
	char line[512];

	if (error == 0) {
		link_.want_time = false;
		proceed();
		return;
	}
	snprintf(line, sizeof(line), "%s: its time: %s", link_.dialled, why);
	failed(error, line);
}

/* On a connection that serves a failure is no more than that. */
static void time_checked(int error, const char *why)
{
	if (error < 0)
		log_warning("hub", "its time: %s", why);
}

static void enrolled(int error, const char *why)
{
	if (error == -EACCES) {
		refuse(why);
	} else if (error < 0) {
		failed(error, why);
	} else {
		log_notice("hub", "enrolled as %s, %s", identity.name,
			   identity.node);
		link_.session_size = 0;
		link_.refusals.failures = 0;
		link_.take_outdated = false;
		state_set(ZAGENT_CONNECTING);
		proceed();
	}
}

static void renewed(int error, const char *why)
{
	bool serves = link_.purpose == LINK_SERVE;

	if (error == 0 && clock_now() > identity.facts.not_after) {
		failed(-EKEYEXPIRED, "the hub's new certificate is outdated");
	} else if (error == 0) {
		log_notice("hub", "certificate renewed");
		link_.session_size = 0;
		proceed();
	} else if (serves) { /* there is time */
		log_warning("hub", "certificate not renewed: %s", why);
	} else if (error == -EACCES) {
		refuse(why);
	} else {
		failed(error, why);
	}
}

static void daily_fire(struct timer *t)
{
	int64_t at = cert_renew_at(&identity.facts, link_.dice);

	timer_set(&agent.loop, t, DAY_MS);
	if (!clock_heard_ms() || clock_ms() - clock_heard_ms() > DAY_MS / 2)
		clock_ask(link_.client, time_checked);
	if (clock_now() >= at)
		renew_ask(link_.client, renewed);
}

static void beat_fire(struct timer *t)
{
	timer_set(&agent.loop, t, link_.heartbeat.period_s * 1000);
	link_suspect();
}

/* With a clock that is not to be trusted TLS looked at no dates. */
static bool peer_is_good(void)
{
	const struct tls_peer *peer = http_client_peer(link_.client);

	return !clock_is_ours() || peer->resumed ||
	       clock_now() <= peer->not_after;
}

static void on_open(struct http_client *client)
{
	int err = 0;

	switch (link_.purpose) {
	case LINK_ENROL:
		err = enrol_ask(client, enrolled);
		break;
	case LINK_TIME:
		err = clock_ask(client, time_done);
		break;
	case LINK_RENEW:
		err = renew_ask(client, renewed);
		break;
	case LINK_SERVE:
		if (!peer_is_good())
			err = -EKEYEXPIRED;
		else
			watch_open(client);
		break;
	}
	if (err < 0)
		failed(err, strerror(-err));
}

void link_welcome(void)
{
	if (link_.welcome)
		return;
	link_.welcome = true;
	link_.pinged = false;
	link_.welcome_ms = clock_ms();
	link_.refusals.failures = 0;
	link_.tried = 0;
	link_.reason[0] = '\0';
	state_set(ZAGENT_CONNECTED);
	log_notice("hub", "connected to %s as %s", link_.dialled,
		   identity.name);
	timer_set(&agent.loop, &link_.beat, link_.heartbeat.period_s * 1000);
	observe_online();
	timer_set(&agent.loop, &link_.daily, 0);
}

static void on_pong(struct http_client *client, uint32_t round_trip_ms)
{
	(void)client;
	(void)round_trip_ms;
	link_.pinged = false;
	heartbeat_answered(&link_.heartbeat);
}

static void on_goaway(struct http_client *client)
{
	(void)client;
	if (link_.welcome)
		link_again();
}

/* The file is only for after a restart, so an old one will do. */
static void session_keep(void)
{
	if (!link_.session_size)
		return;
	link_.session_kept_ms = clock_ms();
	identity_session_save(
		link_.session_of,
		(struct span){ link_.session, link_.session_size });
}

static void on_session(struct http_client *client, struct span session)
{
	(void)client;
	if (link_.purpose != LINK_SERVE || session.size > IDENTITY_SESSION_MAX)
		return;
	memcpy(link_.session, session.data, session.size);
	link_.session_size = session.size;
	text_copy(link_.session_of, sizeof(link_.session_of), link_.dialled);
	if (!link_.session_kept_ms ||
	    clock_ms() - link_.session_kept_ms > SESSION_KEEP_MS)
		session_keep();
}

static const struct http_client_on client_on = {
	.open = on_open,
	.session = on_session,
	.pong = on_pong,
	.goaway = on_goaway,
	.closed = on_closed,
};

/* ---- dialling ---- */

static int tls_make(void)
{
	bool shows = link_.purpose == LINK_RENEW || link_.purpose == LINK_SERVE;
	struct tls_client_config config = { .alpn = "h2" };

	memcpy(config.pin, identity.pin, sizeof(config.pin));
	if (shows) {
		config.chain = span_of(identity.chain);
		config.key = identity.key;
	}
	switch (link_.purpose) {
	case LINK_ENROL:
		config.allow_expired = link_.take_outdated;
		break;
	case LINK_TIME:
	case LINK_RENEW:
		config.allow_expired = true;
		break;
	case LINK_SERVE:
		config.allow_expired = clock_is_ours();
		break;
	}
	return tls_client_new(&config, &link_.tls);
}

static int client_make(void)
{
	struct http_client_config config = {
		.loop = &agent.loop,
		.address = link_.dialled,
		.open_ms = OPEN_MS + dice() % 1000,
		.window_bytes = WINDOW_BYTES,
		.on = &client_on,
	};
	const char *next = address_at(link_.address);
	int err = tls_make();

	if (err < 0)
		return err;
	text_copy(link_.dialled, sizeof(link_.dialled), next);
	if (link_.purpose == LINK_SERVE && !strcmp(next, link_.session_of))
		config.session = (struct span){ link_.session,
						link_.session_size };
	config.tls = link_.tls;
	return http_client_new(&config, &link_.client);
}

static void dial(void)
{
	int err;

	link_.purpose = purpose_now();
	if (link_.address >= addresses())
		link_.address = 0;
	if (link_.purpose == LINK_SERVE)
		heartbeat_begin(&link_.heartbeat);
	err = client_make();
	if (err < 0)
		failed(err, strerror(-err));
}

static void retry_fire(struct timer *t)
{
	(void)t;
	dial();
}

/* The address that was good the last time, and its session. */
static void session_recall(void)
{
	link_.session_size = identity_session_load(link_.session_of,
						   link_.session);
	for (unsigned i = 0; i < addresses(); i++)
		if (!strcmp(address_at(i), link_.session_of))
			link_.address = i;
}

int link_open(void)
{
	const char *fixed = getenv("ZOOID_HEARTBEAT_S");
	uint64_t period_s = agent.heartbeat_s;

	if (fixed &&
	    (span_u64(span_of(fixed), 3600, &period_s) < 0 || !period_s)) {
		log_error("ZOOID_HEARTBEAT_S", "\"%s\": want seconds", fixed);
		return -EINVAL;
	}
	heartbeat_init(&link_.heartbeat, (uint32_t)period_s);
	link_.retry.fire = retry_fire;
	link_.beat.fire = beat_fire;
	link_.daily.fire = daily_fire;
	link_.dice = dice();
	session_recall();
	link_.state = ZAGENT_NONE;
	state_set(identity.enrolled ? ZAGENT_CONNECTING : ZAGENT_ENROLLING);
	retry_in(0);
	return 0;
}

void link_close(void)
{
	if (!agent.has_hub)
		return;
	session_keep();
	timer_cancel(&link_.retry);
	hang_up();
}
