/* zhub serve: opens everything, shuts itself in, then turns the loop. From then
 * on it reaches no file but those beneath its folder; beside, it connects to
 * other registries and reads the files that say where they are, unless hub.json
 * has no upstreams. What it calls, for SQLite, blobs, and the children that
 * finish uploads:
 *
 * #syscalls: openat fstat newfstatat statx lseek pread64 pwrite64 ftruncate
 * #syscalls: fsync fdatasync fchmod fchown unlinkat mkdirat renameat renameat2
 * #syscalls: flock fstatfs statfs utimensat getdents64 sync_file_range
 * #syscalls: faccessat faccessat2 readlinkat getcwd geteuid umask mprotect
 * #syscalls: getrandom setsockopt shutdown accept sigaltstack
 * #syscalls: clone wait4 waitid kill pidfd_open close_range dup3 prctl
 * #syscalls: setpriority
 * #syscalls: set_tid_address set_robust_list getppid
 * #syscalls[x86_64]: open stat lstat access unlink mkdir rename readlink fork
 * #syscalls[x86_64]: dup2 time
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "api.h"
#include "apply.h"
#include "base/confine.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/service.h"
#include "cache.h"
#include "command.h"
#include "hub.h"
#include "node.h"
#include "registry.h"
#include "stream.h"
#include "ticket.h"
#include "upstream.h"
#include "watch.h"
#include "zhub_filter.h"

enum {
	HOUR_MS = 3600 * 1000,
	FIRST_SWEEP_MS = 60 * 1000,
	DRAIN_MS = 3000,
	ENROL_RATE = 50,
	ENROL_BURST = 200,
	TOMBSTONES_KEPT = 10000, /* revisions */
};

struct serve {
	struct hub hub;
	struct watch signals;
	struct timer upkeep;
	int listen_fd, local_fd;
};

/* ---- opening ---- */

static int tls_start(struct hub *hub)
{
	autofree char *issuers = NULL;
	struct tls_server_config config = {
		.chain = span_of(hub->ca.server_chain),
		.key = hub->ca.server_key,
		.allow_expired = true, /* for /v1/renew; api.c refuses others */
		.alpn = "h2 http/1.1",
	};
	int err;

	if (asprintf(&issuers, "%s%s", hub->ca.issuer_pem, hub->ca.root_pem) <
	    0) {
		issuers = NULL;
		return -ENOMEM;
	}
	memcpy(config.pin, hub->ca.pin, sizeof(config.pin));
	config.client_ca = span_of(issuers);
	err = tls_server_new(&config, &hub->tls);
	if (err < 0) {
		log_error("keys", "cannot serve with them: %s", strerror(-err));
		return err;
	}
	return ticket_keys_refresh(hub);
}

static int local_listen(const char *folder)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	autoclose int fd =
		socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	if (snprintf(address.sun_path, sizeof(address.sun_path), "%s/zhub.sock",
		     folder) >= (int)sizeof(address.sun_path)) {
		log_warning(folder, "path too long for a socket: zhub token "
				    "will not work while the hub serves");
		return -ENAMETOOLONG;
	}
	unlink(address.sun_path);
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	    listen(fd, 16) < 0) {
		log_error(address.sun_path, "%s", strerror(errno));
		return -errno;
	}
	return fd_take(&fd);
}

static int servers_start(struct serve *s)
{
	struct http_server_config config = {
		.loop = &s->hub.loop,
		.tls = s->hub.tls,
		.request = api_request,
		.user = &s->hub,
	};
	struct http_server_config local = {
		.loop = &s->hub.loop,
		.request = api_request_local,
		.user = &s->hub,
		.limits = { .connections = 16 },
	};
	int err = http_server_new(&config, &s->hub.server);

	if (err == 0)
		err = http_server_new(&local, &s->hub.local);
	if (err == 0)
		err = http_server_listen(s->hub.server, s->listen_fd);
	if (err == 0 && s->local_fd >= 0)
		err = http_server_listen(s->hub.local, s->local_fd);
	return err;
}

static int refresh(struct hub *hub, bool force)
{
	struct ca_names names = config_names(&hub->config);
	bool changed;
	int err = ca_refresh(hub->dir, &hub->ca, &names, force, &changed);

	if (err == 0 && changed && hub->tls)
		err = tls_server_certificate(hub->tls,
					     span_of(hub->ca.server_chain),
					     hub->ca.server_key);
	if (err < 0)
		log_error("keys", "cannot renew: %s", strerror(-err));
	return err;
}

static int data_open(struct serve *s, const char *folder)
{
	struct hub *hub = &s->hub;
	char path[512];
	int err = ca_open(hub->dir, &hub->ca);

	if (err == 0)
		err = refresh(hub, false);
	command_store_path(folder, path);
	if (err == 0)
		err = store_open(&hub->store, path, &hub->loop);
	if (err == 0)
		err = blobs_open(&hub->blobs, hub->dir, &hub->loop);
	if (err == 0)
		err = upstreams_open(hub);
	if (err == 0)
		err = cache_open(hub);
	if (err == 0)
		err = nodes_load(hub);
	if (err == 0)
		desired_mark_all(hub);
	return err;
}

/* ---- upkeep ---- */

static void upkeep_fire(struct timer *t)
{
	struct serve *s = container_of(t, struct serve, upkeep);
	struct hub *hub = &s->hub;
	uint64_t revision = store_revision(hub->store);

	timer_set(&hub->loop, t, HOUR_MS);
	refresh(hub, false);
	ticket_keys_refresh(hub);
	events_trim(hub);
	if (revision > TOMBSTONES_KEPT)
		store_compact(hub->store, revision - TOMBSTONES_KEPT);
	registry_sweep(hub, BLOB_GRACE_S);
}

static void drained(void *user)
{
	struct serve *s = user;

	loop_stop(&s->hub.loop, EXIT_DONE);
}

/* Nodes are told to connect anew, to the hub that comes after this one. */
static void signal_ready(struct watch *w, uint32_t events)
{
	struct serve *s = container_of(w, struct serve, signals);
	struct signalfd_siginfo info;

	(void)events;
	if (read(w->fd, &info, sizeof(info)) != sizeof(info))
		return;
	if (s->hub.draining) {
		loop_stop(&s->hub.loop, EXIT_DONE);
		return;
	}
	log_notice(NULL, "ending");
	s->hub.draining = true;
	watch_bye_all(&s->hub);
	http_server_drain(s->hub.server, DRAIN_MS, drained, s);
}

/* ---- the command ---- */

/* Before the first byte of a client. */
static int serve_confine(struct serve *s)
{
	const int *folders;
	size_t n;
	int err;

	s->hub.statm_fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
	n = upstreams_folders(&s->hub, &folders);
	err = confine_files_reading(&s->hub.dir, 1, folders, n);
	return err < 0 ? err
		       : confine(seccomp_filter,
				 sizeof(seccomp_filter) /
					 sizeof(*seccomp_filter));
}

static int serve_open(struct serve *s, const char *folder, const char *listen)
{
	static const int signals[] = { SIGTERM, SIGINT, 0 };
	int fd, err = loop_init(&s->hub.loop);

	if (err == 0)
		err = data_open(s, folder);
	if (err < 0)
		return err;
	s->listen_fd = config_listen(listen ? listen : s->hub.config.listen);
	if (s->listen_fd < 0)
		return s->listen_fd;
	s->local_fd = local_listen(command_folder_name(folder));
	err = tls_start(&s->hub);
	if (err == 0)
		err = servers_start(s);
	if (err < 0)
		return err;
	fd = signal_fd(signals);
	s->signals.ready = signal_ready;
	err = fd < 0 ? fd : watch_add(&s->hub.loop, &s->signals, fd, EPOLLIN);
	s->upkeep.fire = upkeep_fire;
	timer_set(&s->hub.loop, &s->upkeep, FIRST_SWEEP_MS);
	return err < 0 ? err : serve_confine(s);
}

static void serve_close(struct serve *s)
{
	struct hub *hub = &s->hub;

	if (hub->server)
		http_server_free(hub->server);
	if (hub->local)
		http_server_free(hub->local);
	cache_close(hub);
	upstreams_close(hub);
	if (hub->blobs)
		blobs_close(hub->blobs);
	if (hub->store)
		store_close(hub->store);
	nodes_free(hub);
	streams_free(hub);
	tls_free(hub->tls);
	ca_close(&hub->ca);
	fd_close(&hub->statm_fd);
	fd_close(&s->listen_fd);
	fd_close(&s->local_fd);
}

static int serve_run(struct serve *s, const char *folder, const char *listen)
{
	int code;

	if (serve_open(s, folder, listen) < 0) {
		serve_close(s);
		return EXIT_FAILED;
	}
	log_notice(s->hub.config.name, "ready on %s, epoch %llu, revision %llu",
		   listen ? listen : s->hub.config.listen,
		   (unsigned long long)store_epoch(s->hub.store),
		   (unsigned long long)store_revision(s->hub.store));
	service_ready(&s->hub.loop);
	code = loop_run(&s->hub.loop);
	serve_close(s);
	return code < 0 ? EXIT_FAILED : code;
}

int command_serve(int argc, char **argv)
{
	static const struct option options[] = {
		{ "dir", required_argument, NULL, 'd' },
		{ "listen", required_argument, NULL, 'l' },
		{ 0 },
	};
	const char *folder = NULL, *listen = NULL;
	autoclose int dir = -1, lock = -1;
	struct serve *s;
	int c, code;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == 'd')
			folder = optarg;
		else if (c == 'l')
			listen = optarg;
		else
			return command_usage("serve");
	}
	if (optind != argc)
		return command_usage("serve");
	umask(077);
	signal(SIGPIPE, SIG_IGN);
	dir = command_folder(folder);
	if (dir < 0)
		return EXIT_FAILED;
	lock = command_lock(dir);
	if (lock == -EBUSY)
		log_error(command_folder_name(folder), "another zhub uses it");
	if (lock < 0)
		return lock == -EBUSY ? EXIT_AGAIN : EXIT_FAILED;
	s = calloc(1, sizeof(*s));
	if (!s || config_load(dir, &s->hub.config) < 0) {
		free(s);
		return EXIT_FAILED;
	}
	s->hub.dir = dir;
	s->hub.started = time(NULL);
	s->listen_fd = s->local_fd = s->hub.statm_fd = -1;
	s->hub.enrol = (struct limit){ .rate = ENROL_RATE,
				       .burst = ENROL_BURST };
	s->hub.anonymous = s->hub.enrol;
	code = serve_run(s, folder, listen);
	free(s);
	return code;
}
