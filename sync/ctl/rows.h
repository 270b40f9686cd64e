/* The rows of ps and top. */
#ifndef CTL_ROWS_H
#define CTL_ROWS_H

#include "ctl.h"
#include "table.h"
#include <yyjson.h>

/* Whether the operator wants to see a row of /v1/ps. */
bool row_wanted(const struct ctl *ctl, yyjson_val *row);

/* Appends a row for each wanted one. */
void rows_begin(const struct ctl *ctl, struct table *t);
void rows_add(const struct ctl *ctl, struct table *t, yyjson_val *row);

#endif
