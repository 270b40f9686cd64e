#define _GNU_SOURCE
#include "names.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/path.h"
#include "rtnl.h"

enum { TEXT_MAX = 4096 };

static struct watch changes;
static int sources = -1; /* the directory */

static const char *sources_path(char *path, size_t size)
{
	snprintf(path, size, "%s/dns", path_run());
	return path;
}

static size_t source_append(const char *name, char *text, size_t used)
{
	autofree char *data = NULL;
	size_t size;

	if (file_read(sources, name, TEXT_MAX, &data, &size) < 0 ||
	    used + size > TEXT_MAX)
		return used;
	memcpy(text + used, data, size);
	return used + size;
}

static void compose(void)
{
	char text[TEXT_MAX], path[256];
	size_t used = 0;
	struct dirent **names;
	int n = scandir(sources_path(path, sizeof(path)), &names, NULL,
			alphasort);
	autoclose int run = open(path_run(),
				 O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	for (int i = 0; i < n; i++) {
		if (names[i]->d_name[0] != '.')
			used = source_append(names[i]->d_name, text, used);
		free(names[i]);
	}
	if (n >= 0)
		free(names);
	if (run >= 0)
		file_replace(run, "resolv.conf", 0644, text, used);
}

static void changes_ready(struct watch *w, uint32_t events)
{
	char drop[4096];

	(void)events;
	while (read(w->fd, drop, sizeof(drop)) > 0)
		continue;
	compose();
}

int names_init(struct loop *loop)
{
	char path[256];
	int fd;

	mkdir(sources_path(path, sizeof(path)), 0755);
	sources = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (sources < 0)
		return -errno;
	compose();
	fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (fd < 0)
		return -errno;
	inotify_add_watch(fd, path, IN_MOVED_TO | IN_CLOSE_WRITE | IN_DELETE);
	changes.ready = changes_ready;
	return watch_add(loop, &changes, fd, EPOLLIN);
}

void names_set(const char *interface, const char *kind,
	       const uint8_t (*address)[16], int n)
{
	char name[32], text[512], one[INET6_ADDRSTRLEN];
	size_t used = 0;

	for (int i = 0; i < n; i++) {
		bool is_v4 = address_is_v4(address[i]);

		inet_ntop(is_v4 ? AF_INET : AF_INET6,
			  address[i] + (is_v4 ? 12 : 0), one, sizeof(one));
		used += (size_t)snprintf(text + used, sizeof(text) - used,
					 "nameserver %s", one);
		/* As routers tell their own. */
		if (IN6_IS_ADDR_LINKLOCAL((const struct in6_addr *)address[i]))
			used += (size_t)snprintf(text + used,
						 sizeof(text) - used, "%%%u",
						 if_nametoindex(interface));
		used += (size_t)snprintf(text + used, sizeof(text) - used,
					 "\n");
	}
	snprintf(name, sizeof(name), "%s.%s", interface, kind);
	if (file_replace(sources, name, 0644, text, used) < 0)
		log_warning(name, "name servers not kept");
}

int names_open(void)
{
	static const int flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK;
	char path[256];
	int fd;

	snprintf(path, sizeof(path), "%s/resolv.conf", path_run());
	fd = open(path, flags);
	if (fd < 0)
		fd = open("/etc/resolv.conf", flags);
	return fd < 0 ? -errno : fd;
}
