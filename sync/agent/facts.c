#define _GNU_SOURCE
#include "facts.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/loop.h"
#include "base/span.h"

static struct {
	struct utsname uts;
	char version[64];
	long cpus;
	int meminfo; /* stays open: no file can be opened later */
} facts = { .meminfo = -1 };

void facts_open(void)
{
	autofree char *text = NULL;
	size_t size;

	uname(&facts.uts);
	facts.cpus = sysconf(_SC_NPROCESSORS_ONLN);
	facts.meminfo = open("/proc/meminfo", O_RDONLY | O_CLOEXEC);
	if (file_read(AT_FDCWD, "/etc/version", 4096, &text, &size) == 0) {
		text[strcspn(text, "\n")] = '\0';
		text_copy(facts.version, sizeof(facts.version), text);
	}
}

const char *facts_board(void)
{
	return facts.uts.machine;
}

const char *facts_arch(void)
{
	static const struct {
		const char *machine, *arch;
	} names[] = {
		{ "x86_64", "amd64" },
		{ "aarch64", "arm64" },
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (!strcmp(facts.uts.machine, names[i].machine))
			return names[i].arch;
	return facts.uts.machine;
}

/* Those that others could use to reach the node. */
static bool address_text(const struct ifaddrs *i, char text[INET6_ADDRSTRLEN])
{
	const struct sockaddr *a = i->ifa_addr;
	const struct sockaddr_in *v4 = (const void *)a;
	const struct sockaddr_in6 *v6 = (const void *)a;

	if (!a || i->ifa_flags & IFF_LOOPBACK || !(i->ifa_flags & IFF_UP))
		return false;
	if (a->sa_family == AF_INET)
		return inet_ntop(AF_INET, &v4->sin_addr, text,
				 INET6_ADDRSTRLEN);
	return a->sa_family == AF_INET6 &&
	       !IN6_IS_ADDR_LINKLOCAL(&v6->sin6_addr) &&
	       inet_ntop(AF_INET6, &v6->sin6_addr, text, INET6_ADDRSTRLEN);
}

static void add_addresses(yyjson_mut_doc *doc, yyjson_mut_val *to)
{
	yyjson_mut_val *list = yyjson_mut_obj_add_arr(doc, to, "addresses");
	char text[INET6_ADDRSTRLEN];
	struct ifaddrs *all;

	if (getifaddrs(&all) < 0)
		return;
	for (const struct ifaddrs *i = all; i; i = i->ifa_next)
		if (address_text(i, text))
			yyjson_mut_arr_add_strcpy(doc, list, text);
	freeifaddrs(all);
}

/* The kilobytes of a line such as "MemTotal:  1024 kB", in bytes. */
static uint64_t memory_bytes(const char *text, const char *name)
{
	const char *at = strstr(text, name);

	return at ? strtoull(at + strlen(name), NULL, 10) << 10 : 0;
}

static uint64_t meminfo(const char *name)
{
	char text[1024];
	ssize_t n = facts.meminfo < 0
			    ? -1
			    : pread(facts.meminfo, text, sizeof(text) - 1, 0);

	if (n < 0)
		return 0;
	text[n] = '\0';
	return memory_bytes(text, name);
}

void facts_add(yyjson_mut_doc *doc, yyjson_mut_val *to)
{
	yyjson_mut_obj_add_str(doc, to, "board", facts_board());
	yyjson_mut_obj_add_str(doc, to, "arch", facts_arch());
	yyjson_mut_obj_add_str(doc, to, "version", facts.version);
	yyjson_mut_obj_add_str(doc, to, "kernel", facts.uts.release);
	yyjson_mut_obj_add_sint(doc, to, "cpus", facts.cpus);
	yyjson_mut_obj_add_uint(doc, to, "memory_total", meminfo("MemTotal:"));
	add_addresses(doc, to);
}

void facts_add_counters(yyjson_mut_doc *doc, yyjson_mut_val *to)
{
	yyjson_mut_obj_add_uint(doc, to, "memory_available",
				meminfo("MemAvailable:"));
	yyjson_mut_obj_add_uint(doc, to, "uptime_s", clock_boot_ms() / 1000);
}
