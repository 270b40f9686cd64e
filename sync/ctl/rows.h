/* The rows of ps and top. */
#ifndef CTL_ROWS_H
#define CTL_ROWS_H

#include "ctl.h"
#include "table.h"
#include <yyjson.h>

/* Whether the operator wants to see a row of /v1/ps. */
bool row_wanted(const struct ctl *ctl, yyjson_val *row);

/* The titles; then each row that is wanted, by node and name. */
void rows_begin(const struct ctl *ctl, struct table *t);
void rows_add_all(const struct ctl *ctl, struct table *t, yyjson_val *rows);

#endif
