/* The secrets of an application, one after the other before each start. The
 * document has them sealed to the node's key, which only zagent has; what it
 * unseals is here until zrun has the config, and nowhere else: not in the
 * config of `znode inspect`, no message, no file. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"

#include "app_step.h"

enum { SECRET_MAX = 64 << 10 };

void app_secrets_drop(struct app *app)
{
	for (unsigned i = 0; app->secret && i < app->n_secrets; i++) {
		if (app->secret[i])
			explicit_bzero(app->secret[i], strlen(app->secret[i]));
		free(app->secret[i]);
	}
	free(app->secret);
	app->secret = NULL;
	app->n_secrets = 0;
}

static void secret_fail(struct app *app, const char *target, const char *why)
{
	char text[sizeof(app->reason)];

	snprintf(text, sizeof(text), "secret %.80s: %.120s", target, why);
	app_secrets_drop(app);
	app_fail(app, text);
}

/* The secret may hold no NUL, as no text of the document may. */
static int secret_take(struct app *app, int fd)
{
	autofree char *data = NULL;
	size_t size;
	int r = memfd_read(fd, SECRET_MAX, &data, &size);

	if (r == 0 && memchr(data, '\0', size))
		r = -EINVAL;
	if (r == 0) {
		app->secret[app->n_secrets] = strndup(data, size);
		r = app->secret[app->n_secrets] ? 0 : -ENOMEM;
	}
	if (data)
		explicit_bzero(data, size);
	return r;
}

static void unsealed(struct call *call, const union call_reply *any, int fd)
{
	struct app *app = container_of(call, struct app, call);
	const struct zagent_reply *reply = &any->zagent;
	const struct desired_app *want = app->want;
	const char *target;
	int r = reply->error;

	/* It was changed meanwhile. */
	if (!want || !app->secret || app->n_secrets >= want->n_mounts ||
	    want->mount[app->n_secrets].type != DESIRED_MOUNT_SECRET) {
		app_secrets_drop(app);
		app_step(app);
		return;
	}
	target = want->mount[app->n_secrets].target;
	if (r == 0)
		r = secret_take(app, fd);
	if (r < 0)
		secret_fail(app, target,
			    reply->text[0] ? reply->text : strerror(-r));
	else
		app->n_secrets++;
	app_step(app);
}

static void unseal(struct app *app, const struct desired_mount *m)
{
	autoclose int sealed = memfd_sealed("sealed", m->content,
					    strlen(m->content));
	int r = sealed;

	if (!m->content[0]) {
		secret_fail(app, m->target,
			    "the hub does not know this node's key until the "
			    "certificate is renewed");
		return;
	}
	app->call.done = unsealed;
	if (r >= 0)
		r = call_send(app->host->loop, &app->call, CALL_ZAGENT,
			      ZAGENT_UNSEAL, sealed);
	if (r < 0)
		secret_fail(app, m->target, strerror(-r));
}

bool app_secrets_missing(const struct app *app)
{
	const struct desired_app *want = app->want;

	for (unsigned i = 0; i < want->n_mounts; i++)
		if (want->mount[i].type == DESIRED_MOUNT_SECRET &&
		    (!app->secret || i >= app->n_secrets))
			return true;
	return false;
}

bool app_secrets_ready(struct app *app)
{
	const struct desired_app *want = app->want;

	if (!app->secret)
		app->secret = calloc(want->n_mounts + 1, sizeof(*app->secret));
	if (!app->secret)
		return false;
	while (app->n_secrets < want->n_mounts &&
	       want->mount[app->n_secrets].type != DESIRED_MOUNT_SECRET)
		app->n_secrets++;
	if (app->n_secrets == want->n_mounts)
		return true;
	unseal(app, &want->mount[app->n_secrets]);
	return false;
}
