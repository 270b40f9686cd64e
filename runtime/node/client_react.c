/* znode react --dry-run: what would become of each application if nobody, or
 * everybody, asked for it now. Nothing is done. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app.h"
#include "client.h"

/* "250 ms", "30 s", "1 min 30 s", "2 h" */
static const char *time_text(uint64_t ms, char text[32])
{
	static const struct {
		uint64_t ms;
		const char *name;
	} units[] = {
		{ 3600000, "h" }, { 60000, "min" }, { 1000, "s" }, { 1, "ms" }
	};
	size_t n = sizeof(units) / sizeof(*units), i = 0, used;

	while (i < n - 1 && ms < units[i].ms)
		i++;
	used = (size_t)snprintf(text, 32, "%" PRIu64 " %s", ms / units[i].ms,
				units[i].name);
	ms %= units[i].ms;
	if (i + 1 < n && ms >= units[i + 1].ms)
		snprintf(text + used, 32 - used, " %" PRIu64 " %s",
			 ms / units[i + 1].ms, units[i + 1].name);
	return text;
}

static void line_begin(const char *when)
{
	printf("  %-10s", when);
}

/* In the order in which they come: what is due sooner leaves out what is due
 * at the same time or later but does less. */
static void print_silent(const struct znode_app *app)
{
	const struct {
		uint32_t after_ms;
		const char *then;
	} steps[] = {
		{ app->freeze_after_ms, "frozen" },
		{ app->sleep_after_ms, "asleep on disk" },
		{ app->image_after_ms, "image only" },
	};
	uint32_t end = app->image_after_ms ? app->image_after_ms : UINT32_MAX;
	const char *comma = "";
	char text[32];

	line_begin("silent");
	for (size_t i = 0; i < sizeof(steps) / sizeof(*steps); i++) {
		if (!steps[i].after_ms || steps[i].after_ms > end ||
		    (i < 2 && steps[i].after_ms == end))
			continue;
		printf("%s%s after %s", comma, steps[i].then,
		       time_text(steps[i].after_ms, text));
		comma = ", ";
	}
	putchar('\n');
}

static void print_next(const struct znode_app *app)
{
	char text[32];

	if (app->holds[0]) {
		line_begin("not now");
		printf("%s\n", app->holds);
	}
	if (app->next_ms) {
		line_begin("next");
		printf("%s in %s\n",
		       app->state == ZNODE_FROZEN && app->sleep_after_ms
			       ? "asleep on disk"
			       : "image only",
		       time_text(app->next_ms, text));
	}
}

static void print_asked(const struct znode_app *app)
{
	line_begin("asked");
	if (app->state == ZNODE_FROZEN)
		printf("thawed by the first %s\n",
		       app->wakes_at_byte ? "byte" : "connection or byte");
	else if (app->state == ZNODE_ASLEEP)
		puts("woken from disk, by a client of its ports");
	else if (app->rests)
		printf("started from its %s, by a client of its ports\n",
		       app->warm ? "checkpoint" : "image");
	else
		puts("answers");
	if (app->max > 1) {
		line_begin("crowded");
		printf("one more instance for more than %u requests each, up "
		       "to %u; %u now\n",
		       app->concurrency, app->max,
		       app->pid ? 1 + app->extras : app->extras);
	}
}

static void print_old(const struct znode_app *app)
{
	char text[32];

	if (!app->lifetime_ms)
		return;
	line_begin("old");
	printf("replaced after %s", time_text(app->lifetime_ms, text));
	if (app->aged_in_ms)
		printf(", in %s", time_text(app->aged_in_ms, text));
	putchar('\n');
}

static void print_app(const struct znode_app *app)
{
	printf("%s: %s%s%s\n", app->name, znode_state_name(app->state),
	       app->why[0] ? ", " : "", app->why);
	if (!app->reactive) {
		line_begin("silent");
		puts("as it is: it is not reactive");
		return;
	}
	print_silent(app);
	print_next(app);
	print_asked(app);
	print_old(app);
}

int client_react(int argc, char **argv)
{
	struct client_rows rows = { 0 };
	int status;

	if (argc != 2 || strcmp(argv[1], "--dry-run") != 0)
		return 2;
	status = client_rows(&rows) != 0;
	for (unsigned i = 0; !status && i < rows.n; i++)
		print_app(&rows.app[i]);
	free(rows.app);
	return status;
}
