/* zhub init: makes an organism and its first hub. */
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

struct wish {
	const char *folder;
	struct config *config;
	const char *address[CONFIG_ADDRESSES_MAX];
	unsigned n_addresses;
};

/* 0, or -EINVAL after one log line. */
static int wish_option(struct wish *w, int option)
{
	struct config *config = w->config;

	switch (option) {
	case 'd':
		w->folder = optarg;
		return 0;
	case 'n':
		if (id_valid(span_of(optarg))) {
			text_copy(config->name, sizeof(config->name), optarg);
			return 0;
		}
		log_error(optarg, "--name: want 1 to 63 of a-z, 0-9 and -");
		return -EINVAL;
	case 'l':
		if (config_listen_set(config, span_of(optarg)) == 0)
			return 0;
		log_error(optarg, "--listen: want an IP address and a port, or "
				  ":PORT; a port is 1 to 65535");
		return -EINVAL;
	case 'u':
		return config_upstream_add(config, optarg);
	case 'a':
		if (w->n_addresses < CONFIG_ADDRESSES_MAX) {
			w->address[w->n_addresses++] = optarg;
			return 0;
		}
		break;
	}
	return -command_usage("init");
}

/* One that is named does not shut out the others. */
static int upstreams_others(struct config *config)
{
	for (unsigned i = 0; i < config->n_upstreams; i++)
		if (!strcmp(config->upstream[i].host, "*"))
			return 0;
	return config->n_upstreams ? config_upstream_add(config, "*") : 0;
}

static int wish_parse(int argc, char **argv, struct wish *w)
{
	static const struct option options[] = {
		{ "dir", required_argument, NULL, 'd' },
		{ "name", required_argument, NULL, 'n' },
		{ "listen", required_argument, NULL, 'l' },
		{ "address", required_argument, NULL, 'a' },
		{ "upstream", required_argument, NULL, 'u' },
		{ 0 },
	};
	int c;

	text_copy(w->config->name, sizeof(w->config->name), "hub");
	text_copy(w->config->listen, sizeof(w->config->listen), ":443");
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1)
		if (wish_option(w, c) < 0)
			return -EINVAL;
	if (optind != argc)
		return -command_usage("init");
	if (!w->n_addresses) {
		log_error(NULL, "want --address, once for every name and "
				"address that nodes and operators dial");
		return -EINVAL;
	}
	/* Their default port is that of --listen, wherever it stood. */
	for (unsigned i = 0; i < w->n_addresses; i++)
		if (config_address_add(w->config, w->address[i]) < 0)
			return -EINVAL;
	return upstreams_others(w->config);
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

/* Keys that are there are of an init that was cut short, or of a hub whose
 * hub.json was lost. They stay, under the addresses of now: a root key is the
 * last thing to be written over. */
static int keys_make(int dir, const struct config *config, struct ca *ca)
{
	struct ca_names names = config_names(config);
	bool is_new = faccessat(dir, "keys/root.pem", F_OK, 0) < 0, changed;
	int err = is_new ? ca_make(dir, config->name, &names) : 0;

	if (err == 0)
		err = ca_open(dir, ca);
	if (err < 0 || is_new)
		return err;
	log_notice("keys", "there already: the organism stays what it is");
	err = ca_refresh(dir, ca, &names, true, &changed);
	if (err < 0)
		ca_close(ca);
	return err;
}

static int operator_first(int dir, const struct config *config,
			  const struct ca *ca, struct store *store)
{
	struct operator_plan plan = { .kind = "operator", .name = "operator" };
	struct hub *hub = calloc(1, sizeof(*hub));
	int err = -ENOMEM;

	if (hub) {
		hub->store = store;
		err = operator_issue(hub, plan.name, NULL, &plan.not_after);
		if (err == 0)
			err = store_commit(store);
	}
	free(hub);
	return err < 0 ? err : operator_make(dir, config, ca, &plan);
}

/* hub.json is written last: without it the folder is no hub, and init may be
 * called again. */
static int organism_make(int dir, const struct config *config,
			 const char *folder)
{
	struct blobs *blobs;
	struct store *store;
	char path[512];
	struct ca ca;
	int err = keys_make(dir, config, &ca);

	if (err < 0)
		return err;
	command_store_path(folder, path);
	err = store_open(&store, path, NULL);
	if (err == 0) {
		err = operator_first(dir, config, &ca, store);
		store_close(store);
	}
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
	struct wish w = { .config = calloc(1, sizeof(*w.config)) };
	const char *name;
	autoclose int dir = -1;
	int code = EXIT_FAILED;

	umask(077);
	if (!w.config || wish_parse(argc, argv, &w) < 0) {
		free(w.config);
		return EXIT_USAGE;
	}
	name = command_folder_name(w.folder);
	dir = folder_make(w.folder);
	if (dir >= 0 && faccessat(dir, "hub.json", F_OK, 0) == 0)
		log_error(name, "holds a hub already");
	else if (dir >= 0 && organism_make(dir, w.config, w.folder) == 0)
		code = EXIT_DONE;
	else if (dir >= 0)
		log_error(name, "no hub was made: call init again when that is "
				"mended");
	free(w.config);
	return code;
}
