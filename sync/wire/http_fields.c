#include "http_fields.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>

static int grow(struct fields *f, size_t need)
{
	size_t size = f->size ? f->size : 512;
	char *text;

	while (size < need)
		size *= 2;
	if (size == f->size)
		return 0;
	text = realloc(f->text, size);
	if (!text)
		return -ENOMEM;
	f->text = text;
	f->size = size;
	return 0;
}

int fields_add(struct fields *f, struct span name, struct span value,
	       size_t max)
{
	size_t need = f->used + name.size + value.size + 2;
	char *p;

	if (memchr(name.data, 0, name.size) ||
	    (value.size && memchr(value.data, 0, value.size)))
		return -EINVAL;
	/* The overhead bounds their number too. */
	if (need + 32 * ((size_t)f->n + 1) > max)
		return -E2BIG;
	if (grow(f, need) < 0)
		return -ENOMEM;
	p = f->text + f->used;
	for (size_t i = 0; i < name.size; i++)
		*p++ = (char)tolower((unsigned char)name.data[i]);
	*p++ = '\0';
	if (value.size)
		memcpy(p, value.data, value.size);
	p[value.size] = '\0';
	f->used = need;
	f->n++;
	return 0;
}

const char *fields_get(const struct fields *f, const char *name)
{
	const char *p = f->text, *end = p ? p + f->used : p;

	while (p < end) {
		const char *value = p + strlen(p) + 1;

		if (strcmp(p, name) == 0)
			return value;
		p = value + strlen(value) + 1;
	}
	return NULL;
}

void fields_trim(struct fields *f)
{
	char *text = f->used ? realloc(f->text, f->used) : NULL;

	if (text) {
		f->text = text;
		f->size = f->used;
	}
}

void fields_free(struct fields *f)
{
	free(f->text);
	*f = (struct fields){ 0 };
}

static int hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int percent_decode(struct span s, char *out, size_t size)
{
	size_t n = 0;

	for (size_t i = 0; i < s.size; i++) {
		char c = s.data[i];

		if (n + 1 >= size)
			return -ENAMETOOLONG;
		if (c == '%') {
			int high = i + 2 < s.size ? hex(s.data[i + 1]) : -1;
			int low = i + 2 < s.size ? hex(s.data[i + 2]) : -1;

			if (high < 0 || low < 0)
				return -EINVAL;
			c = (char)(high << 4 | low);
			i += 2;
		}
		if (c == '\0')
			return -EINVAL;
		out[n++] = c;
	}
	if (size == 0)
		return -ENAMETOOLONG;
	out[n] = '\0';
	return 0;
}

/* Every segment a name of its own; the last may be empty ("/v2/"). */
static bool path_plain(const char *path)
{
	for (const char *p = path; *p; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			return false;
	while (*path == '/') {
		size_t n = strcspn(++path, "/");

		if ((n == 0 && path[0]) || (n == 1 && path[0] == '.') ||
		    (n == 2 && path[0] == '.' && path[1] == '.'))
			return false;
		path += n;
	}
	return *path == '\0';
}

static size_t slashes(const char *s, char end)
{
	size_t count = 0;

	for (; *s && *s != end; s++)
		count += *s == '/';
	return count;
}

char *target_parse(const char *target, const char **query)
{
	size_t n = strcspn(target, "?");
	const char *q = target[n] ? target + n + 1 : "";
	char *buf;
	size_t used;

	if (target[0] != '/' || strchr(target, '#'))
		return NULL;
	buf = calloc(1, n + strlen(q) + 2);
	if (!buf)
		return NULL;
	/* An escaped slash would make two paths of one. */
	if (percent_decode((struct span){ target, n }, buf, n + 1) < 0 ||
	    slashes(buf, '\0') != slashes(target, '?') || !path_plain(buf)) {
		free(buf);
		return NULL;
	}
	used = strlen(buf) + 1;
	text_copy(buf + used, strlen(q) + 1, q);
	*query = buf + used;
	return buf;
}
