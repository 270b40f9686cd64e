#define _GNU_SOURCE
#include "ask.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"

enum { PING_MS = 20000, PING_ANSWER_MS = 10000, BODY_MAX = 1 << 20 };

/* ---- signals ---- */

static void on_signal(struct watch *w, uint32_t events)
{
	struct ask *ask = container_of(w, struct ask, signals);
	struct signalfd_siginfo info;

	while (read(w->fd, &info, sizeof(info)) == sizeof(info)) {
		if (info.ssi_signo == SIGWINCH)
			ask->resized = true;
		else
			ask->interrupted = true;
	}
}

static int loop_open(struct ask *ask)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP, SIGWINCH, 0 };
	int err = loop_init(&ask->loop), fd = signal_fd(signals);

	ask->signals.ready = on_signal;
	if (err < 0 || fd < 0 ||
	    watch_add(&ask->loop, &ask->signals, fd, EPOLLIN) < 0) {
		log_error(NULL, "out of descriptors");
		return EXIT_FAILED;
	}
	return EXIT_DONE;
}

/* ---- the connection ---- */

static void on_open(struct http_client *client)
{
	struct ask *ask = http_client_user(client);

	ask->is_open = true;
}

static void on_closed(struct http_client *client, int error, const char *why)
{
	struct ask *ask = http_client_user(client);

	ask->is_open = false;
	ask->error = error ? error : -ECONNRESET;
	text_copy(ask->why, sizeof(ask->why), why);
	http_client_free(client);
	ask->client = NULL;
}

static void on_pong(struct http_client *client, uint32_t round_trip_ms)
{
	(void)client;
	(void)round_trip_ms;
}

static const struct http_client_on client_on = {
	.open = on_open,
	.closed = on_closed,
	.pong = on_pong,
};

/* What no other address would make better. */
static int wire_failed(const struct ask *ask, const char *object)
{
	if (ask->quiet)
		return EXIT_AGAIN;
	switch (ask->error) {
	case -EKEYREJECTED:
		log_error(object,
			  "%s; the hub is another one than %s was made by, or "
			  "has no such name",
			  ask->why, ask->credential.file);
		return EXIT_FAILED;
	case -EKEYEXPIRED:
		log_error(object, "%s; is the clock of this machine right?",
			  ask->why);
		return EXIT_FAILED;
	case -EACCES:
		log_error(object,
			  "%s: the hub does not take the certificate of %s; "
			  "make another with zhub operator",
			  ask->why, ask->credential.file);
		return EXIT_REFUSED;
	default:
		return EXIT_AGAIN;
	}
}

static int dial(struct ask *ask, const char *address)
{
	struct http_client_config config = {
		.loop = &ask->loop,
		.tls = ask->tls,
		.address = address,
		.open_ms = ask->timeout_ms < ASK_CONNECT_MS ? ask->timeout_ms
							    : ASK_CONNECT_MS,
		.on = &client_on,
		.user = ask,
	};
	int err = http_client_new(&config, &ask->client);

	if (err < 0) {
		ask->error = err;
		snprintf(ask->why, sizeof(ask->why), "%s: %s", address,
			 err == -EINVAL ? "want HOST:PORT" : strerror(-err));
		return err;
	}
	while (ask->client && !ask->is_open && !ask->interrupted)
		if (loop_once(&ask->loop, -1) < 0)
			break;
	return ask->is_open ? 0 : -EAGAIN;
}

static int dial_all(struct ask *ask)
{
	const struct credential *c = &ask->credential;
	char all[768] = "";
	size_t used = 0;
	int code;

	for (unsigned i = 0; i < c->n_hubs; i++) {
		ask->hub = c->hub[i];
		if (dial(ask, c->hub[i]) == 0)
			return EXIT_DONE;
		if (ask->interrupted)
			return EXIT_INTERRUPTED;
		code = wire_failed(ask, "hub");
		if (code != EXIT_AGAIN)
			return code;
		used += (size_t)snprintf(all + used, sizeof(all) - used, "%s%s",
					 i ? ", " : "", ask->why);
		if (used >= sizeof(all))
			used = sizeof(all) - 1;
	}
	if (!ask->quiet)
		log_error("hub",
			  "does not answer (%s); is zhub running and "
			  "the network up?",
			  all);
	return EXIT_AGAIN;
}

int ask_open(struct ask *ask, const struct ctl *ctl)
{
	struct tls_client_config config = { .alpn = "h2" };
	int code = credential_read(ctl, &ask->credential);

	ask->signals.fd = ask->input.fd = ask->loop.epoll_fd = -1;
	ask->timeout_ms = (uint32_t)(ctl->timeout_s > 86400 ? 86400
							    : ctl->timeout_s) *
			  1000;
	if (code)
		return code;
	memcpy(config.pin, ask->credential.pin, sizeof(config.pin));
	config.chain = span_of(ask->credential.chain);
	config.key = ask->credential.key;
	if (tls_client_new(&config, &ask->tls) < 0)
		return EXIT_FAILED; /* told; the credential was checked */
	code = loop_open(ask);
	return code ? code : dial_all(ask);
}

int ask_again(struct ask *ask)
{
	bool quiet = ask->quiet;
	int code;

	ask->quiet = true;
	code = ask->client ? EXIT_DONE : dial_all(ask);
	ask->quiet = quiet;
	return code;
}

void ask_close(struct ask *ask)
{
	int fd = ask->signals.fd;

	if (ask->client)
		http_client_free(ask->client);
	if (ask->tls)
		tls_free(ask->tls);
	watch_del(&ask->loop, &ask->signals);
	fd_close(&fd);
	fd_close(&ask->loop.epoll_fd);
	credential_free(&ask->credential);
}

/* ---- failures ---- */

static int status_code(int status)
{
	switch (status) {
	case 401:
	case 403:
		return EXIT_REFUSED;
	case 429:
	case 503:
	case 504:
		return EXIT_AGAIN;
	default:
		return EXIT_FAILED;
	}
}

/* {"error":TEXT} of ours, {"errors":[{"message":TEXT}]} of a registry. */
static const char *error_text(yyjson_val *root)
{
	yyjson_val *first =
		yyjson_arr_get_first(yyjson_obj_get(root, "errors"));
	const char *text = yyjson_get_str(yyjson_obj_get(root, "error"));

	return text ? text : yyjson_get_str(yyjson_obj_get(first, "message"));
}

/* The first line of what is no JSON, as a node says why; false: there is none
 * that can be shown. */
static bool line_of(struct span body, char line[200])
{
	struct span text;
	size_t n = 0;

	if (!span_cut(&body, '\n', &text))
		return false;
	for (; n < text.size && n < 199; n++) {
		if (text.data[n] < ' ' || text.data[n] == 0x7f)
			return false;
		line[n] = text.data[n];
	}
	line[n] = '\0';
	return n > 0;
}

int ask_failed(struct ask *ask, const char *object, int error, int status,
	       struct span body)
{
	yyjson_doc *doc;
	const char *text;
	char line[200];

	if (ask->interrupted)
		return EXIT_INTERRUPTED;
	if (error) {
		int code = ask->client ? EXIT_AGAIN : wire_failed(ask, object);

		if (code == EXIT_AGAIN && !ask->quiet)
			log_error(object, "%s; try again",
				  error == -ETIMEDOUT && ask->client
					  ? "the hub did not answer in time"
				  : error == -EFBIG ? "the answer is too large"
				  : ask->client	    ? strerror(-error)
						    : ask->why);
		return code;
	}
	doc = yyjson_read(body.data, body.size, 0);
	text = error_text(yyjson_doc_get_root(doc));
	if (ask->quiet)
		;
	else if (status_code(status) == EXIT_REFUSED)
		log_error(object, "refused by the hub: %s", text ? text : "");
	else if (text)
		log_error(object, "%s", text);
	else if (line_of(body, line))
		log_error(object, "%s", line);
	else
		log_error(object, "the hub answers %d", status);
	yyjson_doc_free(doc);
	return status_code(status);
}

/* ---- one answer ---- */

struct fetched {
	const struct ask_request *request;
	uint64_t moved_ms; /* when the last bytes of a body went out */
	bool done;
	int error, status;
	char *body;
	size_t size;
};

static void on_reply(void *user, int error, int status, struct span body)
{
	struct fetched *f = user;

	f->done = true;
	f->error = error;
	f->status = status;
	f->body = malloc(body.size + 1);
	if (!f->body) {
		f->error = -ENOMEM;
		return;
	}
	memcpy(f->body, body.data, body.size);
	f->body[body.size] = '\0';
	f->size = body.size;
}

static ssize_t on_pull(void *user, void *buf, size_t size)
{
	struct fetched *f = user;

	f->moved_ms = clock_ms();
	return f->request->pull(f->request->user, buf, size);
}

static int fetch_start(struct ask *ask, struct fetched *f, const char *json)
{
	const struct ask_request *r = f->request;
	struct http_header header = { "content-type",
				      json ? "application/json" : r->type };
	struct http_call_config config = {
		.method = r->method,
		.path = r->path,
		.headers = &header,
		.n_headers = header.value ? 1 : 0,
		/* How long a body takes is for the network to say. */
		.timeout_ms = r->pull ? 0 : ask->timeout_ms,
	};

	if (json)
		config.body = http_bytes(span_of(json));
	else if (r->pull)
		config.body = http_pull((int64_t)r->size, on_pull);
	f->moved_ms = clock_ms();
	return ask->client ? http_fetch(ask->client, &config, ASK_REPLY_MAX,
					on_reply, f)
			   : ask->error;
}

/* The answer, or that there was none: f->done or not. */
static void fetch(struct ask *ask, struct fetched *f, const char *json)
{
	f->error = fetch_start(ask, f, json);
	if (f->error)
		return;
	while (!f->done && !ask->interrupted) {
		if (loop_once(&ask->loop, PING_MS) < 0)
			break;
		/* A hub that is gone without a word is noticed. */
		if (f->request->pull && ask->client &&
		    clock_ms() - f->moved_ms >= PING_MS)
			http_ping(ask->client, PING_ANSWER_MS);
	}
	/* What is left of the call must not speak to our stack. */
	if (!f->done && ask->client) {
		http_client_free(ask->client);
		ask->client = NULL;
	}
}

int ask_json(struct ask *ask, const struct ask_request *request,
	     yyjson_doc **doc)
{
	autofree char *json = NULL;
	struct fetched f = { .request = request };
	yyjson_doc *reply = NULL;
	int code = EXIT_DONE;

	if (request->body) {
		json = yyjson_mut_write(request->body, 0, NULL);
		yyjson_mut_doc_free(request->body);
		if (!json) {
			log_error(request->object, "out of memory");
			return EXIT_FAILED;
		}
	}
	fetch(ask, &f, json);
	if (ask->interrupted)
		code = EXIT_INTERRUPTED;
	else if (f.error || f.status / 100 != 2)
		code = ask_failed(ask, request->object, f.error, f.status,
				  (struct span){ f.body, f.size });
	else if (f.size)
		reply = yyjson_read(f.body, f.size, 0);
	free(f.body);
	if (doc)
		*doc = reply;
	else
		yyjson_doc_free(reply);
	return code;
}

int ask_head(struct ask *ask, const struct ask_request *request, bool *there)
{
	struct fetched f = { .request = request };
	int code = EXIT_DONE;

	fetch(ask, &f, NULL);
	*there = f.status / 100 == 2;
	if (ask->interrupted)
		code = EXIT_INTERRUPTED;
	else if (f.error || (!*there && f.status != 404))
		code = ask_failed(ask, request->object, f.error, f.status,
				  (struct span){ f.body, f.size });
	free(f.body);
	return code;
}

int ask_list(struct ask *ask, const char *path, const char *key,
	     yyjson_doc **doc, yyjson_val **list)
{
	const char *object = strcmp(key, "rows") ? key : "ps";
	const struct ask_request request = { .method = "GET",
					     .path = path,
					     .object = object };
	int code = ask_json(ask, &request, doc);

	if (code)
		return code;
	*list = yyjson_obj_get(yyjson_doc_get_root(*doc), key);
	if (yyjson_is_arr(*list))
		return EXIT_DONE;
	log_error(key, "the hub's answer has none; is it of another version?");
	yyjson_doc_free(*doc);
	*doc = NULL;
	return EXIT_FAILED;
}

/* ---- an answer that goes on ---- */

static void stream_body(struct http_call *call, struct span bytes)
{
	struct ask_stream *s = http_call_user(call);

	http_call_consumed(call, bytes.size);
	if (s->status / 100 != 2) {
		if (bytes.size > sizeof(s->head) - s->n_head)
			bytes.size = sizeof(s->head) - s->n_head;
		memcpy(s->head + s->n_head, bytes.data, bytes.size);
		s->n_head += bytes.size;
		return;
	}
	if (!s->over && !s->bytes(s->user, bytes))
		http_call_cancel(call);
}

static void stream_head(struct http_call *call, int status)
{
	struct ask_stream *s = http_call_user(call);

	s->status = status;
}

static void stream_done(struct http_call *call, int error, int status)
{
	struct ask_stream *s = http_call_user(call);

	s->over = true;
	s->error = error;
	s->status = status;
}

static const struct http_call_on stream_on = {
	.head = stream_head,
	.body = stream_body,
	.done = stream_done,
};

int ask_stream_start(struct ask *ask, struct ask_stream *s,
		     struct http_call **call)
{
	struct http_call_config config = {
		.method = "GET",
		.path = s->path,
		.on = &stream_on,
		.user = s,
	};
	int err = ask->client ? http_call(ask->client, &config, call)
			      : ask->error;

	s->ask = ask;
	s->over = false;
	s->error = s->status = 0;
	s->n_head = 0;
	return err ? ask_failed(ask, s->object, err, 0, (struct span){ "", 0 })
		   : EXIT_DONE;
}

int ask_stream(struct ask *ask, struct ask_stream *s)
{
	struct http_call *call = NULL;
	int code = ask_stream_start(ask, s, &call);

	if (code)
		return code;
	while (!s->over && !ask->interrupted) {
		/* A hub that is gone without a word is noticed. */
		uint64_t before = clock_ms();

		if (loop_once(&ask->loop, PING_MS) < 0)
			break;
		if (ask->client && clock_ms() - before >= PING_MS)
			http_ping(ask->client, PING_ANSWER_MS);
	}
	if (ask->interrupted) {
		if (!s->over)
			http_call_cancel(call);
		return EXIT_INTERRUPTED;
	}
	if (s->error == -ECANCELED || (!s->error && s->status / 100 == 2))
		return EXIT_DONE;
	return ask_failed(ask, s->object, s->error, s->status,
			  (struct span){ s->head, s->n_head });
}

void ask_path_add(char *path, size_t size, const char *text)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyz"
				    "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~/";
	size_t n = strlen(path);

	for (; *text && n + 4 < size; text++)
		n += (size_t)snprintf(path + n, size - n,
				      strchr(plain, *text) ? "%c" : "%%%02X",
				      (unsigned char)*text);
}
