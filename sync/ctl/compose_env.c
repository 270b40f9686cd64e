/* Files of variables: .env, and those of env_file. A line is NAME=VALUE, with
 * "export " in front if one likes, or a comment. A value in double quotes may
 * have \n, \t, \", \\ and variables, one without quotes has variables and ends
 * at " #", one in single quotes is as it is written. */
#include <string.h>

#include "compose_walk.h"

static struct span trimmed(struct span s)
{
	while (s.size && strchr(" \t\r", s.data[0]))
		s = (struct span){ s.data + 1, s.size - 1 };
	while (s.size && strchr(" \t\r", s.data[s.size - 1]))
		s.size--;
	return s;
}

/* What is between the quotes that s begins with; data NULL: they do not end. */
static struct span quoted(struct span s)
{
	char quote = s.data[0];

	for (size_t i = 1; i < s.size; i++) {
		if (s.data[i] == '\\' && quote == '"')
			i++;
		else if (s.data[i] == quote)
			return (struct span){ s.data + 1, i - 1 };
	}
	return (struct span){ 0 };
}

static const char *unescape(struct walk *w, unsigned line, struct span s)
{
	char *text = compose_alloc(&w->arena, s.size + 1);
	size_t n = 0;

	for (size_t i = 0; text && i < s.size; i++) {
		char c = s.data[i];

		if (c == '\\' && i + 1 < s.size) {
			c = s.data[++i];
			c = c == 'n' ? '\n' : c == 't' ? '\t' : c;
		}
		text[n++] = c;
	}
	if (!text)
		walk_fail(w, line, "the file is too large");
	return text;
}

static const char *value_of(struct walk *w, unsigned line, struct span s)
{
	struct span inner;
	const char *text;

	if (!s.size || !strchr("'\"", s.data[0])) {
		for (size_t i = 1; i < s.size; i++)
			if (s.data[i] == '#' && strchr(" \t", s.data[i - 1]))
				s.size = i;
		return text_interpolate(w, line, trimmed(s));
	}
	inner = quoted(s);
	if (!inner.data) {
		walk_fail(w, line, "a quote is not closed");
		return NULL;
	}
	if (s.data[0] == '\'')
		return walk_keep(w, line, inner);
	text = unescape(w, line, inner);
	return text ? text_interpolate(w, line, span_of(text)) : NULL;
}

/* Bytes that end nowhere would end in the document. */
static bool is_text(struct span s)
{
	for (size_t i = 0; i < s.size; i++)
		if ((unsigned char)s.data[i] < ' ' && s.data[i] != '\t')
			return false;
	return true;
}

void env_read(struct walk *w, const struct env_text *file,
	      void (*each)(struct walk *w, unsigned line,
			   const struct walk_variable *v, void *into),
	      void *into)
{
	struct span text = file->text, row, name;
	unsigned number = 0, line = file->line;

	while (span_cut(&text, '\n', &row)) {
		struct walk_variable v = { 0 };
		unsigned before = w->n_problems;

		number++;
		row = trimmed(row);
		if (!row.size || row.data[0] == '#')
			continue;
		if (row.size > 7 && !memcmp(row.data, "export ", 7))
			row = trimmed(
				(struct span){ row.data + 7, row.size - 7 });
		span_cut(&row, '=', &name);
		name = trimmed(name);
		if (!is_text(name) || !is_text(row) || !name.size ||
		    memchr(name.data, ' ', name.size)) {
			walk_fail(w, line, "its line %u: want NAME=VALUE",
				  number);
			continue;
		}
		v.name = walk_keep(w, line, name);
		v.value = row.data ? value_of(w, line, trimmed(row))
				   : text_variable(w, line, v.name);
		if (v.name && w->n_problems == before)
			each(w, line, &v, into);
	}
}
