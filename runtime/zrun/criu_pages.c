/* The files `pages-N.img` of a dump are FIFOs while criu writes them. What
 * comes out is compared with the pages of an older image: runs of pages that
 * lie there too become the same blocks of the disk (FICLONERANGE), all else is
 * written. So every page is what criu wrote, byte for byte, whoever has
 * written to it, moved or mapped it meanwhile; the kernel's own account of that
 * (soft-dirty) would have to be believed, costs each wake a walk through the
 * page tables, and is wrong about memory that was moved or merged.
 *
 * Nothing lies on the disk but changed pages, and nothing is kept in memory but
 * a table of four bytes or eight for each page of the older image. When what is
 * read or written fails, the FIFO closes, and criu's dump fails as it does on a
 * full disk; but the last of it may fail when criu has done its part, so the
 * processes must outlive the dump (--leave-running). */
#define _GNU_SOURCE
#include "criu_pages.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/fd.h"
#include "kernel.h"

enum {
	PAGE = 4096,
	FILES = 16, /* criu makes those beyond as ever */
	CHUNK = 256,
	/* Shorter ones are not worth what the disk must note of them. */
	RUN_MIN = 8,
};

struct file {
	int fd;		/* of the older one, or the FIFO */
	uint32_t first; /* the number of its first page among all */
	uint32_t pages;
};

struct sieve {
	int dir;
	struct file old[FILES], fifo[FILES];
	uint32_t *table, mask; /* numbers of old pages, by what they hold */
	uint8_t chunk[CHUNK][PAGE];
	uint32_t from[CHUNK]; /* which old page is the same; 0: none */
};

bool criu_pages_can_share(int dir)
{
	struct statfs fs;

	return fstatfs(dir, &fs) == 0 && fs.f_type == BTRFS_SUPER_MAGIC;
}

/* NULL: there is no page of that number. */
static const struct file *file_of(const struct sieve *s, uint32_t number)
{
	for (const struct file *f = s->old; f < s->old + FILES; f++)
		if (number - f->first < f->pages)
			return f;
	return NULL;
}

static bool page_is(const struct sieve *s, uint32_t number, const void *page)
{
	const struct file *f = file_of(s, number);
	uint8_t old[PAGE];

	return f &&
	       pread(f->fd, old, PAGE, (off_t)(number - f->first) * PAGE) ==
		       PAGE &&
	       memcmp(old, page, PAGE) == 0;
}

static uint32_t hash(const uint8_t *page)
{
	uint64_t h = 0, word;

	for (size_t i = 0; i < PAGE; i += sizeof(word)) {
		memcpy(&word, page + i, sizeof(word));
		h = (h ^ word) * 0x9e3779b97f4a7c15;
		h ^= h >> 29;
	}
	return (uint32_t)(h >> 32);
}

static void index_file(struct sieve *s, const struct file *f)
{
	uint8_t page[PAGE];

	for (uint32_t n = 0; n < f->pages; n++) {
		if (pread(f->fd, page, PAGE, (off_t)n * PAGE) != PAGE)
			return;
		s->table[hash(page) & s->mask] = f->first + n;
	}
}

static int pages_open(int dir, uint32_t n, const char *end, int flags)
{
	char name[32];

	snprintf(name, sizeof(name), "pages-%u.%s", n + 1, end);
	return openat(dir, name, flags | O_CLOEXEC, 0600);
}

/* 0 is no page, and after each file there is one that is none, where a run of
 * them ends. */
static int open_old(struct sieve *s, int before)
{
	uint32_t next = 1;
	struct stat st;
	int n = 0;

	for (; n < FILES; n++) {
		int fd = pages_open(before, (uint32_t)n, "img", O_RDONLY);

		if (fd < 0 || fstat(fd, &st) < 0)
			break;
		s->old[n] = (struct file){ fd, next,
					   (uint32_t)(st.st_size / PAGE) };
		next += s->old[n].pages + 1;
	}
	for (s->mask = 1; s->mask < next; s->mask *= 2)
		;
	s->table = calloc(s->mask--, sizeof(*s->table));
	for (int i = 0; s->table && i < n; i++)
		index_file(s, &s->old[i]);
	return s->table ? 0 : -ENOMEM;
}

static uint32_t find(const struct sieve *s, uint32_t after, const uint8_t *page)
{
	if (page_is(s, after + 1, page))
		return after + 1;
	uint32_t number = s->table[hash(page) & s->mask];

	return page_is(s, number, page) ? number : 0;
}

static int put_run(const struct sieve *s, int out, uint32_t at, uint32_t n)
{
	const struct file *f = file_of(s, s->from[at]);
	off_t end = lseek(out, 0, SEEK_END);
	struct file_clone_range range = {
		.src_length = (uint64_t)n * PAGE,
		.dest_offset = (uint64_t)end,
	};

	if (f && n >= RUN_MIN) {
		range.src_fd = f->fd;
		range.src_offset = (uint64_t)(s->from[at] - f->first) * PAGE;
		if (ioctl(out, FICLONERANGE, &range) == 0)
			return 0;
	}
	return fd_write_at(out, s->chunk[at], (size_t)n * PAGE, end);
}

static int put_chunk(struct sieve *s, int out, uint32_t pages)
{
	uint32_t n, last = 0;
	int r = 0;

	for (uint32_t i = 0; i < pages; i++)
		last = s->from[i] = find(s, last, s->chunk[i]);
	for (uint32_t i = 0; r == 0 && i < pages; i += n) {
		bool known = s->from[i];

		for (n = 1; i + n < pages &&
			    s->from[i + n] == (known ? s->from[i] + n : 0);)
			n++;
		r = put_run(s, out, i, n);
	}
	return r;
}

/* Until criu closes it, whose other files are not written meanwhile. */
static int take(struct sieve *s, uint32_t n)
{
	autoclose int fifo = fd_take(&s->fifo[n].fd);
	autoclose int out = pages_open(s->dir, n, "new",
				       O_RDWR | O_CREAT | O_EXCL);
	ssize_t got = 1;
	int r = out < 0 || fcntl(fifo, F_SETFL, 0) < 0 ? -errno : 0;

	while (r == 0 && got > 0) {
		size_t size = 0;

		while (size < sizeof(s->chunk) &&
		       (got = read(fifo, (uint8_t *)s->chunk + size,
				   sizeof(s->chunk) - size)) > 0)
			size += (size_t)got;
		r = got < 0 ? -errno : put_chunk(s, out, size / PAGE);
	}
	return r;
}

static int take_all(struct sieve *s, int pidfd)
{
	struct pollfd p[FILES + 1] = { [FILES] = { pidfd, POLLIN, 0 } };
	int r = 0;

	while (r == 0) {
		uint32_t n = 0;

		for (; n < FILES; n++)
			p[n] = (struct pollfd){ s->fifo[n].fd, POLLIN, 0 };
		if (poll(p, FILES + 1, -1) < 0)
			return -errno;
		for (n = 0; n < FILES && !p[n].revents;)
			n++;
		if (n == FILES)
			break;
		r = take(s, n);
	}
	return r;
}

static int make_fifos(struct sieve *s)
{
	char name[32];

	for (uint32_t n = 0; n < FILES; n++) {
		snprintf(name, sizeof(name), "pages-%u.img", n + 1);
		if (mkfifoat(s->dir, name, 0600) < 0)
			return -errno;
		s->fifo[n].fd = pages_open(s->dir, n, "img",
					   O_RDONLY | O_NONBLOCK);
		if (s->fifo[n].fd < 0)
			return -errno;
	}
	return 0;
}

/* What was taken takes the place of its FIFO; where nothing was, or all has
 * failed, there is none any more, so that criu does not wait for its reader. */
static int end_fifos(const struct sieve *s, bool failed)
{
	char from[32], to[32];

	for (uint32_t n = 1; n <= FILES; n++) {
		snprintf(from, sizeof(from), "pages-%u.new", n);
		snprintf(to, sizeof(to), "pages-%u.img", n);
		if ((failed || renameat(s->dir, from, s->dir, to) < 0) &&
		    unlinkat(s->dir, to, 0) < 0)
			return -errno;
	}
	return 0;
}

static void close_all(struct file *file)
{
	for (int n = 0; n < FILES; n++)
		fd_close(&file[n].fd);
}

static int run(struct sieve *s, struct criu_command *command,
	       const struct criu_options *options, struct fault *fault)
{
	pid_t pid = criu_start(command, NULL, NULL, fault);

	if (pid < 0)
		return pid;
	autoclose int pidfd = kernel_pidfd_open(pid);
	int r = pidfd < 0 ? pidfd : take_all(s, pidfd);

	if (r < 0)
		end_fifos(s, true);
	close_all(s->fifo);
	int ended = criu_wait(command, options, pid, fault);

	if (r == 0 && ended == 0)
		r = end_fifos(s, false);
	/* criu tells no more than that it was not read. */
	return r == 0 || ended == -ECANCELED
		       ? ended
		       : fault_set(fault, 0, "its pages: %s", strerror(-r));
}

int criu_pages_dump(struct criu_command *command,
		    const struct criu_options *options, int dir, int before,
		    struct fault *fault)
{
	static struct sieve s;

	s.dir = dir;
	for (int n = 0; n < FILES; n++)
		s.old[n].fd = s.fifo[n].fd = -1;
	int r = open_old(&s, before);

	if (r == 0)
		r = make_fifos(&s);
	r = r < 0 ? fault_set(fault, r, "its pages")
		  : run(&s, command, options, fault);
	close_all(s.fifo);
	close_all(s.old);
	free(s.table);
	return r;
}
