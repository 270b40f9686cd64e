#define _GNU_SOURCE
#include "terminal.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/span.h"
#include "kernel.h"

static int stream_connect(const char *option, const char *path,
			  struct fault *fault)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	if (text_copy(address.sun_path, sizeof(address.sun_path), path) >=
	    sizeof(address.sun_path))
		return fault_set(fault, -ENAMETOOLONG, "%s %.80s", option,
				 path);
	autoclose int sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (sock < 0 ||
	    connect(sock, (struct sockaddr *)&address, sizeof(address)) < 0)
		return fault_set(fault, -errno, "%s %s", option, path);
	return fd_take(&sock);
}

int console_open(const char *path, int *childs, int *ours, struct fault *fault)
{
	int pair[2];

	if (path) {
		*childs = stream_connect("--console-socket", path, fault);
		return *childs < 0 ? *childs : 0;
	}
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return fault_set(fault, -errno, "socketpair");
	*ours = pair[0];
	*childs = pair[1];
	return 0;
}

int pidfd_send(const char *path, int pidfd, struct fault *fault)
{
	autoclose int sock = stream_connect("--pidfd-socket", path, fault);
	struct iovec data = { .iov_base = "pidfd", .iov_len = 5 };
	union {
		struct cmsghdr head;
		char space[CMSG_SPACE(sizeof(int))];
	} control = { .head = { .cmsg_len = CMSG_LEN(sizeof(int)),
				.cmsg_level = SOL_SOCKET,
				.cmsg_type = SCM_RIGHTS } };
	struct msghdr message = { .msg_iov = &data,
				  .msg_iovlen = 1,
				  .msg_control = &control,
				  .msg_controllen = sizeof(control.space) };

	if (sock < 0)
		return sock;
	memcpy(CMSG_DATA(&control.head), &pidfd, sizeof(pidfd));
	if (sendmsg(sock, &message, MSG_NOSIGNAL) < 0)
		return fault_set(fault, -errno, "--pidfd-socket %s", path);
	return 0;
}

int terminal_receive(int sock, struct fault *fault)
{
	char byte[64];
	struct iovec data = { .iov_base = byte, .iov_len = sizeof(byte) };
	union {
		struct cmsghdr head;
		char space[CMSG_SPACE(sizeof(int))];
	} control;
	struct msghdr message = { .msg_iov = &data,
				  .msg_iovlen = 1,
				  .msg_control = &control,
				  .msg_controllen = sizeof(control) };
	int fd;

	if (recvmsg(sock, &message, MSG_CMSG_CLOEXEC) <= 0 ||
	    message.msg_controllen < sizeof(struct cmsghdr) ||
	    control.head.cmsg_type != SCM_RIGHTS)
		return fault_set(fault, -EBADMSG, "process.terminal");
	memcpy(&fd, CMSG_DATA(&control.head), sizeof(fd));
	return fd;
}

/* All that may be passed on, and the child's end. */
void foreground_block(void)
{
	sigset_t all;

	sigfillset(&all);
	sigdelset(&all, SIGSEGV);
	sigdelset(&all, SIGBUS);
	sigdelset(&all, SIGABRT);
	sigprocmask(SIG_SETMASK, &all, NULL);
}

static void size_copy(int master)
{
	struct winsize size;

	if (ioctl(0, TIOCGWINSZ, &size) == 0)
		ioctl(master, TIOCSWINSZ, &size);
}

static bool terminal_raw(struct termios *saved)
{
	struct termios raw;

	if (tcgetattr(0, saved) < 0)
		return false;
	raw = *saved;
	cfmakeraw(&raw);
	return tcsetattr(0, TCSANOW, &raw) == 0;
}

/* One read and its write; false at the end of `from`. */
static bool pass(int from, int to)
{
	char buf[8192];
	ssize_t n = read(from, buf, sizeof(buf));

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return true;
	return n > 0 && fd_write(to, buf, (size_t)n) == 0;
}

struct foreground {
	int pid, pidfd;
	int master; /* -1: no terminal */
	int status; /* once it has ended */
};

/* True when the process has ended. */
static bool take_signal(struct foreground *f, int signal)
{
	switch (signal) {
	case SIGCHLD:
		return waitpid(f->pid, &f->status, WNOHANG) == f->pid;
	case SIGWINCH:
		if (f->master >= 0)
			size_copy(f->master);
		return false;
	case SIGPIPE:
	case SIGURG:
		return false;
	default:
		kernel_pidfd_signal(f->pidfd, signal);
		return false;
	}
}

static bool take_signals(struct foreground *f, int signals)
{
	struct signalfd_siginfo info;

	while (read(signals, &info, sizeof(info)) == sizeof(info)) {
		if (take_signal(f, (int)info.ssi_signo))
			return true;
	}
	return false;
}

static int wait_loop(struct foreground *f, int signals)
{
	struct pollfd p[] = { { .fd = signals, .events = POLLIN },
			      { .fd = f->master, .events = POLLIN },
			      { .fd = 0, .events = POLLIN } };

	for (;;) {
		if (poll(p, 3, -1) < 0 && errno != EINTR)
			return -errno;
		if (p[1].revents && !pass(f->master, 1))
			p[1].fd = -1;
		if (p[2].revents && !pass(0, f->master))
			p[2].fd = -1;
		if ((p[0].revents & POLLIN) && take_signals(f, signals))
			break;
	}
	/* What it wrote last may still be in the terminal. */
	while (p[1].fd >= 0 && poll(&p[1], 1, 0) > 0 && pass(f->master, 1))
		;
	return 0;
}

static int wait_terminal(struct foreground *f, const sigset_t *all)
{
	struct termios saved;

	autoclose int signals = signalfd(-1, all, SFD_CLOEXEC | SFD_NONBLOCK);

	if (signals < 0)
		return -errno;
	size_copy(f->master);
	bool raw = terminal_raw(&saved);
	int r = wait_loop(f, signals);

	if (raw)
		tcsetattr(0, TCSANOW, &saved);
	return r;
}

int foreground_wait(int pid, int pidfd, int master)
{
	struct foreground f = { .pid = pid, .pidfd = pidfd, .master = master };
	sigset_t all;

	sigfillset(&all);
	if (master >= 0) {
		if (wait_terminal(&f, &all) < 0)
			return 1;
	} else {
		while (!take_signal(&f, sigwaitinfo(&all, NULL)))
			;
	}
	return WIFSIGNALED(f.status) ? 128 + WTERMSIG(f.status)
				     : WEXITSTATUS(f.status);
}
