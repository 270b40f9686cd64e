/* zhub operator: lets another person in, or out. The hub's store keeps until
 * when certificates of a name are good; see operator.h. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <yyjson.h>

#include "api.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/path.h"
#include "command.h"
#include "operator.h"
#include "store.h"

/* ---- making ---- */

struct credential {
	const struct config *config;
	const struct ca *ca;
	const char *name, *chain;
	char key[CERT_PEM_SIZE];
};

/* What zctl reads. */
static int credential_save(int dir, const struct credential *c)
{
	yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *root = yyjson_mut_obj(doc), *list;
	autofree char *json = NULL;
	char file[80];
	int err;

	yyjson_mut_doc_set_root(doc, root);
	yyjson_mut_obj_add_str(doc, root, "name", c->name);
	list = yyjson_mut_obj_add_arr(doc, root, "hub");
	for (unsigned i = 0; i < c->config->n_addresses; i++)
		yyjson_mut_arr_add_str(doc, list, c->config->address[i]);
	yyjson_mut_obj_add_str(doc, root, "pin", c->ca->pin_text);
	yyjson_mut_obj_add_str(doc, root, "key", c->key);
	yyjson_mut_obj_add_str(doc, root, "chain", c->chain);
	yyjson_mut_obj_add_str(doc, root, "root", c->ca->root_pem);
	json = yyjson_mut_write(doc,
				YYJSON_WRITE_PRETTY_TWO_SPACES |
					YYJSON_WRITE_NEWLINE_AT_END,
				NULL);
	yyjson_mut_doc_free(doc);
	snprintf(file, sizeof(file), "%s.json", c->name);
	err = json ? file_replace(dir, file, 0600, json, strlen(json))
		   : -ENOMEM;
	if (json)
		explicit_bzero(json, strlen(json));
	if (err < 0)
		log_error(file, "%s", strerror(-err));
	return err;
}

/* The names that skopeo, podman and docker look for. */
static int credential_export(int dir, const struct credential *c)
{
	const struct {
		const char *name, *text;
	} files[] = {
		{ "ca.crt", c->ca->root_pem },
		{ "client.cert", c->chain },
		{ "client.key", c->key },
	};
	char folder[80], path[100];
	int err = 0;

	snprintf(folder, sizeof(folder), "%s.d", c->name);
	if (mkdirat(dir, folder, 0700) < 0 && errno != EEXIST)
		err = -errno;
	for (size_t i = 0; i < 3 && err == 0; i++) {
		snprintf(path, sizeof(path), "%s/%s", folder, files[i].name);
		err = file_replace(dir, path, 0600, files[i].text,
				   strlen(files[i].text));
	}
	if (err < 0)
		log_error(folder, "%s", strerror(-err));
	return err;
}

int operator_make(int dir, const struct config *config, const struct ca *ca,
		  const struct operator_plan *plan)
{
	struct credential c = { .config = config,
				.ca = ca,
				.name = plan->name };
	autofree char *chain = NULL;
	struct cert_key *key = NULL;
	struct cert_public public;
	char uri[128];
	int err = cert_key_make(&key);

	snprintf(uri, sizeof(uri), "zooid:///%s/%s", plan->kind, plan->name);
	if (err == 0) {
		cert_key_public(key, &public);
		err = ca_issue_client(ca, plan->name, uri, plan->not_after,
				      &public, &chain);
	}
	if (err == 0)
		err = cert_key_write(key, c.key);
	cert_key_free(key);
	if (err != 0) {
		log_error(plan->name, "no certificate: %s", strerror(-err));
		return err;
	}
	c.chain = chain;
	err = credential_save(dir, &c);
	if (err == 0)
		err = credential_export(dir, &c);
	explicit_bzero(c.key, sizeof(c.key));
	return err;
}

/* ---- what is there ---- */

static bool is_expired(int dir, const char *file)
{
	autofree char *pem = NULL;
	struct chain_facts facts;
	struct chain *chain = NULL;
	size_t size;
	int err = file_read(dir, file, CHAIN_PEM_MAX, &pem, &size);

	if (err == 0)
		err = chain_read(span_of(pem), &chain);
	if (err < 0)
		return false;
	err = chain_facts(chain, 0, &facts);
	chain_free(chain);
	return err == 0 && facts.not_after < time(NULL);
}

/* The only other one may be that of somebody who is to stay. */
static int credential_free(int dir, const char *name)
{
	char json[80], folder[80], file[100];

	snprintf(json, sizeof(json), "%s.json", name);
	snprintf(folder, sizeof(folder), "%s.d", name);
	snprintf(file, sizeof(file), "%s/client.cert", folder);
	if ((faccessat(dir, json, F_OK, 0) < 0 &&
	     faccessat(dir, folder, F_OK, 0) < 0) ||
	    is_expired(dir, file))
		return 0;
	log_error(name,
		  "%s or %s is there already: move both away for another, or "
		  "end it by zhub operator --revoke %s",
		  json, folder, name);
	return -EEXIST;
}

static void credential_remove(const char *folder, const char *name)
{
	autoclose int dir = command_folder(folder);
	char file[80];

	if (dir < 0)
		return;
	snprintf(file, sizeof(file), "%s.json", name);
	path_remove_tree(dir, file);
	snprintf(file, sizeof(file), "%s.d", name);
	path_remove_tree(dir, file);
}

/* ---- the hub's record ---- */

static int revoke_in(struct hub *hub, void *name)
{
	char unknown[API_ERROR_SIZE];
	bool known;
	int err = operator_revoke(hub, name, "local", &known);

	if (err == 0)
		err = store_commit(hub->store);
	if (err < 0) {
		log_error(name, "not revoked: %s", strerror(-err));
		return err;
	}
	if (known)
		return 0;
	operator_unknown(name, unknown);
	log_error(NULL, "%s", unknown);
	return -ENOENT;
}

static int revoke_operator(const char *folder, char *name)
{
	struct command_question question = { .method = "POST" };
	char path[128];
	yyjson_doc *reply = NULL;
	int code, err;

	snprintf(path, sizeof(path), "/v1/operators/%s/revoke", name);
	question.path = path;
	err = command_ask(folder, &question, &reply);
	yyjson_doc_free(reply);
	code = err == -ECONNREFUSED ? command_store(folder, revoke_in, name)
	       : err < 0	    ? EXIT_FAILED
				    : EXIT_DONE;
	if (code == EXIT_DONE)
		credential_remove(folder, name);
	return code;
}

static int issue_in(struct hub *hub, void *context)
{
	struct operator_plan *plan = context;
	int err = operator_issue(hub, plan->name, "local", &plan->not_after);

	if (err == 0)
		err = store_commit(hub->store);
	if (err < 0)
		log_error(plan->name, "not made: %s", strerror(-err));
	return err;
}

/* An exit code. */
static int issue(const char *folder, struct operator_plan *plan)
{
	struct command_question question = { .method = "POST" };
	char path[128];
	yyjson_doc *reply;
	int err;

	snprintf(path, sizeof(path), "/v1/operators/%s", plan->name);
	question.path = path;
	err = command_ask(folder, &question, &reply);
	if (err == -ECONNREFUSED)
		return command_store(folder, issue_in, plan);
	if (err < 0)
		return EXIT_FAILED;
	plan->not_after = (int64_t)member_u64(yyjson_doc_get_root(reply),
					      "not_after", 0);
	yyjson_doc_free(reply);
	return EXIT_DONE;
}

/* ---- the command ---- */

static int operator_new(const char *folder, struct operator_plan *plan)
{
	autoclose int dir = command_folder(folder);
	struct config *config = NULL;
	struct ca ca;
	int err, code;

	if (dir < 0 || credential_free(dir, plan->name) < 0)
		return EXIT_FAILED;
	code = issue(folder, plan);
	if (code != EXIT_DONE)
		return code;
	config = calloc(1, sizeof(*config));
	err = config ? config_load(dir, config) : -ENOMEM;
	if (err == 0)
		err = ca_open(dir, &ca);
	if (err == 0) {
		err = operator_make(dir, config, &ca, plan);
		ca_close(&ca);
	}
	free(config);
	if (err == 0)
		printf("%s/%s.json\n", command_folder_name(folder), plan->name);
	return err < 0 ? EXIT_FAILED : EXIT_DONE;
}

int command_operator(int argc, char **argv)
{
	static const struct option options[] = {
		{ "dir", required_argument, NULL, 'd' },
		{ "viewer", no_argument, NULL, 'v' },
		{ "revoke", no_argument, NULL, 'r' },
		{ 0 },
	};
	struct operator_plan plan = { .kind = "operator" };
	const char *folder = NULL;
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == 'd')
			folder = optarg;
		else if (c == 'v')
			plan.kind = "viewer";
		else if (c == 'r')
			plan.kind = NULL;
		else
			return command_usage("operator");
	}
	if (optind != argc - 1)
		return command_usage("operator");
	plan.name = argv[optind];
	if (!id_valid(span_of(plan.name))) {
		log_error(plan.name, "want 1 to 63 of a-z, 0-9 and -");
		return EXIT_USAGE;
	}
	/* The credential is NAME.json. */
	if (!strcmp(plan.name, "hub")) {
		log_error(plan.name, "hub.json is the hub's own file: want "
				     "another name");
		return EXIT_USAGE;
	}
	umask(077);
	return plan.kind ? operator_new(folder, &plan)
			 : revoke_operator(folder, argv[optind]);
}
