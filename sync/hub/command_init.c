/* zhub init: makes an organism; zhub operator: lets another person in. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <yyjson.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/path.h"
#include "blob.h"
#include "command.h"
#include "operator.h"
#include "store.h"

/* ---- operators ---- */

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
		  const char *kind, const char *name)
{
	struct credential c = { .config = config, .ca = ca, .name = name };
	autofree char *chain = NULL;
	struct cert_key *key = NULL;
	struct cert_public public;
	char uri[128];
	int err = cert_key_make(&key);

	snprintf(uri, sizeof(uri), "zooid:///%s/%s", kind, name);
	if (err == 0) {
		cert_key_public(key, &public);
		err = ca_issue_client(ca, name, uri, CA_OPERATOR_DAYS, &public,
				      &chain);
	}
	if (err == 0)
		err = cert_key_write(key, c.key);
	cert_key_free(key);
	if (err != 0) {
		log_error(name, "no certificate: %s", strerror(-err));
		return err;
	}
	c.chain = chain;
	err = credential_save(dir, &c);
	if (err == 0)
		err = credential_export(dir, &c);
	explicit_bzero(c.key, sizeof(c.key));
	return err;
}

static int revoke_in(struct hub *hub, void *name)
{
	int err = operator_revoke(hub, name, "local");

	if (err == 0)
		err = store_commit(hub->store);
	if (err < 0)
		log_error(name, "not revoked: %s", strerror(-err));
	return err;
}

static int revoke_operator(const char *folder, char *name)
{
	struct command_question question = { .method = "POST" };
	char path[128];
	yyjson_doc *reply;
	int err;

	snprintf(path, sizeof(path), "/v1/operators/%s/revoke", name);
	question.path = path;
	err = command_ask(folder, &question, &reply);
	if (err == -ECONNREFUSED)
		return command_store(folder, revoke_in, name);
	if (err < 0)
		return EXIT_FAILED;
	yyjson_doc_free(reply);
	return EXIT_DONE;
}

static int operator_new(const char *folder, const char *kind, const char *name)
{
	autoclose int dir = command_folder(folder);
	struct config *config = calloc(1, sizeof(*config));
	struct ca ca;
	int err = -ENOMEM;

	if (config && dir >= 0)
		err = config_load(dir, config);
	if (err == 0)
		err = ca_open(dir, &ca);
	if (err == 0) {
		err = operator_make(dir, config, &ca, kind, name);
		ca_close(&ca);
	}
	free(config);
	if (err == 0)
		printf("%s/%s.json\n", command_folder_name(folder), name);
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
	const char *folder = NULL, *kind = "operator";
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == 'd')
			folder = optarg;
		else if (c == 'v')
			kind = "viewer";
		else if (c == 'r')
			kind = NULL;
		else
			return command_usage("operator");
	}
	if (optind != argc - 1)
		return command_usage("operator");
	if (!id_valid(span_of(argv[optind]))) {
		log_error(argv[optind], "want 1 to 63 of a-z, 0-9 and -");
		return EXIT_USAGE;
	}
	umask(077);
	return kind ? operator_new(folder, kind, argv[optind])
		    : revoke_operator(folder, argv[optind]);
}

/* ---- init ---- */

static int init_parse(int argc, char **argv, struct config *config,
		      const char **folder)
{
	static const struct option options[] = {
		{ "dir", required_argument, NULL, 'd' },
		{ "name", required_argument, NULL, 'n' },
		{ "listen", required_argument, NULL, 'l' },
		{ "address", required_argument, NULL, 'a' },
		{ 0 },
	};
	const char *address[CONFIG_ADDRESSES_MAX];
	unsigned n = 0;
	int c;

	text_copy(config->name, sizeof(config->name), "hub");
	text_copy(config->listen, sizeof(config->listen), ":443");
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == 'd')
			*folder = optarg;
		else if (c == 'n')
			text_copy(config->name, sizeof(config->name), optarg);
		else if (c == 'l')
			text_copy(config->listen, sizeof(config->listen),
				  optarg);
		else if (c == 'a' && n < CONFIG_ADDRESSES_MAX)
			address[n++] = optarg;
		else
			return -command_usage("init");
	}
	if (optind != argc)
		return -command_usage("init");
	if (!id_valid(span_of(config->name))) {
		log_error(config->name, "--name: want 1 to 63 of a-z, 0-9 "
					"and -");
		return -EINVAL;
	}
	if (!n) {
		log_error(NULL, "want --address, once for every name and "
				"address that nodes and operators dial");
		return -EINVAL;
	}
	/* Their default port is that of --listen, wherever it stood. */
	for (unsigned i = 0; i < n; i++)
		if (config_address_add(config, address[i]) < 0)
			return -EINVAL;
	return 0;
}

static int folder_make(const char *folder)
{
	const char *name = command_folder_name(folder);

	if (path_mkdirs(AT_FDCWD, name, 0700) < 0) {
		log_error(name, "%s", strerror(errno));
		return -errno;
	}
	return command_folder(folder);
}

/* hub.json is written last: without it the folder is no hub, and init may be
 * called again. */
static int organism_make(int dir, const struct config *config,
			 const char *folder)
{
	struct ca_names names = config_names(config);
	struct blobs *blobs;
	struct store *store;
	char path[512];
	struct ca ca;
	int err = ca_make(dir, config->name, &names);

	if (err < 0)
		return err;
	err = ca_open(dir, &ca);
	if (err < 0)
		return err;
	err = operator_make(dir, config, &ca, "operator", "operator");
	command_store_path(folder, path);
	if (err == 0)
		err = store_open(&store, path, NULL);
	if (err == 0)
		store_close(store);
	if (err == 0)
		err = blobs_open(&blobs, dir, NULL);
	if (err == 0)
		blobs_close(blobs);
	if (err == 0)
		err = config_save(dir, config);
	if (err == 0)
		printf("organism %s\ncredential %s/operator.json\n",
		       ca.pin_text, command_folder_name(folder));
	ca_close(&ca);
	return err;
}

int command_init(int argc, char **argv)
{
	struct config *config = calloc(1, sizeof(*config));
	const char *folder = NULL;
	autoclose int dir = -1;
	int code = EXIT_FAILED;

	umask(077);
	if (!config || init_parse(argc, argv, config, &folder) < 0) {
		free(config);
		return EXIT_USAGE;
	}
	dir = folder_make(folder);
	if (dir >= 0) {
		if (faccessat(dir, "hub.json", F_OK, 0) == 0)
			log_error(command_folder_name(folder),
				  "holds a hub already");
		else if (organism_make(dir, config, folder) == 0)
			code = EXIT_DONE;
	}
	free(config);
	return code;
}
