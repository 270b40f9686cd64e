#include "log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LINE_SIZE = 1024 };

static const char *program = "zooid";
static int prefixed;
static unsigned dropped;

void log_open(const char *name)
{
	program = name;
	prefixed = getenv("ZOOID_SERVICE") != NULL;
}

static size_t end_of(int written, size_t used, size_t size)
{
	if (written < 0)
		return used;
	if ((size_t)written >= size - used)
		return size - 1;
	return used + (size_t)written;
}

static size_t head_print(char *line, enum log_level level, const char *object)
{
	size_t n = 0;

	if (prefixed)
		n = end_of(snprintf(line, LINE_SIZE, "<%d>", level), 0,
			   LINE_SIZE);
	n = end_of(snprintf(line + n, LINE_SIZE - n, "%s: ", program), n,
		   LINE_SIZE);
	if (object)
		n = end_of(snprintf(line + n, LINE_SIZE - n, "%s: ", object), n,
			   LINE_SIZE);
	return n;
}

/* A name that a stranger chose must not forge a second line nor move the
 * cursor of the terminal that shows it. */
static void controls_replace(char *line, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if ((unsigned char)line[i] < ' ' || line[i] == 0x7f)
			line[i] = '?';
}

static void line_write(char *line, size_t n)
{
	controls_replace(line, n);
	line[n++] = '\n';
	if (write(STDERR_FILENO, line, n) < 0 && errno == EAGAIN)
		dropped++;
}

static void dropped_report(void)
{
	char line[LINE_SIZE];
	unsigned n_lost = dropped;
	size_t n = head_print(line, LOG_LEVEL_WARNING, "log");

	n = end_of(snprintf(line + n, LINE_SIZE - n,
			    "%u lines dropped, the pipe was full", n_lost),
		   n, LINE_SIZE);
	dropped = 0;
	line_write(line, n);
	if (dropped)
		dropped += n_lost;
}

void log_line(enum log_level level, const char *object, const char *fmt, ...)
{
	char line[LINE_SIZE];
	int saved = errno;
	va_list args;
	size_t n;

	if (dropped)
		dropped_report();
	n = head_print(line, level, object);
	va_start(args, fmt);
	n = end_of(vsnprintf(line + n, LINE_SIZE - n, fmt, args), n, LINE_SIZE);
	va_end(args);
	line_write(line, n);
	errno = saved;
}
