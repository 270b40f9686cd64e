#define _GNU_SOURCE
#include "writer.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "file.h"

/* #syscalls: socketpair clone dup3 close_range set_tid_address
 * #syscalls[x86_64]: fork dup2 */

enum { SOCK_FD = 3, DIR_FD = 4 };

static struct slot {
	char name[ZLOG_NAME_SIZE];
	struct file file;
} slots[WRITER_SLOTS];

static struct writer_request request;
static struct writer_reply reply;

static void slot_close(struct slot *s)
{
	file_close(&s->file);
	s->name[0] = '\0';
}

static int append(void)
{
	const struct span text = { request.text, request.size };
	struct slot *s = &slots[request.slot];

	if (strcmp(s->name, request.name) != 0) {
		slot_close(s);
		text_copy(s->name, sizeof(s->name), request.name);
	}
	s->file.keep = request.keep;
	return file_append(&s->file, DIR_FD, s->name, text);
}

/* The first of so many bytes may be the middle of a line. */
static void tail(void)
{
	size_t n = file_tail(DIR_FD, request.name, reply.text,
			     sizeof(reply.text));
	const char *line = reply.text;

	if (n == sizeof(reply.text)) {
		line = memchr(reply.text, '\n', n);
		line = line ? line + 1 : reply.text + n;
	}
	reply.size = (uint32_t)(reply.text + n - line);
	memmove(reply.text, line, reply.size);
}

static bool is_live(const char *name)
{
	const char *end = request.text + request.size;

	for (const char *p = request.text; p < end; p += strlen(p) + 1) {
		if (strcmp(p, name) == 0)
			return true;
	}
	return false;
}

static void prune(void)
{
	for (struct slot *s = slots; s < slots + WRITER_SLOTS; s++) {
		if (s->name[0] && !is_live(s->name))
			slot_close(s);
	}
	file_prune(DIR_FD, is_live);
}

static bool is_sound(void)
{
	return request.slot < WRITER_SLOTS &&
	       request.size < sizeof(request.text) &&
	       request.name[sizeof(request.name) - 1] == '\0';
}

static void answer(void)
{
	reply.head = (struct ipc_head){ sizeof(reply), request.head.verb };
	reply.error = 0;
	reply.size = 0;
	switch ((enum writer_verb)request.head.verb) {
	case WRITER_APPEND:
		reply.error = append();
		return;
	case WRITER_TAIL:
		tail();
		return;
	case WRITER_PRUNE:
		/* The last name ends, whatever it is. */
		request.text[request.size] = '\0';
		prune();
		return;
	}
	reply.error = -ENOSYS;
}

/* Blocks wherever it likes. */
_Noreturn static void writer_run(void)
{
	for (struct slot *s = slots; s < slots + WRITER_SLOTS; s++)
		s->file.fd = -1;
	while (ipc_recv(SOCK_FD, &request, sizeof(request), NULL) == 1 &&
	       is_sound()) {
		answer();
		if (ipc_send(SOCK_FD, &reply, sizeof(reply), NULL, 0) < 0)
			break;
	}
	_exit(0);
}

/* Nothing of zlog stays open here: not a container's pipe, whose reader would
 * seem to live, nor a client's connection, which would seem to go on. */
static void keep_two(int sock, int dir)
{
	int fd = fcntl(dir, F_DUPFD, DIR_FD + 1);

	sock = fcntl(sock, F_DUPFD, DIR_FD + 1);
	if (fd < 0 || sock < 0 || dup2(sock, SOCK_FD) < 0 ||
	    dup2(fd, DIR_FD) < 0 ||
	    syscall(SYS_close_range, DIR_FD + 1, ~0u, 0) < 0)
		_exit(1);
}

int writer_start(int dir, int *sock)
{
	int pair[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	pid = fork();
	if (pid == 0) {
		keep_two(pair[1], dir);
		writer_run();
	}
	*sock = pid < 0 ? -errno : pair[0];
	close(pair[1]);
	if (pid < 0)
		close(pair[0]);
	else
		fcntl(pair[0], F_SETFL, O_NONBLOCK);
	return pid < 0 ? *sock : 0;
}
