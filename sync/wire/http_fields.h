/* Header fields of one message: names and values in one growing buffer, with a
 * bound on all of them together. */
#ifndef WIRE_HTTP_FIELDS_H
#define WIRE_HTTP_FIELDS_H

#include "base/span.h"

struct fields {
	char *text; /* "name\0value\0..." */
	size_t used, size;
	uint32_t n;
};

/* Adds one; name becomes lower case. -E2BIG when all would count more than max
 * bytes (each with 32 of overhead, as RFC 9113, 6.5.2 counts), -EINVAL when one
 * holds a NUL, -ENOMEM. */
int fields_add(struct fields *f, struct span name, struct span value,
	       size_t max);
/* The value of the first of that name, or NULL. */
const char *fields_get(const struct fields *f, const char *name);
/* No more will come: gives back what was kept for them. */
void fields_trim(struct fields *f);
void fields_free(struct fields *f);

/* Splits a request target into a decoded path and a query: "/a%20b?c" becomes
 * "/a b\0c\0" in a new buffer, *query pointing into it. NULL when it is no path
 * that we serve: http.h says which. */
char *target_parse(const char *target, const char **query);

/* Decodes %XX of s into out with a NUL; '+' stays. -EINVAL for a bad escape or
 * NUL, -ENAMETOOLONG. */
int percent_decode(struct span s, char *out, size_t size);

#endif
