/* Questions to the hub that serves in a folder, over its local socket, whose
 * file only its owner can open. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "command.h"

enum { REPLY_MAX = 64 << 10 };

static int hub_connect(const char *folder)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	autoclose int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 ||
	    snprintf(address.sun_path, sizeof(address.sun_path), "%s/zhub.sock",
		     command_folder_name(folder)) >=
		    (int)sizeof(address.sun_path) ||
	    connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return -ECONNREFUSED;
	return fd_take(&fd);
}

/* The reply ends with the connection, as was asked for. */
static int reply_read(const char *text, yyjson_doc **reply)
{
	const char *body = strstr(text, "\r\n\r\n");
	yyjson_doc *doc = body ? yyjson_read(body + 4, strlen(body + 4), 0)
			       : NULL;
	const char *error = yyjson_get_str(
		yyjson_obj_get(yyjson_doc_get_root(doc), "error"));

	if (doc && !error) {
		*reply = doc;
		return 0;
	}
	log_error(NULL, "%s", error ? error : "the hub broke off");
	yyjson_doc_free(doc);
	return -EPROTO;
}

int command_ask(const char *folder, const struct command_question *q,
		yyjson_doc **reply)
{
	autoclose int fd = hub_connect(folder);
	autofree char *request = NULL, *text = NULL;
	const char *body = q->body ? q->body : "";

	if (fd < 0)
		return fd;
	if (asprintf(&request,
		     "%s %s HTTP/1.1\r\nhost: local\r\nconnection: close\r\n"
		     "content-type: application/json\r\n"
		     "content-length: %zu\r\n\r\n%s",
		     q->method, q->path, strlen(body), body) < 0)
		return -ENOMEM;
	text = calloc(1, REPLY_MAX + 1);
	if (!text)
		return -ENOMEM;
	if (fd_write(fd, request, strlen(request)) < 0 ||
	    fd_read(fd, text, REPLY_MAX) < 0) {
		log_error(NULL, "the hub broke off");
		return -EIO;
	}
	return reply_read(text, reply);
}

int command_store(const char *folder, int (*change)(struct hub *, void *),
		  void *context)
{
	autoclose int dir = command_folder(folder), lock = -1;
	struct hub *hub;
	char path[512];
	int err;

	if (dir < 0)
		return EXIT_FAILED;
	lock = command_lock(dir);
	if (lock == -EBUSY)
		log_error(NULL, "a zhub uses the folder but does not answer: "
				"try again");
	if (lock < 0)
		return lock == -EBUSY ? EXIT_AGAIN : EXIT_FAILED;
	hub = calloc(1, sizeof(*hub));
	err = hub ? config_load(dir, &hub->config) : -ENOMEM;
	if (err == 0)
		err = ca_open(dir, &hub->ca);
	if (err == 0) {
		hub->dir = dir;
		command_store_path(folder, path);
		err = store_open(&hub->store, path, NULL);
		if (err == 0) {
			err = change(hub, context);
			store_close(hub->store);
		}
		ca_close(&hub->ca);
	}
	free(hub);
	return err < 0 ? EXIT_FAILED : EXIT_DONE;
}
