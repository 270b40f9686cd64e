/* A service of a Compose file: limits, rights, and when it is started again. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "compose_service.h"
#include "oci/runtime_config.h"

enum { MEMORY_MIN = 512 << 10 };

void limit_set(struct walk *w, struct limit *limit, unsigned line,
	       uint64_t value)
{
	if (limit->line && limit->value != value)
		walk_fail(w, line, "differs from line %u",
			  compose_line(limit->line));
	*limit = (struct limit){ value, line };
}

void memory_read(struct walk *w, const struct compose_node *value, void *into)
{
	struct service *s = into;
	uint64_t bytes;

	if (!value_bytes(w, value, &bytes))
		return;
	if (bytes && bytes < MEMORY_MIN)
		walk_fail(w, value->line,
			  "%llu bytes: nothing runs in less than %d KB",
			  (unsigned long long)bytes, MEMORY_MIN >> 10);
	else
		limit_set(w, &s->memory, value->line, bytes);
}

void shm_size_read(struct walk *w, const struct compose_node *value, void *into)
{
	struct service *s = into;
	uint64_t bytes;

	if (value_bytes(w, value, &bytes))
		limit_set(w, &s->shm, value->line, bytes);
}

void cpus_read(struct walk *w, const struct compose_node *value, void *into)
{
	static const char want[] = "0 to 4096 with at most 3 decimals";
	struct service *s = into;
	const char *text = walk_text(w, value, want);
	uint64_t milli;

	if (text &&
	    (value_milli(span_of(text), 4096, &milli) < 0 || milli > 4096000))
		walk_fail(w, value->line, "\"%.40s\": want %s", text, want);
	else if (text)
		limit_set(w, &s->cpus_milli, value->line, milli);
}

/* -1 is no limit. */
void pids_read(struct walk *w, const struct compose_node *value, void *into)
{
	struct service *s = into;
	const char *text = walk_text(w, value, "a number");
	uint64_t n = 0;

	if (text && strcmp(text, "-1") != 0 &&
	    span_u64(span_of(text), 4 << 20, &n) < 0)
		walk_fail(w, value->line, "\"%.40s\": want a number", text);
	else if (text)
		limit_set(w, &s->pids, value->line, n);
}

/* ---- restart ---- */

struct restart {
	const char *word;
	uint64_t max;
	unsigned line;
};

static void restart_set(struct walk *w, struct service *s,
			const struct restart *r)
{
	if (s->restart.line &&
	    (strcmp(s->restart_word, r->word) != 0 || s->restart_max != r->max))
		walk_fail(w, r->line, "differs from line %u",
			  compose_line(s->restart.line));
	s->restart_word = r->word;
	s->restart_max = r->max;
	s->restart.line = r->line;
}

void restart_read(struct walk *w, const struct compose_node *value, void *into)
{
	static const char *const words[] = { "no", "always", "on-failure",
					     "unless-stopped" };
	static const char want[] = "no, always, on-failure or unless-stopped";
	const char *text = walk_text(w, value, want);
	struct restart r = { .line = value->line };

	if (!text)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (!strcmp(text, words[i]))
			r.word = words[i];
	if (!strncmp(text, "on-failure:", 11) &&
	    span_u64(span_of(text + 11), INT32_MAX, &r.max) == 0 && r.max)
		r.word = "on-failure";
	if (r.word)
		restart_set(w, into, &r);
	else
		walk_fail(w, value->line, "\"%.40s\": want %s", text, want);
}

static void condition_read(struct walk *w, const struct compose_node *value,
			   void *into)
{
	static const char *const words[][2] = { { "none", "no" },
						{ "on-failure", "on-failure" },
						{ "any", "always" } };
	struct restart *r = into;
	const char *text = walk_text(w, value, "none, on-failure or any");

	r->word = NULL;
	for (size_t i = 0; text && i < ARRAY_SIZE(words); i++)
		if (!strcmp(text, words[i][0]))
			r->word = words[i][1];
	if (text && !r->word)
		walk_fail(w, value->line,
			  "\"%.40s\": want none, on-failure or any", text);
}

static void attempts_read(struct walk *w, const struct compose_node *value,
			  void *into)
{
	struct restart *r = into;

	value_number(w, value, INT32_MAX, &r->max);
}

static void back_off_read(struct walk *w, const struct compose_node *value,
			  void *into)
{
	(void)into;
	walk_notice(w, value->line,
		    "is not used: the longer it fails, the later it is started "
		    "again");
}

static void restart_policy_read(struct walk *w,
				const struct compose_node *value, void *into)
{
	static const struct walk_key keys[] = {
		{ "condition", condition_read },
		{ "max_attempts", attempts_read },
		{ "delay", back_off_read },
		{ "window", back_off_read },
	};
	struct restart r = { .word = "always", .line = value->line };
	unsigned before = w->n_problems;

	walk_map(w, value, keys, ARRAY_SIZE(keys), NULL, &r);
	if (w->n_problems != before)
		return;
	if (r.max && strcmp(r.word, "on-failure") != 0)
		walk_fail(w, value->line,
			  "max_attempts is only supported with condition: "
			  "on-failure yet");
	else
		restart_set(w, into, &r);
}

/* ---- deploy ---- */

void gpus_read(struct walk *w, const struct compose_node *value, void *into)
{
	(void)into;
	walk_fail(w, value->line,
		  "no GPU is given by this yet: one that is a device of the "
		  "node is, by devices:");
}

static void limits_read(struct walk *w, const struct compose_node *value,
			void *into)
{
	static const struct walk_key keys[] = {
		{ "memory", memory_read },
		{ "cpus", cpus_read },
		{ "pids", pids_read },
	};
	static const char *const others[] = { "devices", "generic_resources",
					      NULL };

	walk_map(w, value, keys, ARRAY_SIZE(keys), others, into);
}

static void cpus_notice(struct walk *w, const struct compose_node *value,
			void *into)
{
	(void)into;
	walk_notice(w, value->line,
		    "is not used: no processor is kept from others; see "
		    "cpu_shares");
}

static void reservations_read(struct walk *w, const struct compose_node *value,
			      void *into)
{
	static const struct walk_key keys[] = {
		{ "memory", mem_reservation_read },
		{ "cpus", cpus_notice },
		{ "devices", gpus_read },
	};
	static const char *const others[] = { "generic_resources", NULL };

	walk_map(w, value, keys, ARRAY_SIZE(keys), others, into);
}

static void resources_read(struct walk *w, const struct compose_node *value,
			   void *into)
{
	static const struct walk_key keys[] = {
		{ "limits", limits_read }, { "reservations", reservations_read }
	};

	walk_map(w, value, keys, ARRAY_SIZE(keys), NULL, into);
}

static void labels_notice(struct walk *w, const struct compose_node *value,
			  void *into)
{
	(void)into;
	walk_notice(w, value->line,
		    "are not used: they are not the container's");
}

static void update_notice(struct walk *w, const struct compose_node *value,
			  void *into)
{
	(void)into;
	walk_notice(w, value->line,
		    "is not used: the new instance is started first where "
		    "both may run at once");
}

static void endpoint_notice(struct walk *w, const struct compose_node *value,
			    void *into)
{
	(void)into;
	walk_notice(w, value->line,
		    "is not used: the name leads to each instance in turn");
}

static void mode_read(struct walk *w, const struct compose_node *value,
		      void *into)
{
	const char *text = walk_text(w, value, "replicated or global");

	(void)into;
	/* Global is one on each node, as without replicas. */
	if (text && strcmp(text, "replicated") != 0 &&
	    strcmp(text, "global") != 0)
		walk_fail(w, value->line, "\"%.40s\": not supported yet", text);
}

static void placement_read(struct walk *w, const struct compose_node *value,
			   void *into)
{
	static const struct walk_key keys[] = {
		{ "constraints", walk_ignore },
		{ "preferences", walk_ignore },
		{ "max_replicas_per_node", walk_ignore },
	};

	walk_map(w, value, keys, ARRAY_SIZE(keys), NULL, into);
	walk_notice(w, value->line,
		    "is not used: --node says on which nodes all of it runs");
}

void deploy_read(struct walk *w, const struct compose_node *value, void *into)
{
	static const struct walk_key keys[] = {
		{ "resources", resources_read },
		{ "restart_policy", restart_policy_read },
		{ "replicas", replicas_read },
		{ "mode", mode_read },
		{ "labels", labels_notice },
		{ "update_config", update_notice },
		{ "rollback_config", update_notice },
		{ "endpoint_mode", endpoint_notice },
		{ "placement", placement_read },
	};

	walk_map(w, value, keys, ARRAY_SIZE(keys), NULL, into);
}

/* ---- ulimits ---- */

/* -1 is no limit. */
static bool ulimit_number(struct walk *w, const struct compose_node *value,
			  uint64_t *n)
{
	const char *text = walk_text(w, value, "a number");

	*n = UINT64_MAX;
	if (!text || !strcmp(text, "-1") ||
	    span_u64(span_of(text), INT64_MAX, n) == 0)
		return text;
	walk_fail(w, value->line, "\"%.40s\": want a number", text);
	return false;
}

static void soft_read(struct walk *w, const struct compose_node *value,
		      void *into)
{
	struct desired_ulimit *u = into;

	ulimit_number(w, value, &u->soft);
}

static void hard_read(struct walk *w, const struct compose_node *value,
		      void *into)
{
	struct desired_ulimit *u = into;

	ulimit_number(w, value, &u->hard);
}

/* False after a problem. */
static bool ulimit_read(struct walk *w, const struct compose_node *value,
			struct desired_ulimit *u)
{
	static const struct walk_key keys[] = { { "soft", soft_read },
						{ "hard", hard_read } };
	unsigned before = w->n_problems;

	if (value->kind != COMPOSE_MAP) {
		if (!ulimit_number(w, value, &u->soft))
			return false;
		u->hard = u->soft;
		return true;
	}
	walk_map(w, value, keys, ARRAY_SIZE(keys), NULL, u);
	if (w->n_problems == before && u->soft > u->hard)
		walk_fail(w, value->line, "want soft at most as large as hard");
	return w->n_problems == before;
}

/* "nofile" is RLIMIT_NOFILE. */
static const char *ulimit_name(const char *key)
{
	char name[32] = "RLIMIT_";

	for (size_t i = 0; i < 20 && key[i]; i++) {
		if (key[i] < 'a' || key[i] > 'z')
			return NULL;
		name[7 + i] = (char)(key[i] - 0x20);
	}
	return rlimit_name(rlimit_number(name));
}

void ulimits_read(struct walk *w, const struct compose_node *value, void *into)
{
	struct service *s = into;
	yyjson_mut_val *list, *o;

	if (value->kind != COMPOSE_MAP || value->n > DESIRED_LIST_MAX) {
		walk_fail(w, value->line, "want a map");
		return;
	}
	list = yyjson_mut_obj_add_arr(s->doc, s->app, "ulimits");
	for (unsigned i = 0; i < value->n; i++) {
		const struct compose_node *key = value->item[2 * i];
		size_t used = walk_key(w, key->text.data);
		const char *name = ulimit_name(key->text.data);
		struct desired_ulimit u = { 0 };

		if (!name) {
			walk_fail(w, key->line,
				  "no such limit; want nofile, "
				  "nproc or the like");
		} else if (ulimit_read(w, value->item[2 * i + 1], &u)) {
			o = yyjson_mut_arr_add_obj(s->doc, list);
			yyjson_mut_obj_add_str(s->doc, o, "type", name);
			yyjson_mut_obj_add_uint(s->doc, o, "soft", u.soft);
			yyjson_mut_obj_add_uint(s->doc, o, "hard", u.hard);
		}
		walk_back(w, used);
	}
}

/* ---- capabilities ---- */

static void cap_add_one(struct walk *w, const struct compose_node *value,
			void *into)
{
	struct service *s = into;
	const char *text = walk_text(w, value, "a capability");
	int n = text ? capability_number(text) : -1;

	if (!text)
		return;
	if (n >= 0 && RUNTIME_CAP_DEFAULT >> n & 1)
		s->cap_add |= UINT64_C(1) << n;
	else if (n >= 0) {
		char grant[60];

		snprintf(grant, sizeof(grant), "capability:%s",
			 capability_name((unsigned)n));
		grant_wanted(w, value->line, s, grant, "");
	} else if (!strcmp(text, "ALL"))
		grant_needed(w, value->line, "capability", text);
	else
		walk_fail(w, value->line, "\"%.40s\": no such capability",
			  text);
}

static void cap_drop_one(struct walk *w, const struct compose_node *value,
			 void *into)
{
	struct service *s = into;
	const char *text = walk_text(w, value, "a capability");
	int n = text ? capability_number(text) : -1;

	if (text && !strcmp(text, "ALL"))
		s->cap_drop = RUNTIME_CAP_DEFAULT;
	else if (n >= 0)
		s->cap_drop |= UINT64_C(1) << n;
	else if (text)
		walk_fail(w, value->line, "\"%.40s\": no such capability",
			  text);
}

void cap_add_read(struct walk *w, const struct compose_node *value, void *into)
{
	walk_list(w, value, cap_add_one, into);
}

void cap_drop_read(struct walk *w, const struct compose_node *value, void *into)
{
	walk_list(w, value, cap_drop_one, into);
}

static void cap_write(const struct service *s)
{
	uint64_t dropped = s->cap_drop & ~s->cap_add & RUNTIME_CAP_DEFAULT;
	yyjson_mut_val *list;

	if (!dropped)
		return;
	list = yyjson_mut_obj_add_arr(s->doc, s->app, "cap_drop");
	for (unsigned i = 0; i < 64; i++)
		if (dropped >> i & 1)
			yyjson_mut_arr_add_str(s->doc, list,
					       capability_name(i));
}

/* ---- what is sent ---- */

/* "0.5", "2", "1.125". */
static void cpus_write(yyjson_mut_doc *d, yyjson_mut_val *app, uint64_t milli)
{
	char text[32];
	size_t n = (size_t)snprintf(text, sizeof(text), "%llu.%03llu",
				    (unsigned long long)(milli / 1000),
				    (unsigned long long)(milli % 1000));

	while (text[n - 1] == '0')
		text[--n] = '\0';
	if (text[n - 1] == '.')
		text[--n] = '\0';
	yyjson_mut_obj_add_val(d, app, "cpus", yyjson_mut_rawcpy(d, text));
}

void limits_write(const struct service *s)
{
	if (s->memory.value)
		yyjson_mut_obj_add_uint(s->doc, s->app, "memory",
					s->memory.value);
	if (s->cpus_milli.value)
		cpus_write(s->doc, s->app, s->cpus_milli.value);
	if (s->pids.value)
		yyjson_mut_obj_add_uint(s->doc, s->app, "pids", s->pids.value);
	if (s->shm.value)
		yyjson_mut_obj_add_uint(s->doc, s->app, "shm_size",
					s->shm.value);
	if (s->restart_word)
		yyjson_mut_obj_add_str(s->doc, s->app, "restart",
				       s->restart_word);
	if (s->restart_max)
		yyjson_mut_obj_add_uint(s->doc, s->app, "restart_max",
					s->restart_max);
	cap_write(s);
}
