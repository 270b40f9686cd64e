/* Local sockets between programs: AF_UNIX SOCK_SEQPACKET, one fixed struct a
 * message, descriptors alongside.
 *
 * Rule of use: the struct, declared in one header of the program that serves,
 * starts with a uint32_t that names its own size (struct ipc_head); a message
 * of any other size is refused. The peer's uid comes from the kernel
 * (SO_PEERCRED), never from the message. */
#ifndef BASE_IPC_H
#define BASE_IPC_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define IPC_FDS_MAX 32

struct ipc_head {
	uint32_t size; /* of the whole struct, this head included */
	uint32_t verb; /* or, in a reply or event, what it is */
};

/* Descriptors that came with a message. The receiver owns them;
 * ipc_fds_close() closes those still >= 0. */
struct ipc_fds {
	int n;
	int fd[IPC_FDS_MAX];
};

/* Binds and listens on path (at most 107 bytes), replacing a stale socket
 * file; mode and, unless (uid_t)-1, owner are set. Returns a non-blocking
 * CLOEXEC descriptor or -errno. */
int ipc_listen(const char *path, mode_t mode, uid_t owner);

/* Connects to the socket NAME.sock in path_run(); blocking, CLOEXEC.
 * Waits for the listen queue, not for an answer. */
int ipc_connect(const char *name);

/* Accepts one connection (non-blocking, CLOEXEC) and tells who it is.
 * -EAGAIN when none waits. */
int ipc_accept(int listen_fd, uid_t *uid, pid_t *pid);

/* Sends one message with n_fds descriptors, which stay the caller's.
 * Never raises SIGPIPE. 0 or -errno; -EAGAIN when the queue is full and the
 * socket non-blocking; never partial. */
int ipc_send(int sock, const void *message, size_t size, const int *fds,
	     int n_fds);

/* Receives one message of exactly `size` bytes whose head says so too.
 * Returns 1; 0 when the peer closed; -EAGAIN; -EBADMSG when the size is wrong
 * or it carries more descriptors than IPC_FDS_MAX, or any where fds is NULL
 * (all of them closed). fds->n descriptors become the caller's, CLOEXEC. */
int ipc_recv(int sock, void *message, size_t size, struct ipc_fds *fds);

/* Sends request and waits at most timeout_ms for one reply. 0 or -errno;
 * -ETIMEDOUT, -ECONNRESET when the peer went away. reply_fds may be NULL. */
int ipc_call(int sock, const void *request, size_t request_size, const int *fds,
	     int n_fds, void *reply, size_t reply_size,
	     struct ipc_fds *reply_fds, int timeout_ms);

void ipc_fds_close(struct ipc_fds *fds);
/* Takes descriptor i out of fds (so that close leaves it); -1 when absent. */
int ipc_fds_take(struct ipc_fds *fds, int i);

#endif
