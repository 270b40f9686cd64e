/* init's partition table: what sfdisk wrote is read, what we write sfdisk
 * accepts, and a cut at any moment of a change leaves one valid copy. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "init/gpt.h"
#include "tap.h"

enum { SECTOR = 512, MIB = 1 << 20, SMALL_MB = 64, LARGE_MB = 96 };

static char path[] = "/tmp/zooid-gpt-XXXXXX";
static const uint8_t guid[16] = "0123456789abcde";
static struct gpt gpt;

/* Output of a shell command on the image, cut at size - 1. */
static int shell(const char *command, char *out, size_t size)
{
	char line[512];
	size_t n;
	FILE *f;

	snprintf(line, sizeof(line), command, path);
	f = popen(line, "r");
	n = f ? fread(out, 1, size - 1, f) : 0;
	out[n] = '\0';
	return f ? pclose(f) : -1;
}

static int medium_make(void)
{
	char out[4096], command[256];

	snprintf(command, sizeof(command),
		 "truncate -s 0 %%s && truncate -s %dM %s && "
		 "printf 'label: gpt\\nstart=1MiB, size=8MiB, name=ZOOID\\n' | "
		 "sfdisk -q %s 2>&1",
		 SMALL_MB, path, path);
	return shell(command, out, sizeof(out));
}

/* The same again without sfdisk: its medium, kept. */
static void medium_reset(int fd)
{
	static char kept[2][GPT_ENTRIES_BYTES + 4 * SECTOR];
	static bool have;
	off_t tail = (off_t)SMALL_MB * MIB - (off_t)sizeof(kept[1]);

	if (!have) {
		medium_make();
		have = pread(fd, kept[0], sizeof(kept[0]), 0) > 0 &&
		       pread(fd, kept[1], sizeof(kept[1]), tail) > 0;
		return;
	}
	if (ftruncate(fd, 0) < 0 || ftruncate(fd, (off_t)SMALL_MB * MIB) < 0 ||
	    pwrite(fd, kept[0], sizeof(kept[0]), 0) < 0 ||
	    pwrite(fd, kept[1], sizeof(kept[1]), tail) < 0)
		abort();
}

static int load(int fd)
{
	struct stat st;

	fstat(fd, &st);
	return gpt_load(fd, SECTOR, (uint64_t)st.st_size / SECTOR, &gpt);
}

static bool sfdisk_is_content(void)
{
	char out[4096];

	return shell("sfdisk --verify %s 2>&1", out, sizeof(out)) == 0 &&
	       strstr(out, "No errors detected");
}

static void add_test(int fd)
{
	char out[4096];
	int index;

	ok(load(fd) == 0 && gpt.primary_ok && gpt.backup_ok,
	   "what sfdisk wrote is read");
	ok(gpt_find(&gpt, "ZOOID") == 0, "a partition is found by its name");
	ok(gpt_find(&gpt, "ZOOI") == -ENOENT &&
		   gpt_find(&gpt, "ZOOID-DATA") == -ENOENT,
	   "a part of a name is another name");
	index = gpt_add(&gpt, "ZOOID-DATA", guid, 16 * MIB);
	ok(index == 1 && gpt_commit(fd, &gpt) == 0, "a partition is added");
	ok(sfdisk_is_content(), "sfdisk finds no errors");
	shell("sfdisk -d %s", out, sizeof(out));
	ok(strstr(out, "name=\"ZOOID-DATA\"") &&
		   strstr(out, "0FC63DAF-8483-4772-8E79-3D69D8477DE4") &&
		   strstr(out, "start=       18432"),
	   "sfdisk sees name, type and start");
	gpt_attribute_set(&gpt, 1, GPT_MADE);
	ok(gpt_commit(fd, &gpt) == 0 && load(fd) == 0 &&
		   gpt_part(&gpt, 1).attributes == GPT_MADE,
	   "the mark is kept");
}

static void grow_test(int fd)
{
	char out[4096];

	ok(!gpt_grow(&gpt, 1), "nothing to grow into");
	if (ftruncate(fd, (off_t)LARGE_MB * MIB) < 0)
		return;
	ok(load(fd) == 0 && gpt.primary_ok && gpt_needs_repair(&gpt),
	   "on a grown medium the backup is missed");
	ok(!gpt_grow(&gpt, 0), "only the last partition grows");
	ok(gpt_grow(&gpt, 1) && gpt_commit(fd, &gpt) == 0, "it grows");
	ok(sfdisk_is_content(), "sfdisk finds no errors");
	shell("sfdisk -d %s", out, sizeof(out));
	ok(strstr(out, "size=      176128"), "up to the last whole MiB");
}

static void refusals_test(int fd)
{
	uint8_t zeros[4 * SECTOR] = { 0 };
	uint64_t n = (uint64_t)SMALL_MB * MIB / SECTOR;

	medium_reset(fd);
	load(fd);
	ok(gpt_add(&gpt, "ZOOID-DATA", guid, (uint64_t)60 * MIB) == -ENOSPC,
	   "no room is said");
	ok(pwrite(fd, zeros, sizeof(zeros), 0) > 0 && load(fd) == 0 &&
		   !gpt.primary_ok && gpt_find(&gpt, "ZOOID") == 0,
	   "the backup is enough");
	ok(gpt_commit(fd, &gpt) == 0 && load(fd) == 0 &&
		   !gpt_needs_repair(&gpt),
	   "and repairs the primary");
	ok(pwrite(fd, zeros, SECTOR, SECTOR) > 0 &&
		   pwrite(fd, zeros, SECTOR, (off_t)(n - 1) * SECTOR) > 0 &&
		   load(fd) == -ENODATA,
	   "no copy, no table");
	ok(gpt_load(fd, 300, n, &gpt) == -ENOTSUP, "odd sectors are refused");
}

static uint64_t random_state = 1;

static uint32_t random_next(void)
{
	random_state = random_state * 6364136223846793005u +
		       1442695040888963407u;
	return (uint32_t)(random_state >> 33);
}

/* The writes before `cut` are on the medium; of the one in flight any subset
 * of its sectors is. */
static void write_torn(int fd, const struct gpt_plan *plan, int cut, int kind)
{
	for (int i = 0; i <= cut && i < plan->n; i++) {
		const struct gpt_write *w = &plan->write[i];
		size_t n = w->size / SECTOR;

		for (size_t s = 0; s < n; s++) {
			bool there = i < cut ||
				     (kind == 0	  ? s < n / 2
				      : kind == 1 ? s >= n / 2
						  : random_next() & 1);

			if (there &&
			    pwrite(fd, (const char *)w->data + s * SECTOR,
				   SECTOR, (off_t)(w->offset + s * SECTOR)) < 0)
				return;
		}
	}
}

enum change { ADD, MARK, GROW, N_CHANGES };

static bool change(int fd, enum change what)
{
	switch (what) {
	case ADD:
		return gpt_add(&gpt, "ZOOID-DATA", guid, MIB) >= 0;
	case MARK:
		gpt_attribute_set(&gpt, 1, GPT_MADE);
		return true;
	case GROW:
	case N_CHANGES:
		break;
	}
	return ftruncate(fd, (off_t)LARGE_MB * MIB) == 0 && load(fd) == 0 &&
	       gpt_grow(&gpt, 1);
}

/* One change, cut; then the next boot: it finds a table, old or new, with
 * ZOOID as it was, and finishes the work. */
static bool cut_and_go_on(int fd, enum change what, int cut, int kind)
{
	static struct gpt_plan plan;
	uint64_t first;

	medium_reset(fd);
	load(fd);
	for (int before = ADD; before < (int)what && before < MARK + 1;
	     before++)
		if (!change(fd, before) || gpt_commit(fd, &gpt) < 0)
			return false;
	if (load(fd) < 0 || !change(fd, what))
		return false;
	first = gpt_part(&gpt, 0).first;
	gpt_plan(&gpt, &plan);
	write_torn(fd, &plan, cut, kind);
	if (load(fd) < 0 || gpt_find(&gpt, "ZOOID") != 0 ||
	    gpt_part(&gpt, 0).first != first)
		return false;
	if (gpt_find(&gpt, "ZOOID-DATA") < 0 &&
	    (what != ADD || !change(fd, ADD)))
		return false;
	gpt_grow(&gpt, 1);
	/* sfdisk is slow to start. */
	return gpt_commit(fd, &gpt) == 0 && load(fd) == 0 &&
	       !gpt_needs_repair(&gpt) && (kind != 2 || sfdisk_is_content());
}

static void cuts_test(int fd)
{
	static const char *const names[] = { "add", "mark", "grow" };

	for (int what = ADD; what < N_CHANGES; what++)
		for (int cut = 0; cut < GPT_WRITES_MAX; cut++) {
			bool well = true;

			for (int kind = 0; kind < 8; kind++)
				well = well &&
				       cut_and_go_on(fd, what, cut, kind);
			ok(well, "%s: cut in write %d", names[what], cut);
		}
}

/* The worst case: the power goes again while the damage is being repaired. */
static void cut_in_repair_test(int fd)
{
	static struct gpt_plan plan;
	uint8_t zeros[SECTOR] = { 0 };
	bool well = true;

	for (int cut = 0; cut < GPT_WRITES_MAX; cut++) {
		medium_reset(fd);
		if (pwrite(fd, zeros, SECTOR, SECTOR) < 0)
			break;
		load(fd);
		gpt_add(&gpt, "ZOOID-DATA", guid, MIB);
		gpt_plan(&gpt, &plan);
		write_torn(fd, &plan, cut, 2);
		well = well && load(fd) == 0 && gpt_find(&gpt, "ZOOID") == 0;
	}
	ok(well, "primary lost: cut in any write of the repair");
}

int main(void)
{
	int fd = mkstemp(path);

	if (fd < 0)
		return 1;
	ok(medium_make() == 0, "sfdisk makes a medium");
	add_test(fd);
	grow_test(fd);
	refusals_test(fd);
	cuts_test(fd);
	cut_in_repair_test(fd);
	unlink(path);
	return tap_done();
}
