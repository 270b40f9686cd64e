/* `init net` on this machine's kernel, with a card that has a link at once, as
 * those of virtual machines do, and a client that runs late, as on a processor
 * that others want: it lives, and asks. The client is busybox's, the cable is a
 * veth; what makes the card hardware, /sys, is of our own making. */
#define _GNU_SOURCE
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <netinet/if_ether.h>

#include "base/loop.h"
#include "init/net.h"
#include "tap.h"

enum {
	SOON_MS = 4000, /* that a client was ended is noticed later */
	LATE_MS = 20000,
};

static const char set_up[] =
	"set -e\n"
	"mount --make-rprivate /\n"
	"for d in /sys /sbin /etc; do mount -t tmpfs none $d; done\n"
	"ln -s \"$(command -v busybox)\" /sbin/udhcpc\n"
	"ln -s \"$PWD/rootfs/etc/udhcpc.script\" /etc/udhcpc.script\n"
	"ip link add v0 type veth peer name v1\n"
	"ip link set v1 up\n"
	"mkdir -p /sys/run /sys/class/net/v0/device\n"
	"echo 1 >/sys/class/net/v0/ifindex\n";

/* Each process waits before it first opens a file: one that was just forked,
 * before it has done anything at all. */
static pid_t net_start(const char *program)
{
	pid_t pid = fork();

	if (pid != 0)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	setenv("ZOOID_RUN", "/sys/run", 1);
	execlp("strace", "strace", "-D", "-f", "-qq", "-o", "/dev/null", "-e",
	       "inject=openat:delay_enter=300000:when=1", program, "net", NULL);
	_exit(127);
}

/* A packet of a client to a server of DHCP. */
static bool is_question(const uint8_t *packet, ssize_t size)
{
	return size >= 28 && packet[9] == IPPROTO_UDP && packet[22] == 0 &&
	       packet[23] == 67;
}

/* How long it took until one was heard; LATE_MS: that none was. */
static uint64_t hear(int sock)
{
	uint64_t start = clock_ms();
	struct pollfd p = { .fd = sock, .events = POLLIN };
	uint8_t packet[2048];

	while (clock_ms() - start < LATE_MS && poll(&p, 1, LATE_MS) > 0)
		if (is_question(packet, recv(sock, packet, sizeof(packet), 0)))
			return clock_ms() - start;
	return LATE_MS;
}

int main(int argc, char **argv)
{
	int sock = -1, status = 0;
	uint64_t took_ms;
	pid_t net;

	if (argc > 1)
		_exit(net_main(argc - 1, argv + 1));
	if (geteuid() != 0 || unshare(CLONE_NEWNET | CLONE_NEWNS) < 0) {
		printf("1..0 # SKIP needs root\n");
		return 0;
	}
	ok(system(set_up) == 0, "a cable");
	sock = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, htons(ETH_P_IP));
	net = net_start(argv[0]);
	ok(sock >= 0 && net > 0, "started");
	took_ms = hear(sock);
	ok(took_ms < SOON_MS, "asks for its address, after %llu ms",
	   (unsigned long long)took_ms);
	kill(net, SIGTERM);
	ok(waitpid(net, &status, 0) == net && status == 0, "ended");
	return tap_done();
}
