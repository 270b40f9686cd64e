#include "fault.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int fault_set(struct fault *fault, int error, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	int n = vsnprintf(fault->text, sizeof(fault->text), fmt, args);

	va_end(args);
	if (error == 0)
		return -EINVAL;
	if (n >= 0 && (size_t)n < sizeof(fault->text))
		snprintf(fault->text + n, sizeof(fault->text) - (size_t)n,
			 ": %s", strerror(-error));
	return error;
}
