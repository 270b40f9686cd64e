/* The rows of ps and top. */
#ifndef CTL_ROWS_H
#define CTL_ROWS_H

#include "ask.h"
#include "ctl.h"
#include "table.h"
#include <yyjson.h>

/* Whether there is the node that the operator named, if he did. An exit code
 * after what is wrong was told. */
int rows_node_check(struct ask *ask, const struct ctl *ctl);

/* Whether the operator wants to see a row of /v1/ps. */
bool row_wanted(const struct ctl *ctl, yyjson_val *row);

/* The titles; then each row that is wanted, by node and name. */
void rows_begin(const struct ctl *ctl, struct table *t);
void rows_add_all(const struct ctl *ctl, struct table *t, yyjson_val *rows);

#endif
