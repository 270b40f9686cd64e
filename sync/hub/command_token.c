/* zhub token: makes a token on the hub itself. A hub that serves is asked over
 * its local socket, whose file only its owner can open; else the store is
 * opened here. */
#define _GNU_SOURCE
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <yyjson.h>

#include "base/fd.h"
#include "base/log.h"
#include "command.h"
#include "hub.h"
#include "token.h"

enum { REPLY_MAX = 64 << 10, DAY = 24 * 3600 };

struct wish {
	const char *folder, *place, *kind;
	uint64_t uses, expires_s;
	yyjson_mut_doc *labels;
};

/* "90", "15m", "24h", "7d". */
static int seconds_parse(const char *text, uint64_t *seconds)
{
	static const struct {
		char unit;
		uint64_t seconds;
	} units[] = { { 's', 1 }, { 'm', 60 }, { 'h', 3600 }, { 'd', DAY } };
	struct span s = span_of(text);
	uint64_t factor = 1;

	for (size_t i = 0; s.size && i < 4; i++)
		if (s.data[s.size - 1] == units[i].unit) {
			factor = units[i].seconds;
			s.size--;
			break;
		}
	if (span_u64(s, 366 * DAY / factor, seconds) < 0 || !*seconds)
		return -EINVAL;
	*seconds *= factor;
	return 0;
}

static int label_add(struct wish *w, const char *text)
{
	const char *equals = strchr(text, '=');
	yyjson_mut_val *root = yyjson_mut_doc_get_root(w->labels);

	if (!equals || equals == text)
		return -EINVAL;
	yyjson_mut_obj_add(
		root,
		yyjson_mut_strncpy(w->labels, text, (size_t)(equals - text)),
		yyjson_mut_strcpy(w->labels, equals + 1));
	return 0;
}

static int wish_parse(int argc, char **argv, struct wish *w)
{
	static const struct option options[] = {
		{ "dir", required_argument, NULL, 'd' },
		{ "uses", required_argument, NULL, 'u' },
		{ "expires", required_argument, NULL, 'e' },
		{ "place", required_argument, NULL, 'p' },
		{ "label", required_argument, NULL, 'l' },
		{ "registry", no_argument, NULL, 'r' },
		{ 0 },
	};
	int c, err = 0;

	while (err == 0 &&
	       (c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == 'd')
			w->folder = optarg;
		else if (c == 'u')
			err = span_u64(span_of(optarg), 100000, &w->uses);
		else if (c == 'e')
			err = seconds_parse(optarg, &w->expires_s);
		else if (c == 'p')
			w->place = optarg;
		else if (c == 'l')
			err = label_add(w, optarg);
		else if (c == 'r')
			w->kind = "registry";
		else
			err = -EINVAL;
	}
	if (err < 0 || optind != argc || !w->uses) {
		log_error(NULL, "usage: zhub token [--uses N] [--expires 24h] "
				"[--place P] [--label K=V] [--registry]");
		return -EINVAL;
	}
	return 0;
}

/* ---- a hub that serves ---- */

static char *wish_body(const struct wish *w)
{
	yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *root = yyjson_mut_obj(doc);
	char *json;

	yyjson_mut_doc_set_root(doc, root);
	yyjson_mut_obj_add_str(doc, root, "kind", w->kind);
	yyjson_mut_obj_add_uint(doc, root, "uses", w->uses);
	yyjson_mut_obj_add_uint(doc, root, "expires", w->expires_s);
	yyjson_mut_obj_add_str(doc, root, "place", w->place);
	yyjson_mut_obj_add_val(
		doc, root, "labels",
		yyjson_mut_val_mut_copy(doc,
					yyjson_mut_doc_get_root(w->labels)));
	json = yyjson_mut_write(doc, 0, NULL);
	yyjson_mut_doc_free(doc);
	return json;
}

static int hub_connect(const char *folder)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	autoclose int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 ||
	    snprintf(address.sun_path, sizeof(address.sun_path), "%s/zhub.sock",
		     folder) >= (int)sizeof(address.sun_path) ||
	    connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return -ECONNREFUSED;
	return fd_take(&fd);
}

/* The reply ends with the connection, as was asked for. */
static int reply_print(const char *reply)
{
	const char *body = strstr(reply, "\r\n\r\n");
	yyjson_doc *doc = body ? yyjson_read(body + 4, strlen(body + 4), 0)
			       : NULL;
	yyjson_val *root = yyjson_doc_get_root(doc);
	const char *token = yyjson_get_str(yyjson_obj_get(root, "token"));
	const char *error = yyjson_get_str(yyjson_obj_get(root, "error"));

	if (token)
		puts(token);
	else
		log_error(NULL, "%s", error ? error : "the hub broke off");
	yyjson_doc_free(doc);
	return token ? EXIT_DONE : EXIT_FAILED;
}

static int ask(int fd, const struct wish *w)
{
	autofree char *body = wish_body(w), *request = NULL, *reply = NULL;
	ssize_t n;

	if (!body ||
	    asprintf(&request,
		     "POST /v1/tokens HTTP/1.1\r\nhost: local\r\n"
		     "connection: close\r\ncontent-type: application/json\r\n"
		     "content-length: %zu\r\n\r\n%s",
		     strlen(body), body) < 0)
		return EXIT_FAILED;
	reply = calloc(1, REPLY_MAX + 1);
	if (!reply || fd_write(fd, request, strlen(request)) < 0)
		return EXIT_FAILED;
	n = fd_read(fd, reply, REPLY_MAX);
	return n < 0 ? EXIT_FAILED : reply_print(reply);
}

/* ---- a hub that does not ---- */

static int make_in(struct hub *hub, const struct wish *w)
{
	yyjson_doc *labels = yyjson_mut_doc_imut_copy(w->labels, NULL);
	struct token_plan plan = {
		.kind = w->kind,
		.uses = w->uses,
		.expires_s = w->expires_s,
		.place = w->place,
		.labels = yyjson_doc_get_root(labels),
		.by = "local",
	};
	char id[TOKEN_ID_SIZE], text[TOKEN_TEXT_SIZE];
	int err = token_make(hub, &plan, id, text);

	yyjson_doc_free(labels);
	if (err == 0)
		err = store_commit(hub->store);
	if (err < 0)
		log_error(NULL, "no token: %s", strerror(-err));
	else
		puts(text);
	return err;
}

static int make_here(const struct wish *w)
{
	autoclose int dir = command_folder(w->folder), lock = -1;
	struct hub *hub;
	char path[512];
	int err;

	if (dir < 0)
		return EXIT_FAILED;
	lock = command_lock(dir);
	if (lock < 0) {
		log_error(NULL, "a zhub uses the folder but does not answer: "
				"try again");
		return EXIT_AGAIN;
	}
	hub = calloc(1, sizeof(*hub));
	err = hub ? config_load(dir, &hub->config) : -ENOMEM;
	if (err == 0)
		err = ca_open(dir, &hub->ca);
	if (err == 0) {
		command_store_path(w->folder, path);
		err = store_open(&hub->store, path, NULL);
		if (err == 0) {
			err = make_in(hub, w);
			store_close(hub->store);
		}
		ca_close(&hub->ca);
	}
	free(hub);
	return err < 0 ? EXIT_FAILED : EXIT_DONE;
}

int command_token(int argc, char **argv)
{
	struct wish w = {
		.place = "", .kind = "enrol", .uses = 1, .expires_s = DAY
	};
	autoclose int fd = -1;
	int code = EXIT_USAGE;

	w.labels = yyjson_mut_doc_new(NULL);
	yyjson_mut_doc_set_root(w.labels, yyjson_mut_obj(w.labels));
	if (wish_parse(argc, argv, &w) == 0) {
		fd = hub_connect(command_folder_name(w.folder));
		code = fd >= 0 ? ask(fd, &w) : make_here(&w);
	}
	yyjson_mut_doc_free(w.labels);
	return code;
}
