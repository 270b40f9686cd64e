/* A service of a Compose file: its image, what it runs, how its health is
 * seen. */
#include <errno.h>
#include <string.h>

#include "compose_service.h"

/* NAME@sha256:HEX is a name and a digest to the hub. */
void image_read(struct walk *w, const struct compose_node *value, void *into)
{
	struct service *s = into;
	const char *text = walk_text(w, value, "the name of an image"), *at;
	struct digest digest;
	char *name;

	if (!text)
		return;
	for (const char *p = text; *p; p++)
		if (*p <= ' ' || *p > '~') {
			walk_fail(w, value->line, "want a name without spaces");
			return;
		}
	at = strchr(text, '@');
	name = compose_alloc(&w->arena, strlen(text) + 1);
	if (!text[0] || at == text || !name ||
	    strlen(text) >= DESIRED_IMAGE_SIZE) {
		walk_fail(w, value->line, "want the name of an image");
		return;
	}
	text_copy(name, (at ? (size_t)(at - text) : strlen(text)) + 1, text);
	s->image = name;
	if (!at)
		return;
	if (digest_parse(span_of(at + 1), &digest) < 0)
		walk_fail(w, value->line,
			  "want @sha256: and 64 hex digits for a digest");
	else
		digest_text(&digest, s->digest);
}

struct words {
	unsigned n;
	const char *word[DESIRED_ARGS_MAX];
};

static void word_read(struct walk *w, const struct compose_node *value,
		      void *into)
{
	struct words *words = into;
	const char *word = walk_text(w, value, "text");

	if (word)
		words->word[words->n++] = word;
}

/* Text or a list; false after a problem. */
static bool words_read(struct walk *w, const struct compose_node *value,
		       struct words *words)
{
	unsigned before = w->n_problems;
	const char *text;
	int n;

	words->n = 0;
	if (value->kind == COMPOSE_LIST && value->n > DESIRED_ARGS_MAX) {
		walk_fail(w, value->line, "want at most %u words",
			  DESIRED_ARGS_MAX);
	} else if (value->kind == COMPOSE_LIST) {
		walk_list(w, value, word_read, words);
	} else {
		text = walk_text(w, value, "text or a list");
		n = text ? text_split(w, value->line, text, words->word,
				      DESIRED_ARGS_MAX)
			 : 0;
		words->n = n > 0 ? (unsigned)n : 0;
	}
	return w->n_problems == before;
}

static void words_write(yyjson_mut_doc *doc, yyjson_mut_val *object,
			const char *key, const struct words *words)
{
	yyjson_mut_val *list = yyjson_mut_obj_add_arr(doc, object, key);

	for (unsigned i = 0; i < words->n; i++)
		yyjson_mut_arr_add_strcpy(doc, list, words->word[i]);
}

/* Null is the image's, what is empty none. */
void command_read(struct walk *w, const struct compose_node *value, void *into)
{
	struct service *s = into;
	struct words words;

	if (!compose_is_null(value) && words_read(w, value, &words))
		words_write(s->doc, s->app, "command", &words);
}

void entrypoint_read(struct walk *w, const struct compose_node *value,
		     void *into)
{
	struct service *s = into;
	struct words words;

	if (compose_is_null(value) || !words_read(w, value, &words))
		return;
	if (words.n == 1 && !words.word[0][0])
		words.n = 0; /* as Docker has it */
	words_write(s->doc, s->app, "entrypoint", &words);
}

/* An entrypoint, empty as well, leaves out what the image says to both. */
void program_check(struct walk *w, const struct service *s)
{
	yyjson_mut_val *entrypoint = yyjson_mut_obj_get(s->app, "entrypoint");

	if (entrypoint && !yyjson_mut_arr_size(entrypoint) &&
	    !yyjson_mut_arr_size(yyjson_mut_obj_get(s->app, "command")))
		walk_fail(w, s->seen->line,
			  "entrypoint: is empty, which leaves out the image's "
			  "command too; want command:");
}

/* ---- healthcheck ---- */

struct health {
	struct words test;
	bool has_test, is_off;
	uint64_t interval, timeout, start_period, start_interval, retries;
};

/* [CMD, ...], [CMD-SHELL, TEXT], [NONE], or text for a shell. */
static void test_read(struct walk *w, const struct compose_node *value,
		      void *into)
{
	struct health *h = into;
	struct words *t = &h->test;
	bool is_list = value->kind == COMPOSE_LIST;

	if (is_list ? !words_read(w, value, t)
		    : !(t->word[0] = walk_text(w, value, "text or a list")))
		return;
	h->has_test = true;
	if (!is_list)
		t->word[2] = t->word[0];
	else if (t->n == 2 && !strcmp(t->word[0], "CMD-SHELL"))
		t->word[2] = t->word[1];
	else if (t->n == 1 && !strcmp(t->word[0], "NONE"))
		h->is_off = true;
	else if (t->n > 1 && !strcmp(t->word[0], "CMD"))
		memmove(t->word, t->word + 1, --t->n * sizeof(*t->word));
	else
		walk_fail(w, value->line,
			  "want [CMD, PROGRAM, ...], [CMD-SHELL, TEXT], [NONE] "
			  "or text");
	if (!is_list || (t->n == 2 && !strcmp(t->word[0], "CMD-SHELL"))) {
		t->word[0] = "/bin/sh";
		t->word[1] = "-c";
		t->n = 3;
	}
}

static void time_read(struct walk *w, const struct compose_node *value,
		      uint64_t *ms)
{
	if (value_duration(w, value, ms) && !*ms)
		walk_fail(w, value->line, "want more than 0");
}

static void interval_read(struct walk *w, const struct compose_node *value,
			  void *into)
{
	struct health *h = into;

	time_read(w, value, &h->interval);
}

static void timeout_read(struct walk *w, const struct compose_node *value,
			 void *into)
{
	struct health *h = into;

	time_read(w, value, &h->timeout);
}

static void start_period_read(struct walk *w, const struct compose_node *value,
			      void *into)
{
	struct health *h = into;

	value_duration(w, value, &h->start_period);
}

static void start_interval_read(struct walk *w,
				const struct compose_node *value, void *into)
{
	struct health *h = into;

	time_read(w, value, &h->start_interval);
}

static void retries_read(struct walk *w, const struct compose_node *value,
			 void *into)
{
	struct health *h = into;

	if (value_number(w, value, 1000, &h->retries) && !h->retries)
		walk_fail(w, value->line, "want more than 0");
}

static void disable_read(struct walk *w, const struct compose_node *value,
			 void *into)
{
	struct health *h = into;

	value_bool(w, value, &h->is_off);
}

static void health_write(const struct service *s, const struct health *h)
{
	const struct {
		const char *key;
		uint64_t value;
	} numbers[] = {
		{ "interval_ms", h->interval },
		{ "timeout_ms", h->timeout },
		{ "start_period_ms", h->start_period },
		{ "start_interval_ms", h->start_interval },
		{ "retries", h->retries },
	};
	yyjson_mut_val *o = yyjson_mut_obj_add_obj(s->doc, s->app, "health");

	if (h->is_off)
		yyjson_mut_obj_add_bool(s->doc, o, "off", true);
	if (h->has_test && !h->is_off)
		words_write(s->doc, o, "test", &h->test);
	for (size_t i = 0; !h->is_off && i < ARRAY_SIZE(numbers); i++)
		if (numbers[i].value)
			yyjson_mut_obj_add_uint(s->doc, o, numbers[i].key,
						numbers[i].value);
}

void healthcheck_read(struct walk *w, const struct compose_node *value,
		      void *into)
{
	static const struct walk_key keys[] = {
		{ "test", test_read },
		{ "interval", interval_read },
		{ "timeout", timeout_read },
		{ "start_period", start_period_read },
		{ "start_interval", start_interval_read },
		{ "retries", retries_read },
		{ "disable", disable_read },
	};
	unsigned before = w->n_problems;
	struct health h = { 0 };

	walk_map(w, value, keys, ARRAY_SIZE(keys), NULL, &h);
	if (w->n_problems == before)
		health_write(into, &h);
}
