#define _GNU_SOURCE
#include "root_mount.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/stat.h>

#include "base/fd.h"
#include "kernel.h"
#include "state.h"

#define NOTE_SIZE 4200
/* Linux 6.8; where it is not known the kernel answers with the other. */
#define MNT_ID_UNIQUE 0x4000U

bool root_mount_wanted(const struct runtime_config *config)
{
	return !config->namespace[RUNTIME_NS_MOUNT].set &&
	       (config->n_mount || config->masked_paths.n ||
		config->readonly_paths.n || config->root_readonly ||
		config->process.terminal);
}

/* A number that no other mount has at the same time; 0 on failure. */
static uint64_t mount_number(int fd)
{
	struct statx st = { 0 };

	if (syscall(SYS_statx, fd, "", AT_EMPTY_PATH,
		    STATX_MNT_ID | MNT_ID_UNIQUE, &st) < 0)
		return 0;
	return st.stx_mnt_id;
}

/* The note comes before the mount: who is killed between leaves a note of
 * nothing. */
static int note_and_attach(int state_dir, const char *rootfs, int tree,
			   int onto)
{
	char text[NOTE_SIZE];
	int n = snprintf(text, sizeof(text), "%" PRIu64 " %s",
			 mount_number(tree), rootfs);

	if ((size_t)n >= sizeof(text))
		return -ENAMETOOLONG;
	autoclose int note = openat(state_dir, STATE_ROOT_MOUNT,
				    O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC,
				    0600);
	int r = note < 0 ? -errno : fd_write(note, text, (size_t)n);

	return r < 0 ? r : kernel_attach(tree, onto);
}

int root_mount_make(int state_dir, const char *rootfs, struct fault *fault)
{
	struct mount_attr private = { .propagation = MS_PRIVATE };
	autoclose int tree = kernel_open_tree(AT_FDCWD, rootfs,
					      OPEN_TREE_CLONE | AT_RECURSIVE);
	autoclose int onto = openat(AT_FDCWD, rootfs,
				    O_PATH | O_DIRECTORY | O_CLOEXEC);
	int r = tree;

	if (r >= 0 && onto < 0)
		r = -errno;
	if (r >= 0)
		r = kernel_mount_setattr(tree, AT_RECURSIVE, &private);
	if (r >= 0)
		r = note_and_attach(state_dir, rootfs, tree, onto);
	return r < 0 ? fault_set(fault, r,
				 "root.path (%.200s): make it a mount", rootfs)
		     : 0;
}

static void detach(uint64_t number, const char *rootfs)
{
	autoclose int fd = openat(AT_FDCWD, rootfs,
				  O_PATH | O_DIRECTORY | O_NOFOLLOW |
					  O_CLOEXEC);
	char here[40];

	if (fd < 0 || mount_number(fd) != number)
		return;
	snprintf(here, sizeof(here), "/proc/self/fd/%d", fd);
	kernel_umount(here, MNT_DETACH);
}

void root_mount_remove(int state_dir)
{
	autofree char *note = NULL;
	char *rootfs;
	size_t size;

	if (file_read(state_dir, STATE_ROOT_MOUNT, NOTE_SIZE, &note, &size) < 0)
		return;
	uint64_t number = strtoull(note, &rootfs, 10);

	if (number && *rootfs == ' ')
		detach(number, rootfs + 1);
	unlinkat(state_dir, STATE_ROOT_MOUNT, 0);
}
