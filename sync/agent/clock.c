#define _GNU_SOURCE
#include "clock.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/stamp.h"
#include "identity.h"
#include "init/init.h"
#include "json.h"
#include "oci/envelope.h"

enum {
	OFF_MAX_S = 60,
	NONCE_SIZE = 33,
	ANSWER_MS = 10000,
	INIT_MS = 2000,
	KEEP_S = 20 * 3600, /* how often it is worth a write */
};

static struct {
	int64_t offset_s; /* what the machine's clock lacks */
	int64_t kept;
	uint64_t heard_ms;
	char nonce[NONCE_SIZE];
	void (*done)(int error, const char *why);
} state;

int64_t clock_now(void)
{
	return time(NULL) + state.offset_s;
}

bool clock_is_ours(void)
{
	return state.offset_s != 0;
}

uint64_t clock_heard_ms(void)
{
	return state.heard_ms;
}

static int init_set(int64_t seconds)
{
	struct init_request request = {
		.head = { sizeof(request), INIT_CLOCK },
		.clock = seconds,
	};
	autoclose int fd = ipc_connect("init");
	struct init_reply reply;
	int err = fd;

	if (fd >= 0)
		err = ipc_call(fd, &request, sizeof(request), NULL, 0, &reply,
			       sizeof(reply), NULL, INIT_MS);
	return err < 0 ? err : reply.error;
}

static void set(int64_t seconds, const char *whose)
{
	int64_t off = seconds - time(NULL);
	char text[STAMP_SIZE];
	int err;

	if (off >= -OFF_MAX_S && off <= OFF_MAX_S) {
		state.offset_s = 0;
		return;
	}
	stamp_make(seconds, text);
	err = init_set(seconds);
	if (err == 0) {
		state.offset_s = 0;
		log_notice("clock", "was off by %" PRId64 " s, set to %s, %s",
			   off, text, whose);
		return;
	}
	if (!state.offset_s)
		log_warning("clock",
			    "of this machine is off by %" PRId64
			    " s and cannot be set (%s): reckoning with %s, %s",
			    off, strerror(-err), text, whose);
	state.offset_s = off;
}

void clock_open(void)
{
	int64_t floor = identity_time_load();

	state.kept = floor;
	if (identity.enrolled && identity.facts.not_before > floor)
		floor = identity.facts.not_before;
	if (time(NULL) < floor)
		set(floor, "the last known time");
}

int clock_payload(struct span json, const char *nonce, int64_t *seconds)
{
	yyjson_doc *doc = yyjson_read(json.data, json.size, 0);
	yyjson_val *root = yyjson_doc_get_root(doc);
	char at[32], back[NONCE_SIZE];
	int err = 0;

	if (member_text(root, "time", at, sizeof(at)) < 0 ||
	    member_text(root, "nonce", back, sizeof(back)) < 0 ||
	    strcmp(back, nonce) != 0 || time_parse(span_of(at), seconds) < 0)
		err = -EBADMSG;
	yyjson_doc_free(doc);
	return err;
}

static int take(struct span body, char error[ENVELOPE_ERROR_SIZE])
{
	struct envelope_trust trust = { .root = span_of(identity.root) };
	struct span payload;
	int64_t seconds;
	int err;

	memcpy(trust.pin, identity.pin, sizeof(trust.pin));
	err = envelope_open(body, ENVELOPE_TIME, &trust, &payload, NULL, error);
	if (err < 0)
		return err;
	err = clock_payload(payload, state.nonce, &seconds);
	free((void *)(uintptr_t)payload.data);
	if (err < 0) {
		snprintf(error, ENVELOPE_ERROR_SIZE, "not what was asked for");
		return err;
	}
	state.heard_ms = clock_ms();
	set(seconds, "signed by the hub");
	if (seconds > state.kept + KEEP_S || seconds < state.kept) {
		identity_time_save(seconds);
		state.kept = seconds;
	}
	return 0;
}

static void answered(void *user, int error, int status, struct span body)
{
	char why[ENVELOPE_ERROR_SIZE] = "";

	(void)user;
	if (error == -ECANCELED)
		return;
	if (error < 0) {
		snprintf(why, sizeof(why), "%s", strerror(-error));
	} else if (status != 200) {
		error = -EPROTO;
		error_text(status, body, why, sizeof(why));
	} else {
		error = take(body, why);
	}
	state.done(error, why);
}

int clock_ask(struct http_client *client,
	      void (*done)(int error, const char *why))
{
	char path[64];
	struct http_call_config config = {
		.method = "GET",
		.path = path,
		.timeout_ms = ANSWER_MS,
	};
	uint8_t random[(NONCE_SIZE - 1) / 2];

	wire_random(random, sizeof(random));
	for (size_t i = 0; i < sizeof(random); i++)
		snprintf(state.nonce + 2 * i, 3, "%02x", random[i]);
	snprintf(path, sizeof(path), "/v1/time?nonce=%s", state.nonce);
	state.done = done;
	return http_fetch(client, &config, ENVELOPE_SIZE_MAX, answered, NULL);
}
