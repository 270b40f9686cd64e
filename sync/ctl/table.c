#define _GNU_SOURCE
#include "table.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/span.h"

static const char *const color_codes[] = {
	[COLOR_NONE] = "",
	[COLOR_GOOD] = "\033[32m",
	[COLOR_BAD] = "\033[31m",
	[COLOR_DOUBT] = "\033[33m",
};

bool colors_wanted(FILE *to)
{
	const char *none = getenv("NO_COLOR"), *term = getenv("TERM");

	return isatty(fileno(to)) && !(none && none[0]) && term &&
	       strcmp(term, "dumb") != 0;
}

struct line {
	FILE *to;
	bool colors;
	size_t owed; /* blanks */
};

static struct table_cell *cell_new(struct table *t)
{
	if (t->n_cells == t->room) {
		unsigned room = t->room ? 2 * t->room : 64;
		struct table_cell *grown = reallocarray(t->cell, room,
							sizeof(*grown));

		if (!grown)
			abort();
		t->cell = grown;
		t->room = room;
	}
	t->cell[t->n_cells] = (struct table_cell){ NULL, COLOR_NONE };
	return &t->cell[t->n_cells++];
}

/* C0, DEL, and what a terminal takes for C1, in UTF-8. */
static void controls_replace(char *text)
{
	for (unsigned char *p = (unsigned char *)text; *p; p++) {
		if (*p < ' ' || *p == 0x7f)
			*p = '?';
		if (*p == 0xc2 && p[1] >= 0x80 && p[1] < 0xa0)
			p[0] = p[1] = '?';
	}
}

void table_add(struct table *t, const char *fmt, ...)
{
	struct table_cell *cell = cell_new(t);
	va_list args;

	va_start(args, fmt);
	if (vasprintf(&cell->text, fmt, args) < 0)
		abort();
	va_end(args);
	controls_replace(cell->text);
}

void table_color(struct table *t, enum table_color color)
{
	t->cell[t->n_cells - 1].color = color;
}

void table_begin(struct table *t, const char *titles)
{
	struct span rest = span_of(titles), title;

	*t = (struct table){ 0 };
	while (t->n_columns < TABLE_COLUMNS_MAX &&
	       span_cut(&rest, ' ', &title)) {
		bool right = title.size && title.data[0] == '>';

		t->right[t->n_columns++] = right;
		table_add(t, "%.*s", (int)title.size - right,
			  title.data + right);
	}
}

/* Columns of a terminal: the characters of UTF-8. */
static size_t width_of(const char *text)
{
	size_t n = 0;

	for (; *text; text++)
		n += (*text & 0xc0) != 0x80;
	return n;
}

/* Blanks are owed until the next text, so that no line ends with them. */
static void cell_write(const struct table *t, unsigned i, size_t width,
		       struct line *line)
{
	const struct table_cell *cell = &t->cell[i];
	size_t gap = width - width_of(cell->text);
	bool colored = line->colors && cell->color != COLOR_NONE;
	bool right = t->right[i % t->n_columns];

	line->owed += right ? gap : 0;
	if (cell->text[0]) {
		fprintf(line->to, "%*s%s%s%s", (int)line->owed, "",
			colored ? color_codes[cell->color] : "", cell->text,
			colored ? "\033[0m" : "");
		line->owed = 0;
	}
	line->owed += (right ? 0 : gap) + 2;
}

/* The width of each column, 0 of one that only has a title. */
static void widths(const struct table *t, size_t width[TABLE_COLUMNS_MAX])
{
	bool used[TABLE_COLUMNS_MAX] = { false };

	for (unsigned i = 0; i < t->n_cells; i++) {
		unsigned column = i % t->n_columns;
		size_t w = width_of(t->cell[i].text);

		if (w > width[column])
			width[column] = w;
		if (w && (i >= t->n_columns || t->n_cells == t->n_columns))
			used[column] = true;
	}
	for (unsigned column = 0; column < t->n_columns; column++)
		if (!used[column])
			width[column] = 0;
}

void table_write(const struct table *t, FILE *to, bool colors)
{
	size_t width[TABLE_COLUMNS_MAX] = { 0 };
	struct line line = { to, colors, 0 };

	widths(t, width);
	for (unsigned i = 0; i < t->n_cells; i++) {
		if (width[i % t->n_columns])
			cell_write(t, i, width[i % t->n_columns], &line);
		if (i % t->n_columns == t->n_columns - 1) {
			putc('\n', to);
			line.owed = 0;
		}
	}
}

void table_print(struct table *t)
{
	table_write(t, stdout, colors_wanted(stdout));
	table_end(t);
}

void table_end(struct table *t)
{
	for (unsigned i = 0; i < t->n_cells; i++)
		free(t->cell[i].text);
	free(t->cell);
	*t = (struct table){ 0 };
}
