#include "progress.h"

#include <stdio.h>
#include <unistd.h>

#include "base/loop.h"
#include "show.h"

enum { BAR = 30, EVERY_MS = 100, RATE_AFTER_MS = 500 };

void progress_begin(struct progress *p, const char *what, uint64_t total)
{
	*p = (struct progress){ .what = what,
				.total = total,
				.start_ms = clock_ms(),
				.on_terminal = isatty(STDERR_FILENO) };
}

static void draw(struct progress *p)
{
	uint64_t spent = clock_ms() - p->start_ms;
	uint64_t sent = p->done - p->start_done;
	unsigned full = p->total ? (unsigned)(p->done * BAR / p->total) : BAR;
	char done[SHOW_SIZE], total[SHOW_SIZE], rate[SHOW_SIZE] = "";
	char bar[BAR + 1];

	for (unsigned i = 0; i < BAR; i++)
		bar[i] = i < full ? '#' : '-';
	bar[BAR] = '\0';
	if (spent >= RATE_AFTER_MS)
		show_bytes(sent * 1000 / spent, rate);
	fprintf(stderr, "\r\033[K%s [%s] %s of %s%s%s%s", p->what, bar,
		show_bytes(p->done, done), show_bytes(p->total, total),
		rate[0] ? ", " : "", rate, rate[0] ? "/s" : "");
	p->drawn_ms = clock_ms();
}

void progress_add(struct progress *p, uint64_t n)
{
	p->done += n;
	if (p->on_terminal &&
	    (clock_ms() - p->drawn_ms >= EVERY_MS || p->done == p->total))
		draw(p);
}

void progress_skip(struct progress *p, uint64_t n)
{
	p->start_done += n;
	progress_add(p, n);
}

void progress_clear(struct progress *p)
{
	if (p->on_terminal && p->drawn_ms)
		fputs("\r\033[K", stderr);
	p->drawn_ms = 0;
}
