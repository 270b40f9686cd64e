/* zlog: lines cut and stamped, the ring of the latest ones. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tap.h"
#include "zlog/line.h"
#include "zlog/ring.h"

static char part_room[LINE_MAX_SIZE];
static struct line_part part = { .data = part_room };

/* Feeds `input` in pieces of `step` bytes; the lines come joined by '|'. */
static const char *cut(const char *input, size_t step, bool end)
{
	static char out[1024];
	size_t size = strlen(input), used = 0;
	struct span line;

	out[0] = '\0';
	for (size_t i = 0; i < size; i += step) {
		struct span piece = { input + i,
				      size - i < step ? size - i : step };

		while (line_cut(&part, &piece, &line))
			used += (size_t)snprintf(out + used, sizeof(out) - used,
						 "%.*s|", (int)line.size,
						 line.data);
	}
	if (end && line_rest(&part, &line))
		snprintf(out + used, sizeof(out) - used, "%.*s$",
			 (int)line.size, line.data);
	return out;
}

static void test_cut(void)
{
	static const struct {
		const char *input, *lines;
	} cases[] = {
		{ "", "" },
		{ "a\n", "a|" },
		{ "a\nbc\n\nd\n", "a|bc||d|" },
		{ "a\nrest", "a|rest$" },
		{ "\n\n", "||" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		for (size_t step = 1; step < 6; step++) {
			const char *got = cut(cases[i].input, step, true);

			ok(!strcmp(got, cases[i].lines),
			   "case %zu in pieces "
			   "of %zu: %s",
			   i, step, got);
		}
	}
}

static void test_long_line(void)
{
	static char text[3 * LINE_MAX_SIZE];
	struct span input = { text, sizeof(text) }, line;
	size_t sizes[8] = { 0 }, n = 0;

	memset(text, 'x', sizeof(text));
	text[2 * LINE_MAX_SIZE + 9] = '\n';
	while (n < 8 && line_cut(&part, &input, &line))
		sizes[n++] = line.size;
	ok(n == 3 && sizes[0] == LINE_MAX_SIZE && sizes[1] == LINE_MAX_SIZE &&
		   sizes[2] == 9,
	   "a long line in pieces");
	ok(line_rest(&part, &line) && line.size == LINE_MAX_SIZE - 10 &&
		   !line_rest(&part, &line),
	   "the rest of it, once");
}

static void test_format(void)
{
#define AT "2026-11-23T05:08:03.007Z "
	static const struct {
		const char *tag, *line, *out;
	} cases[] = {
		{ "", "<4>znode: app web", AT "warning znode: app web\n" },
		{ "", "<0>x", AT "error x\n" },
		{ "", "<7>x", AT "info x\n" },
		{ "", "<8>x", AT "info <8>x\n" },
		{ "", "<3", AT "info <3\n" },
		{ "", "", AT "info \n" },
		{ "web-1", "", AT "info web-1: \n" },
		{ "web-1", "<5>up", AT "notice web-1: up\n" },
		{ "", "dos\r", AT "info dos\n" },
		{ "", "a\033[31mb\tc\x7f\r.", AT "info a?[31mb\tc??.\n" },
		{ "", "gr\xc3\xbc\xc3\x9f", AT "info gr\xc3\xbc\xc3\x9f\n" },
	};
	char out[LINE_TEXT_SIZE + 1];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct span line = span_of(cases[i].line);
		enum log_level level = line_level(&line, LOG_LEVEL_INFO);
		/* date -u -d 2026-11-23T05:08:03 +%s */
		size_t n = line_format(out, UINT64_C(1795410483007), level,
				       cases[i].tag, line);

		out[n] = '\0';
		if (!ok(!strcmp(out, cases[i].out), "format %zu", i))
			printf("# %s", out);
	}
}

/* The text from `place` on. */
static const char *rest_of(const struct ring *r, uint64_t place)
{
	static char out[RING_SIZE + 1];
	size_t used = 0;
	struct span s;

	while ((s = ring_at(r, &place)).size) {
		memcpy(out + used, s.data, s.size);
		used += s.size;
		place += s.size;
	}
	out[used] = '\0';
	return out;
}

static struct ring *ring_new(void)
{
	struct ring *r = calloc(1, sizeof(*r));

	r->data = malloc(RING_SIZE);
	return r;
}

static void ring_free(struct ring *r)
{
	free(r->data);
	free(r);
}

static void test_ring(void)
{
	struct ring *r = ring_new();
	struct span pieces[2];
	char line[32];
	size_t size;

	ok(ring_last_lines(r, 3) == 0 && !*rest_of(r, 0), "empty ring");
	ring_put(r, span_of("one\ntwo\nthree\n"));
	ok(!strcmp(rest_of(r, ring_last_lines(r, 2)), "two\nthree\n"),
	   "the last two lines");
	ok(!strcmp(rest_of(r, ring_last_lines(r, 9)), "one\ntwo\nthree\n"),
	   "no more than there are");
	ok(!*rest_of(r, ring_last_lines(r, 0)), "the last none");
	ok(!strcmp(rest_of(r, ring_since(r, 0, span_of("two"))),
		   "two\nthree\n") &&
		   !strcmp(rest_of(r, ring_since(r, 4, span_of("three"))),
			   "two\nthree\n") &&
		   !*rest_of(r, ring_since(r, 0, span_of("u"))),
	   "from the first on that is not before");
	r->written = r->end;
	for (int i = 0; i < 10000; i++) {
		snprintf(line, sizeof(line), "line %04d\n", i);
		ring_put(r, span_of(line));
	}
	/* 14 bytes, then 10,000 lines of 10. */
	ok(r->end == 100014 && ring_oldest(r) == 100014 - RING_SIZE,
	   "places go on counting");
	/* From line 3447 on, which begins at 14 + 34470. */
	size = ring_unwritten(r, pieces);
	ok(r->written == 34484 && r->lost == 34484 - 14 &&
		   size == 100014 - 34484 &&
		   !strncmp(pieces[0].data, "line 3447\n", 10) &&
		   pieces[1].data == r->data,
	   "what was overwritten before it was written is counted");
	ok(!strcmp(rest_of(r, ring_last_lines(r, 2)), "line 9998\nline 9999\n"),
	   "the last two after wrapping");
	/* The oldest byte is in the middle of line 3446: (34478 - 14) / 10. */
	ok(!strncmp(rest_of(r, 0), "line 3447\nline 3448\n", 20) &&
		   !strncmp(rest_of(r, ring_last_lines(r, 20000)),
			    "line 3447\nline 3448\n", 20),
	   "whoever fell behind goes on with a whole line");
	ring_free(r);
}

static void test_ring_history(void)
{
	static const char old[] = "old one\nold two\n";
	static char many[2 * RING_HISTORY + 1];
	struct ring *r = ring_new();

	ring_clear(r);
	ring_put(r, span_of("new\n"));
	ring_put_before(r, span_of(old));
	ok(!strcmp(rest_of(r, ring_last_lines(r, 2)), "old two\nnew\n") &&
		   !strcmp(rest_of(r, 0), "old one\nold two\nnew\n"),
	   "what was before comes before");
	ok(r->end - r->written == 4 && r->lost == 0,
	   "only what is new is to be written");
	/* 4,096 lines of 16 bytes, "line 0000000000\n" .... */
	for (unsigned int i = 0; i < 4096; i++)
		snprintf(many + 16 * i, 17, "line %010u\n", i);
	ring_clear(r);
	ring_put_before(r, (struct span){ many, RING_SIZE });
	ok(r->end - r->begin == RING_HISTORY - 16 &&
		   !strncmp(rest_of(r, 0), "line 0000002049\n", 16),
	   "of too much history the last whole lines");
	ring_clear(r);
	ring_put(r, (struct span){ many, RING_SIZE - 32 });
	ring_put_before(r, span_of(old));
	/* end = RING_HISTORY + RING_SIZE - 32: 32 bytes are free. */
	ok(r->end - ring_oldest(r) == RING_SIZE - 32 + 16 &&
		   !strncmp(rest_of(r, 0), "old one\nold two\nline", 20),
	   "history in the last free room");
	ring_put(r, span_of("0123456789abcde\n"));
	ring_put(r, span_of("0123456789abcde\n"));
	/* Whoever fell behind cannot know that the oldest line is whole. */
	ok(ring_oldest(r) == RING_HISTORY &&
		   !strncmp(rest_of(r, 0), "line 0000000001\n", 16),
	   "is the first that goes");
	ring_clear(r);
	ring_put(r, (struct span){ many, RING_SIZE });
	ring_put_before(r, span_of(old));
	ok(r->end - ring_oldest(r) == RING_SIZE, "no room, no history");
	ring_free(r);
}

int main(void)
{
	test_cut();
	test_long_line();
	test_format();
	test_ring();
	test_ring_history();
	return tap_done();
}
