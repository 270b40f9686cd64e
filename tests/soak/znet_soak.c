/* znet for the soak: not confined, for the address sanitizer, when it looks for
 * leaks, and valgrind need system calls that znet does not; and at its end it
 * lets run what runs at exit. The rest is the program. */
#define _GNU_SOURCE
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/confine.h"

int confine_files(const int *dirs, size_t n)
{
	(void)dirs;
	(void)n;
	return 0;
}

int confine_files_reading(const int *dirs, size_t n, const int *read_dirs,
			  size_t n_read)
{
	(void)dirs;
	(void)n;
	(void)read_dirs;
	(void)n_read;
	return 0;
}

int confine(const struct sock_filter *filter, size_t n)
{
	(void)filter;
	(void)n;
	return 0;
}

int confine_keeping(uint64_t capabilities, const struct sock_filter *filter,
		    size_t n)
{
	(void)capabilities;
	(void)filter;
	(void)n;
	return 0;
}

static void end(int number)
{
	(void)number;
	exit(0);
}

/* Sent when there is nothing left to do. */
__attribute__((constructor)) static void end_when_told(void)
{
	signal(SIGTERM, end);
}

/* What main() of znet ends with. */
void _exit(int code)
{
	exit(code);
}
