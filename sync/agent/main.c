/* zagent: see agent.h and zagent.8.
 *
 * It reaches no file but those of its identity, and for names of hubs what the
 * resolver reads beneath /etc and in resolv.conf of the run directory. The
 * wire lists what it calls itself; beside that and what base needs:
 *
 * #syscalls: openat fstat newfstatat lseek pread64 getrandom mprotect
 * #syscalls: fdatasync fsync fchmod renameat unlinkat memfd_create ftruncate
 * #syscalls: getdents64
 * #syscalls: geteuid getuid getsockname
 * #syscalls[x86_64]: rename unlink open
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent.h"
#include "base/confine.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/node_json.h"
#include "base/path.h"
#include "base/service.h"
#include "client.h"
#include "clock.h"
#include "facts.h"
#include "identity.h"
#include "link.h"
#include "node.h"
#include "server.h"
#include "zagent_filter.h"

/* ---- node.json ---- */

static void settings_take(const struct node_json *json)
{
	agent.token = json->hub;
	agent.has_token = json->hub.n_hub > 0;
	agent.heartbeat_s = json->heartbeat_s;
	/* "zooid" is what a node is called that has no name. */
	if (strcmp(json->name, "zooid") != 0)
		text_copy(agent.name, sizeof(agent.name), json->name);
}

/* -EINVAL when there is a file that cannot be understood: then a node that
 * was enrolled goes on, so that it can be mended from the hub. */
static int settings_parse(char *text, size_t size)
{
	autofree struct node_json *json = malloc(sizeof(*json));
	autofree void *scratch = malloc(NODE_SCRATCH_SIZE(size));
	char error[NODE_ERROR_SIZE];
	int err;

	if (!json || !scratch)
		return -ENOMEM;
	err = node_json_parse(text, size, scratch, NODE_SCRATCH_SIZE(size),
			      json, error);
	if (err < 0)
		log_error(NULL, "%s", error);
	else
		settings_take(json);
	explicit_bzero(json, sizeof(*json));
	explicit_bzero(scratch, NODE_SCRATCH_SIZE(size));
	return err;
}

static int settings_load(int boot)
{
	autofree char *text = NULL;
	size_t size;
	int err = boot < 0 ? -ENOENT
			   : file_read(boot, "node.json", NODE_JSON_SIZE_MAX,
				       &text, &size);

	if (err == 0) {
		err = settings_parse(text, size);
		explicit_bzero(text, size);
	} else if (err != -ENOENT) {
		log_error("node.json", "%s", strerror(-err));
	}
	return err;
}

/* ---- start ---- */

struct folders {
	int identity, boot; /* -1: not there */
};

static int identity_folder(void)
{
	char path[256];
	int fd;

	snprintf(path, sizeof(path), "%s/identity", path_data());
	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		log_error(path, "%s", strerror(errno));
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		log_error(path, "%s", strerror(errno));
	return fd;
}

/* A file that is not there names no hub; one that is broken is no reason to
 * leave the hub that this node is enrolled with. */
static int identity_find(const struct folders *at)
{
	int err = settings_load(at->boot);

	if (err == -ENOENT || (err == 0 && !agent.has_token))
		return 0;
	if (at->identity < 0)
		return -ENOENT;
	err = identity_open(at->identity,
			    agent.has_token ? &agent.token : NULL);
	agent.has_hub = err == 0 && (agent.has_token || identity.enrolled);
	return err;
}

static int confine_all(const struct folders *at)
{
	autoclose int sys = open("/sys", O_PATH | O_DIRECTORY | O_CLOEXEC);
	int read_dirs[4], err = 0;
	size_t n = 0;

	read_dirs[n++] = open("/etc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	read_dirs[n++] = open(path_run(), O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (read_dirs[0] < 0 || read_dirs[1] < 0) {
		log_error(read_dirs[0] < 0 ? "/etc" : path_run(), "not there");
		return -ENOENT;
	}
	if (sys >= 0) /* for the names of devices */
		read_dirs[n++] = sys;
	if (at->boot >= 0)
		read_dirs[n++] = at->boot;
	err = confine_files_reading(&at->identity, at->identity >= 0, read_dirs,
				    n);
	fd_close(&read_dirs[0]);
	fd_close(&read_dirs[1]);
	return err ? err
		   : confine(seccomp_filter,
			     sizeof(seccomp_filter) / sizeof(*seccomp_filter));
}

static void signal_ready(struct watch *w, uint32_t events)
{
	(void)w;
	(void)events;
	loop_stop(&agent.loop, 0);
}

static int daemon_open(struct folders *at)
{
	static const int signals[] = { SIGTERM, SIGINT, 0 };
	static struct watch watch = { .ready = signal_ready };
	int err = loop_init(&agent.loop), fd;

	if (err < 0)
		return err;
	fd = signal_fd(signals);
	err = fd < 0 ? fd : watch_add(&agent.loop, &watch, fd, EPOLLIN);
	if (err < 0)
		return err;
	fd = service_open("zagent", 0666);
	if (fd < 0)
		return fd;
	facts_open();
	at->identity = identity_folder();
	at->boot = open(path_boot(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	err = server_open(fd);
	return err < 0 ? err : confine_all(at);
}

static int daemon_run(const struct folders *at)
{
	int err;

	if (wire_init() < 0)
		return -EIO;
	err = identity_find(at);
	if (err < 0)
		return err;
	if (agent.has_hub) {
		clock_open();
		node_open();
		err = link_open();
		if (err < 0)
			return err;
	} else {
		log_notice(NULL, "node.json names no hub");
	}
	service_ready(&agent.loop);
	err = loop_run(&agent.loop);
	link_close();
	identity_close();
	return err;
}

static int daemon_main(void)
{
	struct folders at;
	int err;

	umask(077);
	err = daemon_open(&at);
	if (err == 0)
		err = daemon_run(&at);
	if (err < 0)
		log_error(NULL, "cannot start: %s", strerror(-err));
	return err < 0 ? 1 : err;
}

int main(int argc, char **argv)
{
	log_open("zagent");
	return argc < 2 ? daemon_main() : client_main(argc - 1, argv + 1);
}
