#define _GNU_SOURCE
#include "command.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"

#include "layout.h"
#include "pull.h"
#include "site.h"

enum {
	STATUS_DONE,
	STATUS_FAILED,
	STATUS_USAGE,
	STATUS_REFUSED = 100,
	STATUS_AGAIN = 111,
	PROGRESS_MS = 250,
	LOGIN_MAX = 1024,
};

const char command_usage[] =
	"usage: zpull                  run the daemon (init does)\n"
	"       zpull fetch [--ca FILE] [--plain-http] [--login FILE]\n"
	"                   [--platform OS/ARCH] REFERENCE LAYOUT\n"
	"                              fetch an image into an OCI layout; "
	"what\n"
	"                              an earlier attempt left is not fetched\n"
	"                              again\n"
	"       zpull --help\n"
	"REFERENCE is as for docker(1), with its registry:\n"
	"registry.example/team/web:1.0, 10.0.2.2:5000/web@sha256:...\n"
	"FILE of --login holds one line USER:PASSWORD.\n"
	"Exit status: 0 done, 1 failed, 2 usage, 100 not allowed, 111 try "
	"again.\n";

struct options {
	const char *ca, *login, *layout;
	bool plain;
	struct image_platform platform;
	struct reference reference;
};

static struct {
	struct pull pull;
	struct loop loop;
	struct timer timer;
	struct options options;
	bool terminal;
	int error;
} fetch;

static int complain(const char *object, const char *text, int status)
{
	fprintf(stderr, "zpull: %s: %s\n", object, text);
	return status;
}

static int platform_parse(const char *text, struct image_platform *platform)
{
	struct span rest = span_of(text), os, architecture, variant = { 0 };

	*platform = (struct image_platform){ 0 };
	if (!span_cut(&rest, '/', &os) || !span_cut(&rest, '/', &architecture))
		return -EINVAL;
	if (span_cut(&rest, '/', &variant) && rest.data)
		return -EINVAL;
	if (!os.size || !architecture.size ||
	    span_copy(platform->os, sizeof(platform->os), os) < 0 ||
	    span_copy(platform->architecture, sizeof(platform->architecture),
		      architecture) < 0)
		return -EINVAL;
	return variant.size ? span_copy(platform->variant,
					sizeof(platform->variant), variant)
			    : 0;
}

static int options_parse(int argc, char **argv, struct options *o)
{
	static const struct option known[] = {
		{ "ca", required_argument, NULL, 'c' },
		{ "login", required_argument, NULL, 'l' },
		{ "plain-http", no_argument, NULL, 'h' },
		{ "platform", required_argument, NULL, 'p' },
		{ 0 },
	};
	int c;

	o->platform = image_platform_own;
	while ((c = getopt_long(argc, argv, "", known, NULL)) != -1) {
		if (c == 'c')
			o->ca = optarg;
		else if (c == 'l')
			o->login = optarg;
		else if (c == 'h')
			o->plain = true;
		else if (c != 'p')
			return STATUS_USAGE;
		else if (platform_parse(optarg, &o->platform) < 0)
			return complain(optarg, "want OS/ARCH, linux/arm64",
					STATUS_USAGE);
	}
	if (argc - optind != 2) {
		fputs(command_usage, stderr);
		return STATUS_USAGE;
	}
	o->layout = argv[optind + 1];
	if (reference_parse(span_of(argv[optind]), &o->reference) < 0)
		return complain(argv[optind], "no image reference",
				STATUS_USAGE);
	if (o->plain && o->ca)
		return complain("--ca", "not with --plain-http", STATUS_USAGE);
	if (!o->reference.host[0])
		return complain(argv[optind],
				"names no registry: write it before the name",
				STATUS_USAGE);
	return 0;
}

static int login_read(const char *path, struct site *site)
{
	autofree char *text = NULL;
	char *colon;
	size_t size;
	int r = file_read(AT_FDCWD, path, LOGIN_MAX, &text, &size);

	if (r)
		return complain(path, strerror(-r), STATUS_FAILED);
	text[strcspn(text, "\r\n")] = '\0';
	colon = strchr(text, ':');
	if (!colon)
		return complain(path, "want one line USER:PASSWORD",
				STATUS_FAILED);
	*colon = '\0';
	site->user = strdup(text);
	site->password = strdup(colon + 1);
	explicit_bzero(text, size);
	return site->user && site->password
		       ? 0
		       : complain(path, strerror(ENOMEM), STATUS_FAILED);
}

static void show(void)
{
	const struct pull *pull = &fetch.pull;

	if (!fetch.terminal)
		return;
	pull_count(&fetch.pull);
	fprintf(stderr, "\r%3llu %%  %.1f of %.1f MB ",
		(unsigned long long)(pull->total_bytes
					     ? pull->done_bytes * 100 /
						       pull->total_bytes
					     : 0),
		(double)pull->done_bytes / (1 << 20),
		(double)pull->total_bytes / (1 << 20));
}

static void progress(struct pull *pull)
{
	(void)pull;
	if (!fetch.timer.deadline_ms) {
		show();
		timer_set(&fetch.loop, &fetch.timer, PROGRESS_MS);
	}
}

static void quiet_fire(struct timer *t)
{
	(void)t;
}

static void done(struct pull *pull, int error)
{
	(void)pull;
	fetch.error = error;
	if (!error)
		show();
	if (fetch.terminal)
		fputc('\n', stderr);
	loop_stop(&fetch.loop, 0);
}

static int status_of(int error)
{
	char digest[DIGEST_TEXT_SIZE];

	if (!error) {
		digest_text(&fetch.pull.manifest.digest, digest);
		printf("%s\n", digest);
		return STATUS_DONE;
	}
	fprintf(stderr, "zpull: %s\n", fetch.pull.text);
	if (error == -EACCES)
		return STATUS_REFUSED;
	return remote_is_transient(error) ? STATUS_AGAIN : STATUS_FAILED;
}

/* Any directory, made where it is missing. */
static int layout_make(const char *path)
{
	autoclose int layout = -1;
	int r;

	if (mkdir(path, 0777) < 0 && errno != EEXIST)
		return -errno;
	layout = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	r = layout < 0 ? -errno : layout_prepare(layout);
	return r ? r : fd_take(&layout);
}

static int run(struct pull_want *want)
{
	int r = loop_init(&fetch.loop);

	puller.loop = &fetch.loop;
	puller.root = puller.stored = -1;
	fetch.timer.fire = quiet_fire;
	fetch.terminal = isatty(STDERR_FILENO);
	fetch.pull.progress = progress;
	fetch.pull.done = done;
	if (!r)
		r = zpull_confine(&want->layout, 1, -1);
	if (!r)
		r = pull_start(&fetch.pull, want);
	if (r)
		return complain(fetch.options.layout, strerror(-r),
				STATUS_FAILED);
	loop_run(&fetch.loop);
	if (!fetch.error)
		r = fd_sync_all(want->layout);
	if (r)
		return complain(fetch.options.layout, strerror(-r),
				STATUS_FAILED);
	return status_of(fetch.error);
}

int command_fetch(int argc, char **argv)
{
	struct options *o = &fetch.options;
	int status = options_parse(argc, argv, o), r;
	struct sites sites = { .n = 1, .site[0].plain = o->plain };
	struct site *site = &sites.site[0];
	struct pull_want want = { .layout = -1, .sites = &sites };

	if (!status && o->login)
		status = login_read(o->login, site);
	if (status)
		return status;
	r = site_ca_read(site, AT_FDCWD, o->ca);
	if (r)
		return complain(o->ca, strerror(-r), STATUS_FAILED);
	want.layout = layout_make(o->layout);
	if (want.layout < 0)
		return complain(o->layout, strerror(-want.layout),
				STATUS_FAILED);
	want.reference = o->reference;
	want.platform = &o->platform;
	text_copy(site->host, sizeof(site->host), o->reference.host);
	status = run(&want);
	fd_close(&want.layout);
	free(fetch.pull.index);
	sites_free(&sites);
	return status;
}
