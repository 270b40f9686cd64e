/* Groups of resctrl, in a folder that stands in for the kernel's file system,
 * which takes a processor that has it. So what is tested is which group is
 * found, made, checked, written and removed; not that the kernel makes its
 * files, nor what it answers. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/path.h"
#include "tap.h"
#include "zrun/resctrl.h"
#include "zrun/state.h"

#define ID "box"

static int top, root, state_dir;
static struct fault fault;

/* What the kernel makes in a group. */
static void fill(const char *group, const char *schemata)
{
	static const char *const files[] = { "schemata", "tasks" };
	char path[100];

	mkdirat(root, group, 0755);
	for (int i = 0; i < 2; i++) {
		snprintf(path, sizeof(path), "%s/%s", group, files[i]);
		autoclose int fd = openat(root, path, O_WRONLY | O_CREAT, 0600);

		fd_write(fd, schemata, i ? 0 : strlen(schemata));
	}
}

static void empty(const char *group)
{
	path_remove_tree(root, group);
	mkdirat(root, group, 0755);
}

static bool is_there(int dir, const char *name)
{
	return faccessat(dir, name, F_OK, 0) == 0;
}

static bool holds(const char *name, const char *text)
{
	autofree char *data = NULL;
	size_t size;

	return file_read(root, name, 1000, &data, &size) == 0 &&
	       strcmp(data, text) == 0;
}

static int make(const struct runtime_intel_rdt *rdt)
{
	fault.text[0] = '\0';
	return resctrl_make(root, state_dir, rdt, ID, &fault);
}

static void test_own(void)
{
	const struct runtime_intel_rdt rdt = { .set = true };
	int group = make(&rdt);

	ok(group >= 0 && is_there(root, ID) && is_there(state_dir, "resctrl"),
	   "a group of the container's own (%s)", fault.text);
	fill(ID, "");
	ok(resctrl_enter(group, 4711, &fault) == 0 &&
		   holds(ID "/tasks", "4711"),
	   "its process is in it");
	fd_close(&group);
	group = resctrl_open(root, &rdt, ID, &fault);
	ok(group >= 0, "others find it");
	fd_close(&group);
	empty(ID);
	resctrl_remove(root, state_dir);
	ok(!is_there(root, ID) && !is_there(state_dir, "resctrl"),
	   "it is removed");
}

static void test_unwritten(void)
{
	const struct runtime_intel_rdt rdt = { .set = true,
					       .l3_cache_schema = "L3:0=f" };

	/* The folder makes no `schemata`. */
	ok(make(&rdt) < 0 && strstr(fault.text, "write schemata"),
	   "schemata that cannot be written: %s", fault.text);
	ok(!is_there(root, ID) && !is_there(state_dir, "resctrl"),
	   "leave no group");
}

static void test_written(void)
{
	const struct runtime_intel_rdt both = {
		.set = true,
		.l3_cache_schema = "L3:0=f\nMB:0=10\nL3:1=f",
		.mem_bw_schema = "MB:0=20",
	};
	const char *lines[] = { "L3:0=3", "MB:0=50" };
	const struct runtime_intel_rdt whole = {
		.set = true,
		.l3_cache_schema = "L3:0=1",
		.schemata = { lines, 2 },
	};

	fill(ID, "");
	ok(resctrl_write(root, &both, ID, &fault) == 0 &&
		   holds(ID "/schemata", "L3:0=f\nL3:1=f\nMB:0=20\n"),
	   "both schemas together, without the other's lines");
	empty(ID);
	fill(ID, "");
	ok(resctrl_write(root, &whole, ID, &fault) == 0 &&
		   holds(ID "/schemata", "L3:0=3\nMB:0=50\n"),
	   "schemata in place of both");
	path_remove_tree(root, ID);
}

#define IS "    MB:0= 50;1=100\n    L3:0=00ff;1=0ff0\n"

static const struct {
	const char *name, *l3, *mb;
	bool matches;
} shared[] = {
	{ "nothing asked", NULL, NULL, true },
	{ "the same", "L3:0=ff;1=ff0", "MB:0=50;1=100", true },
	{ "another order, zeroes", "L3:1=0ff0;0=0ff", NULL, true },
	{ "one domain of two", NULL, "MB:1=100", true },
	{ "another cache", "L3:0=ff;1=ff", NULL, false },
	{ "another bandwidth", NULL, "MB:0=60", false },
	{ "a domain that is not there", "L3:2=ff", NULL, false },
	{ "a resource that is not there", "L2:0=ff", NULL, false },
};

static void test_shared(void)
{
	fill("gold", IS);
	for (size_t i = 0; i < sizeof(shared) / sizeof(*shared); i++) {
		const struct runtime_intel_rdt rdt = {
			.set = true,
			.clos_id = "gold",
			.l3_cache_schema = shared[i].l3,
			.mem_bw_schema = shared[i].mb,
		};
		autoclose int group = make(&rdt);

		ok((group >= 0) == shared[i].matches,
		   "a class that is there: %s (%s)", shared[i].name,
		   fault.text);
		ok(holds("gold/schemata", IS) &&
			   !is_there(state_dir, "resctrl"),
		   "is not written, and not ours");
	}
	resctrl_remove(root, state_dir);
	ok(is_there(root, "gold"), "it stays");
}

static void test_missing(void)
{
	const struct runtime_intel_rdt rdt = { .set = true, .clos_id = "none" };

	ok(make(&rdt) < 0 && strstr(fault.text, "closID (none): no such class"),
	   "a class that is not there: %s", fault.text);
	ok(!is_there(root, "none"), "is not made without a schema");
}

/* The folder of the groups is the kernel's too. */
static void test_monitoring(void)
{
	const struct runtime_intel_rdt rdt = { .set = true,
					       .clos_id = "gold",
					       .enable_monitoring = true };

	mkdirat(root, "gold/mon_groups", 0755);
	autoclose int group = make(&rdt);

	ok(group >= 0 && is_there(root, "gold/mon_groups/" ID),
	   "a monitoring group (%s)", fault.text);
	resctrl_remove(root, state_dir);
	ok(!is_there(root, "gold/mon_groups/" ID) && is_there(root, "gold"),
	   "is removed, and not the class");
}

static void test_counters(void)
{
	struct runtime_intel_rdt rdt = { .set = true, .enable_cmt = true };

	ok(make(&rdt) < 0 && strstr(fault.text, "linux.intelRdt.enableCMT"),
	   "no counter of occupancy: %s", fault.text);
	rdt.enable_cmt = false;
	rdt.enable_mbm = true;
	ok(make(&rdt) < 0 && strstr(fault.text, "linux.intelRdt.enableMBM"),
	   "no counter of bandwidth: %s", fault.text);
	path_mkdirs(root, "info/L3_MON", 0755);
	autoclose int fd = openat(root, "info/L3_MON/mon_features",
				  O_WRONLY | O_CREAT, 0600);

	fd_write(fd, "llc_occupancy\nmbm_total_bytes\n", 30);
	rdt.enable_cmt = true;
	autoclose int group = make(&rdt);

	ok(group >= 0, "both are there (%s)", fault.text);
	resctrl_remove(root, state_dir);
}

static void test_reason(void)
{
	const struct runtime_intel_rdt rdt = { .set = true,
					       .l3_cache_schema = "L3:0=5" };
	autoclose int fd = openat(root, "info/last_cmd_status",
				  O_WRONLY | O_CREAT, 0600);

	fd_write(fd, "mask 5 has non-consecutive 1-bits\n", 34);
	ok(make(&rdt) < 0 && strstr(fault.text, "non-consecutive"),
	   "the kernel's own reason: %s", fault.text);
}

int main(void)
{
	char path[] = "/tmp/resctrl.XXXXXX";

	if (!mkdtemp(path))
		return 1;
	top = open(path, O_RDONLY | O_DIRECTORY);
	mkdirat(top, "root", 0755);
	mkdirat(top, "state", 0755);
	root = openat(top, "root", O_RDONLY | O_DIRECTORY);
	state_dir = openat(top, "state", O_RDONLY | O_DIRECTORY);
	test_own();
	test_unwritten();
	test_written();
	test_shared();
	test_missing();
	test_monitoring();
	test_counters();
	test_reason();
	path_remove_tree(AT_FDCWD, path);
	return tap_done();
}
