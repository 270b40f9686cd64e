/* #syscalls: memfd_create ftruncate */
#define _GNU_SOURCE
#include "server.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/ipc.h"
#include "base/log.h"
#include "base/peer.h"
#include "base/path.h"
#include "base/service.h"

#include "layout.h"
#include "pull.h"
#include "site.h"
#include "zpull.h"

enum {
	CONNECTIONS = 8, /* more at once wait in the listen queue */
	HANDED_MAX = 16, /* layouts that were told and not yet dropped */
	PROGRESS_MS = 250,
};

struct connection {
	struct peer peer;
	bool pulling;
	char name[LAYOUT_NAME_SIZE];
	char image[100];
	int layout;
	struct sites sites;
	struct pull pull;
	struct timer quiet; /* since the last progress reply */
};

static struct connection connections[CONNECTIONS];
static char handed[HANDED_MAX][LAYOUT_NAME_SIZE];
static unsigned handed_next;
static struct peer_queue listener;
static int boot_fd;

/* ---------------------------------------------------------------- layouts */

static bool is_pulled(const char *name)
{
	for (int i = 0; i < CONNECTIONS; i++)
		if (connections[i].pulling &&
		    strcmp(connections[i].name, name) == 0)
			return true;
	return false;
}

/* One that was told may be read by zrun now. */
static bool is_wanted(const char *name)
{
	for (int i = 0; i < HANDED_MAX; i++)
		if (strcmp(handed[i], name) == 0)
			return true;
	return is_pulled(name);
}

static void handed_add(const char *name)
{
	if (is_wanted(name) && !is_pulled(name))
		return;
	text_copy(handed[handed_next++ % HANDED_MAX], LAYOUT_NAME_SIZE, name);
}

static void handed_remove(const char *name)
{
	for (int i = 0; i < HANDED_MAX; i++)
		if (strcmp(handed[i], name) == 0)
			handed[i][0] = '\0';
}

/* Nothing in it is worth keeping: another attempt would end the same way. */
static bool is_final(int error)
{
	return error == -ENOENT || error == -EBADMSG || error == -ENOTSUP ||
	       error == -E2BIG;
}

/* ------------------------------------------------------------ connections */

static void pull_over(struct connection *c)
{
	if (!c->pulling)
		return;
	pull_stop(&c->pull);
	timer_cancel(&c->quiet);
	free(c->pull.index);
	fd_close(&c->layout);
	sites_free(&c->sites);
	c->pulling = false;
}

static void connection_close(struct connection *c)
{
	pull_over(c);
	peer_queue_close(&listener, &c->peer);
}

static int reply_send(struct connection *c, struct zpull_reply *reply,
		      uint32_t verb, int memfd)
{
	reply->head = (struct ipc_head){ sizeof(*reply), verb };
	return ipc_send(c->peer.fd, reply, sizeof(*reply), &memfd,
			memfd >= 0 ? 1 : 0);
}

/* A client that does not read its one reply loses it. */
static void refuse(struct connection *c, uint32_t verb, int code,
		   const char *text)
{
	struct zpull_reply reply = { .error = code };

	text_copy(reply.text, sizeof(reply.text), text);
	if (reply_send(c, &reply, verb, -1))
		connection_close(c);
}

static void progress_send(struct connection *c)
{
	struct zpull_reply reply = { 0 };

	pull_count(&c->pull);
	reply.done_bytes = c->pull.done_bytes;
	reply.total_bytes = c->pull.total_bytes;
	reply_send(c, &reply, ZPULL_PROGRESS, -1);
	timer_set(puller.loop, &c->quiet, PROGRESS_MS);
}

static void progress(struct pull *pull)
{
	struct connection *c = container_of(pull, struct connection, pull);

	if (!c->quiet.deadline_ms)
		progress_send(c);
}

/* The next bytes send it again. */
static void quiet_fire(struct timer *t)
{
	(void)t;
}

/* What and where it is; a descriptor to send along, or -1 for none. */
static int reply_name(struct connection *c, struct zpull_reply *reply)
{
	const struct pull *pull = &c->pull;
	int memfd = pull->index ? memfd_sealed("index", pull->index,
					       pull->index_size)
				: -1;

	if (pull->index && memfd < 0) {
		reply->error = memfd;
		return -1;
	}
	reply->total_bytes = pull->total_bytes;
	digest_text(&pull->manifest.digest, reply->digest);
	text_copy(reply->path, sizeof(reply->path), c->name);
	return memfd;
}

/* Who does not learn of it does without. */
static void begun(struct pull *pull)
{
	struct connection *c = container_of(pull, struct connection, pull);
	struct zpull_reply reply = { 0 };
	autoclose int memfd = reply_name(c, &reply);

	if (!reply.error)
		reply_send(c, &reply, ZPULL_BEGUN, memfd);
}

static void done(struct pull *pull, int error)
{
	struct connection *c = container_of(pull, struct connection, pull);
	struct zpull_reply reply = { .error = error };
	autoclose int memfd = error ? -1 : reply_name(c, &reply);

	error = reply.error;
	if (error) {
		text_copy(reply.text, sizeof(reply.text), pull->text);
		log_warning(c->image, "%s", pull->text);
	} else {
		reply.done_bytes = reply.total_bytes;
		log_info(c->image, "pulled, %llu KB",
			 (unsigned long long)pull->total_bytes >> 10);
	}
	pull_over(c);
	if (!error)
		handed_add(c->name);
	else if (is_final(error) && !is_wanted(c->name))
		path_remove_tree(puller.root, c->name);
	if (reply_send(c, &reply, ZPULL_PULL, memfd))
		connection_close(c);
}

/* --------------------------------------------------------------- requests */

/* What the request names. 0 or -errno with text. */
static int want_parse(const struct zpull_request *request,
		      struct pull_want *want, char text[PULL_TEXT_SIZE])
{
	char image[sizeof(request->image) + 16];
	int r;

	want->hub = request->flags & ZPULL_HUB;
	snprintf(image, sizeof(image), "%s%s", want->hub ? "localhost/" : "",
		 request->image);
	r = reference_parse(span_of(image), &want->reference);
	if (!r)
		r = digest_parse(span_of(request->digest),
				 &want->reference.digest);
	want->reference.has_digest = true;
	want->platform = &image_platform_own;
	if (r)
		snprintf(text, PULL_TEXT_SIZE,
			 "\"%.140s\" with digest \"%.71s\" is no image",
			 request->image, request->digest);
	return r;
}

static int pull_begin(struct connection *c, struct pull_want *want)
{
	int r = want->hub ? 0
			  : sites_find(boot_fd, &want->reference, &c->sites,
				       c->pull.text);

	if (r)
		return r;
	want->sites = want->hub ? NULL : &c->sites;
	digest_hex(&want->reference.digest, c->name);
	c->layout = want->layout = layout_open(puller.root, c->name);
	r = c->layout < 0 ? c->layout : pull_start(&c->pull, want);
	if (r)
		snprintf(c->pull.text, PULL_TEXT_SIZE, "layout %s: %s", c->name,
			 strerror(-r));
	return r;
}

static void serve_pull(struct connection *c, struct zpull_request *request)
{
	struct pull_want want = { 0 };
	int r;

	c->pull = (struct pull){ .progress = progress,
				 .begun = begun,
				 .done = done };
	c->quiet.fire = quiet_fire;
	request->image[sizeof(request->image) - 1] = '\0';
	request->digest[sizeof(request->digest) - 1] = '\0';
	text_copy(c->image, sizeof(c->image), request->image);
	r = want_parse(request, &want, c->pull.text);
	if (!r)
		r = pull_begin(c, &want);
	if (!r) {
		c->pulling = true;
		return;
	}
	fd_close(&c->layout);
	sites_free(&c->sites);
	log_warning(c->image, "%s", c->pull.text);
	refuse(c, ZPULL_PULL, r, c->pull.text);
}

static void serve_drop(struct connection *c, struct zpull_request *request)
{
	struct digest digest;
	char *path = request->path;
	int r;

	path[sizeof(request->path) - 1] = '\0';
	if (digest_parse_hex(span_of(path), &digest)) {
		refuse(c, ZPULL_DROP, -EINVAL, "no name of a layout");
		return;
	}
	if (is_pulled(path)) {
		refuse(c, ZPULL_DROP, -EBUSY, "it is being pulled");
		return;
	}
	handed_remove(path);
	r = path_remove_tree(puller.root, path);
	refuse(c, ZPULL_DROP, r, r ? strerror(-r) : "");
}

static void serve(struct connection *c, struct zpull_request *request)
{
	if (c->peer.uid != 0 && c->peer.uid != UID_ZNODE) {
		refuse(c, request->head.verb, -EPERM, "only znode may do this");
		return;
	}
	switch ((enum zpull_verb)request->head.verb) {
	case ZPULL_PULL:
		serve_pull(c, request);
		return;
	case ZPULL_DROP:
		serve_drop(c, request);
		return;
	case ZPULL_PROGRESS:
	case ZPULL_BEGUN:
		break;
	}
	refuse(c, request->head.verb, -ENOSYS, "no such verb");
}

static void connection_ready(struct watch *w, uint32_t events)
{
	struct connection *c = container_of(w, struct connection, peer.watch);
	struct zpull_request request;
	int r = ipc_recv(c->peer.fd, &request, sizeof(request), NULL);

	(void)events;
	if (r == -EAGAIN)
		return;
	if (r == 1 && !c->pulling)
		serve(c, &request);
	else
		connection_close(c);
}

static struct peer *room(void)
{
	for (int i = 0; i < CONNECTIONS; i++) {
		if (connections[i].peer.fd < 0)
			return &connections[i].peer;
	}
	return NULL;
}

int server_open(int fd, int boot)
{
	boot_fd = boot;
	puller.is_wanted = is_wanted;
	for (int i = 0; i < CONNECTIONS; i++) {
		peer_init(&connections[i].peer);
		connections[i].layout = -1;
	}
	listener.room = room;
	listener.ready = connection_ready;
	return peer_queue_open(&listener, puller.loop, fd);
}
