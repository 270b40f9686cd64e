/* What an application does next, by its state, and what the answers mean. */
#define _GNU_SOURCE
#include "app_step.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/fd.h"
#include "base/log.h"

#include "config.h"
#include "floods.h"
#include "node.h"
#include "signed.h"
#include "sweep.h"
#include "usage.h"
#include "volume.h"

enum {
	BACKOFF_MIN_MS = 100,
	BACKOFF_MAX_MS = 30000,
	HEALTHY_MS = 60000,
	STOP_PATIENCE_MS = 10000,
	REDELETE_MS = 2000,
};

/* -------------------------------------------------------------- attempts */

uint32_t app_jitter(uint32_t wait_ms)
{
	uint32_t value = 0;

	/* Only spreads attempts in time. */
	(void)!getrandom(&value, sizeof(value), GRND_NONBLOCK);
	return wait_ms * 3 / 4 + value % (wait_ms / 2 + 1);
}

/* Arms the timer for the next attempt, after twice the last wait. */
static uint32_t wait_longer(struct app *app)
{
	uint32_t wait = app->note.backoff_ms * 2;

	if (wait < BACKOFF_MIN_MS)
		wait = BACKOFF_MIN_MS;
	if (wait > BACKOFF_MAX_MS)
		wait = BACKOFF_MAX_MS;
	app->note.backoff_ms = wait;
	wait = app_jitter(wait);
	timer_set(app->host->loop, &app->timer, wait);
	return wait;
}

bool app_is_waiting(const struct app *app)
{
	return app->timer.deadline_ms || app->refetch.deadline_ms;
}

/* ENOENT and EBADMSG may be the store's: then the image is pulled again. Where
 * zrun went away nothing was tried yet. */
static bool start_is_final(const struct app *app, int code)
{
	/* What is not plugged in may come (devices.c). */
	if (!app->want || app_is_outdated(app) || code == -ENODEV)
		return false;
	if (app->want->restart == DESIRED_RESTART_NO && code != -ECONNRESET)
		return true;
	return code == -EPERM || code == -EINVAL || code == -ENOTSUP ||
	       code == -ENOEXEC || code == -EACCES;
}

static const char *reason_of(const struct zrun_reply *reply)
{
	return reply->text[0] ? reply->text : strerror(-reply->error);
}

void app_fail(struct app *app, const char *text)
{
	if (text != app->reason)
		text_copy(app->reason, sizeof(app->reason), text);
	floods_say(app, app->reason);
	if (app->final)
		log_error(app->name, "%s", app->reason);
	else
		log_error(app->name, "%s; next attempt in %u ms", app->reason,
			  wait_longer(app));
	app_set(app, ZNODE_FAILED);
}

/* ----------------------------------------------------------------- calls */

/* Nobody answers: zrun is being replaced. Its socket is init's, so this is
 * rare and short. */
static void call_failed(struct app *app, int code)
{
	log_warning(app->name, "zrun: %s", strerror(-code));
	timer_set(app->host->loop, &app->timer, BACKOFF_MIN_MS);
}

static bool call_start(struct app *app, uint32_t verb, int memfd,
		       void (*done)(struct call *, const union call_reply *,
				    int fd))
{
	int r;

	app->call.done = done;
	r = call_send(app->host->loop, &app->call, CALL_ZRUN, verb, memfd);
	if (r)
		call_failed(app, r);
	return r == 0;
}

/* --------------------------------------------------------------- remains */

/* The record of the previous instance's end is acknowledged only now, so that
 * it can be seen until there is something newer. */
static void record_drop(struct app *app)
{
	struct init_key key = { .kind = INIT_KIND_PIDFD };
	int r;

	if (!app->record)
		return;
	text_copy(key.container, sizeof(key.container), app->id);
	r = link_call(&app->host->link, INIT_DROP, &key, NULL, 0);
	if (r && r != -ENOENT)
		log_warning(app->name, "record of %s: %s", app->id,
			    strerror(-r));
	app->record = false;
}

static void delete_done(struct call *call, const union call_reply *any, int fd)
{
	struct app *app = container_of(call, struct app, call);
	const struct zrun_reply *reply = &any->zrun;

	if (reply->error && reply->error != -ENOENT) {
		log_warning(app->name, "cannot delete %s: %s", app->id,
			    reply->text);
		timer_set(app->host->loop, &app->redelete, REDELETE_MS);
	} else {
		app->remains = false;
	}
	app_step(app);
}

/* Removes what is left of an instance. Returns whether that is done. */
static bool clear_remains(struct app *app)
{
	if (!app->remains)
		return true;
	if (!app->redelete.deadline_ms) {
		call_zrun(&app->call, app->id);
		call_start(app, ZRUN_DELETE, -1, delete_done);
	}
	return false;
}

/* ----------------------------------------------------------------- image */

static bool is_done_extra(const struct app *app)
{
	return app->extra_of && !app_should_run(app);
}

static void app_free(struct app *app)
{
	if (app->old)
		app_release(app);
	if (app->successor) {
		app->successor->old = NULL;
		app_ports(app->successor);
	}
	timer_cancel(&app->lifetime);
	scale_forget(app);
	if (app->extra_of && app->extra_of->instance < app->instance)
		app->extra_of->instance = app->instance;
	record_drop(app);
	app_image_drop(app);
	app_secrets_drop(app);
	timer_cancel(&app->refetch);
	timer_cancel(&app->timer);
	timer_cancel(&app->rebind);
	timer_cancel(&app->redelete);
	app->in_use = false;
	sweep_due();
	/* Its successor may be old itself by now. */
	if ((app->retired || app->extra_of) && app->host->find(app->name))
		app_step(app->host->find(app->name));
}

/* On towards an image that is here. */
static void image_step(struct app *app)
{
	int r = app_image_need(app);

	app_set(app, r > 0   ? ZNODE_IMAGE
		     : r < 0 ? ZNODE_FAILED
			     : ZNODE_PULLING);
}

void step_absent(struct app *app)
{
	app_ports(app);
	if (app->alive) {
		app_set(app, ZNODE_RUNNING);
		return;
	}
	if (!clear_remains(app))
		return;
	if (!app->want || is_done_extra(app))
		app_free(app);
	else if (app_should_run(app) && !app_is_waiting(app))
		image_step(app);
}

void step_pulling(struct app *app)
{
	if (app_should_run(app) || app->final) {
		image_step(app);
	} else {
		app_image_drop(app);
		app_set(app, ZNODE_ABSENT);
		app->host->fetched(app);
	}
}

/* ----------------------------------------------------------------- start */

/* How the instance ended, for people. */
static void describe_end(struct app *app)
{
	uint64_t limit = app->want ? app->want->memory_bytes >> 20 : 0;

	if (app->exit_code == CLD_EXITED)
		snprintf(app->reason, sizeof(app->reason), "exited with %d",
			 app->exit_status);
	else if (app->exit_status == SIGKILL && usage_lacked_memory(app->id))
		snprintf(app->reason, sizeof(app->reason),
			 limit ? "out of memory (its limit is %llu MB)"
			       : "out of memory",
			 (unsigned long long)limit);
	else
		snprintf(app->reason, sizeof(app->reason),
			 "killed by signal %d (%s)", app->exit_status,
			 strsignal(app->exit_status));
}

bool app_ended_well(const struct app *app)
{
	return app->exit_code == CLD_EXITED && app->exit_status == 0;
}

static bool has_tries(const struct app *app)
{
	return !app->want->restart_max ||
	       app->note.restarts < app->want->restart_max;
}

/* The end of the first process of a pid namespace kills all others in it; that
 * end is told later than theirs. */
static bool ended_with_pod(const struct app *app)
{
	return app->want->pod.shares & DESIRED_POD_PID &&
	       app->exit_code == CLD_KILLED && app->exit_status == SIGKILL;
}

static bool runs_again(const struct app *app)
{
	if (!app->want)
		return false;
	if (ended_with_pod(app))
		return true;
	switch (app->want->restart) {
	case DESIRED_RESTART_ALWAYS:
	case DESIRED_RESTART_UNLESS_STOPPED:
		return true;
	case DESIRED_RESTART_ON_FAILURE:
		return !app_ended_well(app) && has_tries(app);
	case DESIRED_RESTART_NO:
		break;
	}
	return false;
}

/* The instance ended: by wish, for good, or to be started again. */
void app_ended(struct app *app)
{
	bool wished = app->stopped || app->restart || !app->want ||
		      app->reactor.rests || app_is_outdated(app) ||
		      is_done_extra(app);

	timer_cancel(&app->timer);
	describe_end(app);
	if (wished) {
		app->restart = false;
		app->note.backoff_ms = 0;
		log_info(app->name, "%s %s", app->id, app->reason);
		if (app->reactor.rests)
			app->reason[0] = '\0';
	} else if (runs_again(app)) {
		if (app->note.restored)
			checkpoint_distrust(app);
		if (app->ended_ms - app->started_ms >= HEALTHY_MS)
			app->note.backoff_ms = 0;
		app->note.restarts++;
		log_warning(app->name, "%s %s; starts again in %u ms", app->id,
			    app->reason, wait_longer(app));
	} else {
		app->final = true;
		log_notice(app->name, "%s %s", app->id, app->reason);
	}
	if (app->final && !app_ended_well(app))
		app_set(app, ZNODE_FAILED);
	else
		app_set(app, app->pulled ? ZNODE_IMAGE : ZNODE_ABSENT);
}

/* The image that ran before is needed no more, now that the next one runs. */
static void image_ran(struct app *app)
{
	if (app->ran && digest_equal(&app->ran_image, &app->note.image))
		return;
	app->ran = true;
	app->ran_image = app->note.image;
	sweep_due();
}

static void start_done(struct call *call, const union call_reply *any, int fd)
{
	struct app *app = container_of(call, struct app, call);
	const struct zrun_reply *reply = &any->zrun;

	app->remains = true;
	if (reply->error == 0 && !app->record)
		app->alive = true;
	if (checkpoint_is_missed(app, reply)) {
		app_set(app, ZNODE_IMAGE);
	} else if (reply->error && !app->alive) {
		app->pulled = false;
		app->suspect = reply->error == -ENOENT ||
			       reply->error == -EBADMSG;
		app->final = start_is_final(app, reply->error);
		app_fail(app, reason_of(reply));
	} else {
		app->reason[0] = '\0';
		app->suspect = false;
		image_ran(app);
		app->pid = app->alive ? reply->pid : 0;
		if (!app->started_ms)
			app->started_ms = clock_boot_ms();
		checkpoint_started(app);
		app_set(app, ZNODE_RUNNING);
		checkpoint_begin(app);
	}
	app_step(app);
}

/* What is said of an instance is said of its content. */
static void note_fill(struct app *app)
{
	struct app_note *note = &app->note;
	const struct app *owner = app_pod_owner(app);

	if (app_is_outdated(app))
		note->restarts = note->backoff_ms = 0;
	note->magic = APP_NOTE_MAGIC;
	note->stopped = note->rests = 0;
	note->extra = app->extra_of != NULL;
	note->born_ms = clock_boot_ms();
	note->stop_signal =
		app->want->stop_signal
			? (uint32_t)node_signal(app->want->stop_signal)
			: 0;
	note->stop_grace_ms = app->want->stop_grace_ms;
	note->number = app->number;
	note->pod = owner ? owner->instance : 0;
	note->image = app->manifest;
	note->content = app->want->content;
	note->keep = (struct zlog_keep){ app->want->log_bytes,
					 app->want->log_files };
}

static void volume_done(struct call *call, const union call_reply *any, int fd)
{
	struct app *app = container_of(call, struct app, call);
	const struct zrun_reply *reply = &any->zrun;

	if (reply->error) {
		/* One that another application makes may come. */
		app->final = reply->error != -ENOENT &&
			     start_is_final(app, reply->error);
		app_fail(app, reason_of(reply));
	} else {
		app->n_volumes++;
	}
	app_step(app);
}

/* Whether the volumes that it wants are there; else the next is being made. */
static bool volumes_ready(struct app *app)
{
	const struct desired_app *want = app->want;
	struct zrun_request *q = &app->call.request.zrun;
	const struct desired_mount *m;

	while (app->n_volumes < want->n_mounts &&
	       want->mount[app->n_volumes].type != DESIRED_MOUNT_VOLUME)
		app->n_volumes++;
	if (app->n_volumes == want->n_mounts)
		return true;
	m = &want->mount[app->n_volumes];
	call_zrun(&app->call, app->id);
	volume_name(want, m, q->path);
	q->arg = (uint32_t)((m->size_bytes + (1 << 20) - 1) >> 20);
	q->flags = m->external ? ZRUN_VOLUME_THERE : 0;
	call_start(app, ZRUN_VOLUME, -1, volume_done);
	return false;
}

/* Whether serve has looked at the document as it is now. Where it cannot, who
 * has no grant may try: what serve refuses it says. */
static bool grants_ready(struct app *app)
{
	int r = app->local ? 1 : signed_look(app->host);

	if (r >= 0 || !app->want->grants.n)
		return r != 0;
	app->final = start_is_final(app, r);
	app_fail(app, signed_reason());
	return false;
}

static uint32_t next_instance(const struct app *app)
{
	uint32_t last = 0;

	for (struct app *other = NULL; (other = node_named(app->name, other));)
		if (other->instance > last)
			last = other->instance;
	return last + 1;
}

static void app_start(struct app *app)
{
	autoclose int memfd = -1;

	app->sleep.failed = app->sleep.ends = false;
	app->drain = APP_SERVES;
	app->n_volumes = 0;
	record_drop(app);
	app->instance = next_instance(app);
	snprintf(app->id, sizeof(app->id), "%.52s-%u", app->name,
		 app->instance);
	app->started_ms = app->ended_ms = 0;
	app_ports_want(app);
	memfd = app_config(app);
	app_secrets_drop(app);
	note_fill(app);
	if (memfd < 0) {
		app->final = start_is_final(app, memfd);
		app_fail(app, app->reason);
		return;
	}
	call_zrun(&app->call, app->id);
	digest_text(&app->manifest, app->call.request.zrun.digest);
	if (call_start(app, checkpoint_prepare(app) ? ZRUN_RESTORE : ZRUN_START,
		       memfd, start_done))
		app_set(app, ZNODE_STARTING);
}

void step_image(struct app *app)
{
	app_ports(app);
	if (app->alive) {
		app_set(app, ZNODE_RUNNING);
		return;
	}
	if (!clear_remains(app))
		return;
	if (!app->pulled || is_done_extra(app))
		app_set(app, ZNODE_ABSENT);
	else if (app_should_run(app) && !app->reactor.rests &&
		 !app_is_waiting(app) && !app_waits_for(app) &&
		 volumes_ready(app) && app_secrets_ready(app) &&
		 grants_ready(app))
		app_start(app);
}

void step_failed(struct app *app)
{
	app_ports(app);
	if (app->alive) {
		app_set(app, ZNODE_RUNNING);
		return;
	}
	if (!clear_remains(app))
		return;
	if (!app->want || is_done_extra(app) ||
	    (app_should_run(app) && !app_is_waiting(app)))
		app_set(app, app->pulled ? ZNODE_IMAGE : ZNODE_ABSENT);
}

/* ------------------------------------------------------------------ stop */

static void kill_done(struct call *call, const union call_reply *any, int fd)
{
	struct app *app = container_of(call, struct app, call);
	const struct zrun_reply *reply = &any->zrun;

	if (reply->error && app->alive && reply->error != -ESRCH &&
	    reply->error != -ENOENT)
		log_warning(app->name, "cannot stop %s: %s", app->id,
			    reply->text);
	app_step(app);
}

static bool app_kill(struct app *app, int signal, uint32_t flags)
{
	call_zrun(&app->call, app->id);
	app->call.request.zrun.arg = (uint32_t)signal;
	app->call.request.zrun.flags = flags;
	return call_start(app, ZRUN_KILL, -1, kill_done);
}

/* Where nobody else did, the image says by which signal. */
static int stop_signal(struct app *app)
{
	struct node_image *image = app->note.stop_signal
					   ? NULL
					   : app_image_of_instance(app);
	int signal = node_signal(image ? image->config.stop_signal : "");

	if (app->note.stop_signal)
		signal = (int)app->note.stop_signal;
	if (image)
		node_image_free(image);
	free(image);
	return signal;
}

/* Whether an instance that runs is to run on: until it may be replaced. */
static bool goes_on(struct app *app)
{
	if (app->successor)
		return true;
	if (app->extra_of)
		return app_should_run(app);
	if (!app_should_run(app) || app->restart || app->reactor.rests ||
	    app_pod_is_lost(app))
		return false;
	return !(app_is_outdated(app) || app_is_aged(app)) ||
	       app_image_need(app) <= 0;
}

uint32_t app_grace_ms(const struct app *app)
{
	return app->note.stop_grace_ms ? app->note.stop_grace_ms
				       : STOP_PATIENCE_MS;
}

/* Whether it may be asked to end now. A person who wants it to end does not
 * wait; for the next one's sake it is not stopped in the middle of an answer.
 */
static bool may_end(struct app *app)
{
	bool drains = app->retired || app->extra_of;

	if (app_should_run(app) && !app->reactor.rests && !drains) {
		drains = !app->restart || app->drain != APP_SERVES;
		/* Also when the hub takes that back meanwhile. */
		app->restart = true;
	}
	return !drains || app_is_drained(app);
}

void step_running(struct app *app)
{
	app_ports(app);
	if (checkpoint_is_busy(app))
		return;
	if (!app->alive) {
		app_ended(app);
		return;
	}
	if (goes_on(app))
		return;
	if (app->extra_of)
		scale_step(app);
	if (app_should_run(app) && !app->restart && !app->reactor.rests &&
	    app_may_overlap(app) && app_retire(app))
		return;
	if (!may_end(app))
		return;
	if (app_kill(app, stop_signal(app), 0)) {
		app_set(app, ZNODE_STOPPING);
		timer_set(app->host->loop, &app->timer, app_grace_ms(app));
	}
}

/* It cannot end while it is frozen. */
void step_frozen(struct app *app)
{
	app_ports(app);
	if (sleep_is_dozing(app))
		return;
	if (!app->alive)
		app_ended(app);
	else if (!goes_on(app))
		reactor_wake(app, "it is to end");
}

void step_stopping(struct app *app)
{
	if (!app->alive) {
		app_ended(app);
		return;
	}
	if (app->timer.deadline_ms)
		return;
	log_warning(app->name, "%s does not stop, killing it", app->id);
	if (app_kill(app, SIGKILL, ZRUN_KILL_ALL))
		timer_set(app->host->loop, &app->timer, STOP_PATIENCE_MS);
}
