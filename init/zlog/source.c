/* From lines to memory and files. A line goes to the ring of its source at
 * once; the file gets it in batches, when enough has gathered or after
 * FLUSH_MS, so that an SD card sees few writes. While the disk refuses or
 * hangs, lines stay in the ring until they are overwritten; those are counted.
 */
#define _GNU_SOURCE
#include "source.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "disk.h"
#include "line.h"

enum {
	FLUSH_SIZE = 16 * 1024,
	FLUSH_MS = 3000,
	SERVICE_MAX = 16,
};

static struct source_setup setup;
static struct source sources[SOURCE_MAX];
static struct ring rings[SOURCE_MAX];
/* Apart, so that only what is used of them takes memory. */
static char rooms[SOURCE_MAX][RING_SIZE];
static char services[SERVICE_MAX][24];
static unsigned int n_services;
static struct timer flush_timer;

struct source *source_next(struct source *s)
{
	for (s = s ? s + 1 : sources; s < sources + SOURCE_MAX; s++) {
		if (s->name[0])
			return s;
	}
	return NULL;
}

static uint64_t wall_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

uint32_t source_slot(const struct source *s)
{
	return (uint32_t)(s - sources);
}

size_t source_note(char *out, uint64_t n, const char *such)
{
	char text[120];

	snprintf(text, sizeof(text), "%" PRIu64 " %s", n, such);
	return line_format(out, wall_ms(), LOG_LEVEL_WARNING, "zlog",
			   span_of(text));
}

/* Lines */

static void text_put(struct source *s, struct span text)
{
	ring_put(s->ring, text);
	if (disk_is_there() && !flush_timer.deadline_ms)
		timer_set(setup.loop, &flush_timer, FLUSH_MS);
}

/* Takes size bytes from what the source is allowed; false when it is used up.
 * Then everything is dropped for a while, not every second line: a log with
 * one hole can be read. */
static bool allowance_take(struct source *s, size_t size, uint64_t now)
{
	uint64_t grown = (now - s->allowance_ms) * SOURCE_RATE / 1000;

	if (now < s->calm_ms)
		return false;
	s->allowance = s->allowance + grown < SOURCE_BURST
			       ? s->allowance + grown
			       : SOURCE_BURST;
	s->allowance_ms = now;
	if (s->allowance < size) {
		s->calm_ms = now + SOURCE_CALM_MS;
		return false;
	}
	s->allowance -= size;
	return true;
}

static void dropped_tell(struct source *s)
{
	char out[LINE_TEXT_SIZE];

	text_put(s,
		 (struct span){ out, source_note(out, s->dropped,
						 "lines dropped, too many at "
						 "once") });
	s->dropped_told += s->dropped;
	s->dropped = 0;
	setup.dropped(s);
}

static void flush_fire(struct timer *t)
{
	uint64_t now = clock_ms();
	bool again = false;

	for (struct source *s = NULL; (s = source_next(s));) {
		if (s->dropped && now >= s->calm_ms)
			dropped_tell(s);
		s->due = s->ring->end;
		again = again || s->dropped ||
			(disk_is_there() && s->ring->written < s->ring->end);
	}
	disk_wake();
	if (again)
		timer_set(setup.loop, t, FLUSH_MS);
}

static void kernel_log(enum log_level level, struct span line)
{
	char text[512];
	int n = snprintf(text, sizeof(text), "<%d>%.*s\n", level,
			 line.size < 480 ? (int)line.size : 480, line.data);

	for (int i = 0; i < n - 1; i++) {
		if ((unsigned char)text[i] < ' ' || text[i] == 0x7f)
			text[i] = '?';
	}
	/* One that cannot be written there is in the file all the same. */
	if (write(STDERR_FILENO, text, (size_t)n) < 0)
		return;
}

void source_line(struct source *s, const char *tag, struct span line)
{
	char out[LINE_TEXT_SIZE];
	enum log_level level;

	if (!allowance_take(s, line.size + LINE_HEAD_SIZE, clock_ms())) {
		s->dropped++;
		if (!flush_timer.deadline_ms)
			timer_set(setup.loop, &flush_timer, FLUSH_MS);
		return;
	}
	if (s->dropped)
		dropped_tell(s);
	level = line_level(&line, LOG_LEVEL_INFO);
	text_put(s, (struct span){ out, line_format(out, wall_ms(), level, tag,
						    line) });
	if (s->service && level <= LOG_LEVEL_WARNING)
		kernel_log(level, line);
}

void source_grown(struct source *s)
{
	s->used_ms = clock_ms();
	if (s->ring->end - s->ring->written >= FLUSH_SIZE &&
	    !disk_is_failing()) {
		s->due = s->ring->end;
		disk_wake();
	}
	setup.grown(s);
}

bool source_floods(const struct source *s)
{
	return s->dropped > 0;
}

void source_end(struct source *s)
{
	if (s->dropped)
		dropped_tell(s);
	s->due = s->ring->end;
	setup.grown(s);
	disk_prune();
}

static bool is_service(const char *name)
{
	for (unsigned int i = 0; i < n_services; i++) {
		if (!strcmp(services[i], name))
			return true;
	}
	return false;
}

void source_service_add(const char *name)
{
	if (n_services < SERVICE_MAX)
		text_copy(services[n_services++], sizeof(services[0]), name);
}

static uint32_t within(uint32_t n, uint32_t least, uint32_t most)
{
	return n < least ? least : n > most ? most : n;
}

static void keep_set(struct source *s, const struct zlog_keep *keep)
{
	s->keep.size_bytes = keep->size_bytes ? within(keep->size_bytes,
						       ZLOG_KEEP_SIZE_MIN,
						       ZLOG_KEEP_SIZE_MAX)
					      : ZLOG_KEEP_SIZE;
	s->keep.files = keep->files
				? within(keep->files, 1, ZLOG_KEEP_FILES_MAX)
				: ZLOG_KEEP_FILES;
}

static void source_reset(struct source *s, const char *name)
{
	text_copy(s->name, sizeof(s->name), name);
	s->service = is_service(name);
	ring_clear(s->ring);
	s->due = 0;
	s->known = false;
	keep_set(s, &(struct zlog_keep){ 0 });
	s->allowance = SOURCE_BURST;
	s->allowance_ms = s->used_ms = clock_ms();
	s->calm_ms = s->dropped = 0;
	s->loaded = !disk_is_there();
	disk_wake();
}

/* A slot never used, or that of the source which ended longest ago. */
static struct source *slot_find(void)
{
	struct source *oldest = NULL;

	for (struct source *s = sources; s < sources + SOURCE_MAX; s++) {
		if (!s->name[0])
			return s;
		if (s->readers || s->tails || disk_has(s))
			continue;
		if (!oldest || s->used_ms < oldest->used_ms)
			oldest = s;
	}
	return oldest;
}

static struct source *find_exact(const char *name)
{
	for (struct source *s = NULL; (s = source_next(s));) {
		if (!strcmp(s->name, name))
			return s;
	}
	return NULL;
}

static struct source *source_make(const char *name)
{
	struct source *s = find_exact(name);

	if (s)
		return s;
	s = slot_find();
	if (s)
		source_reset(s, name);
	return s;
}

/* znode calls the containers of an application by its name, a dash and a
 * number. Where the rest is the name of a service, the two stay apart. */
void source_name(const char *output, char name[ZLOG_NAME_SIZE])
{
	const char *dash = strrchr(output, '-');
	size_t size = dash ? (size_t)(dash - output) : 0;

	text_copy(name, ZLOG_NAME_SIZE, output);
	if (is_service(output) || size == 0 || !dash[1] ||
	    strspn(dash + 1, "0123456789") != strlen(dash + 1))
		return;
	name[size] = '\0';
	if (is_service(name))
		text_copy(name, ZLOG_NAME_SIZE, output);
}

struct source *source_of_output(const char *output,
				const struct zlog_keep *keep)
{
	char name[ZLOG_NAME_SIZE];
	struct source *s;

	if (!id_valid(span_of(output)))
		return NULL;
	source_name(output, name);
	s = source_make(name);
	if (s) {
		s->known = true;
		keep_set(s, keep);
	}
	return s;
}

struct source *source_find(const char *name)
{
	char of_app[ZLOG_NAME_SIZE];
	struct source *s = find_exact(name);

	source_name(name, of_app);
	return s ? s : find_exact(of_app);
}

struct source *source_seek(const char *name)
{
	return source_make(name);
}

bool source_is_unknown(const struct source *s)
{
	return s->loaded && !s->known;
}

void source_init(const struct source_setup *given)
{
	setup = *given;
	flush_timer.fire = flush_fire;
	for (int n = 0; n < SOURCE_MAX; n++) {
		sources[n].ring = &rings[n];
		rings[n].data = rooms[n];
	}
}
