/* Variables and words in the text of a Compose file (compose-spec.io,
 * interpolation). What follows a '$' that is neither a name nor '{' is left as
 * it is; "$$" is one '$'. */
#include <stdlib.h>

#include "compose_walk.h"

enum {
	TEXT_MAX = 64 << 10, /* after variables were put in */
	NAME_MAX_SIZE = 128,
	NESTING_MAX = 8, /* ${A:-${B:-...}} */
};

/* ---- variables ---- */

struct output {
	struct walk *w;
	unsigned line;
	char *data;
	size_t used, room;
};

static int refuse(struct output *o, const char *what)
{
	walk_fail(o->w, o->line, "%s", what);
	return -1;
}

static int put(struct output *o, const char *data, size_t size)
{
	if (!o->data || o->used + size + 1 > o->room) {
		size_t room = 2 * (o->used + size) + 64;
		char *grown = room <= 4 * TEXT_MAX ? realloc(o->data, room)
						   : NULL;

		if (!grown)
			return refuse(o, "is too long");
		o->data = grown;
		o->room = room;
	}
	if (size)
		memcpy(o->data + o->used, data, size);
	o->used += size;
	o->data[o->used] = '\0';
	return o->used <= TEXT_MAX ? 0 : refuse(o, "is too long");
}

static bool is_name(char c, bool first)
{
	return c == '_' || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	       (!first && c >= '0' && c <= '9');
}

/* The length of the name at the front of s. */
static size_t name_size(struct span s)
{
	size_t n = 0;

	while (n < s.size && is_name(s.data[n], n == 0))
		n++;
	return n;
}

static int expand(struct output *o, struct span text, unsigned nesting);

/* The bytes of one UTF-8 character at p, 0 when there is none (RFC 3629). */
static size_t character_size(const unsigned char *p)
{
	static const struct {
		unsigned char first, last, low, high; /* of the second byte */
		size_t size;
	} rows[] = {
		{ 0x01, 0x7f, 0, 0, 1 },       { 0xc2, 0xdf, 0x80, 0xbf, 2 },
		{ 0xe0, 0xe0, 0xa0, 0xbf, 3 }, { 0xe1, 0xec, 0x80, 0xbf, 3 },
		{ 0xed, 0xed, 0x80, 0x9f, 3 }, { 0xee, 0xef, 0x80, 0xbf, 3 },
		{ 0xf0, 0xf0, 0x90, 0xbf, 4 }, { 0xf1, 0xf3, 0x80, 0xbf, 4 },
		{ 0xf4, 0xf4, 0x80, 0x8f, 4 },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		if (p[0] < rows[i].first || p[0] > rows[i].last)
			continue;
		if (rows[i].size > 1 &&
		    (p[1] < rows[i].low || p[1] > rows[i].high))
			return 0;
		for (size_t j = 2; j < rows[i].size; j++)
			if ((p[j] & 0xc0) != 0x80)
				return 0;
		return rows[i].size;
	}
	return 0;
}

bool text_is_utf8(struct span text)
{
	const unsigned char *p = (const unsigned char *)text.data;
	const unsigned char *end = p + text.size;
	size_t n;

	/* A character that is cut off meets the NUL behind the text. */
	for (; p < end; p += n) {
		n = character_size(p);
		if (!n)
			return false;
	}
	return true;
}

static const char *dotenv_value(const struct walk *w, const char *name)
{
	for (unsigned i = w->n_dotenv; i-- > 0;)
		if (!strcmp(w->dotenv[i].name, name))
			return w->dotenv[i].value;
	return NULL;
}

const char *text_variable(struct walk *w, unsigned line, const char *name)
{
	const char *value = w->config->variable(name);

	if (!value)
		return dotenv_value(w, name);
	if (text_is_utf8(span_of(value)))
		return value;
	walk_fail(w, line, "the variable %s is no UTF-8", name);
	return NULL;
}

/* The value of the variable, or NULL. name is NUL-terminated by this. */
static const char *value_of(struct output *o, struct span s,
			    char name[NAME_MAX_SIZE])
{
	if (span_copy(name, NAME_MAX_SIZE, s) < 0)
		return NULL;
	return text_variable(o->w, o->line, name);
}

static int put_value(struct output *o, const char *name, const char *value)
{
	if (!value)
		walk_notice(o->w, o->line,
			    "the variable %s is not set, so it is empty", name);
	return value ? put(o, value, strlen(value)) : 0;
}

/* ${NAME OPERATOR WORD}: `rest` is what follows the name. */
static int expand_operator(struct output *o, const char *name,
			   const char *value, struct span rest,
			   unsigned nesting)
{
	bool colon = rest.data[0] == ':';
	bool is_there = value && (!colon || value[0]);
	char operator= rest.size> colon ? rest.data[colon] : '\0';
	struct span word = rest;
	size_t start = o->used;

	if (operator) {
		word.data += 1 + colon;
		word.size -= 1U + colon;
	}
	switch (operator) {
	case '-':
		return is_there ? put(o, value, strlen(value))
				: expand(o, word, nesting + 1);
	case '+':
		return is_there ? expand(o, word, nesting + 1) : 0;
	case '?':
		if (is_there)
			return put(o, value, strlen(value));
		if (expand(o, word, nesting + 1) < 0)
			return -1;
		walk_fail(o->w, o->line, "the variable %s is needed%s%.100s",
			  name, o->used > start ? ": " : "",
			  o->data ? o->data + start : "");
		return -1;
	default:
		return refuse(o, "want ${NAME}, or ${NAME:-WORD} with one of "
				 ":- - :? ? :+ +");
	}
}

/* The inside of ${...}. */
static int expand_braced(struct output *o, struct span s, unsigned nesting)
{
	struct span name = { s.data, name_size(s) };
	struct span rest = { s.data + name.size, s.size - name.size };
	char text[NAME_MAX_SIZE];
	const char *value;

	if (!name.size || name.size >= NAME_MAX_SIZE)
		return refuse(o, "want a variable's name within ${}; a $ "
				 "itself is written $$");
	value = value_of(o, name, text);
	if (!rest.size)
		return put_value(o, text, value);
	return expand_operator(o, text, value, rest, nesting);
}

/* Where the '}' of the "${" at the front of s is, or 0. */
static size_t brace_end(struct span s)
{
	unsigned depth = 0;

	for (size_t i = 0; i < s.size; i++) {
		if (s.data[i] == '$' && i + 1 < s.size &&
		    s.data[i + 1] == '{') {
			depth++;
			i++;
		} else if (s.data[i] == '}' && --depth == 0) {
			return i;
		}
	}
	return 0;
}

/* What begins with '$'. Returns the bytes that were dealt with, or -1. */
static ssize_t expand_dollar(struct output *o, struct span s, unsigned nesting)
{
	struct span name = { s.data + 1, s.size - 1 };
	char text[NAME_MAX_SIZE];
	size_t end;

	if (s.size > 1 && s.data[1] == '$')
		return put(o, "$", 1) ? -1 : 2;
	if (s.size > 1 && s.data[1] == '{') {
		end = brace_end(s);
		if (!end)
			return refuse(o, "${ without }; a $ itself is "
					 "written $$");
		return expand_braced(o, (struct span){ s.data + 2, end - 2 },
				     nesting)
			       ? -1
			       : (ssize_t)end + 1;
	}
	name.size = name_size(name);
	if (!name.size)
		return put(o, "$", 1) ? -1 : 1;
	if (name.size >= NAME_MAX_SIZE)
		return refuse(o, "the name of a variable is too long");
	return put_value(o, text, value_of(o, name, text))
		       ? -1
		       : (ssize_t)name.size + 1;
}

static int expand(struct output *o, struct span s, unsigned nesting)
{
	if (nesting > NESTING_MAX)
		return refuse(o, "variables are nested too deep");
	while (s.size) {
		const char *dollar = memchr(s.data, '$', s.size);
		size_t plain = dollar ? (size_t)(dollar - s.data) : s.size;
		ssize_t n;

		if (put(o, s.data, plain) < 0)
			return -1;
		s = (struct span){ s.data + plain, s.size - plain };
		n = s.size ? expand_dollar(o, s, nesting) : 0;
		if (n < 0)
			return -1;
		s = (struct span){ s.data + n, s.size - (size_t)n };
	}
	return 0;
}

const char *text_interpolate(struct walk *w, unsigned line, struct span text)
{
	struct output o = { .w = w, .line = line };
	char *kept = NULL;

	if (expand(&o, text, 0) == 0) {
		kept = compose_alloc(&w->arena, o.used + 1);
		if (kept && o.used)
			memcpy(kept, o.data, o.used);
		if (!kept)
			walk_fail(w, line, "the file is too large");
	}
	free(o.data);
	return kept;
}

/* ---- words ---- */

struct splitter {
	const char *in;
	char *out; /* where the word grows */
	char quote;
	bool in_word;
};

/* One byte of a command. -1: a byte that needs a shell; 1: a word ended. */
static int split_byte(struct splitter *s)
{
	char c = *s->in++;

	if (s->quote) {
		if (c == s->quote) {
			s->quote = '\0';
			return 0;
		}
		if (c == '\\' && s->quote == '"' && *s->in)
			c = *s->in++;
		*s->out++ = c;
		return 0;
	}
	if (strchr(" \t\r\n", c)) {
		int ended = s->in_word;

		s->in_word = false;
		return ended;
	}
	if (strchr(";&|<>()`", c))
		return -1;
	s->in_word = true;
	if (c == '\'' || c == '"') {
		s->quote = c;
		return 0;
	}
	if (c == '\\' && !*s->in)
		return -1;
	if (c == '\\')
		c = *s->in++;
	*s->out++ = c;
	return 0;
}

int text_split(struct walk *w, unsigned line, const char *text,
	       const char **word, unsigned max)
{
	size_t size = strlen(text);
	/* Each word is shorter than what it came from, its NUL included. */
	char *start = compose_alloc(&w->arena, size + 2);
	struct splitter s = { .in = text, .out = start };
	unsigned n = 0;
	int c = 0;

	if (!start) {
		walk_fail(w, line, "the file is too large");
		return -1;
	}
	while (c >= 0 && (*s.in || s.in_word)) {
		bool at_end = !*s.in;

		c = at_end ? 1 : split_byte(&s);
		if (at_end && s.quote) {
			walk_fail(w, line, "a quote is not closed");
			return -1;
		}
		if (c != 1)
			continue;
		if (n == max) {
			walk_fail(w, line, "want at most %u words", max);
			return -1;
		}
		*s.out++ = '\0';
		word[n++] = start;
		start = s.out;
		s.in_word = false;
	}
	if (c < 0 && s.in[-1] == '\\') {
		walk_fail(w, line, "ends with a backslash");
		return -1;
	}
	if (c < 0) {
		walk_fail(w, line,
			  "\"%c\" needs a shell: write [sh, -c, \"...\"], or "
			  "quote it",
			  s.in[-1]);
		return -1;
	}
	return (int)n;
}
