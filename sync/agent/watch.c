/* Where the stream resumes is what znode obeys. Whenever that turns out to be
 * other than what the hub was told (znode lost its document, or a second znode
 * had a newer one), the stream is asked for anew: state, not history. */
#define _GNU_SOURCE
#include "watch.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "agent.h"
#include "ask.h"
#include "base/log.h"
#include "frame.h"
#include "identity.h"
#include "json.h"
#include "link.h"
#include "node.h"

enum { ZNODE_WAIT_MS = 2000, ERROR_MAX = 512, ANSWER_MS = 15000 };

static struct {
	struct http_client *client;
	struct http_call *call;
	struct timer patience; /* with znode */
	struct timer broken;
	struct frame_reader reader;
	int status;
	char error[ERROR_MAX]; /* body of a refusal */
	size_t n_error;
	bool known; /* what znode obeys */
	uint64_t epoch, revision;
} watch;

/* ---- frames ---- */

static void take(const struct frame *frame)
{
	switch (frame->type) {
	case FRAME_DESIRED:
		node_desired(frame->bytes);
		break;
	case FRAME_ASK:
		ask_take(watch.client, frame->bytes);
		break;
	case FRAME_BYE:
		link_again();
		break;
	case FRAME_SYNCED:
	default: /* of a later version */
		break;
	}
}

static void error_collect(struct span bytes)
{
	size_t room = sizeof(watch.error) - watch.n_error;
	size_t n = bytes.size < room ? bytes.size : room;

	memcpy(watch.error + watch.n_error, bytes.data, n);
	watch.n_error += n;
}

static void on_body(struct http_call *call, struct span bytes)
{
	struct frame frame;
	int n = 1;

	http_call_consumed(call, bytes.size);
	if (watch.status != 200) {
		error_collect(bytes);
		return;
	}
	while (n == 1 && watch.call == call) {
		n = frame_read(&watch.reader, &bytes, &frame);
		if (n == 1)
			take(&frame);
	}
	if (watch.call != call)
		return;
	if (n < 0)
		link_lost(n, n == -E2BIG ? "the hub sent too large a frame"
					 : "out of memory");
}

static void on_head(struct http_call *call, int status)
{
	(void)call;
	watch.status = status;
	if (status != 200)
		return;
	link_welcome();
	if (watch.epoch)
		watch_acknowledge(watch.epoch, watch.revision);
}

/* Only the stream: with the whole connection this would have been cancelled. */
static void broken_fire(struct timer *t)
{
	(void)t;
	link_lost(-ECONNRESET, "the hub broke the watch stream off");
}

static void on_done(struct http_call *call, int error, int status)
{
	char why[200];

	if (watch.call != call) /* we ended it */
		return;
	watch.call = NULL;
	if (error < 0) {
		timer_set(&agent.loop, &watch.broken, 0);
		return;
	}
	if (status == 200) {
		link_lost(-ECONNRESET, "the hub ended the watch stream");
		return;
	}
	error_text(status, (struct span){ watch.error, watch.n_error }, why,
		   sizeof(why));
	if (status == 401 || status == 403)
		link_forbidden(why);
	else
		link_lost(-EPROTO, why);
}

/* ---- asking ---- */

static void begin(void)
{
	static const struct http_call_on on = {
		.head = on_head,
		.body = on_body,
		.done = on_done,
	};
	char path[256];
	struct http_call_config config = {
		.method = "GET",
		.path = path,
		.on = &on,
	};
	int err;

	timer_cancel(&watch.patience);
	frame_reset(&watch.reader);
	watch.status = 0;
	watch.n_error = 0;
	snprintf(path, sizeof(path),
		 "/v1/nodes/%s/desired?epoch=%" PRIu64 "&revision=%" PRIu64
		 "&watch=1&heartbeat=%u",
		 identity.node, watch.epoch, watch.revision,
		 link_heartbeat_s());
	err = http_call(watch.client, &config, &watch.call);
	if (err < 0)
		link_lost(err, strerror(-err));
}

static void patience_fire(struct timer *t)
{
	(void)t;
	begin();
}

void watch_open(struct http_client *client)
{
	watch.client = client;
	watch.patience.fire = patience_fire;
	watch.broken.fire = broken_fire;
	if (watch.known)
		begin();
	else
		timer_set(&agent.loop, &watch.patience, ZNODE_WAIT_MS);
}

static void end(void)
{
	struct http_call *call = watch.call;

	watch.call = NULL;
	if (call)
		http_call_cancel(call);
}

void watch_close(void)
{
	timer_cancel(&watch.patience);
	timer_cancel(&watch.broken);
	watch.client = NULL;
	end();
	frame_reset(&watch.reader);
}

void watch_revision(uint64_t epoch, uint64_t revision)
{
	bool same = epoch == watch.epoch && revision == watch.revision;

	watch.known = true;
	watch.epoch = epoch;
	watch.revision = revision;
	if (!watch.client || (watch.call && same))
		return;
	end();
	begin();
}

void watch_obeyed(uint64_t *epoch, uint64_t *revision)
{
	*epoch = watch.epoch;
	*revision = watch.revision;
}

/* ---- acknowledging ---- */

static void acknowledged(void *user, int error, int status, struct span body)
{
	char why[200];

	(void)user;
	if (error == -ETIMEDOUT)
		link_suspect();
	if (error < 0 || status == 200)
		return;
	error_text(status, body, why, sizeof(why));
	log_warning("hub", "does not take the acknowledgement: %s", why);
}

void watch_acknowledge(uint64_t epoch, uint64_t revision)
{
	struct http_client *client = link_client();
	char path[128], json[96];
	struct http_call_config config = {
		.method = "POST",
		.path = path,
		.timeout_ms = ANSWER_MS,
	};
	int n;

	watch.known = true;
	watch.epoch = epoch;
	watch.revision = revision;
	if (!client) /* told with the next connection */
		return;
	snprintf(path, sizeof(path), "/v1/nodes/%s/acknowledged",
		 identity.node);
	n = snprintf(json, sizeof(json),
		     "{\"epoch\":%" PRIu64 ",\"revision\":%" PRIu64 "}", epoch,
		     revision);
	config.body = http_bytes((struct span){ json, (size_t)n });
	http_fetch(client, &config, 4096, acknowledged, NULL);
}
