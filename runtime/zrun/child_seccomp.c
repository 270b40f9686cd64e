/* The child's filter for system calls. From the moment it is loaded each call
 * made here must be allowed by it: that is why descriptors are marked before,
 * and why little follows. */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/seccomp.h>
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
	int r = child_send_fd(
		c->listener,
		(struct iovec){ c->message->text, c->message->size }, listener);

	return r < 0 ? child_detail(c, r, "listenerPath") : 0;
}
