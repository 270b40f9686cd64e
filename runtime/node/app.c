#define _GNU_SOURCE
#include "app.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/fd.h"
#include "base/log.h"

#include "app_step.h"
#include "config.h"

/* What is next in each state. Where nothing is listed, the reply to the call
 * under way decides. */
static const struct row {
	void (*step)(struct app *);
	bool told; /* entering it is worth a line */
} rows[] = {
	[ZNODE_ABSENT] = { .step = step_absent },
	[ZNODE_PULLING] = { .step = step_pulling, .told = true },
	[ZNODE_IMAGE] = { .step = step_image },
	[ZNODE_STARTING] = { .step = NULL },
	[ZNODE_RUNNING] = { .step = step_running, .told = true },
	[ZNODE_FROZEN] = { .step = step_frozen },
	[ZNODE_ASLEEP] = { .step = step_asleep },
	[ZNODE_STOPPING] = { .step = step_stopping },
	[ZNODE_FAILED] = { .step = step_failed },
};

_Static_assert(sizeof(rows) / sizeof(rows[0]) == ZNODE_STATE_COUNT,
	       "a row for each state");

/* What goes with a change of state. */
static void health_follow(struct app *app, enum znode_state before)
{
	if (app->state == ZNODE_FROZEN || app->state == ZNODE_ASLEEP)
		app_health_pause(app);
	else if (app->state == ZNODE_RUNNING &&
		 (before == ZNODE_FROZEN || app->sleep.waking))
		app_health_resume(app);
	else if (app->sleep.waking ||
		 (app->state == ZNODE_RUNNING && app->checkpoint.makes))
		return;
	else if (app->state == ZNODE_RUNNING)
		app_health_begin(app);
	else
		app_health_end(app);
}

/* The only place where a state is assigned. */
void app_set(struct app *app, enum znode_state state)
{
	enum znode_state before = app->state;

	if (before == state)
		return;
	app->state = state;
	app->since_ms = clock_boot_ms();
	health_follow(app, before);
	if (state != ZNODE_RUNNING && state != ZNODE_FROZEN) {
		reactor_end(app);
		limits_end(app);
	} else if (state == ZNODE_RUNNING && before != ZNODE_FROZEN) {
		limits_begin(app);
	}
	if (state != ZNODE_STARTING && state != ZNODE_RUNNING)
		checkpoint_end(app);
	if (rows[state].told && !app->retired && before != ZNODE_FROZEN)
		log_info(app->name, "%s %s", znode_state_name(state),
			 state == ZNODE_PULLING ? app->want->image : app->id);
	app_ports(app);
}

bool app_should_run(const struct app *app)
{
	if (app->extra_of)
		return !scale_is_surplus(app);
	return app->want && !app->stopped && !app->final;
}

bool app_is_outdated(const struct app *app)
{
	return app->want && app->note.magic &&
	       !digest_equal(&app->note.content, &app->want->content);
}

bool app_is_from_hub(const struct app *app)
{
	static const struct digest none;

	return app->note.magic && !digest_equal(&app->note.content, &none);
}

/* Of one that is left alone only the state is followed. */
static void app_follow(struct app *app)
{
	if (sleep_is_dozing(app) || app->state == ZNODE_ASLEEP)
		return;
	if (app->state == ZNODE_FROZEN)
		reactor_wake(app, "what is wanted is not known");
	app_set(app, app->alive ? ZNODE_RUNNING : ZNODE_ABSENT);
}

void app_step(struct app *app)
{
	enum znode_state before;

	if (!app->in_use)
		return;
	do {
		before = app->state;
		if (app->kept)
			app_follow(app);
		else if (!call_busy(&app->call) && rows[before].step)
			rows[before].step(app);
	} while (app->in_use && app->state != before);
	reactor_step(app);
	app_lifetime_step(app);
	if (!app->retired && !app->kept && (!app->want || app->stopped))
		app_drain_end(app);
	scale_follow(app);
	if (app->old && (!app->want || app->stopped || app_is_ready(app)))
		app_release(app);
	app->host->changed(app->extra_of ? app->extra_of : app);
	app_met(app);
}

/* ---------------------------------------------------------------- events */

static void timer_fire(struct timer *t)
{
	app_step(container_of(t, struct app, timer));
}

static void redelete_fire(struct timer *t)
{
	app_step(container_of(t, struct app, redelete));
}

static void refetch_fire(struct timer *t)
{
	app_step(container_of(t, struct app, refetch));
}

static void rebind_fire(struct timer *t)
{
	struct app *app = container_of(t, struct app, rebind);

	app_ports(app);
	app->host->changed(app);
}

void app_init(struct app *app, struct app_host *host, const char *name)
{
	memset(app, 0, sizeof(*app));
	app->in_use = true;
	app->host = host;
	app->since_ms = clock_boot_ms();
	app->timer.fire = timer_fire;
	app->rebind.fire = rebind_fire;
	app->refetch.fire = refetch_fire;
	app->redelete.fire = redelete_fire;
	call_init(&app->call);
	call_init(&app->fetch);
	call_init(&app->health.call);
	app->health.process = -1;
	reactor_init(app);
	sleep_init(app);
	checkpoint_init(app);
	limits_init(app);
	reclaim_init(app);
	call_init(&app->unpack);
	app->unpack_pipe = -1;
	text_copy(app->name, sizeof(app->name), name);
}

/* What failed is worth another attempt when a person or the hub says so. */
static void try_again(struct app *app)
{
	timer_cancel(&app->refetch);
	app->refetch_ms = 0;
}

static void content_changed(struct app *app)
{
	app->n_volumes = 0;
	app_secrets_drop(app);
	app_image_drop(app);
	if (app->want)
		app->reason[0] = '\0';
	app->final = app->refused = false;
	app->checkpoint.failures = 0;
	if (!app->alive) {
		timer_cancel(&app->timer);
		app->note.backoff_ms = 0;
	}
}

void app_want(struct app *app, const struct desired_app *want,
	      const struct node_app *local)
{
	bool same = app->want && want && app->local == local &&
		    digest_equal(&app->want->content, &want->content);

	app->want = want;
	app->local = local;
	try_again(app);
	if (!same)
		content_changed(app);
	reactor_want(app);
}

void app_refuse(struct app *app, const char *reason)
{
	if (app->refused)
		return;
	app->refused = app->final = true;
	text_copy(app->reason, sizeof(app->reason), reason);
	log_error(app->name, "%s", reason);
	app_set(app, ZNODE_FAILED);
}

void app_address(struct app *app, char text[16])
{
	if (!app->number)
		app->number = app->host->number();
	snprintf(text, 16, "10.64.%u.%u", (app->number + 1) >> 8 & 255,
		 (app->number + 1) & 255);
}

void app_note_take(struct app *app, const struct app_note *note)
{
	app->note = *note;
	if (app->note.magic != APP_NOTE_MAGIC)
		memset(&app->note, 0, sizeof(app->note));
	if (app->note.magic && !app->ran) {
		app->ran = true;
		app->ran_image = app->note.image;
	}
	if (app->note.number)
		app->number = app->note.number;
}

void app_process(struct app *app, const struct init_event *event)
{
	struct app_note note;

	app->alive = event->head.verb == INIT_EVENT_ADDED;
	app->record = event->head.verb == INIT_EVENT_EXITED;
	app->remains = true;
	app->pid = app->alive ? event->pid : 0;
	app->started_ms = event->started_ms;
	app->ended_ms = event->ended_ms;
	app->exit_code = event->exit_code;
	app->exit_status = event->exit_status;
	memcpy(&note, event->note, sizeof(note));
	app_note_take(app, &note);
}

void app_adopt(struct app *app)
{
	app->stopped |= app->note.stopped;
	reactor_found(app);
	if (!app->alive || !app_is_outdated(app))
		app_ports_want(app);
	if (app->record)
		app_ended(app);
}

/* A wish to stop must outlive this znode, so it is noted where the instance
 * is. */
static void stopped_set(struct app *app, bool stopped)
{
	struct init_key key = { .kind = INIT_KIND_PIDFD };
	int r;

	app->stopped = stopped;
	if (app->note.stopped == stopped || !(app->alive || app->record))
		return;
	app->note.stopped = stopped;
	text_copy(key.container, sizeof(key.container), app->id);
	r = link_call(&app->host->link, INIT_NOTE, &key, &app->note,
		      sizeof(app->note));
	if (r)
		log_warning(app->name, "note of %s: %s", app->id, strerror(-r));
}

void app_wish(struct app *app, enum znode_verb verb)
{
	if (verb == ZNODE_FREEZE || verb == ZNODE_THAW || verb == ZNODE_SLEEP) {
		reactor_wish(app, verb);
		app_step(app);
		return;
	}
	if (verb == ZNODE_START)
		sleep_wake(app);
	stopped_set(app, verb == ZNODE_STOP);
	app->reactor.rests &= verb == ZNODE_STOP;
	if (verb == ZNODE_RESTART) {
		scale_restart(app);
		checkpoint_distrust(app);
	}
	app->restart = verb == ZNODE_RESTART &&
		       (app->alive || app->state == ZNODE_ASLEEP);
	if (!app->stopped && !app->alive) {
		/* A person may have changed what it failed on. */
		if (app->state == ZNODE_FAILED && !app->pulled) {
			app_image_drop(app);
			app->host->fetched(app);
		}
		try_again(app);
		app->final = false;
		app->note.backoff_ms = 0;
		timer_cancel(&app->timer);
	}
	app_step(app);
}

bool app_settled(const struct app *app, enum znode_verb verb)
{
	if (verb == ZNODE_STOP)
		return !app->alive && !call_busy(&app->call) &&
		       app->state != ZNODE_STARTING && !scale_alive(app);
	if (verb == ZNODE_FREEZE)
		return !app->reactor.by_hand;
	if (verb == ZNODE_SLEEP)
		return !app->reactor.by_hand && !app->sleep.by_hand;
	/* Also where it cannot be woken, and starts from its image. */
	if (verb == ZNODE_THAW)
		return !sleep_holds_ports(app) &&
		       app->state != ZNODE_STARTING &&
		       !(app->state == ZNODE_IMAGE && app->remains);
	return !app->restart &&
	       (app->state == ZNODE_RUNNING || app->state == ZNODE_FAILED ||
		app->final || app_waits_for(app));
}

/* As they are now; NULL where none are known. */
static char *name_servers(int run)
{
	char *text;
	size_t size;

	return file_read(run, "resolv.conf", 4096, &text, &size) < 0 ? NULL
								     : text;
}

static int config_make(struct app *app, char *const *secret,
		       int (*write)(const struct node_config *, char **,
				    size_t *, char *))
{
	struct node_image *image;
	struct node_config config = { .app = app->want, .id = app->id };
	autofree char *text = NULL, *names = NULL;
	size_t size;
	int r;

	image = app_image_read(app, &r);
	if (!image)
		return r;
	if (app_pod_owner(app) && !app_pod_is_ready(app)) {
		text_copy(app->reason, sizeof(app->reason),
			  "whom it shares namespaces with does not run");
		node_image_free(image);
		free(image);
		return -EAGAIN;
	}
	app_address(app->want->pod.shares & DESIRED_POD_NETWORK
			    ? app_pod_owner(app)
			    : app,
		    config.address);
	if (app_pod_owner(app))
		config.pod_pid = app_pod_owner(app)->pid;
	if (app->want->host_shares & DESIRED_POD_NETWORK) {
		/* Its name to itself, as on other systems. */
		text_copy(config.address, sizeof(config.address), "127.0.1.1");
		names = name_servers(app->host->run);
		config.name_servers = names ? names : "";
	}
	config.image = &image->config;
	config.secret = (const char *const *)secret;
	r = write(&config, &text, &size, app->reason);
	node_image_free(image);
	free(image);
	if (r)
		return r;
	r = memfd_sealed("config.json", text, size);
	if (secret)
		explicit_bzero(text, size);
	return r;
}

/* Without them it would run with empty files. */
int app_config(struct app *app)
{
	if (app_secrets_missing(app)) {
		text_copy(app->reason, sizeof(app->reason),
			  "its secrets are not unsealed");
		return -EAGAIN;
	}
	return config_make(app, app->secret, node_config_write);
}

int app_config_shown(struct app *app)
{
	return config_make(app, NULL, node_config_write);
}

int app_probe(struct app *app)
{
	return config_make(app, NULL, node_config_probe);
}

static void describe_want(const struct app *app, struct znode_app *row)
{
	if (app->local)
		snprintf(row->image, sizeof(row->image), "%s%s%s",
			 app->local->image, app->local->tag[0] ? ":" : "",
			 app->local->tag);
	else
		text_copy(row->image, sizeof(row->image), app->want->image);
	row->memory_bytes = app->want->memory_bytes;
}

/* Until the next attempt at anything. */
static uint32_t retry_ms(const struct app *app)
{
	uint64_t now = clock_ms(), at = app->refetch.deadline_ms;

	if (!at && app->state != ZNODE_STOPPING)
		at = app->timer.deadline_ms;
	return at > now ? (uint32_t)(at - now) : 0;
}

static void describe_waiting(const struct app *app, struct znode_app *row)
{
	static const char *const conditions[] = {
		[DESIRED_STARTED] = "start",
		[DESIRED_HEALTHY] = "be healthy",
		[DESIRED_COMPLETED] = "complete",
	};
	const struct desired_dependency *d = app_waits_for(app);

	if (d)
		snprintf(row->reason, sizeof(row->reason), "waits for %s to %s",
			 d->app, conditions[d->condition]);
}

/* One that is not bound is the reason, where there is no better one. */
static void describe_ports(const struct app *app, struct znode_app *row)
{
	for (unsigned i = 0; i < app->n_ports; i++) {
		const struct app_port *p = &app->port[i];

		row->port[row->n_ports++] = (struct znode_port){
			p->host, p->container, p->bound, p->udp
		};
		if (p->error && !p->bound && !row->reason[0])
			snprintf(row->reason, sizeof(row->reason),
				 "port %u%s is not open: %s", p->host,
				 p->udp ? "/udp" : "", strerror(-p->error));
	}
}

void app_describe(const struct app *app, struct znode_app *row)
{
	memset(row, 0, sizeof(*row));
	text_copy(row->name, sizeof(row->name), app->name);
	text_copy(row->container, sizeof(row->container), app->id);
	text_copy(row->reason, sizeof(row->reason), app->reason);
	if (app->want)
		describe_want(app, row);
	row->from_hub = app->want ? !app->local : app_is_from_hub(app);
	/* What runs, else what is to run. */
	if (app->found && !app->alive)
		digest_text(&app->manifest, row->digest);
	else if (app->note.magic)
		digest_text(&app->note.image, row->digest);
	row->image_bytes = app->image_bytes;
	row->state = app->state;
	row->health = app->health.state;
	row->stopped = app->stopped;
	row->outdated = app->alive && app_is_outdated(app);
	row->pid = app->alive ? app->pid : 0;
	row->restarts = app->note.restarts;
	text_copy(row->limit, sizeof(row->limit), app->limits.text);
	row->since_ms = app->since_ms;
	row->started_ms = app->alive ? app->started_ms : 0;
	row->extras = scale_alive(app);
	row->retry_ms = retry_ms(app);
	reactor_describe(app, row);
	describe_waiting(app, row);
	describe_ports(app, row);
}
