/* TAP output of the unit tests: ok() once a case, tap_done() last.
 * A failed case prints its line; the program exits 1 when any failed. */
#ifndef UNIT_TAP_H
#define UNIT_TAP_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>

static int tap_n, tap_failed;

__attribute__((format(printf, 2, 3), unused)) static bool ok(bool passed,
							     const char *fmt,
							     ...)
{
	va_list args;

	printf("%sok %d - ", passed ? "" : "not ", ++tap_n);
	va_start(args, fmt);
	vprintf(fmt, args);
	va_end(args);
	putchar('\n');
	fflush(stdout);
	tap_failed += !passed;
	return passed;
}

__attribute__((unused)) static int tap_done(void)
{
	printf("1..%d\n", tap_n);
	return tap_failed || !tap_n;
}

#endif
