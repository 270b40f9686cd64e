/* Uploads. The lock on the file is the right to write to it, so two requests
 * for one upload cannot mix their bytes, and a hub that was killed holds
 * nothing.
 *
 * The child that finishes an upload reads what the file really holds. It needs
 * nothing of this process but two descriptors; all others it closes first, or
 * the connections of others would stay open for as long as it works. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "blob_parts.h"

enum {
	UPLOADS_MAX = 256,
	CHILDREN_MAX = 2,
	ROOM_STEP = 1 << 20, /* how often an upload looks for room */
};

struct blob_upload {
	struct blobs *blobs;
	int fd;
	char id[BLOB_ID_SIZE];
	uint64_t size;
	uint64_t synced;   /* handed to the disk so far */
	uint64_t promised; /* room was checked up to here */
	/* While it is finished. */
	struct digest digest;
	void (*done)(void *user, int error);
	void *user;
	pid_t pid;
	struct watch child;
	struct blob_upload *next;
};

static int upload_take(struct blobs *b, const char *id, int flags,
		       struct blob_upload **out)
{
	struct blob_upload *u;
	autoclose int fd = -1;
	struct stat st;

	if (b->n_uploads >= UPLOADS_MAX)
		return -EMFILE;
	fd = openat(b->uploads_fd, id, O_RDWR | O_NOFOLLOW | O_CLOEXEC | flags,
		    0600);
	if (fd < 0)
		return -errno;
	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		return errno == EWOULDBLOCK ? -EBUSY : -errno;
	if (fstat(fd, &st) < 0)
		return -errno;
	u = calloc(1, sizeof(*u));
	if (!u)
		return -ENOMEM;
	u->blobs = b;
	u->fd = fd_take(&fd);
	u->size = u->synced = u->promised = (uint64_t)st.st_size;
	u->child.fd = -1;
	text_copy(u->id, sizeof(u->id), id);
	b->n_uploads++;
	*out = u;
	return 0;
}

int blob_upload_new(struct blobs *b, uint64_t expected_bytes,
		    struct blob_upload **upload)
{
	char id[BLOB_ID_SIZE];
	uint8_t random[16];
	int err = blobs_room(b, expected_bytes + ROOM_STEP / 16);

	if (err < 0)
		return err;
	if (getrandom(random, sizeof(random), 0) != sizeof(random))
		return -EIO;
	for (size_t i = 0; i < sizeof(random); i++)
		snprintf(id + 2 * i, 3, "%02x", random[i]);
	return upload_take(b, id, O_CREAT | O_EXCL, upload);
}

static bool id_is_ours(struct span id)
{
	if (id.size != BLOB_ID_SIZE - 1)
		return false;
	for (size_t i = 0; i < id.size; i++)
		if (!strchr("0123456789abcdef", id.data[i]))
			return false;
	return true;
}

int blob_upload_open(struct blobs *b, struct span id,
		     struct blob_upload **upload)
{
	char name[BLOB_ID_SIZE];

	if (!id_is_ours(id) || span_copy(name, sizeof(name), id) < 0)
		return -ENOENT;
	return upload_take(b, name, 0, upload);
}

const char *blob_upload_id(const struct blob_upload *u)
{
	return u->id;
}

uint64_t blob_upload_size(const struct blob_upload *u)
{
	return u->size;
}

int blob_upload_write(struct blob_upload *u, struct span bytes)
{
	size_t done = 0;

	if (u->size + bytes.size > u->promised) {
		int err = blobs_room(u->blobs, bytes.size + ROOM_STEP / 16);

		if (err < 0)
			return err;
		u->promised = u->size + bytes.size + ROOM_STEP / 16;
	}
	while (done < bytes.size) {
		ssize_t n = pwrite(u->fd, bytes.data + done, bytes.size - done,
				   (off_t)(u->size + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			int err = -errno;

			if (ftruncate(u->fd, (off_t)u->size) < 0)
				log_error(u->id, "%s", strerror(errno));
			return err;
		}
		done += (size_t)n;
	}
	u->size += bytes.size;
	/* The disk starts now, so that the sync at the end has little left. */
	if (u->size - u->synced >= ROOM_STEP) {
		sync_file_range(u->fd, (off_t)u->synced,
				(off_t)(u->size - u->synced),
				SYNC_FILE_RANGE_WRITE);
		u->synced = u->size;
	}
	return 0;
}

int blob_upload_rewind(struct blob_upload *u)
{
	if (ftruncate(u->fd, 0) < 0)
		return -errno;
	u->size = u->synced = u->promised = 0;
	return 0;
}

int blob_upload_reader(const struct blob_upload *u)
{
	int fd = openat(u->blobs->uploads_fd, u->id,
			O_RDONLY | O_NOFOLLOW | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

void blob_upload_close(struct blob_upload *u)
{
	u->blobs->n_uploads--;
	fd_close(&u->fd);
	free(u);
}

void blob_upload_drop(struct blob_upload *u)
{
	unlinkat(u->blobs->uploads_fd, u->id, 0);
	blob_upload_close(u);
}

/* ---- finishing ---- */

/* In the child. Descriptors: 3 the upload, 4 the folder of uploads, 5 that of
 * the blob. Returns the exit status. */
enum outcome { KEPT, OTHER_DIGEST, NO_SPACE, BROKEN };

static enum outcome child_errno(void)
{
	return errno == ENOSPC || errno == EDQUOT ? NO_SPACE : BROKEN;
}

static enum outcome child_finish(const struct blob_upload *u)
{
	char path[BLOB_PATH_SIZE];
	struct digest digest;
	uint64_t size;

	if (lseek(3, 0, SEEK_SET) < 0 || digest_of_fd(3, &digest, &size) < 0)
		return BROKEN;
	if (!digest_equal(&digest, &u->digest))
		return OTHER_DIGEST;
	if (fdatasync(3) < 0)
		return child_errno();
	blob_path(&u->digest, path);
	if (renameat(4, u->id, 5, path + 3) < 0 || fsync(5) < 0)
		return child_errno();
	return KEPT;
}

/* Moves the three descriptors down and closes all others but standard error;
 * none of the three is at its place, since the loop took 3 and 4 long ago. */
static enum outcome child_run(struct blob_upload *u, int folder)
{
	const int from[] = { u->fd, u->blobs->uploads_fd, folder };
	int high[3];

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (int i = 0; i < 3; i++) {
		high[i] = fcntl(from[i], F_DUPFD, 16);
		if (high[i] < 0)
			return BROKEN;
	}
	for (int i = 0; i < 3; i++)
		if (dup2(high[i], 3 + i) < 0)
			return BROKEN;
	syscall(SYS_close_range, 6, ~0U, 0);
	return child_finish(u);
}

static void next_start(struct blobs *b);

/* Takes u off the list, starts the next, and tells who waits. */
static void finish_end(struct blob_upload *u, int error)
{
	struct blobs *b = u->blobs;
	struct blob_upload **p = &b->finishing;
	void (*done)(void *, int) = u->done;
	void *user = u->user;

	while (*p != u)
		p = &(*p)->next;
	*p = u->next;
	if (error == -EBADMSG)
		blob_upload_drop(u);
	else
		blob_upload_close(u);
	next_start(b);
	if (done)
		done(user, error);
}

static int outcome_error(const siginfo_t *info)
{
	if (info->si_code != CLD_EXITED)
		return -EIO;
	switch ((enum outcome)info->si_status) {
	case KEPT:
		return 0;
	case OTHER_DIGEST:
		return -EBADMSG;
	case NO_SPACE:
		return -ENOSPC;
	case BROKEN:
		break;
	}
	return -EIO;
}

static void child_ready(struct watch *w, uint32_t events)
{
	struct blob_upload *u = container_of(w, struct blob_upload, child);
	siginfo_t info = { 0 };
	int fd = w->fd;

	if (waitid(P_PID, (id_t)u->pid, &info, WEXITED | WNOHANG) == 0 &&
	    info.si_pid == 0)
		return;
	watch_del(u->blobs->loop, w);
	close(fd);
	u->blobs->n_children--;
	u->pid = 0;
	finish_end(u, outcome_error(&info));
}

static int child_start(struct blob_upload *u)
{
	autoclose int folder = blob_folder(u->blobs, &u->digest);
	autoclose int fd = -1;
	int err;

	if (folder < 0)
		return folder;
	u->pid = fork();
	if (u->pid == 0)
		_exit(child_run(u, folder));
	if (u->pid < 0) {
		u->pid = 0;
		return -errno;
	}
	fd = (int)syscall(SYS_pidfd_open, u->pid, 0);
	err = fd < 0 ? -errno
		     : watch_add(u->blobs->loop, &u->child, fd, EPOLLIN);
	if (err < 0) {
		kill(u->pid, SIGKILL);
		waitpid(u->pid, NULL, 0);
		u->pid = 0;
		return err;
	}
	u->blobs->n_children++;
	fd_take(&fd);
	return 0;
}

static void next_start(struct blobs *b)
{
	struct blob_upload *u = b->finishing;

	while (u && b->n_children < CHILDREN_MAX) {
		struct blob_upload *next = u->next;
		int err = u->pid ? 0 : child_start(u);

		if (err < 0) {
			log_error(u->id, "cannot finish: %s", strerror(-err));
			finish_end(u, err);
			return;
		}
		u = next;
	}
}

void blob_upload_finish(struct blob_upload *u, const struct digest *digest,
			void (*done)(void *user, int error), void *user)
{
	struct blob_upload **p = &u->blobs->finishing;

	u->digest = *digest;
	u->done = done;
	u->user = user;
	u->child.ready = child_ready;
	while (*p)
		p = &(*p)->next;
	*p = u;
	u->next = NULL;
	next_start(u->blobs);
}

void blob_upload_forget(struct blobs *b, const void *user)
{
	for (struct blob_upload *u = b->finishing; u; u = u->next)
		if (u->user == user)
			u->done = NULL;
}

void blob_finish_cancel(struct blobs *b)
{
	while (b->finishing) {
		struct blob_upload *u = b->finishing;

		b->finishing = u->next;
		if (u->pid) {
			int fd = u->child.fd;

			watch_del(b->loop, &u->child);
			close(fd);
			kill(u->pid, SIGKILL);
			waitpid(u->pid, NULL, 0);
		}
		blob_upload_close(u);
	}
}
