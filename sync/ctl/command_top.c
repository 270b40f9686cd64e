/* zctl top: ps, drawn anew in place until q or Ctrl-C. While the hub does not
 * answer, the last that was known stays, with its age. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "ask.h"
#include "base/log.h"
#include "rows.h"
#include "show.h"

enum { EVERY_MS = 2000 };

struct top {
	const struct ctl *ctl;
	struct ask ask;
	yyjson_doc *rows, *nodes; /* the last that came */
	uint64_t came_ms;
	bool quit;
	struct termios before;
};

/* ---- the terminal ---- */

static int terminal_check(struct top *t)
{
	if (isatty(STDOUT_FILENO) && tcgetattr(STDIN_FILENO, &t->before) == 0)
		return EXIT_DONE;
	log_error("top", "needs a terminal; use zctl ps");
	return EXIT_USAGE;
}

/* Another screen, no cursor, keys without Enter, no Ctrl-Z in the middle. */
static void screen_take(const struct top *t)
{
	struct termios raw = t->before;

	raw.c_lflag &= (tcflag_t) ~(ICANON | ECHO);
	raw.c_cc[VSUSP] = _POSIX_VDISABLE;
	tcsetattr(STDIN_FILENO, TCSAFLUSH, &raw);
	fputs("\033[?1049h\033[?25l", stdout);
}

static void screen_give_back(struct top *t)
{
	fputs("\033[?25h\033[?1049l", stdout);
	fflush(stdout);
	tcsetattr(STDIN_FILENO, TCSAFLUSH, &t->before);
}

static void on_key(struct watch *w, uint32_t events)
{
	struct ask *ask = container_of(w, struct ask, input);
	struct top *t = container_of(ask, struct top, ask);
	char keys[64];
	ssize_t n = read(STDIN_FILENO, keys, sizeof(keys));

	if (n <= 0 || memchr(keys, 'q', (size_t)n))
		t->quit = true;
}

/* ---- what is drawn ---- */

static unsigned count(yyjson_val *array, const char *key, const char *value)
{
	yyjson_arr_iter iter;
	yyjson_val *v;
	unsigned n = 0;

	yyjson_arr_iter_init(array, &iter);
	while ((v = yyjson_arr_iter_next(&iter)))
		n += !strcmp(text_of(v, key), value);
	return n;
}

/* "localhost:443  12:00:00", then what is there of each kind. */
static void head_write(const struct top *t, FILE *to)
{
	yyjson_val *nodes = yyjson_obj_get(yyjson_doc_get_root(t->nodes),
					   "nodes");
	yyjson_val *rows = yyjson_obj_get(yyjson_doc_get_root(t->rows), "rows");
	char age[SHOW_SIZE], when[16] = "";
	time_t now = time(NULL);
	struct tm tm;

	if (localtime_r(&now, &tm))
		strftime(when, sizeof(when), "%T", &tm);
	fprintf(to, "%s  %s", t->ask.hub, when);
	if (!t->ask.client)
		fprintf(to, "  the hub is silent for %s",
			show_age((int64_t)(clock_ms() - t->came_ms) / 1000,
				 age));
	fprintf(to,
		"\nnodes: %u ready, %u stale, %u offline  apps: %u running, "
		"%u failed\n\n",
		count(nodes, "state", "ready"), count(nodes, "state", "stale"),
		count(nodes, "state", "offline"),
		count(rows, "state", "running"),
		count(rows, "state", "failed"));
}

static void table_fill(const struct top *t, FILE *to)
{
	struct table table;

	rows_begin(t->ctl, &table);
	rows_add_all(t->ctl, &table,
		     yyjson_obj_get(yyjson_doc_get_root(t->rows), "rows"));
	table_write(&table, to, colors_wanted(stdout));
	table_end(&table);
}

/* The bytes of a line that take at most `columns` places, escapes not
 * counted. */
static size_t line_cut(const char *line, size_t size, unsigned columns)
{
	unsigned used = 0;
	bool escape = false;

	for (size_t i = 0; i < size; i++) {
		if (escape)
			escape = line[i] != 'm';
		else if (line[i] == '\033')
			escape = true;
		else if ((line[i] & 0xc0) != 0x80 && used++ == columns)
			return i;
	}
	return size;
}

/* As much of the text as the terminal has room for. */
static void screen_write(struct span text)
{
	struct winsize w = { 0 };
	struct span line;

	/* Serial lines know no size. */
	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) < 0 || !w.ws_row || !w.ws_col)
		w = (struct winsize){ 24, 80, 0, 0 };
	fputs("\033[H", stdout);
	for (unsigned row = 0; row < w.ws_row && span_cut(&text, '\n', &line);
	     row++)
		printf("%s%.*s\033[0m\033[K", row ? "\n" : "",
		       (int)line_cut(line.data, line.size, w.ws_col),
		       line.data);
	fputs("\033[J", stdout);
	fflush(stdout);
}

static void draw(struct top *t)
{
	char *text = NULL;
	size_t size = 0;
	FILE *memory = open_memstream(&text, &size);

	if (!memory)
		return;
	head_write(t, memory);
	table_fill(t, memory);
	fclose(memory);
	screen_write((struct span){ text, size });
	free(text);
}

/* ---- the loop ---- */

static void take(yyjson_doc **old, yyjson_doc *new)
{
	yyjson_doc_free(*old);
	*old = new;
}

/* What was lost is dialled again, without a word: the screen tells it. */
static void refresh(struct top *t)
{
	yyjson_doc *rows = NULL, *nodes = NULL;
	yyjson_val *list;

	if (ask_again(&t->ask) ||
	    ask_list(&t->ask, "/v1/ps", "rows", &rows, &list))
		return;
	if (ask_list(&t->ask, "/v1/nodes", "nodes", &nodes, &list)) {
		yyjson_doc_free(rows);
		return;
	}
	take(&t->rows, rows);
	take(&t->nodes, nodes);
	t->came_ms = clock_ms();
}

static void run(struct top *t)
{
	while (!t->quit && !t->ask.interrupted) {
		uint64_t now, next;

		refresh(t);
		draw(t);
		next = clock_ms() + EVERY_MS;
		while (!t->quit && !t->ask.interrupted &&
		       (now = clock_ms()) < next) {
			if (loop_once(&t->ask.loop, (int)(next - now)) < 0)
				return;
			if (t->ask.resized)
				draw(t);
			t->ask.resized = false;
		}
	}
}

int command_top(struct ctl *ctl)
{
	struct top t = { .ctl = ctl };
	int code = terminal_check(&t);

	if (code)
		return code;
	code = ask_open(&t.ask, ctl);
	if (!code)
		code = rows_node_check(&t.ask, ctl);
	if (!code) {
		t.ask.quiet = true;
		t.ask.input.ready = on_key;
		watch_add(&t.ask.loop, &t.ask.input, STDIN_FILENO, EPOLLIN);
		screen_take(&t);
		run(&t);
		screen_give_back(&t);
	}
	yyjson_doc_free(t.rows);
	yyjson_doc_free(t.nodes);
	ask_close(&t.ask);
	return code;
}
