/* zrun events: what a container uses, and when memory ran out, one JSON object
 * a line in the form that runc gave it. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <yyjson.h>

#include "base/fd.h"
#include "base/path.h"
#include "base/span.h"
#include "cgroup_stat.h"
#include "cli.h"
#include "json_put.h"
#include "option.h"

#define MICROSECOND_NS 1000
#define INTERVAL_MS    5000

struct report {
	yyjson_mut_doc *doc;
	const struct cgroup *cg;
};

/* A number that the kernel does not count here is left out. */
static void put(const struct report *r, yyjson_mut_val *to, const char *name,
		int64_t value)
{
	if (value == CGROUP_NUMBER_MAX)
		json_put_number(r->doc, to, name, UINT64_MAX);
	else if (value >= 0)
		json_put_number(r->doc, to, name, (uint64_t)value);
}

static yyjson_mut_val *add(const struct report *r, yyjson_mut_val *to,
			   const char *name)
{
	return json_put_object(r->doc, to, name);
}

static int64_t cpu_ns(const struct report *r, const char *key)
{
	int64_t usec = cgroup_key(r->cg, "cpu.stat", key);

	return usec < 0 ? usec : usec * MICROSECOND_NS;
}

/* How long processes stalled for want of it, where the kernel tells. */
static void put_pressure(const struct report *r, yyjson_mut_val *to,
			 const char *file)
{
	static const char *const lines[] = { "some", "full" };
	struct cgroup_pressure p[2];
	yyjson_mut_val *psi = NULL;

	for (size_t i = 0; i < 2; i++) {
		if (cgroup_pressure(r->cg, file, lines[i], &p[i]) < 0)
			continue;
		if (!psi)
			psi = add(r, to, "psi");
		yyjson_mut_val *one = add(r, psi, lines[i]);

		/* The kernel's decimals are JSON's. */
		json_put_decimal(r->doc, one, "avg10", p[i].avg10);
		json_put_decimal(r->doc, one, "avg60", p[i].avg60);
		json_put_decimal(r->doc, one, "avg300", p[i].avg300);
		json_put_number(r->doc, one, "total", p[i].total_us);
	}
}

static void put_cpu(const struct report *r, yyjson_mut_val *data)
{
	yyjson_mut_val *cpu = add(r, data, "cpu");
	yyjson_mut_val *usage = add(r, cpu, "usage");
	yyjson_mut_val *throttling = add(r, cpu, "throttling");

	put(r, usage, "total", cpu_ns(r, "usage_usec"));
	put(r, usage, "kernel", cpu_ns(r, "system_usec"));
	put(r, usage, "user", cpu_ns(r, "user_usec"));
	put(r, throttling, "periods",
	    cgroup_key(r->cg, "cpu.stat", "nr_periods"));
	put(r, throttling, "throttledPeriods",
	    cgroup_key(r->cg, "cpu.stat", "nr_throttled"));
	put(r, throttling, "throttledTime", cpu_ns(r, "throttled_usec"));
	put_pressure(r, cpu, "cpu.pressure");
}

static void put_memory_raw(const struct report *r, yyjson_mut_val *memory)
{
	yyjson_mut_val *raw = add(r, memory, "raw");
	autofree char *text = NULL;
	size_t size;

	if (file_read(r->cg->dir, "memory.stat", 64 << 10, &text, &size) < 0)
		return;
	for (char *save, *line = strtok_r(text, "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save)) {
		char *space = strchr(line, ' ');

		if (!space)
			continue;
		*space = '\0';
		yyjson_mut_obj_add(
			raw, yyjson_mut_strcpy(r->doc, line),
			yyjson_mut_uint(r->doc, strtoull(space + 1, NULL, 10)));
	}
}

static void put_memory(const struct report *r, yyjson_mut_val *data)
{
	yyjson_mut_val *memory = add(r, data, "memory");
	yyjson_mut_val *usage = add(r, memory, "usage");
	yyjson_mut_val *swap = add(r, memory, "swap");

	put(r, memory, "cache", cgroup_key(r->cg, "memory.stat", "file"));
	put(r, usage, "usage", cgroup_number(r->cg, "memory.current"));
	put(r, usage, "limit", cgroup_number(r->cg, "memory.max"));
	put(r, usage, "max", cgroup_number(r->cg, "memory.peak"));
	put(r, usage, "failcnt", cgroup_key(r->cg, "memory.events", "max"));
	put(r, swap, "usage", cgroup_number(r->cg, "memory.swap.current"));
	put(r, swap, "limit", cgroup_number(r->cg, "memory.swap.max"));
	put_memory_raw(r, memory);
	put_pressure(r, memory, "memory.pressure");
}

/* A line is "8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0". */
static void put_io_line(const struct report *r, char *line,
			yyjson_mut_val *bytes, yyjson_mut_val *requests)
{
	static const struct {
		const char *key, *op;
		bool counts_bytes;
	} fields[] = { { "rbytes=", "Read", true },
		       { "wbytes=", "Write", true },
		       { "rios=", "Read", false },
		       { "wios=", "Write", false } };
	struct span rest = span_of(line), token;
	uint64_t major, minor;

	if (!span_cut(&rest, ':', &token) ||
	    span_u64(token, UINT32_MAX, &major) < 0 ||
	    !span_cut(&rest, ' ', &token) ||
	    span_u64(token, UINT32_MAX, &minor) < 0)
		return;
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		char *at = strstr(line, fields[i].key);
		yyjson_mut_val *entry = yyjson_mut_arr_add_obj(
			r->doc, fields[i].counts_bytes ? bytes : requests);

		json_put_number(r->doc, entry, "major", major);
		json_put_number(r->doc, entry, "minor", minor);
		json_put_text(r->doc, entry, "op", fields[i].op);
		json_put_number(
			r->doc, entry, "value",
			at ? strtoull(at + strlen(fields[i].key), NULL, 10)
			   : 0);
	}
}

static void put_io(const struct report *r, yyjson_mut_val *data)
{
	yyjson_mut_val *io = add(r, data, "blkio");
	autofree char *text = NULL;
	size_t size;

	put_pressure(r, io, "io.pressure");
	if (file_read(r->cg->dir, "io.stat", 64 << 10, &text, &size) < 0)
		return;
	yyjson_mut_val *bytes = json_put_array(r->doc, io,
					       "ioServiceBytesRecursive");
	yyjson_mut_val *requests = json_put_array(r->doc, io,
						  "ioServicedRecursive");

	for (char *save, *line = strtok_r(text, "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save))
		put_io_line(r, line, bytes, requests);
}

/* Of each size of page: the files are hugetlb.2MB.current and so on. */
static void put_hugetlb(const struct report *r, yyjson_mut_val *data)
{
	yyjson_mut_val *sizes = add(r, data, "hugetlb");
	DIR *list = path_list(r->cg->dir, ".");

	for (struct dirent *e; list && (e = readdir(list));) {
		struct span rest = span_of(e->d_name), controller, size;
		char file[64];

		if (!span_cut(&rest, '.', &controller) ||
		    !span_is(controller, "hugetlb") ||
		    !span_cut(&rest, '.', &size) || !span_is(rest, "current"))
			continue;
		yyjson_mut_val *one = yyjson_mut_obj(r->doc);

		put(r, one, "usage", cgroup_number(r->cg, e->d_name));
		snprintf(file, sizeof(file), "hugetlb.%.*s.events",
			 (int)size.size, size.data);
		put(r, one, "failcnt", cgroup_key(r->cg, file, "max"));
		yyjson_mut_obj_add(
			sizes, yyjson_mut_strncpy(r->doc, size.data, size.size),
			one);
	}
	if (list)
		closedir(list);
}

static void print_event(const struct container *c, const char *type)
{
	struct report r = { yyjson_mut_doc_new(NULL), &c->cgroup };
	yyjson_mut_val *top = yyjson_mut_obj(r.doc);

	yyjson_mut_doc_set_root(r.doc, top);
	json_put_text(r.doc, top, "type", type);
	json_put_text(r.doc, top, "id", c->state.id);
	if (strcmp(type, "stats") == 0) {
		yyjson_mut_val *data = add(&r, top, "data");

		put_cpu(&r, data);
		put_memory(&r, data);
		yyjson_mut_val *pids = add(&r, data, "pids");

		put(&r, pids, "current", cgroup_number(r.cg, "pids.current"));
		put(&r, pids, "limit", cgroup_number(r.cg, "pids.max"));
		put_io(&r, data);
		put_hugetlb(&r, data);
	}
	autofree char *text =
		yyjson_mut_write(r.doc, YYJSON_WRITE_NEWLINE_AT_END, NULL);

	if (text)
		fputs(text, stdout);
	fflush(stdout);
	yyjson_mut_doc_free(r.doc);
}

static int timer_open(uint64_t interval_ms)
{
	struct timespec each = { .tv_sec = (time_t)(interval_ms / 1000),
				 .tv_nsec = (long)(interval_ms % 1000) *
					    1000000 };
	struct itimerspec spec = { each, each };
	int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);

	if (fd >= 0)
		timerfd_settime(fd, 0, &spec, NULL);
	return fd < 0 ? -errno : fd;
}

/* Reading through the polled descriptor is what ends its event. */
static int64_t oom_kills(int memory_events)
{
	char text[512];
	ssize_t n = pread(memory_events, text, sizeof(text) - 1, 0);

	if (n < 0)
		return 0;
	text[n] = '\0';
	char *at = strstr(text, "oom_kill ");

	return at ? strtoll(at + strlen("oom_kill "), NULL, 10) : 0;
}

/* Until the container ends or nobody reads any more. */
static int follow(const struct container *c, uint64_t interval_ms)
{
	autoclose int pidfd = state_pidfd(&c->state);
	autoclose int timer = timer_open(interval_ms);
	autoclose int memory = openat(c->cgroup.dir, "memory.events",
				      O_RDONLY | O_CLOEXEC);
	struct pollfd p[] = { { .fd = pidfd, .events = POLLIN },
			      { .fd = timer, .events = POLLIN },
			      { .fd = memory, .events = POLLPRI },
			      { .fd = 1 } };
	int64_t killed = oom_kills(memory);
	uint64_t ticks;

	if (timer < 0)
		return timer;
	while (!p[0].revents && !p[3].revents && !ferror(stdout)) {
		if (poll(p, 4, -1) < 0 && errno != EINTR)
			return -errno;
		if (p[1].revents &&
		    read(timer, &ticks, sizeof(ticks)) == sizeof(ticks))
			print_event(c, "stats");
		/* The end may come together with its cause. */
		bool changed = p[2].revents || p[0].revents;
		int64_t now = changed ? oom_kills(memory) : killed;

		if (now > killed)
			print_event(c, "oom");
		killed = now;
	}
	return 0;
}

/* "5s", "100ms", "1m", "2h", as runc takes it. */
static int read_interval(const char *text, uint64_t *interval_ms)
{
	static const struct {
		const char *name;
		uint64_t ms;
	} units[] = {
		{ "ms", 1 }, { "s", 1000 }, { "m", 60000 }, { "h", 3600000 }
	};
	size_t digits = strspn(text, "0123456789");
	uint64_t n;

	if (span_u64((struct span){ text, digits }, 1000000, &n) < 0)
		return -EINVAL;
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		if (strcmp(text + digits, units[i].name) != 0)
			continue;
		*interval_ms = n * units[i].ms;
		return n > 0 ? 0 : -EINVAL;
	}
	return -EINVAL;
}

static int events(const struct container *c, bool once, uint64_t interval_ms)
{
	enum status status = state_status(c->dir, &c->state);
	char text[100];

	if (status == STATUS_STOPPED || status == STATUS_CREATING) {
		snprintf(text, sizeof(text), "is %s: there is nothing to count",
			 status_name(status));
		cli_error(text);
		return -EINVAL;
	}
	if (c->cgroup.dir < 0) {
		cli_error("has no cgroup that counts");
		return -EINVAL;
	}
	if (!once)
		return follow(c, interval_ms);
	print_event(c, "stats");
	return 0;
}

int command_events(int argc, char **argv)
{
	static const struct option options[] = {
		{ "stats", no_argument, NULL, 's' },
		{ "interval", required_argument, NULL, 'i' },
		{ NULL, 0, NULL, 0 },
	};
	uint64_t interval_ms = INTERVAL_MS;
	struct container c;
	bool once = false;
	int option;

	while ((option = option_next(argc, argv, "", options, NULL)) >= 0) {
		if (option == '?')
			return 1;
		if (option == 's')
			once = true;
		else if (read_interval(optarg, &interval_ms) < 0) {
			cli_error("--interval: want a time such as 5s");
			return 1;
		}
	}
	if (cli_operand(argc, argv) < 0 || container_open(&c, argv[optind]) < 0)
		return 1;
	int r = events(&c, once, interval_ms);

	container_close(&c);
	return r < 0;
}
