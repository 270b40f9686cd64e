/* The network namespace of a container that is launched early.
 *
 * To make one takes the kernel as long as to mount all that a container has,
 * and is done while the child mounts: in the parent, which goes into the new
 * namespace, opens it, and comes back. The child waits for it where it first
 * matters: the files of sysfs are those of the namespace in which it is
 * mounted, as are the sysctls. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/ipc.h"
#include "launch.h"
#include "netlink.h"

static const struct ipc_head message = { sizeof(message), 'n' };

/* Whether it is the same before the namespace is joined and after. */
static bool is_indifferent(const struct op *op)
{
	const struct runtime_mount *m = op->object;

	switch (op->code) {
	case OP_PROPAGATION:
	case OP_ROOT_BIND:
	case OP_DEVICE:
	case OP_SYMLINK:
	case OP_MASK:
	case OP_READONLY:
		return true;
	case OP_MOUNT:
		return m->bind || strcmp(m->type, "proc") == 0 ||
		       strcmp(m->type, "tmpfs") == 0 ||
		       strcmp(m->type, "devpts") == 0 ||
		       strcmp(m->type, "mqueue") == 0;
	default: /* all others are done inside it */
		return false;
	}
}

void launch_network_apart(struct launch *l)
{
	struct op *op = l->plan.op;
	const struct op *end = op + l->plan.n;

	while (op < end && op->code != OP_NETWORK)
		op++;
	if (op == end)
		return;
	l->network_apart = true;
	for (; is_indifferent(op + 1); op++)
		op[0] = op[1];
	*op = (struct op){ .code = OP_NETWORK_TAKE, .index = -1, .fd = -1 };
}

static int network_new(int host_proc)
{
	autoclose int own = openat(host_proc, "self/ns/net",
				   O_RDONLY | O_CLOEXEC);

	if (own < 0 || unshare(CLONE_NEWNET) < 0)
		return -errno;
	int r = network_prepare(host_proc, 0);

	if (r == 0) {
		r = openat(host_proc, "self/ns/net", O_RDONLY | O_CLOEXEC);
		if (r < 0)
			r = -errno;
	}
	return setns(own, CLONE_NEWNET) < 0 ? -errno : r;
}

int launch_network(struct launch *l, struct fault *fault)
{
	if (!l->network_apart)
		return 0;
	if (l->network < 0)
		l->network = network_new(l->child.host_proc);
	int r = l->network < 0 ? l->network
			       : ipc_send(l->channel, &message, sizeof(message),
					  &l->network, 1);

	/* A child that has failed meanwhile tells so by itself. */
	return r < 0 && r != -EPIPE && r != -ECONNRESET
		       ? fault_set(fault, r, "linux.namespaces (network)")
		       : 0;
}

int launch_network_take(int channel)
{
	struct ipc_fds fds = { 0 };
	struct ipc_head head;
	int r = ipc_recv(channel, &head, sizeof(head), &fds);

	/* A parent that went away ends the child. */
	if (r == 0 || r == -ECONNRESET)
		_exit(1);
	if (r == 1)
		r = fds.n == 1 && setns(fds.fd[0], CLONE_NEWNET) == 0 ? 0
								      : -errno;
	return r;
}
