#define _GNU_SOURCE
#include "option.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/span.h"
#include "cli.h"
#include "plan.h"

#define FIRST_PASSED 3
#define PASSED_MAX   (1 << 20)

static int check_open(const char *what, unsigned n, struct fault *fault)
{
	for (unsigned i = 0; i < n; i++) {
		if (fcntl((int)(FIRST_PASSED + i), F_GETFD) < 0)
			return fault_set(fault, 0,
					 "%s: descriptor %u is not open", what,
					 FIRST_PASSED + i);
	}
	return 0;
}

int option_preserve_fds(const char *text, unsigned *n, struct fault *fault)
{
	uint64_t value;

	if (span_u64(span_of(text), PASSED_MAX, &value) < 0)
		return fault_set(fault, 0,
				 "--preserve-fds %.20s: want a number", text);
	*n = (unsigned)value;
	if (cli.exe < 3 + (int)*n)
		fd_close(&cli.exe); /* it is none of them */
	return check_open("--preserve-fds", *n, fault);
}

static bool is_flag(const struct option *options, const char *name, size_t n)
{
	for (; options->name; options++) {
		if (!options->has_arg && strlen(options->name) == n &&
		    memcmp(options->name, name, n) == 0)
			return true;
	}
	return false;
}

int option_next(int argc, char **argv, const char *letters,
		const struct option *options, int *index)
{
	for (int at = optind ? optind : 1; at < argc; optind = ++at) {
		char *word = argv[at], *equals = strchr(word, '=');

		if (!equals || strncmp(word, "--", 2) != 0 ||
		    !is_flag(options, word + 2, (size_t)(equals - word - 2)))
			break;
		if (strcmp(equals, "=true") == 0)
			*equals = '\0';
		if (strcmp(equals, "=false") != 0)
			break;
	}
	return getopt_long(argc, argv, letters, options, index);
}

const char *option_file(const char *path)
{
	return strcmp(path, "-") == 0 ? "/dev/stdin" : path;
}

int path_absolute(const char **path, char *out, size_t size)
{
	char here[2048];

	if (!*path || (*path)[0] == '/')
		return 0;
	if (!getcwd(here, sizeof(here)) ||
	    (size_t)snprintf(out, size, "%s/%s", here, *path) >= size)
		return -ENAMETOOLONG;
	*path = out;
	return 0;
}

int environment_add(struct runtime_config *config, const char *const *more,
		    size_t n_more)
{
	struct text_list *env = &config->process.env;
	size_t n = env->n + n_more;
	const char **item = arena_take(&config->arena, (n + 1) * sizeof(*item));

	if (!item)
		return -ENOMEM;
	if (env->n)
		memcpy(item, env->item, env->n * sizeof(*item));
	if (n_more)
		memcpy(item + env->n, more, n_more * sizeof(*item));
	env->item = item;
	env->n = n;
	return 0;
}

int environment_home(struct runtime_config *config, char **home)
{
	const struct text_list *env = &config->process.env;

	*home = NULL;
	for (size_t i = 0; i < env->n; i++) {
		if (strncmp(env->item[i], "HOME=", 5) == 0)
			return 0;
	}
	char *room = arena_take(&config->arena, HOME_SIZE);
	const char *more[] = { room };
	int r = room ? environment_add(config, more, 1) : -ENOMEM;

	if (r == 0)
		*home = room;
	return r;
}

int environment_listen(struct runtime_config *config, unsigned *preserve_fds,
		       struct fault *fault)
{
	static char fds[32], names[512];
	const char *more[] = { fds, "LISTEN_PID=1", names };
	const char *pid = getenv("LISTEN_PID"), *text = getenv("LISTEN_FDS");
	const char *all = getenv("LISTEN_FDNAMES");
	uint64_t n;

	if (!text || (pid && strtol(pid, NULL, 10) != getpid()))
		return 0;
	if (span_u64(span_of(text), PASSED_MAX, &n) < 0)
		return fault_set(fault, 0, "$LISTEN_FDS (%.20s): want a number",
				 text);
	int r = check_open("$LISTEN_FDS", (unsigned)n, fault);

	if (r < 0)
		return r;
	*preserve_fds += (unsigned)n;
	snprintf(fds, sizeof(fds), "LISTEN_FDS=%u", (unsigned)n);
	if (all)
		snprintf(names, sizeof(names), "LISTEN_FDNAMES=%.480s", all);
	r = environment_add(config, more, all ? 3 : 2);
	return r < 0 ? fault_set(fault, r, "$LISTEN_FDS") : 0;
}
