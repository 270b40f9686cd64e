/* The child's filter for system calls. From the moment it is loaded each call
 * made here must be allowed by it: that is why descriptors are marked before,
 * and why little follows. */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/seccomp.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "child.h"
#include "kernel.h"
#include "seccomp_listener.h"

static int load(struct child *c, unsigned flags)
{
	return kernel_result(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
				     c->filter_flags | flags, &c->filter));
}

/* One message on a stream: the descriptor goes with its first bytes. */
static int send_listener(int sock, int listener,
			 const struct seccomp_message *message)
{
	struct iovec data = { (void *)message->text, message->size };
	union {
		struct cmsghdr head;
		char space[CMSG_SPACE(sizeof(int))];
	} control = { .head = {
			      .cmsg_len = CMSG_LEN(sizeof(int)),
			      .cmsg_level = SOL_SOCKET,
			      .cmsg_type = SCM_RIGHTS,
		      } };
	struct msghdr head = { .msg_iov = &data,
			       .msg_iovlen = 1,
			       .msg_control = &control,
			       .msg_controllen = sizeof(control.space) };

	memcpy(CMSG_DATA(&control.head), &listener, sizeof(int));
	while (data.iov_len) {
		ssize_t n = sendmsg(sock, &head, MSG_NOSIGNAL);

		if (n < 0)
			return -errno;
		data.iov_base = (char *)data.iov_base + n;
		data.iov_len -= (size_t)n;
		head.msg_control = NULL;
		head.msg_controllen = 0;
	}
	return 0;
}

int child_seccomp(struct child *c)
{
	/* Only somebody with CAP_SYS_ADMIN in effect may load one without
	 * no_new_privs, and becoming another user took it out of effect. */
	if (!c->process->no_new_privileges) {
		int r = child_capabilities_raise(c);

		if (r < 0)
			return r;
	}
	if (c->listener < 0)
		return load(c, 0);
	int listener = load(c, SECCOMP_FILTER_FLAG_NEW_LISTENER);

	if (listener < 0)
		return listener;
	int r = send_listener(c->listener, listener, c->message);

	return r < 0 ? child_detail(c, r, "listenerPath") : 0;
}
