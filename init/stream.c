#include "stream.h"

#include <errno.h>
#include <string.h>

#include "base/ipc.h"
#include "store.h"

enum { EVENTS_AT_ONCE = 32 };

void stream_begin(struct stream *s, uint32_t kind, bool with_fds)
{
	*s = (struct stream){
		.on = true,
		.with_fds = with_fds,
		.kind = kind,
		.sync_at = store_sequence(),
	};
}

static enum init_event_what what_of(const struct store_entry *e)
{
	switch (e->state) {
	case STORE_EXITED:
		return INIT_EVENT_EXITED;
	case STORE_FREE:
	case STORE_GONE:
		return INIT_EVENT_GONE;
	case STORE_HELD:
		break;
	}
	return INIT_EVENT_ADDED;
}

static int tell(const struct stream *s, int sock, const struct store_entry *e)
{
	struct init_event event = {
		.head = { sizeof(event), what_of(e) },
		.key = e->key,
		.pid = e->pid,
		.exit_code = e->exit_code,
		.exit_status = e->exit_status,
		.started_ms = e->started_ms,
		.ended_ms = e->ended_ms,
	};
	bool send_fd = s->with_fds && e->state == STORE_HELD;

	memcpy(event.note, e->note, sizeof(event.note));
	return ipc_send(sock, &event, sizeof(event), &e->fd, send_fd);
}

static int tell_synced(int sock)
{
	struct init_event event = {
		.head = { sizeof(event), INIT_EVENT_SYNCED },
	};

	return ipc_send(sock, &event, sizeof(event), NULL, 0);
}

enum stream_result stream_pump(struct stream *s, int sock)
{
	for (int i = 0; i < EVENTS_AT_ONCE; i++) {
		const struct store_entry *e = store_next(s->kind, s->told);
		bool sync = !s->synced && (!e || e->changed > s->sync_at);
		int err;

		if (!e && !sync)
			return STREAM_IDLE;
		err = sync ? tell_synced(sock) : tell(s, sock, e);
		if (err == -EAGAIN || err == -ENOBUFS || err == -ENOMEM)
			return STREAM_FULL;
		if (err < 0)
			return STREAM_BROKEN;
		if (sync)
			s->synced = true;
		else
			s->told = e->changed;
	}
	return STREAM_FULL;
}
