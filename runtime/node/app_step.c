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

enum {
	BACKOFF_MIN_MS = 100,
	BACKOFF_MAX_MS = 30000,
	HEALTHY_MS = 60000,
	STOP_PATIENCE_MS = 10000,
	REDELETE_MS = 2000,
};

/* -------------------------------------------------------------- attempts */

/* A number in [0, n). Only spreads attempts in time. */
static uint32_t jitter(uint32_t n)
{
	uint32_t value = 0;

	(void)!getrandom(&value, sizeof(value), GRND_NONBLOCK);
	return n ? value % n : 0;
}

/* Arms the timer for the next attempt: twice the last wait, spread by a
 * quarter up and down. */
static uint32_t wait_longer(struct app *app)
{
	uint32_t wait = app->note.backoff_ms * 2;

	if (wait < BACKOFF_MIN_MS)
		wait = BACKOFF_MIN_MS;
	if (wait > BACKOFF_MAX_MS)
		wait = BACKOFF_MAX_MS;
	app->note.backoff_ms = wait;
	wait = wait * 3 / 4 + jitter(wait / 2);
	timer_set(app->host->loop, &app->timer, wait);
	return wait;
}

bool app_is_waiting(const struct app *app)
{
	return app->timer.deadline_ms != 0;
}

/* What no further attempt can change: the image is damaged or refused as it
 * is. */
static bool pull_is_final(int code)
{
	return code == -EBADMSG || code == -EINVAL || code == -EPERM ||
	       code == -ENOTSUP || code == -E2BIG || code == -ENOENT;
}

/* ENOENT and EBADMSG may be the store's: then the image is pulled again. Where
 * zrun went away nothing was tried yet. */
static bool start_is_final(const struct app *app, int code)
{
	if (app->want->restart == NODE_RESTART_NO && code != -ECONNRESET)
		return true;
	return code == -EPERM || code == -EINVAL || code == -ENOTSUP ||
	       code == -ENOEXEC || code == -EACCES;
}

static const char *reason_of(const struct zrun_reply *reply)
{
	return reply->text[0] ? reply->text : strerror(-reply->error);
}

/* app->final was set by the caller; `text` may be app->reason itself. */
static void app_fail(struct app *app, const char *text)
{
	if (text != app->reason)
		text_copy(app->reason, sizeof(app->reason), text);
	if (app->final)
		log_error(app->name, "%s", app->reason);
	else
		log_error(app->name, "%s; next attempt in %u ms", app->reason,
			  wait_longer(app));
	app_set(app, ZNODE_FAILED);
}

/* ----------------------------------------------------------------- calls */

static void call_prepare(struct app *app)
{
	struct zrun_request *q = &app->call.request;

	memset(q, 0, sizeof(*q));
	text_copy(q->id, sizeof(q->id), app->id);
}

/* Nobody answers: zrun is being replaced. Its socket is init's, so this is
 * rare and short. */
static void call_failed(struct app *app, int code)
{
	log_warning(app->name, "zrun: %s", strerror(-code));
	timer_set(app->host->loop, &app->timer, BACKOFF_MIN_MS);
}

static bool call_start(struct app *app, uint32_t verb, int memfd,
		       void (*done)(struct call *, const struct zrun_reply *))
{
	int r;

	app->call.done = done;
	r = call_send(app->host->loop, &app->call, verb, memfd);
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

static void delete_done(struct call *call, const struct zrun_reply *reply)
{
	struct app *app = container_of(call, struct app, call);

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
		call_prepare(app);
		call_start(app, ZRUN_DELETE, -1, delete_done);
	}
	return false;
}

/* ----------------------------------------------------------------- image */

int app_image_find(struct app *app)
{
	if (app->image)
		return 0;
	app->image = malloc(sizeof(*app->image));
	if (!app->image) {
		strcpy(app->reason, "out of memory");
		return -ENOMEM;
	}
	return node_image_find(app->host->boot, app->want->image,
			       app->want->tag, app->image, app->reason);
}

void app_image_drop(struct app *app)
{
	if (app->image)
		node_image_free(app->image);
	free(app->image);
	app->image = NULL;
}

static void pull_done(struct call *call, const struct zrun_reply *reply)
{
	struct app *app = container_of(call, struct app, call);

	if (reply->error) {
		app->final = pull_is_final(reply->error);
		app_fail(app, reason_of(reply));
	} else {
		app->pulled = true;
		app_set(app, ZNODE_IMAGE);
	}
	app_step(app);
}

/* zrun answers at once for an image that it has. */
void step_absent(struct app *app)
{
	int r;

	app_ports(app);
	if (app->alive) {
		app_set(app, ZNODE_RUNNING);
		return;
	}
	if (!clear_remains(app))
		return;
	if (!app->want) {
		record_drop(app);
		app->in_use = false;
		return;
	}
	if (!app_should_run(app) || app_is_waiting(app))
		return;
	r = app_image_find(app);
	if (r) {
		app_image_drop(app);
		app->final = pull_is_final(r);
		app_fail(app, app->reason);
		return;
	}
	call_prepare(app);
	digest_text(&app->image->manifest, app->call.request.digest);
	text_copy(app->call.request.path, sizeof(app->call.request.path),
		  app->want->image);
	if (call_start(app, ZRUN_UNPACK, -1, pull_done))
		app_set(app, ZNODE_PULLING);
}

/* ----------------------------------------------------------------- start */

/* How the instance ended, for people. */
static void describe_end(struct app *app)
{
	if (app->exit_code == CLD_EXITED)
		snprintf(app->reason, sizeof(app->reason), "exited with %d",
			 app->exit_status);
	else
		snprintf(app->reason, sizeof(app->reason),
			 "killed by signal %d (%s)", app->exit_status,
			 strsignal(app->exit_status));
}

static bool ended_well(const struct app *app)
{
	return app->exit_code == CLD_EXITED && app->exit_status == 0;
}

static bool runs_again(const struct app *app)
{
	if (!app->want)
		return false;
	switch (app->want->restart) {
	case NODE_RESTART_ALWAYS:
		return true;
	case NODE_RESTART_ON_FAILURE:
		return !ended_well(app);
	case NODE_RESTART_NO:
		break;
	}
	return false;
}

/* The instance ended: by wish, for good, or to be started again. */
void app_ended(struct app *app)
{
	bool wished = app->stopped || app->restart || !app->want;

	timer_cancel(&app->timer);
	describe_end(app);
	if (wished) {
		app->restart = false;
		app->note.backoff_ms = 0;
		log_info(app->name, "%s %s", app->id, app->reason);
	} else if (runs_again(app)) {
		if (app->ended_ms - app->started_ms >= HEALTHY_MS)
			app->note.backoff_ms = 0;
		app->note.restarts++;
		log_warning(app->name, "%s %s; starts again in %u ms", app->id,
			    app->reason, wait_longer(app));
	} else {
		app->final = true;
		log_notice(app->name, "%s %s", app->id, app->reason);
	}
	if (app->final && !ended_well(app))
		app_set(app, ZNODE_FAILED);
	else
		app_set(app, app->pulled ? ZNODE_IMAGE : ZNODE_ABSENT);
}

static void start_done(struct call *call, const struct zrun_reply *reply)
{
	struct app *app = container_of(call, struct app, call);

	app->remains = true;
	if (reply->error == 0 && !app->record)
		app->alive = true;
	if (reply->error && !app->alive) {
		app->pulled = false;
		app->final = start_is_final(app, reply->error);
		app_fail(app, reason_of(reply));
	} else {
		app->reason[0] = '\0';
		app->pid = app->alive ? reply->pid : 0;
		if (!app->started_ms)
			app->started_ms = clock_boot_ms();
		app_set(app, ZNODE_RUNNING);
	}
	app_step(app);
}

static void app_start(struct app *app)
{
	autoclose int memfd = -1;

	record_drop(app);
	app->instance++;
	snprintf(app->id, sizeof(app->id), "%.52s-%u", app->name,
		 app->instance);
	app->started_ms = app->ended_ms = 0;
	app->note.magic = APP_NOTE_MAGIC;
	app->note.stopped = 0;
	app->note.image = app->image->manifest;
	memfd = app_config(app);
	if (memfd < 0) {
		app->final = start_is_final(app, memfd);
		app_fail(app, app->reason);
		return;
	}
	call_prepare(app);
	digest_text(&app->image->manifest, app->call.request.digest);
	memcpy(app->call.request.note, &app->note, sizeof(app->note));
	if (call_start(app, ZRUN_START, memfd, start_done))
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
	if (!app->pulled)
		app_set(app, ZNODE_ABSENT);
	else if (app_should_run(app) && !app_is_waiting(app))
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
	if (!app->want || (app_should_run(app) && !app_is_waiting(app)))
		app_set(app, app->pulled ? ZNODE_IMAGE : ZNODE_ABSENT);
}

/* ------------------------------------------------------------------ stop */

static void kill_done(struct call *call, const struct zrun_reply *reply)
{
	struct app *app = container_of(call, struct app, call);

	if (reply->error && app->alive && reply->error != -ESRCH &&
	    reply->error != -ENOENT)
		log_warning(app->name, "cannot stop %s: %s", app->id,
			    reply->text);
	app_step(app);
}

static bool app_kill(struct app *app, int signal, uint32_t flags)
{
	call_prepare(app);
	app->call.request.arg = (uint32_t)signal;
	app->call.request.flags = flags;
	return call_start(app, ZRUN_KILL, -1, kill_done);
}

/* The image says by which signal; of a process that an earlier znode started,
 * the image is looked up only now. */
static int stop_signal(struct app *app)
{
	if (!app->image && app->want && app_image_find(app))
		app_image_drop(app);
	return node_signal(app->image ? app->image->config.stop_signal : "");
}

void step_running(struct app *app)
{
	app_ports(app);
	if (!app->alive) {
		app_ended(app);
		return;
	}
	if (app_should_run(app) && !app->restart)
		return;
	if (app_kill(app, stop_signal(app), 0)) {
		app_set(app, ZNODE_STOPPING);
		timer_set(app->host->loop, &app->timer, STOP_PATIENCE_MS);
	}
}

void step_stopping(struct app *app)
{
	if (!app->alive) {
		app_ended(app);
		return;
	}
	if (app_is_waiting(app))
		return;
	log_warning(app->name, "%s does not stop, killing it", app->id);
	if (app_kill(app, SIGKILL, ZRUN_KILL_ALL))
		timer_set(app->host->loop, &app->timer, STOP_PATIENCE_MS);
}
