/* Interfaces come and go; for each Ethernet one there is either a list of
 * addresses from node.json or a DHCP client, udhcpc of busybox. IPv6 needs no
 * program: the kernel hears the routers and makes the addresses; only the name
 * servers in their advertisements are left to us.
 *
 * A client begins when the link has come, not when the interface is brought up:
 * what is sent in between the kernel drops, and the client then waits for an
 * answer, deaf to signals that would hurry it. It asks a few times and ends; it
 * is we who begin it again, later each time, or at once when a cable is plugged
 * in. One that has a lease is told of the cable, and asks whether it holds.
 *
 * The client's script (/etc/udhcpc.script) applies a lease with `ip` and leaves
 * the name servers in path_run()/dns. Nothing here is waited for: the node is
 * ready without an address. */
#define _GNU_SOURCE
#include "net.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/path.h"
#include "base/service.h"
#include "base/span.h"
#include "config.h"
#include "names.h"
#include "rtnl.h"

#define DHCP_CLIENT "/sbin/udhcpc"
#define DHCP_SCRIPT "/etc/udhcpc.script"

enum {
	INTERFACES_MAX = 16,
	METRIC_BASE = 100,
	/* A client without an answer ends after 7 s; no lease is so short. */
	LEASE_MS = 15000,
	RETRY_MS = 2000,
	RETRY_DOUBLED_MAX = 5, /* to 64 s, RFC 2131 section 4.1 */
};

struct interface {
	struct rtnl_link link; /* .index 0: free */
	const struct node_interface *given;
	pid_t client;
	uint64_t client_ms; /* clock_ms() when it was started */
	bool again;	    /* it was ended to begin anew at once */
	int failures;	    /* clients in a row that got no lease */
	struct timer restart;
};

static struct loop loop;
static struct config config;
static struct interface table[INTERFACES_MAX];
static struct interface *const table_end = table + INTERFACES_MAX;
static struct watch links, signals;

static struct interface *interface_find(int index)
{
	for (struct interface *i = table; i < table_end; i++)
		if (i->link.index == index)
			return i;
	return NULL;
}

static const struct node_interface *given_find(const struct rtnl_link *link)
{
	char mac[18];
	const uint8_t *m = link->mac;

	snprintf(mac, sizeof(mac), "%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1],
		 m[2], m[3], m[4], m[5]);
	for (uint32_t i = 0; i < config.n_interface; i++) {
		const struct node_interface *given = &config.interface[i];

		if (strcmp(given->match, link->name) == 0 ||
		    strcmp(given->match, mac) == 0)
			return given;
	}
	return NULL;
}

/* A bridge, a tunnel or one end of a pair is somebody else's work. */
static bool is_hardware(const struct rtnl_link *link)
{
	char path[64];

	snprintf(path, sizeof(path), "/sys/class/net/%s/device", link->name);
	return link->ethernet && access(path, F_OK) == 0;
}

__attribute__((noreturn)) static void client_exec(const char *const *argv)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	int log_fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
	sigset_t none;

	/* It tells of every packet; what matters, its script says. */
	dup2(null, STDOUT_FILENO);
	dup2(null, STDERR_FILENO);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	execv(argv[0], (char *const *)argv);
	dup2(log_fd, STDERR_FILENO);
	log_error(argv[0], "%s", strerror(errno));
	_exit(127);
}

/* Twice as long each time, give or take a second, so that nodes that came back
 * together after a power cut do not ask together. */
static void client_later(struct interface *i)
{
	uint64_t delay_ms = RETRY_MS << i->failures;
	uint16_t random = 1000;

	(void)!getrandom(&random, sizeof(random), GRND_NONBLOCK);
	timer_set(&loop, &i->restart, delay_ms - 1000 + random % 2000);
	if (i->failures < RETRY_DOUBLED_MAX)
		i->failures++;
}

static void client_start(struct interface *i)
{
	char host[80];
	const char *argv[] = { DHCP_CLIENT, "-f", "-i", i->link.name, "-s",
			       DHCP_SCRIPT, "-t", "4",	"-T",	      "2",
			       "-R",	    "-x", host, NULL };
	pid_t pid;

	snprintf(host, sizeof(host), "hostname:%s", config.name);
	pid = fork();
	if (pid == 0) {
		client_exec(argv);
	}
	if (pid < 0) {
		client_later(i);
		return;
	}
	i->client = pid;
	i->client_ms = clock_ms();
}

/* Without a link the next is begun by link_up(). */
static void restart_fire(struct timer *t)
{
	struct interface *i = container_of(t, struct interface, restart);

	if (i->link.running)
		client_start(i);
}

static void client_ended(struct interface *i)
{
	i->client = 0;
	if (clock_ms() - i->client_ms >= LEASE_MS)
		i->failures = 0;
	if (i->again)
		timer_set(&loop, &i->restart, 0);
	else
		client_later(i);
	i->again = false;
}

/* As the client's script says. */
static bool has_lease(const struct interface *i)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/dns/%s.dhcp", path_run(),
		 i->link.name);
	return access(path, F_OK) == 0;
}

static bool is_static(const struct interface *i)
{
	return i->given && i->given->n_address;
}

/* A new cable may be a new network: ask, or ask again, now. */
static void link_up(struct interface *i)
{
	if (is_static(i))
		return;
	i->failures = 0;
	if (!i->client) {
		timer_cancel(&i->restart);
		client_start(i);
	} else if (has_lease(i)) {
		kill(i->client, SIGUSR1);
	} else {
		i->again = true;
		kill(i->client, SIGTERM);
	}
}

static void report(const struct interface *i, const char *what, int err)
{
	if (err < 0 && err != -EEXIST)
		log_error(i->link.name, "%s of node.json: %s", what,
			  strerror(-err));
}

static void addresses_set(const struct interface *i)
{
	const struct node_interface *given = i->given;
	int index = i->link.index;
	uint8_t dns[NODE_ADDRESSES_MAX][16];

	for (int n = 0; n < given->n_address; n++)
		report(i, "address",
		       rtnl_address_add(index, &given->address[n]));
	for (int n = 0; n < given->n_gateway; n++)
		report(i, "gateway",
		       rtnl_gateway_add(index, &given->gateway[n],
					METRIC_BASE + (uint32_t)index));
	for (int n = 0; n < given->n_dns; n++)
		memcpy(dns[n], given->dns[n].bytes, 16);
	names_set(i->link.name, "static", (const uint8_t(*)[16])dns,
		  given->n_dns);
}

static void interface_begin(const struct rtnl_link *link)
{
	struct interface *i = interface_find(0);
	int err;

	if (!i) {
		log_warning(link->name, "more than %d interfaces; left alone",
			    INTERFACES_MAX);
		return;
	}
	*i = (struct interface){ .link = *link,
				 .given = given_find(link),
				 .restart.fire = restart_fire };
	err = rtnl_link_up(link->index, i->given ? i->given->mtu : 0);
	if (err < 0)
		log_error(link->name, "cannot be brought up: %s",
			  strerror(-err));
	if (is_static(i))
		addresses_set(i);
	/* Only when `net` itself was started again. */
	if (link->running)
		link_up(i);
}

static void interface_end(struct interface *i)
{
	timer_cancel(&i->restart);
	if (i->client)
		kill(i->client, SIGTERM);
	i->link.index = 0;
	i->client = 0;
}

static void link_event(const struct rtnl_link *link)
{
	struct interface *i = link->index ? interface_find(link->index) : NULL;

	if (!i) {
		if (!link->gone && is_hardware(link))
			interface_begin(link);
		return;
	}
	if (link->gone) {
		interface_end(i);
		return;
	}
	if (link->running && !i->link.running) {
		log_info(link->name, "link is up");
		link_up(i);
	}
	i->link.running = link->running;
}

static void dns_event(int index, const uint8_t (*address)[16], int n)
{
	const struct interface *i = interface_find(index);

	if (i)
		names_set(i->link.name, "ra", address, n);
}

static void links_ready(struct watch *w, uint32_t events)
{
	static const struct rtnl_events callbacks = { link_event, dns_event };

	(void)events;
	if (rtnl_receive(w->fd, &callbacks) == -ENOBUFS)
		rtnl_links_ask(w->fd);
}

static void clients_reap(void)
{
	pid_t pid;

	while ((pid = waitpid(-1, NULL, WNOHANG)) > 0)
		for (struct interface *i = table; i < table_end; i++)
			if (i->link.index && i->client == pid)
				client_ended(i);
}

static void signals_ready(struct watch *w, uint32_t events)
{
	struct signalfd_siginfo info;

	(void)events;
	while (read(w->fd, &info, sizeof(info)) == sizeof(info))
		if (info.ssi_signo == SIGTERM)
			loop_stop(&loop, EXIT_SUCCESS);
	clients_reap();
}

int net_main(int argc, char **argv)
{
	static const int list[] = { SIGCHLD, SIGTERM, 0 };
	int fd, err;

	(void)argc;
	(void)argv;
	config_load(&config);
	/* Inherited by a client until it catches it: link_up() may send it
	 * before the new process has run at all. */
	signal(SIGUSR1, SIG_IGN);
	err = loop_init(&loop);
	if (err == 0)
		err = names_init(&loop);
	fd = signal_fd(list);
	signals.ready = signals_ready;
	if (err == 0)
		err = fd < 0 ? fd : watch_add(&loop, &signals, fd, EPOLLIN);
	fd = rtnl_open();
	links.ready = links_ready;
	if (err == 0)
		err = fd < 0 ? fd : watch_add(&loop, &links, fd, EPOLLIN);
	if (err < 0) {
		log_error("network", "%s", strerror(-err));
		return EXIT_FAILURE;
	}
	service_ready(&loop);
	err = loop_run(&loop);
	for (struct interface *i = table; i < table_end; i++)
		if (i->link.index)
			interface_end(i);
	return err;
}
