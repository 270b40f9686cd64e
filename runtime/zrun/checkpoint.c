#define _GNU_SOURCE
#include "checkpoint.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/path.h"
#include "resident.h"

bool checkpoint_is_kept(const char *name)
{
	return name[0] == '@' && !strchr(name, '.');
}

int checkpoint_name(const struct asked *asked, struct zrun_reply *reply,
		    char name[static CHECKPOINT_NAME_SIZE])
{
	const char *path = asked->request->path;

	if (!id_valid(span_of(path))) {
		snprintf(reply->text, sizeof(reply->text),
			 "checkpoint: want a name of 1 to 63 of a-z, 0-9 "
			 "and -");
		return -EINVAL;
	}
	snprintf(name, CHECKPOINT_NAME_SIZE, "@%.63s", path);
	return 0;
}

int checkpoint_remove(const char *name)
{
	autoclose int dir = openat(resident.checkpoints, name,
				   O_RDONLY | O_DIRECTORY | O_NOFOLLOW |
					   O_CLOEXEC);

	if (dir >= 0)
		checkpoint_layer_remove(dir);
	return path_remove_tree(resident.checkpoints, name);
}

int serve_checkpoints(const struct asked *asked, struct zrun_reply *reply)
{
	DIR *list = path_list(resident.checkpoints, ".");
	uint32_t n = asked->request->arg;
	int r = -ENOENT;

	if (!list)
		return -errno;
	for (struct dirent *e; r == -ENOENT && (e = readdir(list));) {
		if (!checkpoint_is_kept(e->d_name) || n-- > 0)
			continue;
		text_copy(reply->id, sizeof(reply->id), e->d_name + 1);
		r = 0;
	}
	closedir(list);
	return r;
}

int serve_checkpoint_remove(const struct asked *asked, struct zrun_reply *reply)
{
	char name[CHECKPOINT_NAME_SIZE];
	struct stat st;
	int r = checkpoint_name(asked, reply, name);

	if (r < 0)
		return r;
	if (fstatat(resident.checkpoints, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	serve_remove_checkpoint(name);
	return 0;
}
