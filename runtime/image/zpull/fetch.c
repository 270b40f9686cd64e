/* One blob into its layout.
 *
 * The beginning that an earlier attempt left is hashed first, in steps, since
 * other pulls go on meanwhile. A whole blob whose digest is wrong is fetched
 * once more from zero: what was there may have been damaged by a power cut.
 *
 * #syscalls: openat openat2 fstat newfstatat faccessat faccessat2 statx
 * #syscalls: mkdirat unlinkat renameat renameat2 linkat getdents64
 * #syscalls: fchmod pread64 pwrite64 ftruncate fsync fdatasync sync_file_range
 * #syscalls: syncfs fstatfs statfs lseek
 * #syscalls[x86_64]: open stat mkdir rename unlink access
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdarg.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"

#include "layout.h"
#include "pull.h"

enum {
	HASH_STEP_BYTES = 4 << 20,
	READ_BYTES = 64 << 10,
	FRESH_BYTES = 128 << 10,
	/* So much of a blob may be in memory only. Less is not worth writing:
	 * a small image is mostly unpacked and gone before the kernel would. */
	SYNC_STEP_BYTES = 16 << 20,
	PAUSE_MIN_MS = 500,
	PAUSE_MAX_MS = 15000,
	ATTEMPTS_MAX = 5,
	PATIENCE_MS = 10000,
	PROGRESS_BYTES = 64 << 10, /* that renew patience */
};

int retry_pause_ms(struct retry *retry, uint64_t bytes, unsigned after_s)
{
	unsigned pause_ms;

	if (bytes >= PROGRESS_BYTES)
		*retry = (struct retry){ 0 };
	if (retry->attempts == 0)
		retry->since_ms = clock_ms();
	if (++retry->attempts >= ATTEMPTS_MAX ||
	    clock_ms() - retry->since_ms > PATIENCE_MS)
		return -1;
	pause_ms = (unsigned)PAUSE_MIN_MS << (retry->attempts - 1);
	if (after_s > PAUSE_MAX_MS / 1000)
		return -1;
	return (int)(after_s * 1000 > pause_ms ? after_s * 1000 : pause_ms);
}

/* What could not be written stays, and the next call tells it again. */
static int fresh_write(struct fetch *f)
{
	int r = fd_write_at(f->part, f->fresh, f->fresh_bytes,
			    (off_t)(f->part_bytes - f->fresh_bytes));

	if (!r)
		f->fresh_bytes = 0;
	return r;
}

static void sync_step(struct fetch *f)
{
	uint64_t written = f->part_bytes - f->fresh_bytes;

	if (written - f->synced_bytes < SYNC_STEP_BYTES)
		return;
	sync_file_range(f->part, (off_t)f->synced_bytes,
			(off_t)(written - f->synced_bytes),
			SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE |
				SYNC_FILE_RANGE_WAIT_AFTER);
	f->synced_bytes = written;
}

static void fresh_fire(struct timer *t)
{
	struct fetch *f = container_of(t, struct fetch, fresh_timer);

	if (fresh_write(f) == 0)
		sync_step(f);
}

void fetch_stop(struct fetch *f)
{
	if (!f->blob)
		return;
	remote_cancel(&f->get);
	timer_cancel(&f->timer);
	timer_cancel(&f->fresh_timer);
	fresh_write(f);
	free(ptr_take(&f->fresh));
	fd_close(&f->part);
	f->blob = NULL;
	/* Who waited for this blob looks again. */
	for (struct pull *pull = puller.first; pull; pull = pull->sibling)
		for (int i = 0; i < FETCHES_MAX; i++)
			if (pull->fetch[i].blob &&
			    pull->fetch[i].state == FETCH_WAITING)
				timer_set(puller.loop, &pull->fetch[i].timer,
					  0);
}

static void finish(struct fetch *f, int error)
{
	struct pull *pull = f->pull;

	fetch_stop(f);
	pull_fetched(pull, f, error);
}

__attribute__((format(printf, 3, 4))) static void fail(struct fetch *f,
						       int error,
						       const char *fmt, ...)
{
	char digest[DIGEST_TEXT_SIZE];
	va_list ap;
	int n;

	digest_text(&f->blob->digest, digest);
	n = snprintf(f->pull->text, PULL_TEXT_SIZE, "blob %.19s: ", digest);
	va_start(ap, fmt);
	vsnprintf(f->pull->text + n, (size_t)(PULL_TEXT_SIZE - n), fmt, ap);
	va_end(ap);
	finish(f, error);
}

static bool is_fetched_elsewhere(const struct fetch *f)
{
	for (struct pull *pull = puller.first; pull; pull = pull->sibling)
		for (int i = 0; i < FETCHES_MAX; i++) {
			const struct fetch *other = &pull->fetch[i];

			if (other != f && other->blob &&
			    other->state != FETCH_WAITING &&
			    digest_equal(&other->blob->digest,
					 &f->blob->digest))
				return true;
		}
	return false;
}

/* ----------------------------------------------------------- the transfer */

static int begin(struct remote_get *get)
{
	struct fetch *f = container_of(get, struct fetch, get);

	f->part_bytes = f->synced_bytes = get->offset;
	f->fresh_bytes = 0;
	if (!f->fresh)
		f->fresh = malloc(FRESH_BYTES);
	if (!f->fresh)
		return -ENOMEM;
	return ftruncate(f->part, (off_t)get->offset) < 0 ? -errno : 0;
}

/* libcurl hands over a few KB at a time, several times a turn of the loop. */
static int data(struct remote_get *get, const void *bytes, size_t size)
{
	struct fetch *f = container_of(get, struct fetch, get);

	for (const char *from = bytes; size > 0;) {
		size_t room = FRESH_BYTES - f->fresh_bytes;
		size_t n = size < room ? size : room;
		int r = room ? 0 : fresh_write(f);

		if (r)
			return r;
		if (!room)
			continue;
		memcpy(f->fresh + f->fresh_bytes, from, n);
		f->fresh_bytes += n;
		f->part_bytes += n;
		from += n;
		size -= n;
	}
	timer_set(puller.loop, &f->fresh_timer, 0);
	if (f->pull->progress)
		f->pull->progress(f->pull);
	return 0;
}

static void keep(struct fetch *f)
{
	int r = layout_part_keep(f->pull->want.layout, &f->blob->digest);

	if (r)
		fail(f, r, "%s", strerror(-r));
	else
		finish(f, 0);
}

static void damaged(struct fetch *f)
{
	f->get.offset = f->part_bytes = 0;
	if (ftruncate(f->part, 0) < 0 || f->anew) {
		layout_part_drop(f->pull->want.layout, &f->blob->digest);
		finish(f, -EBADMSG);
		return;
	}
	f->anew = true;
	f->state = FETCH_PAUSED;
	timer_set(puller.loop, &f->timer, 0);
}

/* Bytes that no attempt before had: a registry that begins anew each time and
 * never ends brings none. */
static uint64_t progress_bytes(struct fetch *f)
{
	uint64_t bytes = f->get.offset > f->most_bytes
				 ? f->get.offset - f->most_bytes
				 : 0;

	f->most_bytes += bytes;
	return bytes;
}

static void done(struct remote_get *get, int error)
{
	struct fetch *f = container_of(get, struct fetch, get);
	int pause_ms = -1, r = fresh_write(f);

	if (r) {
		fail(f, r, "%s", strerror(-r));
		return;
	}
	if (error == 0) {
		keep(f);
		return;
	}
	text_copy(f->pull->text, PULL_TEXT_SIZE, get->text);
	if (error == -EBADMSG) {
		damaged(f);
		return;
	}
	f->part_bytes = get->offset;
	if (remote_is_transient(error))
		pause_ms = retry_pause_ms(&f->retry, progress_bytes(f),
					  get->retry_after_s);
	if (pause_ms < 0) {
		finish(f, error);
		return;
	}
	f->state = FETCH_PAUSED;
	timer_set(puller.loop, &f->timer, (uint64_t)pause_ms);
}

static void run(struct fetch *f)
{
	int r;

	f->state = FETCH_RUNNING;
	r = remote_start(f->pull->remote, &f->get);
	if (r)
		fail(f, r, "%s", strerror(-r));
}

/* ---------------------------------------------- what is there from before */

static void hashed(struct fetch *f)
{
	struct digest_stream hash = f->get.hash;
	struct digest found;

	if (f->get.offset < f->blob->size) {
		f->most_bytes = f->get.offset;
		run(f);
		return;
	}
	found = digest_end(&hash);
	if (digest_equal(&found, &f->blob->digest))
		keep(f);
	else
		damaged(f);
}

static void hash_step(struct fetch *f)
{
	static char buf[READ_BYTES];
	uint64_t end = f->get.offset + HASH_STEP_BYTES;

	while (f->get.offset < f->part_bytes && f->get.offset < end) {
		ssize_t n = pread(f->part, buf, sizeof(buf),
				  (off_t)f->get.offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			fail(f, -errno, "%s", strerror(errno));
			return;
		}
		if (n == 0)
			break;
		digest_update(&f->get.hash, buf, (size_t)n);
		f->get.offset += (uint64_t)n;
	}
	if (f->get.offset < end)
		hashed(f);
	else
		timer_set(puller.loop, &f->timer, 0);
}

/* Opens the part; -errno, or 0 with part_bytes. */
static int part_open(struct fetch *f)
{
	struct stat st;

	f->part = layout_part_open(f->pull->want.layout, &f->blob->digest);
	if (f->part < 0)
		return f->part;
	if (fstat(f->part, &st) < 0)
		return -errno;
	if ((uint64_t)st.st_size > f->blob->size &&
	    ftruncate(f->part, st.st_size = 0) < 0)
		return -errno;
	f->part_bytes = (uint64_t)st.st_size;
	return 0;
}

static void look(struct fetch *f)
{
	int layout = f->pull->want.layout, r;

	if (!layout_has(layout, f->blob)) {
		f->state = FETCH_WAITING;
		if (is_fetched_elsewhere(f))
			return;
		if (puller.root >= 0)
			layout_adopt(puller.root, layout, f->blob);
	}
	if (layout_has(layout, f->blob)) {
		finish(f, 0);
		return;
	}
	f->state = FETCH_HASHING;
	r = part_open(f);
	if (r) {
		fail(f, r, "%s", strerror(-r));
		return;
	}
	digest_begin(&f->get.hash);
	hash_step(f);
}

static void fire(struct timer *t)
{
	struct fetch *f = container_of(t, struct fetch, timer);

	switch (f->state) {
	case FETCH_WAITING:
		look(f);
		return;
	case FETCH_HASHING:
		hash_step(f);
		return;
	case FETCH_PAUSED:
		run(f);
		return;
	case FETCH_RUNNING:
		return;
	}
}

void fetch_start(struct fetch *f, struct pull *pull,
		 const struct image_descriptor *blob)
{
	*f = (struct fetch){
		.pull = pull,
		.blob = blob,
		.state = FETCH_WAITING,
		.part = -1,
		.get = { .what = REMOTE_BLOB,
			 .digest = blob->digest,
			 .size = blob->size,
			 .begin = begin,
			 .data = data,
			 .done = done },
		.timer.fire = fire,
		.fresh_timer.fire = fresh_fire,
	};
	timer_set(puller.loop, &f->timer, 0);
}
