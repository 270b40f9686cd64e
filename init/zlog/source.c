/* From the pipes to memory and files. A line goes to the ring of its source at
 * once; the file gets it in batches, when enough has gathered or after
 * FLUSH_MS, so that an SD card sees few writes. While the disk refuses, lines
 * stay in the ring until they are overwritten; those are counted. */
#define _GNU_SOURCE
#include "source.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"

/* #syscalls: read write */

enum {
	READ_SIZE = 16 * 1024,
	FLUSH_SIZE = 16 * 1024,
	FLUSH_MS = 3000,
	FLOOD_MS = 10, /* between two reads of a source that floods */
	SERVICE_MAX = 16,
};

static struct source_setup setup = { .dir = -1 };
static struct source sources[SOURCE_MAX];
/* Apart, so that only what is used of them takes memory. */
static struct ring rings[SOURCE_MAX];
static struct line_part parts[SOURCE_MAX][SOURCE_PIPES];
static char services[SERVICE_MAX][24];
static unsigned int n_services;
static struct timer flush_timer, flood_timer;
static int disk_error; /* the last one logged, 0 when all is well */

/* The source after s that is in use, the first one after NULL; NULL at the end.
 */
static struct source *source_next(struct source *s)
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

/* Files */

static void disk_result(const struct source *s, int error)
{
	if (error < 0 && disk_error != error)
		log_warning(s->name,
			    "cannot write its log: %s; kept in "
			    "memory meanwhile",
			    strerror(-error));
	else if (error == 0 && disk_error < 0)
		log_notice(s->name, "logs are written again");
	disk_error = error;
}

/* "zlog: N such": a line of our own in the log of a source. */
static struct span note_format(char out[LINE_TEXT_SIZE], uint64_t n,
			       const char *such)
{
	char text[120];

	snprintf(text, sizeof(text), "zlog: %" PRIu64 " %s", n, such);
	return (struct span){ out,
			      line_format(out, wall_ms(), LOG_LEVEL_WARNING,
					  span_of(text)) };
}

static int lost_write(struct source *s)
{
	char out[LINE_TEXT_SIZE];
	struct span pieces[2] = { { 0 } };
	int error;

	if (!s->ring->lost)
		return 0;
	pieces[0] = note_format(out, s->ring->lost,
				"bytes lost before they could be written");
	error = file_append(&s->file, setup.dir, s->name, pieces);
	if (error == 0)
		s->ring->lost = 0;
	return error;
}

static void source_write(struct source *s)
{
	struct span pieces[2];
	size_t size;
	int error;

	if (setup.dir < 0 || s->ring->written == s->ring->end)
		return;
	size = ring_unwritten(s->ring, pieces);
	error = lost_write(s);
	if (error == 0)
		error = file_append(&s->file, setup.dir, s->name, pieces);
	if (error == 0)
		s->ring->written += size;
	disk_result(s, error);
}

void source_flush(void)
{
	for (struct source *s = NULL; (s = source_next(s));)
		source_write(s);
}

/* Lines */

static void text_put(struct source *s, struct span text)
{
	ring_put(s->ring, text);
	if (setup.dir >= 0 && !flush_timer.deadline_ms)
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

	text_put(s, note_format(out, s->dropped,
				"lines dropped, too many at once"));
	s->dropped = 0;
}

static void flush_fire(struct timer *t)
{
	uint64_t now = clock_ms();
	bool again = false;

	for (struct source *s = NULL; (s = source_next(s));) {
		if (s->dropped && now >= s->calm_ms)
			dropped_tell(s);
		source_write(s);
		again = again || s->dropped ||
			(setup.dir >= 0 && s->ring->written < s->ring->end);
	}
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

static void line_take(struct source *s, struct span line, uint64_t now)
{
	char out[LINE_TEXT_SIZE];
	enum log_level level;
	size_t n;

	if (!allowance_take(s, line.size + LINE_HEAD_SIZE, now)) {
		s->dropped++;
		return;
	}
	if (s->dropped)
		dropped_tell(s);
	level = line_level(&line, LOG_LEVEL_INFO);
	n = line_format(out, wall_ms(), level, line);
	text_put(s, (struct span){ out, n });
	if (s->service && level <= LOG_LEVEL_WARNING)
		kernel_log(level, line);
}

static void lines_take(struct reader *r, struct span input)
{
	struct source *s = r->source;
	uint64_t now = clock_ms();
	struct span line;

	while (line_cut(r->part, &input, &line))
		line_take(s, line, now);
	s->used_ms = now;
	if (s->ring->end - s->ring->written >= FLUSH_SIZE && !disk_error)
		source_write(s);
	setup.grown(s);
}

/* Pipes */

static bool source_is_live(const struct source *s)
{
	return s->reader[0].fd >= 0 || s->reader[1].fd >= 0;
}

static bool name_is_live(const char *name)
{
	for (struct source *s = NULL; (s = source_next(s));) {
		if (!strcmp(s->name, name))
			return source_is_live(s);
	}
	return false;
}

static void reader_end(struct reader *r)
{
	struct source *s = r->source;
	struct span line;

	if (line_rest(r->part, &line))
		line_take(s, line, clock_ms());
	if (s->dropped)
		dropped_tell(s);
	watch_del(setup.loop, &r->watch);
	fd_close(&r->fd);
	setup.grown(s);
	if (source_is_live(s))
		return;
	source_write(s);
	file_close(&s->file);
	file_prune(setup.dir, name_is_live);
}

/* One read. Returns the bytes; 0 when the pipe has ended, -EAGAIN. */
static ssize_t reader_read(struct reader *r)
{
	static char buffer[READ_SIZE];
	ssize_t n = read(r->fd, buffer, sizeof(buffer));

	if (n < 0)
		return errno == EINTR ? -EAGAIN : -errno;
	if (n > 0)
		lines_take(r, (struct span){ buffer, (size_t)n });
	return n;
}

static void reader_ready(struct watch *w, uint32_t events)
{
	struct reader *r = container_of(w, struct reader, watch);
	ssize_t n = reader_read(r);

	(void)events;
	if (n == -EAGAIN)
		return;
	if (n <= 0) {
		reader_end(r);
		return;
	}
	if (!r->source->dropped)
		return;
	/* Its pipe fills up until the timer fires: for that long, at most, a
	 * container that floods has to wait. */
	watch_events(setup.loop, w, 0);
	if (!flush_timer.deadline_ms)
		timer_set(setup.loop, &flush_timer, FLUSH_MS);
	if (!flood_timer.deadline_ms)
		timer_set(setup.loop, &flood_timer, FLOOD_MS);
}

static void flood_fire(struct timer *t)
{
	(void)t;
	for (struct source *s = NULL; (s = source_next(s));) {
		for (int i = 0; i < SOURCE_PIPES; i++) {
			if (s->reader[i].fd >= 0)
				watch_events(setup.loop, &s->reader[i].watch,
					     EPOLLIN);
		}
	}
}

/* Sources */

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

/* What its file still has from an earlier zlog, or an earlier boot. */
static void ring_load(struct source *s)
{
	char *data = s->ring->data, *line = data;
	size_t n = 0;

	if (setup.dir >= 0)
		n = file_tail(setup.dir, s->name, data, RING_SIZE / 2);
	/* It may begin in the middle of a line. */
	if (n == RING_SIZE / 2)
		line = memchr(data, '\n', n);
	if (!line)
		return;
	line += n == RING_SIZE / 2;
	n -= (size_t)(line - data);
	memmove(data, line, n);
	s->ring->end = s->ring->written = n;
}

static void source_reset(struct source *s, const char *name)
{
	file_close(&s->file);
	text_copy(s->name, sizeof(s->name), name);
	s->service = is_service(name);
	s->ring->end = s->ring->written = s->ring->lost = 0;
	s->allowance = SOURCE_BURST;
	s->allowance_ms = s->used_ms = clock_ms();
	s->calm_ms = s->dropped = 0;
	ring_load(s);
}

/* A slot never used, or that of the source which ended longest ago. */
static struct source *slot_find(void)
{
	struct source *oldest = NULL;

	for (struct source *s = sources; s < sources + SOURCE_MAX; s++) {
		if (!s->name[0])
			return s;
		if (source_is_live(s) || s->tails)
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

static struct reader *reader_of(struct source *s, uint32_t n)
{
	return n >= 1 && n <= SOURCE_PIPES ? &s->reader[n - 1] : NULL;
}

void source_add(const char *name, uint32_t n, int fd)
{
	struct source *s = id_valid(span_of(name)) ? source_make(name) : NULL;
	struct reader *r = s ? reader_of(s, n) : NULL;
	int error;

	if (!r) {
		log_warning(name,
			    "its output %u cannot be kept: more than %d "
			    "sources, or not one of ours",
			    n, SOURCE_MAX);
		fd_close(&fd);
		return;
	}
	watch_del(setup.loop, &r->watch);
	fd_close(&r->fd);
	r->fd = fd;
	r->part->size = 0;
	fcntl(fd, F_SETFL, O_NONBLOCK);
	error = watch_add(setup.loop, &r->watch, fd, EPOLLIN);
	if (error < 0) {
		log_warning(name, "cannot watch its output: %s",
			    strerror(-error));
		fd_close(&r->fd);
	}
}

void source_remove(const char *name, uint32_t n)
{
	struct source *s = find_exact(name);
	struct reader *r = s ? reader_of(s, n) : NULL;

	if (!r || r->fd < 0)
		return;
	/* At most what a pipe holds. */
	for (int i = 0; i < 64 && reader_read(r) > 0; i++)
		;
	reader_end(r);
}

struct source *source_find(const char *name)
{
	struct source *s = find_exact(name), *newest = NULL;
	char of_app[FILE_NAME_SIZE];

	if (s)
		return s;
	for (struct source *i = NULL; (i = source_next(i));) {
		if (name_is_of_app(i->name, name) &&
		    (!newest || i->used_ms > newest->used_ms))
			newest = i;
	}
	if (newest)
		return newest;
	if (setup.dir < 0)
		return NULL;
	if (file_tail(setup.dir, name, of_app, 1))
		return source_make(name);
	return file_newest(setup.dir, name, of_app) ? source_make(of_app)
						    : NULL;
}

void source_init(const struct source_setup *given)
{
	setup = *given;
	flush_timer.fire = flush_fire;
	flood_timer.fire = flood_fire;
	for (int n = 0; n < SOURCE_MAX; n++) {
		struct source *s = &sources[n];

		s->file.fd = -1;
		s->ring = &rings[n];
		for (int i = 0; i < SOURCE_PIPES; i++) {
			struct reader *r = &s->reader[i];

			r->part = &parts[n][i];
			r->fd = r->watch.fd = -1;
			r->watch.ready = reader_ready;
			r->source = s;
		}
	}
}
