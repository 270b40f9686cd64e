#include "fields.h"

#include <errno.h>
#include <strings.h>
#include <yyjson.h>

enum { EXPIRES_DEFAULT_S = 60, EXPIRES_MAX_S = 86400 };

/* WWW-Authenticate */

static bool is_token_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	       (c >= '0' && c <= '9') || (c && strchr("!#$%&'*+-.^_`|~", c));
}

static void skip(struct span *s, size_t n)
{
	s->data += n;
	s->size -= n;
}

static void skip_any(struct span *s, const char *of)
{
	while (s->size > 0 && s->data[0] && strchr(of, s->data[0]))
		skip(s, 1);
}

static struct span token_cut(struct span *s)
{
	struct span token = { s->data, 0 };

	while (token.size < s->size && is_token_char(s->data[token.size]))
		token.size++;
	skip(s, token.size);
	return token;
}

/* A token or a quoted string into value; false at the end of what can be
 * read. Too long or with bytes that no URL has: value is "". */
static bool value_cut(struct span *s, char *value, size_t size)
{
	bool quoted = s->size > 0 && s->data[0] == '"', good = true;
	size_t n = 0;

	if (!quoted) {
		struct span token = token_cut(s);

		if (token.size > 0 && span_copy(value, size, token) < 0)
			value[0] = '\0';
		return token.size > 0;
	}
	skip(s, 1);
	while (s->size > 0 && s->data[0] != '"') {
		if (s->data[0] == '\\' && s->size > 1)
			skip(s, 1);
		good = good && s->data[0] >= ' ' && s->data[0] < 127 &&
		       n + 1 < size;
		if (good)
			value[n++] = s->data[0];
		skip(s, 1);
	}
	good = good && s->size > 0;
	value[good ? n : 0] = '\0';
	if (s->size == 0)
		return false;
	skip(s, 1);
	return true;
}

static bool is_word(struct span s, const char *word)
{
	return s.size == strlen(word) && strncasecmp(s.data, word, s.size) == 0;
}

/* Where the value of a parameter goes; NULL: nowhere. */
static char *parameter_place(struct challenge *c, struct span name,
			     size_t *size)
{
	static const struct {
		const char *name;
		size_t offset, size;
	} places[] = {
#define PLACE(f) { #f, offsetof(struct challenge, f), sizeof(c->f) }
		PLACE(realm),
		PLACE(service),
		PLACE(scope),
#undef PLACE
	};

	for (size_t i = 0; i < sizeof(places) / sizeof(*places); i++) {
		if (!is_word(name, places[i].name))
			continue;
		*size = places[i].size;
		return (char *)c + places[i].offset;
	}
	return NULL;
}

void challenge_read(struct span field, struct challenge *challenge)
{
	bool bearer = false; /* parameters belong to one that counts */

	for (;;) {
		char unused[8] = "", *place = NULL;
		size_t size = sizeof(unused);
		struct span name;

		skip_any(&field, " \t,");
		name = token_cut(&field);
		if (name.size == 0)
			return;
		skip_any(&field, " \t");
		if (field.size == 0 || field.data[0] != '=') {
			bearer = is_word(name, "Bearer") && !challenge->bearer;
			challenge->bearer |= bearer;
			challenge->basic |= is_word(name, "Basic");
			continue;
		}
		skip(&field, 1);
		skip_any(&field, " \t");
		if (bearer)
			place = parameter_place(challenge, name, &size);
		if (place && place[0]) /* said twice */
			place = NULL;
		if (!value_cut(&field, place ? place : unused,
			       place ? size : sizeof(unused)))
			return;
	}
}

/* Content-Range */

int content_range_parse(struct span field, struct content_range *range)
{
	struct span unit, first, last;

	if (!span_cut(&field, ' ', &unit) || !is_word(unit, "bytes") ||
	    !span_cut(&field, '-', &first) || !span_cut(&field, '/', &last) ||
	    span_u64(first, UINT64_MAX - 1, &range->first) < 0 ||
	    span_u64(last, UINT64_MAX - 1, &range->last) < 0)
		return -EINVAL;
	range->total = RANGE_UNKNOWN;
	if (!span_is(field, "*") &&
	    span_u64(field, UINT64_MAX - 1, &range->total) < 0)
		return -EINVAL;
	return range->first > range->last || range->last >= range->total
		       ? -EINVAL
		       : 0;
}

/* Tokens */

bool token_valid(struct span text)
{
	for (size_t i = 0; i < text.size; i++)
		if (text.data[i] <= ' ' || text.data[i] >= 127)
			return false;
	return text.size > 0;
}

static int token_take(yyjson_val *root, char token[TOKEN_SIZE],
		      uint32_t *expires_s)
{
	yyjson_val *v = yyjson_obj_get(root, "token");
	uint64_t expires;
	struct span text;

	if (!yyjson_is_str(v))
		v = yyjson_obj_get(root, "access_token");
	if (!yyjson_is_str(v))
		return -EINVAL;
	text = (struct span){ yyjson_get_str(v), yyjson_get_len(v) };
	if (!token_valid(text) || span_copy(token, TOKEN_SIZE, text) < 0)
		return -EINVAL;
	v = yyjson_obj_get(root, "expires_in");
	expires = yyjson_is_uint(v) ? yyjson_get_uint(v) : EXPIRES_DEFAULT_S;
	*expires_s = expires > EXPIRES_MAX_S ? EXPIRES_MAX_S
					     : (uint32_t)expires;
	return 0;
}

int token_parse(struct span body, char token[TOKEN_SIZE], uint32_t *expires_s)
{
	yyjson_doc *doc = yyjson_read(body.data, body.size, 0);
	int r = -EINVAL;

	if (doc && yyjson_is_obj(yyjson_doc_get_root(doc)))
		r = token_take(yyjson_doc_get_root(doc), token, expires_s);
	yyjson_doc_free(doc);
	return r;
}
