/* The parts of zagent that do no I/O: paces, frames, asks, times, replies. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/ask.h"
#include "agent/clock.h"
#include "agent/frame.h"
#include "agent/identity.h"
#include "agent/json.h"
#include "agent/pace.h"
#include "base/stamp.h"
#include "tap.h"

/* ---- pace ---- */

static void test_backoff(void)
{
	static const uint32_t low[] = { 0, 1000, 2000, 2500, 2500 };
	static const uint32_t high[] = { 1000, 2000, 4000, 5000, 5000 };
	struct backoff a = { 0 }, b = { 0 };
	bool good = true;

	for (int i = 0; i < 5; i++)
		good = backoff_next_ms(&a, 0) == low[i] &&
		       backoff_next_ms(&b, UINT16_MAX) == high[i] && good;
	ok(good, "attempts: 0 to 1 s at first, 2.5 to 5 s at last");
	a.failures = 4000000000;
	ok(backoff_next_ms(&a, UINT16_MAX) == 5000, "after very many");
	a = b = (struct backoff){ 0 };
	ok(backoff_slow_ms(&a, UINT16_MAX) == 5000 &&
		   backoff_slow_ms(&a, 0) == 5000,
	   "slow ones begin with 5 s");
	for (int i = 0; i < 20; i++)
		backoff_slow_ms(&a, 0);
	ok(backoff_slow_ms(&a, UINT16_MAX) == 300000, "and end at 5 min");
}

static void answer(struct heartbeat *h, int n)
{
	while (n--)
		heartbeat_answered(h);
}

static void test_heartbeat(void)
{
	struct heartbeat h;

	heartbeat_init(&h, 0);
	ok(heartbeat_begin(&h) == 75, "75 s by default");
	answer(&h, HEARTBEAT_PROOF - 1);
	ok(heartbeat_begin(&h) == 75, "nine answers prove nothing");
	answer(&h, HEARTBEAT_PROOF);
	ok(heartbeat_begin(&h) == 112, "ten do");
	for (int i = 0; i < 5; i++) {
		answer(&h, HEARTBEAT_PROOF);
		heartbeat_begin(&h);
	}
	ok(h.period_s == 300, "at most 300 s");
	heartbeat_died(&h);
	ok(heartbeat_begin(&h) == 150, "half of what died in silence");
	answer(&h, HEARTBEAT_PROOF);
	ok(heartbeat_begin(&h) == 225, "and up again");
	answer(&h, HEARTBEAT_PROOF);
	ok(heartbeat_begin(&h) == 225, "but not to what died");
	for (int i = 0; i < 5; i++)
		heartbeat_died(&h);
	ok(heartbeat_begin(&h) == 30, "at least 30 s");
	heartbeat_init(&h, 2);
	heartbeat_died(&h);
	answer(&h, HEARTBEAT_PROOF);
	ok(heartbeat_begin(&h) == 2, "a test's own stays");
}

/* How many of changes every step_ms are told in all_ms. */
static int told(uint64_t step_ms, uint64_t all_ms)
{
	struct damper d = { 0 };
	int n = 0;

	for (uint64_t t = 1; t <= all_ms; t += step_ms) {
		if (damper_wait_ms(&d, t))
			continue;
		damper_sent(&d, t);
		n++;
	}
	return n;
}

static void test_damper(void)
{
	struct damper d = { 0 };

	ok(damper_wait_ms(&d, 5) == 0, "the first is told at once");
	damper_sent(&d, 5);
	ok(damper_wait_ms(&d, 5) == 1000 && damper_wait_ms(&d, 905) == 100 &&
		   damper_wait_ms(&d, 1005) == 0,
	   "the next after a second");
	ok(told(10, 4000) == 4, "four in four seconds");
	ok(told(10, 1000000) >= 100 && told(10, 1000000) <= 120,
	   "once in 10 s of what never rests: %d", told(10, 1000000));
	ok(told(20000, 1000000) == 50, "all of what comes every 20 s");
}

/* ---- frames ---- */

static const char stream[] = "\0\0\0\3\1abc"
			     "\0\0\0\0\2"
			     "\0\0\0\1\x63x"
			     "\0\0\0\0\4";

/* Reads the stream in pieces of n bytes; what came as "1abc2.cx4". */
static void read_in_pieces(size_t n, char *seen)
{
	struct frame_reader r = { .data = NULL };
	struct frame frame;
	size_t at = 0;

	while (at < sizeof(stream) - 1) {
		size_t left = sizeof(stream) - 1 - at, m = n < left ? n : left;
		char *exact = malloc(m);
		struct span s = { exact, m };

		memcpy(exact, stream + at, m);
		while (frame_read(&r, &s, &frame) == 1)
			seen += sprintf(seen, "%d%.*s.", frame.type,
					(int)frame.bytes.size,
					frame.bytes.data);
		at += m;
		free(exact);
	}
	ok(!r.data, "pieces of %zu leave nothing behind", n);
	frame_reset(&r);
}

static void test_frames(void)
{
	struct span large = { "\0\x10\0\1\1", 5 };
	struct frame_reader r = { .data = NULL };
	struct frame frame;

	for (size_t n = 1; n <= sizeof(stream) - 1; n++) {
		char seen[64] = "";

		read_in_pieces(n, seen);
		ok(!strcmp(seen, "1abc.2.99x.4."), "pieces of %zu: %s", n,
		   seen);
	}
	ok(frame_read(&r, &large, &frame) == -E2BIG, "larger than 1 MB");
	frame_reset(&r);
}

/* ---- asks ---- */

static int ask_text(const char *json, struct ask *ask)
{
	return ask_read(span_of(json), ask);
}

static void test_asks(void)
{
	struct ask ask;

	ok(ask_text("{\"stream\":\"aB-_9\",\"verb\":\"logs\",\"app\":\"web\","
		    "\"lines\":7,\"follow\":true}",
		    &ask) == 0 &&
		   !strcmp(ask.stream, "aB-_9") && !strcmp(ask.verb, "logs") &&
		   !strcmp(ask.app, "web") && ask.lines == 7 && ask.follow,
	   "logs");
	ok(ask_text("{\"verb\":\"observe\"}", &ask) == 0 && !ask.stream[0],
	   "observe");
	ok(ask_text("{\"verb\":\"x\",\"lines\":99999999999}", &ask) == 0 &&
		   ask.lines == ASK_LINES_MAX,
	   "too many lines");
	ok(ask_text("{\"verb\":\"logs\",\"stream\":\"../x\"}", &ask) ==
		   -EBADMSG,
	   "a stream that is a path");
	ok(ask_text("{\"stream\":\"a\"}", &ask) == -EBADMSG, "no verb");
	ok(ask_text("[]", &ask) == -EBADMSG && ask_text("", &ask) == -EBADMSG,
	   "no ask");
}

/* ---- time ---- */

static void test_times(void)
{
	static const struct {
		const char *text;
		int64_t seconds; /* -1: refused */
	} times[] = {
		{ "1970-01-01T00:00:00Z", 0 },
		{ "2026-11-23T06:00:00Z", 1795413600 },
		{ "2024-02-29T23:59:59Z", 1709251199 },
		{ "2023-02-29T00:00:00Z", -1 },
		{ "2026-13-01T00:00:00Z", -1 },
		{ "2026-00-01T00:00:00Z", -1 },
		{ "2026-11-23T24:00:00Z", -1 },
		{ "2026-11-23T06:00:00", -1 },
		{ "2026-11-23 06:00:00Z", -1 },
		{ "2026-11-23T06:00:00+", -1 },
		{ "2026-11-2xT06:00:00Z", -1 },
		{ "1969-12-31T23:59:59Z", -1 },
		{ "", -1 },
	};
	char text[STAMP_SIZE];
	int64_t t;

	for (size_t i = 0; i < sizeof(times) / sizeof(*times); i++) {
		int err = time_parse(span_of(times[i].text), &t);

		ok(times[i].seconds < 0 ? err == -EINVAL
					: err == 0 && t == times[i].seconds,
		   "time %s", times[i].text);
	}
	stamp_make(1795413600, text);
	ok(!strcmp(text, "2026-11-23T06:00:00Z"), "and back: %s", text);
	ok(clock_payload(span_of("{\"time\":\"2026-11-23T06:00:00Z\","
				 "\"nonce\":\"n1\"}"),
			 "n1", &t) == 0 &&
		   t == 1795413600,
	   "the hub's time");
	ok(clock_payload(span_of("{\"time\":\"2026-11-23T06:00:00Z\","
				 "\"nonce\":\"n0\"}"),
			 "n1", &t) == -EBADMSG,
	   "one that answers another question");
}

/* ---- replies ---- */

#define GOOD_HEAD "{\"node\":\"n-1\",\"name\":\"n1\",\"chain\":\"c\","
#define GOOD_TAIL "\"root\":\"r\",\"hub\":[\"a:1\",\"[::1]:2\"]}"

static void test_welcome(void)
{
	static const char *const bad[] = {
		"",
		"[]",
		"{}",
		GOOD_HEAD "\"root\":\"r\"}",
		GOOD_HEAD "\"root\":\"r\",\"hub\":[]}",
		GOOD_HEAD "\"root\":\"r\",\"hub\":[\"a\"]}",
		GOOD_HEAD "\"root\":7,\"hub\":[\"a:1\"]}",
		"{\"node\":\"../x\",\"name\":\"n1\",\"chain\":\"c\"," GOOD_TAIL,
		"{\"node\":\"n-1\",\"name\":\"N 1\",\"chain\":\"c\"," GOOD_TAIL,
	};
	char line[64];
	struct welcome w;

	ok(welcome_read(span_of(GOOD_HEAD GOOD_TAIL), &w) == 0 &&
		   !strcmp(w.node, "n-1") && !strcmp(w.root, "r") &&
		   w.n_hub == 2 && !strcmp(w.hub[1], "[::1]:2"),
	   "an answer to an enrolment");
	welcome_free(&w);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		ok(welcome_read(span_of(bad[i]), &w) == -EBADMSG && !w.chain,
		   "none: %s", bad[i]);
	error_text(403, span_of("{\"error\":\"no\\nway\"}"), line,
		   sizeof(line));
	ok(!strcmp(line, "no?way"), "the hub's line is made printable: %s",
	   line);
	error_text(502, span_of("<html>"), line, sizeof(line));
	ok(!strcmp(line, "the hub answered with status 502"), "or made: %s",
	   line);
}

int main(void)
{
	test_backoff();
	test_heartbeat();
	test_damper();
	test_frames();
	test_asks();
	test_times();
	test_welcome();
	return tap_done();
}
