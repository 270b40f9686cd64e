/* What the files that read the desired document share. Private to desired*.c.
 */
#ifndef OCI_DESIRED_READ_H
#define OCI_DESIRED_READ_H

#include "base/json_walk.h"
#include "desired.h"

struct desired_reader {
	struct desired *desired;
	bool is_apps; /* an operator's, see desired_parse_apps() */
	char *text;   /* where the next text goes */
	const char **list;
};

static inline struct desired_reader *desired_reader(struct json_walk *w)
{
	return w->whole;
}

/* A copy that lives as long as the document: of a, or of "a=b". */
const char *desired_text_keep(struct json_walk *w, struct span a,
			      const struct span *b);
/* A zeroed array that lives as long as the document; NULL after json_fail(). */
void *desired_array(struct json_walk *w, size_t n, size_t size);

/* A string of printable characters without spaces. */
int desired_text_read(struct json_walk *w, yyjson_val *v, char *out,
		      size_t size);
int desired_id_read(struct json_walk *w, yyjson_val *v, char out[64]);
int desired_number_read(struct json_walk *w, yyjson_val *v, uint64_t max,
			uint64_t *number);
int desired_bool_read(struct json_walk *w, yyjson_val *v, bool *value);
/* Any string but "". */
int desired_string_read(struct json_walk *w, yyjson_val *v, const char **text);
/* One of n words: its number. `want` names them all. */
int desired_word_read(struct json_walk *w, yyjson_val *v,
		      const char *const *words, size_t n, const char *want);
/* An array of strings; an object of strings, as "KEY=value". */
int desired_list_read(struct json_walk *w, yyjson_val *v,
		      struct desired_list *list, size_t max);
int desired_pairs_read(struct json_walk *w, yyjson_val *v,
		       struct desired_list *list, size_t max);

/* desired_parts.c: those whose values are objects. */
int desired_mounts_read(struct json_walk *w, yyjson_val *v, void *into);
int desired_ulimits_read(struct json_walk *w, yyjson_val *v, void *into);
int desired_depends_read(struct json_walk *w, yyjson_val *v, void *into);
int desired_health_read(struct json_walk *w, yyjson_val *v, void *into);
int desired_pod_read(struct json_walk *w, yyjson_val *v, void *into);
/* Of all apps: whether each finds whom it shares namespaces with. */
int desired_pods_check(struct json_walk *w, const struct desired *d);

/* desired_reactive.c */
int desired_reactive_read(struct json_walk *w, yyjson_val *v, void *into);
/* Whether it fits the rest of the app. */
int desired_reactive_check(struct json_walk *w, const struct desired_app *app);

/* desired_policy.c */
int desired_policy_read(struct json_walk *w, yyjson_val *v, void *into);
int desired_dns_read(struct json_walk *w, yyjson_val *v, void *into);

/* desired_app.c: one app, into the next of the document's. */
int desired_app_read(struct json_walk *w, yyjson_val *v, void *into);

/* desired_content.c */
struct digest desired_content(const struct desired_app *app);

#endif
