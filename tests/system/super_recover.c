/* `super_recover FILE`: what init does on a node whose /data does not mount,
 * for disks that never saw a node. Says what it did. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../init/super.c"
#include "../../init/super_trees.c"

int main(int argc, char **argv)
{
	static const char *const did[] = {
		[SUPER_VALID] = "valid",
		[SUPER_COMPLETED] = "completed",
		[SUPER_COPIED] = "copied",
	};
	int fd = argc == 2 ? open(argv[1], O_RDWR | O_CLOEXEC) : -1;
	int n = fd < 0 ? fd : super_recover(fd);

	if (fd < 0)
		perror("super_recover");
	else
		puts(n < 0 ? strerror(-n) : did[n]);
	return n < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
