/* zrun serve: the loop, the clients, and who may ask for what. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/path.h"
#include "base/service.h"
#include "cli.h"
#include "grants.h"
#include "image_root.h"
#include "pool.h"
#include "quota.h"
#include "resident.h"

#define BTRFS_MAGIC 0x9123683e

struct resident resident;

static const struct verb {
	const char *name;
	uid_t asker; /* beside root */
} verbs[] = {
	[ZRUN_START] = { "start", UID_ZNODE },
	[ZRUN_KILL] = { "kill", UID_ZNODE },
	[ZRUN_DELETE] = { "delete", UID_ZNODE },
	[ZRUN_EXEC] = { "exec", UID_ZNODE },
	[ZRUN_UNPACK] = { "unpack", UID_ZNODE },
	[ZRUN_FORGET] = { "forget", UID_ZNODE },
	[ZRUN_SOCKETS] = { "sockets", UID_ZNET },
	[ZRUN_LIST] = { "list", UID_ZNODE },
	[ZRUN_IMAGES] = { "images", UID_ZNODE },
	[ZRUN_VOLUME] = { "volume", UID_ZNODE },
	[ZRUN_VOLUMES] = { "volumes", UID_ZNODE },
	[ZRUN_SNAPSHOT] = { "snapshot", UID_ZNODE },
	[ZRUN_VOLUME_REMOVE] = { "volume remove", UID_ZNODE },
	[ZRUN_SLEEP] = { "sleep", UID_ZNODE },
	[ZRUN_WAKE] = { "wake", UID_ZNODE },
	[ZRUN_FREEZER] = { "freezer", UID_ZNODE },
	[ZRUN_GRANTS] = { "grants", UID_ZNODE },
	[ZRUN_RECLAIM] = { "reclaim", UID_ZNODE },
	[ZRUN_FULL] = { "full", UID_ZNODE },
	[ZRUN_LISTEN] = { "listen", UID_ZNODE },
	[ZRUN_CHECKPOINT] = { "checkpoint", UID_ZNODE },
	[ZRUN_RESTORE] = { "restore", UID_ZNODE },
	[ZRUN_CHECKPOINTS] = { "checkpoints", UID_ZNODE },
	[ZRUN_CHECKPOINT_REMOVE] = { "checkpoint remove", UID_ZNODE },
};

static void client_close(struct client *client)
{
	peer_close(&client->peer, &resident.loop);
	client->busy = false;
}

static void reply_send(struct client *client, struct zrun_reply *reply,
		       const struct ipc_fds *fds)
{
	reply->head.size = sizeof(*reply);
	int r = ipc_send(client->peer.fd, reply, sizeof(*reply),
			 fds ? fds->fd : NULL, fds ? fds->n : 0);

	/* One that does not read its replies has no use for more. */
	if (r < 0)
		client_close(client);
}

void serve_answer(const struct asker *asker, struct zrun_reply *reply,
		  const struct ipc_fds *fds)
{
	struct client *client = asker->client;

	if (client->peer.fd < 0 || client->serial != asker->serial)
		return;
	client->busy = false;
	watch_events(&resident.loop, &client->peer.watch, EPOLLIN);
	reply->head.verb = asker->verb;
	reply_send(client, reply, fds);
}

static bool is_allowed(const struct client *client, uint32_t verb)
{
	if (verb == 0 || verb >= sizeof(verbs) / sizeof(verbs[0]))
		return false;
	return client->peer.uid == 0 || client->peer.uid == verbs[verb].asker;
}

static int dispatch(const struct asked *asked, struct zrun_reply *reply,
		    struct ipc_fds *out)
{
	switch ((enum zrun_verb)asked->request->head.verb) {
	case ZRUN_START:
		return serve_start(asked, reply);
	case ZRUN_KILL:
		return serve_kill(asked, reply);
	case ZRUN_DELETE:
		return serve_delete(asked, reply);
	case ZRUN_EXEC:
		return serve_exec(asked, reply);
	case ZRUN_UNPACK:
		return serve_unpack(asked, reply);
	case ZRUN_FORGET:
		return serve_forget(asked, reply);
	case ZRUN_SOCKETS:
		return serve_sockets(asked, reply, out);
	case ZRUN_LIST:
		return serve_list(asked, reply);
	case ZRUN_IMAGES:
		return serve_images(asked, reply);
	case ZRUN_VOLUME:
		return serve_volume(asked, reply);
	case ZRUN_VOLUMES:
		return serve_volumes(asked, reply);
	case ZRUN_SNAPSHOT:
		return serve_snapshot(asked, reply);
	case ZRUN_FREEZER:
		return serve_freezer(asked, reply, out);
	case ZRUN_VOLUME_REMOVE:
		return serve_volume_remove(asked, reply);
	case ZRUN_SLEEP:
		return serve_sleep(asked, reply);
	case ZRUN_WAKE:
		return serve_wake(asked, reply);
	case ZRUN_GRANTS:
		return serve_grants(asked, reply);
	case ZRUN_RECLAIM:
		return serve_reclaim(asked, reply);
	case ZRUN_FULL:
		return serve_full(asked, reply);
	case ZRUN_LISTEN:
		return serve_listen(asked, reply, out);
	case ZRUN_CHECKPOINT:
		return serve_checkpoint(asked, reply);
	case ZRUN_RESTORE:
		return serve_restore(asked, reply);
	case ZRUN_CHECKPOINTS:
		return serve_checkpoints(asked, reply);
	case ZRUN_CHECKPOINT_REMOVE:
		return serve_checkpoint_remove(asked, reply);
	}
	return -ENOSYS;
}

/* The texts of a request end somewhere, whatever the sender did. */
static bool is_terminated(const struct zrun_request *q)
{
	return memchr(q->id, 0, sizeof(q->id)) &&
	       memchr(q->digest, 0, sizeof(q->digest)) &&
	       memchr(q->path, 0, sizeof(q->path));
}

static void serve_one(struct client *client, const struct zrun_request *q,
		      struct ipc_fds *fds)
{
	struct zrun_reply reply = { .head = { .verb = q->head.verb } };
	struct ipc_fds out = { 0 };
	struct asked asked = {
		.asker = { client, client->serial, q->head.verb },
		.request = q,
		.fds = fds,
	};

	if (!is_terminated(q)) {
		reply.error = -EBADMSG;
	} else if (!is_allowed(client, q->head.verb)) {
		reply.error = -EACCES;
		snprintf(reply.text, sizeof(reply.text),
			 "verb %u is not for "
			 "uid %u",
			 q->head.verb, client->peer.uid);
	} else {
		memcpy(reply.id, q->id, sizeof(reply.id));
		reply.error = dispatch(&asked, &reply, &out);
	}
	if (reply.error == SERVE_LATER) {
		client->busy = true;
		watch_events(&resident.loop, &client->peer.watch, 0);
		return;
	}
	if (reply.error < 0 && !reply.text[0])
		snprintf(reply.text, sizeof(reply.text), "%s",
			 strerror(-reply.error));
	reply_send(client, &reply, &out);
	ipc_fds_close(&out);
}

static void client_ready(struct watch *w, uint32_t events)
{
	struct client *client = container_of(w, struct client, peer.watch);
	struct ipc_fds fds = { 0 };
	struct zrun_request q;

	/* Gone while its job runs: the job finds out by the serial. */
	if (client->busy) {
		if (events & (EPOLLHUP | EPOLLERR))
			client_close(client);
		return;
	}
	int r = ipc_recv(client->peer.fd, &q, sizeof(q), &fds);

	if (r == -EAGAIN)
		return;
	if (r == 1)
		serve_one(client, &q, &fds);
	else
		client_close(client);
	ipc_fds_close(&fds);
}

static void accept_ready(struct watch *w, uint32_t events)
{
	struct client *client = resident.client;
	struct client *end = client + RESIDENT_CLIENTS_MAX;

	(void)events;
	while (client < end && client->peer.fd >= 0)
		client++;
	if (client == end) {
		peer_accept(NULL, &resident.loop, w->fd, NULL);
		return;
	}
	client->serial = ++resident.serial;
	peer_accept(&client->peer, &resident.loop, w->fd, client_ready);
}

static int open_directory(const char *parent, const char *name, mode_t mode)
{
	char path[4096];

	snprintf(path, sizeof(path), "%s/%s", parent, name);
	int r = path_mkdirs(AT_FDCWD, path, mode);
	int fd = r < 0 ? r : open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd == -1)
		fd = -errno;
	if (fd < 0)
		log_error(path, "cannot open: %s", strerror(-fd));
	return fd;
}

/* What criu finds out of the kernel once, for as long as this process lives:
 * who finds that done saves 15 ms of a wake. */
static int keep_criu_cache(void)
{
	autoclose int dir = open_directory(path_run(), "criu", 0700);
	char path[4096];

	if (dir < 0)
		return dir;
	unlinkat(dir, "criu.kdat", 0);
	snprintf(path, sizeof(path), "%s/criu", path_run());
	return setenv("CRIU_KDAT_DIR", path, 1) < 0 ? -errno : 0;
}

static int open_all(void)
{
	struct fault fault = { "" };
	struct statfs fs;
	int r = image_root_init();

	if (r == 0)
		r = store_open(&resident.store);
	if (r < 0)
		return r;
	resident.state = open_directory(path_run(), "zrun", 0700);
	resident.containers = open_directory(path_data(), "containers", 0700);
	resident.volumes = open_directory(path_data(), "volumes", 0711);
	resident.own_netns = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	resident.checkpoints = open_directory(path_data(), "checkpoints", 0700);
	resident.grants = open_directory(path_data(), "grants", 0700);
	if (resident.state < 0 || resident.containers < 0 ||
	    resident.grants < 0 || resident.checkpoints < 0 ||
	    resident.volumes < 0 || resident.own_netns < 0)
		return -EIO;
	resident.links = open_directory(path_run(), ZRUN_CGROUP_LINKS, 0755);
	if (resident.links < 0)
		return -EIO;
	resident.is_btrfs = fstatfs(resident.containers, &fs) == 0 &&
			    (unsigned long)fs.f_type == BTRFS_MAGIC;
	quota_begin();
	r = keep_criu_cache();
	if (r < 0)
		return r;
	r = cgroup_find(&resident.cgroups, &fault);
	if (r < 0) {
		log_error(NULL, "%s", fault.text);
		return r;
	}
	resident.cgroup_dir = cgroup_parent(&resident.cgroups, "zooid");
	if (resident.cgroup_dir < 0) {
		log_error("zooid", "cgroup: %s", strerror(-r));
		return resident.cgroup_dir;
	}
	/* Never on a node; on an ordinary host serve can still be tried. */
	resident.cgroups.skip_absent =
		!cgroup_has_controllers(&resident.cgroups);
	return r;
}

static int listen_all(void)
{
	resident.accept.ready = accept_ready;
	int r = resident.listener = service_open("zrun", 0666);

	if (r >= 0)
		r = watch_add(&resident.loop, &resident.accept,
			      resident.listener, EPOLLIN);
	if (r < 0)
		log_error("zrun.sock", "cannot serve: %s", strerror(-r));
	return r;
}

int command_serve(int argc, char **argv)
{
	if (argc != 1) {
		cli_error("serve takes no arguments");
		return 2;
	}
	(void)argv;
	fd_close(&cli.exe);
	umask(0022);
	signal(SIGPIPE, SIG_IGN);
	for (int i = 0; i < RESIDENT_CLIENTS_MAX; i++) {
		peer_init(&resident.client[i].peer);
		resident.job[i].fd = resident.job[i].report.fd = -1;
	}
	resident.cgroups = CGROUP_NONE;
	pool_init();
	if (loop_init(&resident.loop) < 0 || open_all() < 0)
		return 1;
	grants_boot();
	/* Workers are reaped by the kernel; their report is a pipe. */
	signal(SIGCHLD, SIG_IGN);
	if (store_clean(&resident.store) < 0)
		return 1;
	container_recover_all();
	int r = devices_watch();

	if (r < 0)
		log_warning("uevents",
			    "devices that are plugged in again are "
			    "not given again: %s",
			    strerror(-r));
	if (listen_all() < 0)
		return 1;
	service_ready(&resident.loop);
	return loop_run(&resident.loop) ? 1 : 0;
}
