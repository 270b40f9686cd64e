/* zhub token: makes a token on the hub itself. A hub that serves is asked; else
 * the store is opened here. */
#define _GNU_SOURCE
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "base/log.h"
#include "command.h"
#include "hub.h"
#include "token.h"

enum { DAY = 24 * 3600 };

struct wish {
	const char *folder, *place, *kind;
	uint64_t uses, expires_s;
	yyjson_mut_doc *labels;
};

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

/* 0, or -EINVAL after one log line. */
static int wish_option(struct wish *w, int option)
{
	const char *want = NULL;

	switch (option) {
	case 'd':
		w->folder = optarg;
		break;
	case 'u':
		if (span_u64(span_of(optarg), 100000, &w->uses) < 0 || !w->uses)
			want = "--uses: want 1 to 100000";
		break;
	case 'e':
		if (span_seconds(span_of(optarg), &w->expires_s) < 0 ||
		    !w->expires_s)
			want = "--expires: want a number and s, m, h or d, at "
			       "most 366d";
		break;
	case 'p':
		w->place = optarg;
		if (!token_place_valid(optarg))
			want = "--place: want a-z, 0-9 and - with / between, "
			       "not operator or viewer";
		break;
	case 'l':
		if (label_add(w, optarg) < 0)
			want = "--label: want KEY=VALUE";
		break;
	case 'r':
		w->kind = "registry";
		break;
	}
	if (want)
		log_error(optarg, "%s", want);
	return want ? -EINVAL : 0;
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
	       (c = getopt_long(argc, argv, "", options, NULL)) != -1)
		err = c == '?' ? command_usage("token") : wish_option(w, c);
	if (err == 0 && optind != argc)
		err = command_usage("token");
	return err ? -EINVAL : 0;
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

static int token_print(yyjson_doc *reply)
{
	const char *token = yyjson_get_str(
		yyjson_obj_get(yyjson_doc_get_root(reply), "token"));

	if (token)
		puts(token);
	else
		log_error(NULL, "the hub gave no token");
	yyjson_doc_free(reply);
	return token ? EXIT_DONE : EXIT_FAILED;
}

/* ---- a hub that does not ---- */

static int make_in(struct hub *hub, void *context)
{
	const struct wish *w = context;
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

int command_token(int argc, char **argv)
{
	struct wish w = {
		.place = "", .kind = "enrol", .uses = 1, .expires_s = DAY
	};
	struct command_question question = { "POST", "/v1/tokens", NULL };
	autofree char *body = NULL;
	yyjson_doc *reply;
	int code = EXIT_USAGE, err;

	w.labels = yyjson_mut_doc_new(NULL);
	yyjson_mut_doc_set_root(w.labels, yyjson_mut_obj(w.labels));
	if (wish_parse(argc, argv, &w) == 0) {
		body = wish_body(&w);
		question.body = body;
		err = command_ask(w.folder, &question, &reply);
		code = err == -ECONNREFUSED
			       ? command_store(w.folder, make_in, &w)
		       : err < 0 ? EXIT_FAILED
				 : token_print(reply);
	}
	yyjson_mut_doc_free(w.labels);
	return code;
}
