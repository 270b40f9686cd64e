#define _GNU_SOURCE
#include "ipc.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "fd.h"
#include "loop.h"
#include "path.h"
#include "span.h"

union control {
	struct cmsghdr head;
	char bytes[CMSG_SPACE(sizeof(int) * IPC_FDS_MAX)];
};

static int address_set(struct sockaddr_un *address, const char *path)
{
	*address = (struct sockaddr_un){ .sun_family = AF_UNIX };
	return span_copy(address->sun_path, sizeof(address->sun_path),
			 span_of(path));
}

int ipc_listen(const char *path, mode_t mode, uid_t owner)
{
	struct sockaddr_un address;
	autoclose int fd = -1;
	int err = address_set(&address, path);

	if (err < 0)
		return err;
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	unlink(path);
	/* Nobody connects before listen(), so mode and owner are set in time.
	 */
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	    chmod(path, mode) < 0 ||
	    (owner != (uid_t)-1 && chown(path, owner, (gid_t)owner) < 0) ||
	    listen(fd, 128) < 0)
		return -errno;
	return fd_take(&fd);
}

int ipc_connect(const char *name)
{
	struct sockaddr_un address;
	char path[sizeof(address.sun_path)];
	autoclose int fd = -1;
	int n = snprintf(path, sizeof(path), "%s/%s.sock", path_run(), name);

	if (n < 0 || (size_t)n >= sizeof(path))
		return -ENAMETOOLONG;
	address_set(&address, path);
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	while (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		if (errno != EINTR)
			return -errno;
	return fd_take(&fd);
}

int ipc_accept(int listen_fd, uid_t *uid, pid_t *pid)
{
	struct ucred peer;
	socklen_t size = sizeof(peer);
	autoclose int fd = accept4(listen_fd, NULL, NULL,
				   SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0)
		return -errno;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
		return -errno;
	*uid = peer.uid;
	*pid = peer.pid;
	return fd_take(&fd);
}

int ipc_send(int sock, const void *message, size_t size, const int *fds,
	     int n_fds)
{
	union control control = { 0 };
	struct iovec iov = { (void *)message, size };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	ssize_t n;

	assert(n_fds <= IPC_FDS_MAX);
	if (n_fds > 0) {
		size_t bytes = sizeof(int) * (size_t)n_fds;

		msg.msg_control = &control;
		msg.msg_controllen = CMSG_SPACE(bytes);
		control.head.cmsg_level = SOL_SOCKET;
		control.head.cmsg_type = SCM_RIGHTS;
		control.head.cmsg_len = CMSG_LEN(bytes);
		memcpy(CMSG_DATA(&control.head), fds, bytes);
	}
	do
		n = sendmsg(sock, &msg, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : 0;
}

static void fds_collect(struct msghdr *msg, struct ipc_fds *fds)
{
	fds->n = 0;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c;
	     c = CMSG_NXTHDR(msg, c)) {
		size_t n;

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		if (n > (size_t)(IPC_FDS_MAX - fds->n))
			n = (size_t)(IPC_FDS_MAX - fds->n);
		memcpy(fds->fd + fds->n, CMSG_DATA(c), n * sizeof(int));
		fds->n += (int)n;
	}
}

int ipc_recv(int sock, void *message, size_t size, struct ipc_fds *fds)
{
	union control control;
	struct ipc_fds came = { 0 };
	struct ipc_head head = { 0 };
	struct iovec iov = { message, size };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	ssize_t n;

	do
		n = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	fds_collect(&msg, &came);
	if (n == 0 && came.n == 0)
		return 0;
	if (n >= (ssize_t)sizeof(head))
		memcpy(&head, message, sizeof(head));
	if ((size_t)n != size || head.size != size ||
	    msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC) || (came.n && !fds)) {
		ipc_fds_close(&came);
		return -EBADMSG;
	}
	if (fds)
		*fds = came;
	return 1;
}

static int readable_wait(int sock, uint64_t deadline_ms)
{
	struct pollfd p = { .fd = sock, .events = POLLIN };

	for (;;) {
		uint64_t now = clock_ms();
		int n;

		if (now >= deadline_ms)
			return -ETIMEDOUT;
		n = poll(&p, 1, (int)(deadline_ms - now));
		if (n > 0)
			return 0;
		if (n < 0 && errno != EINTR)
			return -errno;
	}
}

int ipc_call(int sock, const void *request, size_t request_size, const int *fds,
	     int n_fds, void *reply, size_t reply_size,
	     struct ipc_fds *reply_fds, int timeout_ms)
{
	uint64_t deadline_ms = clock_ms() + (uint64_t)timeout_ms;
	int err = ipc_send(sock, request, request_size, fds, n_fds);

	while (err == 0) {
		err = readable_wait(sock, deadline_ms);
		if (err < 0)
			break;
		err = ipc_recv(sock, reply, reply_size, reply_fds);
		if (err == 1)
			return 0;
		if (err == 0)
			return -ECONNRESET;
		if (err == -EAGAIN)
			err = 0;
	}
	return err == -EPIPE ? -ECONNRESET : err;
}

void ipc_fds_close(struct ipc_fds *fds)
{
	for (int i = 0; i < fds->n; i++)
		fd_close(&fds->fd[i]);
	fds->n = 0;
}

int ipc_fds_take(struct ipc_fds *fds, int i)
{
	return i < fds->n ? fd_take(&fds->fd[i]) : -1;
}
