#include "output.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>

/* Whether errno can still be that of a write that failed before. */
static bool is_of_writing(int error)
{
	return error == ENOSPC || error == EDQUOT || error == EFBIG ||
	       error == EPIPE || error == EBADF;
}

int output_flush(void)
{
	int before = errno;

	if (fflush(stdout) != 0)
		return -errno;
	if (!ferror(stdout))
		return 0;
	return is_of_writing(before) ? -before : -EIO;
}
