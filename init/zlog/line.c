#define _GNU_SOURCE
#include "line.h"

#include <stdio.h>
#include <time.h>

static size_t part_add(struct line_part *part, struct span more)
{
	size_t room = LINE_MAX_SIZE - part->size;
	size_t n = more.size < room ? more.size : room;

	memcpy(part->data + part->size, more.data, n);
	part->size += n;
	return n;
}

static void cut_front(struct span *s, size_t n)
{
	s->data += n;
	s->size -= n;
}

/* The whole of part as a line; its bytes stay until part is added to. */
static bool part_take(struct line_part *part, struct span *line)
{
	*line = (struct span){ part->data, part->size };
	part->size = 0;
	return true;
}

bool line_cut(struct line_part *part, struct span *input, struct span *line)
{
	const char *end;
	size_t n;

	if (input->size == 0)
		return false;
	end = memchr(input->data, '\n', input->size);
	n = end ? (size_t)(end - input->data) : input->size;
	if (end && part->size == 0 && n <= LINE_MAX_SIZE) {
		*line = (struct span){ input->data, n };
		cut_front(input, n + 1);
		return true;
	}
	cut_front(input, part_add(part, (struct span){ input->data, n }));
	if (end && input->data == end) {
		cut_front(input, 1);
		return part_take(part, line);
	}
	return part->size == LINE_MAX_SIZE && part_take(part, line);
}

bool line_rest(struct line_part *part, struct span *line)
{
	return part->size > 0 && part_take(part, line);
}

enum log_level line_level(struct span *line, enum log_level otherwise)
{
	enum log_level level;

	if (line->size < 3 || line->data[0] != '<' || line->data[1] < '0' ||
	    line->data[1] > '7' || line->data[2] != '>')
		return otherwise;
	level = (enum log_level)(line->data[1] - '0');
	cut_front(line, 3);
	return level;
}

static const char *level_name(enum log_level level)
{
	if (level <= LOG_LEVEL_ERROR)
		return "error";
	if (level == LOG_LEVEL_WARNING)
		return "warning";
	return level == LOG_LEVEL_NOTICE ? "notice" : "info";
}

void line_stamp(char out[LINE_STAMP_SIZE], uint64_t ms)
{
	time_t seconds = (time_t)(ms / 1000);
	struct tm tm;
	size_t n;

	gmtime_r(&seconds, &tm);
	/* 0 for a year of five digits */
	n = strftime(out, sizeof("2026-11-23T05:08:03"), "%Y-%m-%dT%H:%M:%S",
		     &tm);
	snprintf(out + n, LINE_STAMP_SIZE - n, ".%03uZ",
		 (unsigned int)(ms % 1000));
}

static size_t head_format(char out[LINE_TEXT_SIZE], uint64_t ms,
			  enum log_level level, const char *tag)
{
	char stamp[LINE_STAMP_SIZE];
	int n;

	line_stamp(stamp, ms);
	n = snprintf(out, LINE_HEAD_SIZE + 1, "%s %s %.63s%s", stamp,
		     level_name(level), tag, *tag ? ": " : "");
	return n < LINE_HEAD_SIZE ? (size_t)n : LINE_HEAD_SIZE;
}

size_t line_format(char out[LINE_TEXT_SIZE], uint64_t ms, enum log_level level,
		   const char *tag, struct span line)
{
	size_t n = head_format(out, ms, level, tag);
	size_t size = line.size < LINE_MAX_SIZE ? line.size : LINE_MAX_SIZE;

	for (size_t i = 0; i < size; i++) {
		unsigned char c = (unsigned char)line.data[i];

		out[n++] = (c < ' ' && c != '\t') || c == 0x7f ? '?' : (char)c;
	}
	/* The end of a line that a program for DOS wrote. */
	if (size && line.data[size - 1] == '\r')
		n--;
	out[n++] = '\n';
	return n;
}
