#define _GNU_SOURCE
#include "console_verbs.h"

#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>

#include "agent/zagent.h"
#include "base/fd.h"
#include "base/ipc.h"
#include "base/loop.h"
#include "base/path.h"
#include "base/span.h"
#include "client.h"

enum { HUB_MS = 1000 };

/* The one line of a small file, or "" without it. */
static void line_of(const char *dir_path, const char *name, char *line,
		    size_t size)
{
	autoclose int dir = open(dir_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	autofree char *text = NULL;
	size_t used;

	line[0] = '\0';
	if (dir < 0 || file_read(dir, name, 4096, &text, &used) < 0)
		return;
	text[strcspn(text, "\n")] = '\0';
	text_copy(line, size, text);
}

static void memory_print(void)
{
	char line[128];
	FILE *f = fopen("/proc/meminfo", "re");

	for (int i = 0; f && i < 3 && fgets(line, sizeof(line), f); i++) {
		uint64_t kb = strtoull(line + strcspn(line, "0123456789"), NULL,
				       10);

		if (strncmp(line, "MemFree", 7) != 0)
			printf("%.*s %.1f MB%s", (int)strcspn(line, ":"), line,
			       (double)kb / 1024, i == 0 ? ", " : "\n");
	}
	if (f)
		fclose(f);
}

static void verb_version(int argc, char **argv)
{
	struct utsname u;
	char version[64];

	(void)argc;
	(void)argv;
	line_of("/etc", "version", version, sizeof(version));
	uname(&u);
	printf("Zooid %s on %s: Linux %s %s\n", version, u.nodename, u.release,
	       u.machine);
}

/* Daemons answer through their own clients, whose output goes here. */
static void client_run(const char *path, char *const argv[])
{
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		execv(path, argv);
		_exit(127);
	}
	if (pid < 0 || waitpid(pid, NULL, 0) < 0)
		printf("%s: %s\n", path, strerror(errno));
}

/* ps, devices and volumes, as znode(8) names them too */
static void verb_list(int argc, char **argv)
{
	char *const verb[] = { "znode", argv[0], NULL };

	(void)argc;
	client_run("/bin/znode", verb);
}

/* start, stop, restart and snapshot, as znode(8) names them too */
static void verb_app(int argc, char **argv)
{
	char *const verb[] = { "znode", argv[0], argv[1], NULL };

	if (argc == 2)
		client_run("/bin/znode", verb);
	else
		printf("usage: %s NAME\n", argv[0]);
}

/* zlog has the latest lines in memory. */
static void verb_log(int argc, char **argv)
{
	char *const tail[] = { "zlog", "tail", "-n", "40", argv[1], NULL };

	if (argc == 2 && id_valid(span_of(argv[1])))
		client_run("/bin/zlog", tail);
	else
		printf("usage: log NAME, a service, container or app\n");
}

static const char *address_text(const struct sockaddr *a, char *text,
				socklen_t size)
{
	const void *bytes = NULL;

	if (a->sa_family == AF_INET)
		bytes = &((const struct sockaddr_in *)(const void *)a)
				 ->sin_addr;
	else if (a->sa_family == AF_INET6)
		bytes = &((const struct sockaddr_in6 *)(const void *)a)
				 ->sin6_addr;
	return bytes ? inet_ntop(a->sa_family, bytes, text, size) : NULL;
}

/* Each interface is in the list once for itself, as a packet socket sees it,
 * and once for each of its addresses. */
static bool has_address(const struct ifaddrs *all, const char *name)
{
	char text[INET6_ADDRSTRLEN];

	for (const struct ifaddrs *i = all; i; i = i->ifa_next)
		if (i->ifa_addr && strcmp(i->ifa_name, name) == 0 &&
		    address_text(i->ifa_addr, text, sizeof(text)))
			return true;
	return false;
}

static void addresses_print(void)
{
	struct ifaddrs *all = NULL;
	char text[INET6_ADDRSTRLEN];

	if (getifaddrs(&all) < 0) {
		printf("addresses: %s\n", strerror(errno));
		return;
	}
	for (struct ifaddrs *i = all; i; i = i->ifa_next) {
		const char *address;

		if (!i->ifa_addr)
			continue;
		address = address_text(i->ifa_addr, text, sizeof(text));
		if (!address && !has_address(all, i->ifa_name))
			address = "no address";
		if (address)
			printf("%-10s %-5s %s\n", i->ifa_name,
			       i->ifa_flags & IFF_RUNNING ? "up" : "down",
			       address);
	}
	freeifaddrs(all);
}

static void verb_net(int argc, char **argv)
{
	autoclose int run = open(path_run(),
				 O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	autofree char *names = NULL;
	size_t size = 0;

	(void)argc;
	(void)argv;
	addresses_print();
	if (run < 0 || file_read(run, "resolv.conf", 4096, &names, &size) < 0 ||
	    !size)
		printf("no name server\n");
	else
		fwrite(names, 1, size, stdout);
}

/* How it stands with the hub, in a line. This is a process of its own: it may
 * wait for zagent a moment, init never does. */
static void hub_print(void)
{
	static const char *const states[ZAGENT_STATE_COUNT] = {
		[ZAGENT_NONE] = "none in node.json",
		[ZAGENT_ENROLLING] = "enrolling with",
		[ZAGENT_CONNECTING] = "connecting to",
		[ZAGENT_CONNECTED] = "connected to",
		[ZAGENT_REFUSED] = "refused by",
	};
	struct zagent_request request = {
		.head = { sizeof(request), ZAGENT_STATUS },
	};
	autoclose int fd = ipc_connect("zagent");
	struct zagent_reply reply;
	const struct zagent_status *s = &reply.status;
	int err = fd;

	if (fd >= 0)
		err = ipc_call(fd, &request, sizeof(request), NULL, 0, &reply,
			       sizeof(reply), NULL, HUB_MS);
	if (err < 0)
		printf("hub: %s\n", strerror(-err));
	else if (s->state == ZAGENT_NONE)
		printf("hub: %s\n", states[ZAGENT_NONE]);
	else if (s->state < ZAGENT_STATE_COUNT)
		printf("hub: %s %s as %s%s%s\n", states[s->state],
		       s->hub[0] ? s->hub : "its hub",
		       s->name[0] ? s->name : "a new node",
		       s->reason[0] ? ": " : "", s->reason);
}

static void verb_status(int argc, char **argv)
{
	char line[160];
	int err;

	verb_version(argc, argv);
	line_of(path_run(), "data", line, sizeof(line));
	printf("up %" PRIu64 " s, /data: %s\n", clock_boot_ms() / 1000,
	       line[0] ? line : "not there yet");
	memory_print();
	addresses_print();
	hub_print();
	err = client_services_print(stdout);
	if (err < 0)
		printf("init: %s\n", strerror(-err));
}

static void ask_end(enum init_verb how, const char *what)
{
	struct init_reply reply;
	int err = client_ask(how, 0, &reply);

	if (err == 0)
		err = reply.error;
	printf("%s\n", err < 0 ? strerror(-err) : what);
}

static void verb_poweroff(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	ask_end(INIT_POWEROFF, "powering off");
}

static void verb_reboot(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	ask_end(INIT_REBOOT, "rebooting");
}

static void verb_help(int argc, char **argv);

static const struct console_verb verbs[] = {
	{ "status", "services, memory, storage", verb_status },
	{ "ps", "applications and their state", verb_list },
	{ "start", "NAME: an application, whatever it failed on", verb_app },
	{ "stop", "NAME: an application, until start or reboot", verb_app },
	{ "restart", "NAME: stop and start an application", verb_app },
	{ "devices", "serial ports and disks by names that stay", verb_list },
	{ "volumes", "what outlives containers", verb_list },
	{ "snapshot", "VOLUME: keep it as it is now", verb_app },
	{ "log", "NAME: the last lines of a service or container", verb_log },
	{ "net", "interfaces, addresses, name server", verb_net },
	{ "version", "of the image and the kernel", verb_version },
	{ "poweroff", "orderly end", verb_poweroff },
	{ "reboot", "orderly end and new start", verb_reboot },
	{ "help", "this list", verb_help },
};

static void verb_help(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	for (size_t i = 0; i < sizeof(verbs) / sizeof(*verbs); i++)
		printf("%-10s %s\n", verbs[i].name, verbs[i].help);
	printf("%-10s %s\n", "logout", "lock this console again");
}

const struct console_verb *console_verb_find(const char *name)
{
	for (size_t i = 0; i < sizeof(verbs) / sizeof(*verbs); i++)
		if (strcmp(verbs[i].name, name) == 0)
			return &verbs[i];
	return NULL;
}
