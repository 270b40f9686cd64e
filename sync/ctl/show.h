/* Numbers as people read them, and members of the hub's JSON. */
#ifndef CTL_SHOW_H
#define CTL_SHOW_H

#include <stdint.h>
#include <yyjson.h>

enum { SHOW_SIZE = 32 };

/* "45 s", "3 m", "2 h", "5 d": rounded down; "-" below 0. */
const char *show_age(int64_t seconds, char text[SHOW_SIZE]);
/* "512 B", "1.5 KB", "12 MB": powers of 1024. */
const char *show_bytes(uint64_t bytes, char text[SHOW_SIZE]);
/* Minutes and seconds of CPU time, as ps(1): "0:07", "92:15". */
const char *show_cpu(uint64_t ms, char text[SHOW_SIZE]);

/* Seconds since 1970 of RFC 3339 in UTC, or of a number; -1: neither. */
int64_t time_read(yyjson_val *v);

/* Strings, "" when it is missing. */
const char *text_of(yyjson_val *object, const char *key);
/* Whole numbers, `missing` when it is. */
int64_t number_of(yyjson_val *object, const char *key, int64_t missing);

/* Prints a document, indented. Returns an exit code. */
int show_json(yyjson_val *value);
int show_json_mut(yyjson_mut_doc *doc);

#endif
