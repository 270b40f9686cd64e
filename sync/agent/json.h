/* Members of the small JSON objects that a hub answers with. */
#ifndef AGENT_JSON_H
#define AGENT_JSON_H

#include <yyjson.h>

#include "base/span.h"

/* The text of string member `key`. -ENOENT when it is not there or no string;
 * -EINVAL with a NUL in it; -ENAMETOOLONG. out is "" then. */
int member_text(yyjson_val *object, const char *key, char *out, size_t size);

/* The line of {"error":"line"}, or what stands for it with that status, made
 * printable. */
void error_text(int status, struct span body, char *out, size_t size);

/* "2026-11-23T06:00:00Z", as stamp_make() writes it, to seconds since 1970.
 * -EINVAL. */
int time_parse(struct span text, int64_t *seconds);

#endif
