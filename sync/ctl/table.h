/* Tables for people: columns as wide as their widest cell, two spaces between;
 * one without any text is left out.
 *
 * Cells may come from strangers (a node names its state, an image its tag), so
 * control bytes are shown as '?' and none reaches the terminal. */
#ifndef CTL_TABLE_H
#define CTL_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

enum { TABLE_COLUMNS_MAX = 16 };

enum table_color { COLOR_NONE, COLOR_GOOD, COLOR_BAD, COLOR_DOUBT };

struct table_cell {
	char *text;
	enum table_color color;
};

struct table {
	unsigned n_columns, n_cells, room;
	bool right[TABLE_COLUMNS_MAX];
	struct table_cell *cell; /* the titles first */
};

/* titles: "NODE NAME >CPU", where '>' aligns a column to the right. */
void table_begin(struct table *t, const char *titles);
/* The next cell, row by row. */
__attribute__((format(printf, 2, 3))) void table_add(struct table *t,
						     const char *fmt, ...);
/* Colours the last cell, where colours are shown at all. */
void table_color(struct table *t, enum table_color color);
void table_write(const struct table *t, FILE *to, bool colors);
void table_print(struct table *t);
void table_end(struct table *t);

/* Whether a terminal is at the other end that may be given colours:
 * no-color.org. */
bool colors_wanted(FILE *to);

#endif
