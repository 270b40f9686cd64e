#define _GNU_SOURCE
#include "seccomp_listener.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/fd.h"
#include "cli.h"
#include "state_json.h"

/* Annotations and all; only pages that are written cost anything. */
enum { MESSAGE_SIZE = 8 << 20 };

/* Through a descriptor, as a socket's address has room for 107 bytes only. */
static int agent_connect(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	autoclose int file = open(path, O_PATH | O_CLOEXEC);
	autoclose int sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (file < 0 || sock < 0)
		return -errno;
	snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d",
		 file);
	if (connect(sock, (struct sockaddr *)&address, sizeof(address)) < 0)
		return -errno;
	return fd_take(&sock);
}

int seccomp_listener_open(struct child *child,
			  const struct runtime_seccomp *seccomp,
			  struct fault *fault)
{
	if (!seccomp->notifies)
		return 0;
	child->listener = agent_connect(seccomp->listener_path);
	if (child->listener < 0)
		return fault_set(fault, child->listener,
				 "linux.seccomp.listenerPath (%.200s)",
				 seccomp->listener_path);
	child->message = mmap(NULL, MESSAGE_SIZE, PROT_READ | PROT_WRITE,
			      MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1,
			      0);
	if (child->message == MAP_FAILED) {
		child->message = NULL;
		return fault_set(fault, -errno, "linux.seccomp.listenerPath");
	}
	return 0;
}

int seccomp_listener_tell(struct child *child, pid_t pid,
			  const struct state *state, enum status status,
			  struct fault *fault)
{
	const struct runtime_config *config = child->config;
	const char *metadata = config->seccomp.listener_metadata;
	struct seccomp_message *message = child->message;
	size_t size;

	if (!message)
		return 0;
	yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *top = yyjson_mut_obj(doc);
	yyjson_mut_val *fds = yyjson_mut_arr(doc);

	yyjson_mut_doc_set_root(doc, top);
	yyjson_mut_obj_add_str(doc, top, "ociVersion", OCI_VERSION);
	yyjson_mut_arr_add_str(doc, fds, "seccompFd");
	yyjson_mut_obj_add_val(doc, top, "fds", fds);
	yyjson_mut_obj_add_int(doc, top, "pid", pid);
	if (metadata)
		yyjson_mut_obj_add_str(doc, top, "metadata", metadata);
	yyjson_mut_obj_add_val(
		doc, top, "state",
		state_json(doc, state, status, &config->annotations));
	autofree char *text = yyjson_mut_write(doc, 0, &size);

	yyjson_mut_doc_free(doc);
	if (!text || size > MESSAGE_SIZE - sizeof(*message))
		return fault_set(fault, text ? -E2BIG : -ENOMEM,
				 "linux.seccomp.listenerPath: state");
	memcpy(message->text, text, size);
	message->size = size;
	return 0;
}

void seccomp_listener_close(struct child *child)
{
	fd_close(&child->listener);
	if (child->message)
		munmap(child->message, MESSAGE_SIZE);
	child->message = NULL;
}
