/* The name servers of the node: what is written of each interface, and the
 * file that they come together in. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/loop.h"
#include "init/names.h"
#include "tap.h"

/* All on the loopback, whose number is 1 everywhere. */
static const struct {
	const char *address, *line;
} servers[] = {
	{ "::ffff:192.0.2.1", "nameserver 192.0.2.1\n" },
	{ "2001:db8::1", "nameserver 2001:db8::1\n" },
	{ "fe80::1", "nameserver fe80::1%1\n" },
	{ "febf::1", "nameserver febf::1%1\n" },
	{ "fec0::1", "nameserver fec0::1\n" },
};

static const char *text_of(const char *directory, const char *name)
{
	static char text[1024];
	char path[256];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "%s/dns/%s", directory, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	text[n > 0 ? n : 0] = '\0';
	if (fd >= 0)
		close(fd);
	return text;
}

int main(void)
{
	char directory[] = "/tmp/zooid-names-XXXXXX", command[64];
	static struct loop loop;
	uint8_t address[2][16];

	if (!mkdtemp(directory) || setenv("ZOOID_RUN", directory, 1) < 0 ||
	    loop_init(&loop) < 0 || names_init(&loop) < 0)
		return 1;
	for (size_t i = 0; i < sizeof(servers) / sizeof(servers[0]); i++) {
		inet_pton(AF_INET6, servers[i].address, address[0]);
		names_set("lo", "ra", (const uint8_t(*)[16])address, 1);
		ok(!strcmp(text_of(directory, "lo.ra"), servers[i].line), "%s",
		   servers[i].address);
	}
	inet_pton(AF_INET6, "fe80::2", address[0]);
	inet_pton(AF_INET6, "2001:db8::1", address[1]);
	names_set("lo", "ra", (const uint8_t(*)[16])address, 2);
	ok(!strcmp(text_of(directory, "lo.ra"),
		   "nameserver fe80::2%1\nnameserver 2001:db8::1\n"),
	   "several");
	snprintf(command, sizeof(command), "rm -r %s", directory);
	return system(command) != 0 || tap_done();
}
