#include "peer.h"

#include "fd.h"
#include "ipc.h"

void peer_init(struct peer *p)
{
	*p = (struct peer){ .fd = -1, .watch.fd = -1 };
}

int peer_accept(struct peer *p, struct loop *loop, int listen_fd,
		void (*ready)(struct watch *, uint32_t events))
{
	uid_t uid;
	pid_t pid;
	int error, fd = ipc_accept(listen_fd, &uid, &pid);

	if (fd < 0)
		return fd;
	if (!p) {
		fd_close(&fd);
		return 0;
	}
	p->watch.ready = ready;
	error = watch_add(loop, &p->watch, fd, EPOLLIN);
	if (error < 0) {
		fd_close(&fd);
		return error;
	}
	p->fd = fd;
	p->uid = uid;
	return 0;
}

void peer_close(struct peer *p, struct loop *loop)
{
	watch_del(loop, &p->watch);
	fd_close(&p->fd);
}

static void queue_ready(struct watch *w, uint32_t events)
{
	struct peer_queue *q = container_of(w, struct peer_queue, watch);
	struct peer *p;

	(void)events;
	while ((p = q->room())) {
		if (peer_accept(p, q->loop, w->fd, q->ready) < 0)
			return;
	}
	watch_events(q->loop, w, 0);
}

int peer_queue_open(struct peer_queue *q, struct loop *loop, int listen_fd)
{
	q->loop = loop;
	q->watch.ready = queue_ready;
	return watch_add(loop, &q->watch, listen_fd, EPOLLIN);
}

void peer_queue_close(struct peer_queue *q, struct peer *p)
{
	peer_close(p, q->loop);
	watch_events(q->loop, &q->watch, EPOLLIN);
}
