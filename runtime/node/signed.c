#define _GNU_SOURCE
#include "signed.h"

#include <string.h>

#include "app.h"
#include "call.h"

static struct {
	struct app_host *host;
	struct call call;
	uint64_t epoch, revision;	      /* that it has looked at, */
	uint64_t asked_epoch, asked_revision; /* or is asked to */
	int error; /* while those are told that wait */
	char reason[ZRUN_TEXT_SIZE];
} state;

static void looked(struct call *call, const union call_reply *any, int fd)
{
	const struct zrun_reply *reply = &any->zrun;

	(void)call;
	(void)fd;
	state.error = reply->error;
	if (reply->error) {
		text_copy(state.reason, sizeof(state.reason),
			  reply->text[0] ? reply->text
					 : strerror(-reply->error));
	} else {
		state.epoch = state.asked_epoch;
		state.revision = state.asked_revision;
	}
	state.host->looked();
	state.error = 0;
}

int signed_look(struct app_host *host)
{
	const struct desired *d = &host->document.desired;
	int r;

	if (state.epoch == d->epoch && state.revision == d->revision)
		return 1;
	if (state.error)
		return state.error;
	if (!state.host)
		call_init(&state.call);
	state.host = host;
	if (call_busy(&state.call))
		return 0;
	state.asked_epoch = d->epoch;
	state.asked_revision = d->revision;
	call_zrun(&state.call, "");
	state.call.done = looked;
	r = call_send(host->loop, &state.call, CALL_ZRUN, ZRUN_GRANTS, -1);
	if (r < 0)
		text_copy(state.reason, sizeof(state.reason), strerror(-r));
	return r;
}

const char *signed_reason(void)
{
	return state.reason;
}
