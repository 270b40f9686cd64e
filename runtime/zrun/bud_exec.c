/* The last step of a bud, which may take it hours: it waits to be told to go,
 * and becomes the program.
 *
 * execve frees the memory of who calls it while the program waits, and what a
 * bud has is much: what serve had when it forked the nursery, and what was read
 * and planned. So all of it is given back before, but one small mapping with
 * the program's name, words and environment. From then on there is no data
 * segment and so no libc: wait_and_exec() calls nothing. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/fd.h"
#include "child.h"
#include "raw_call.h"

enum { MAPS_SIZE = 8 << 10, RANGES_MAX = 64 };

struct range {
	uintptr_t start, end;
};

struct lean {
	int channel;
	struct child_message message;
	struct range code, stack;
	uintptr_t page;
	char **args, **env;
	char program[]; /* then all the rest */
};

static bool holds(const struct range *r, const void *p)
{
	return r->start <= (uintptr_t)p && (uintptr_t)p < r->end;
}

static size_t list_size(const struct text_list *list)
{
	size_t size = (list->n + 1) * sizeof(char *);

	for (size_t i = 0; i < list->n; i++)
		size += strlen(list->item[i]) + 1;
	return size;
}

/* Copies list to the place at *at, which is aligned for it. */
static char **list_put(const struct text_list *list, char **at)
{
	size_t n = list->n;
	char **copy = (char **)(uintptr_t)*at;

	*at += (n + 1) * sizeof(char *);
	for (size_t i = 0; i < n; i++) {
		copy[i] = *at;
		*at = stpcpy(*at, list->item[i]) + 1;
	}
	copy[n] = NULL;
	return copy;
}

static size_t aligned(size_t size)
{
	return (size + sizeof(char *) - 1) & ~(sizeof(char *) - 1);
}

static struct lean *lean_make(const struct child *c)
{
	const struct runtime_process *process = c->process;
	size_t size = aligned(sizeof(struct lean) + strlen(c->program) + 1) +
		      aligned(list_size(&process->args)) +
		      list_size(&process->env);
	struct lean *lean = mmap(NULL, size, PROT_READ | PROT_WRITE,
				 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (lean == MAP_FAILED)
		return NULL;
	lean->channel = c->channel;
	lean->page = (uintptr_t)getpagesize();
	char *at = stpcpy(lean->program, c->program) + 1;

	at = (char *)lean + aligned((size_t)(at - (char *)lean));
	lean->args = list_put(&process->args, &at);
	at = (char *)lean + aligned((size_t)(at - (char *)lean));
	lean->env = list_put(&process->env, &at);
	return lean;
}

static inline void say(struct lean *lean, uint32_t what, long error)
{
	lean->message.what = what;
	lean->message.error = (int32_t)error;
	raw_call(SYS_write, lean->channel, (long)(uintptr_t)&lean->message,
		 sizeof(lean->message));
}

static inline void close_all(unsigned from, unsigned to)
{
	raw_call(SYS_close_range, from, to, 0);
}

/* What is needed of it comes back by itself. */
static inline void discard(uintptr_t start, uintptr_t end)
{
	raw_call(SYS_madvise, (long)start, (long)(end - start), MADV_DONTNEED);
}

/* The canary of the stack goes with all the rest. */
__attribute__((no_stack_protector, noinline)) _Noreturn static void
wait_and_exec(struct lean *lean, const struct range *ranges, size_t n)
{
	unsigned channel = (unsigned)lean->channel;
	char answer;

	for (size_t i = 0; i < n; i++)
		raw_call(SYS_munmap, (long)ranges[i].start,
			 (long)(ranges[i].end - ranges[i].start), 0);
	if (channel > 3)
		close_all(3, channel - 1);
	close_all(channel + 1, ~0u);
	/* Where it was deeper. */
	discard(lean->stack.start,
		((uintptr_t)&answer & ~(lean->page - 1)) - lean->page);
	discard(lean->code.start, lean->code.end);
	say(lean, CHILD_READY, 0);
	if (raw_call(SYS_read, (long)channel, (long)(uintptr_t)&answer, 1) == 1)
		say(lean, CHILD_FAILED,
		    raw_call(SYS_execve, (long)(uintptr_t)lean->program,
			     (long)(uintptr_t)lean->args,
			     (long)(uintptr_t)lean->env));
	for (;;)
		raw_call(SYS_exit_group, 1, 0, 0);
}

/* Those that nothing of what follows needs: its code, its stack and `lean` are
 * left. */
static size_t find_ranges(int host_proc, struct lean *lean,
			  struct range ranges[RANGES_MAX])
{
	char text[MAPS_SIZE], *line = text;
	autoclose int fd = openat(host_proc, "self/maps", O_RDONLY | O_CLOEXEC);
	ssize_t size = fd < 0 ? 0 : fd_read(fd, text, sizeof(text) - 1);
	size_t n = 0;

	text[size > 0 ? size : 0] = '\0';
	/* START-END PERMISSIONS OFFSET DEVICE INODE [PATH] */
	for (char *end; n < RANGES_MAX && (end = strchr(line, '\n'));
	     line = end + 1) {
		struct range *r = &ranges[n];

		*end = '\0';
		r->start = strtoul(line, &line, 16);
		r->end = strtoul(line + 1, &line, 16);
		if (holds(r, text))
			lean->stack = *r;
		else if (holds(r, (const void *)(uintptr_t)wait_and_exec))
			lean->code = *r;
		else if (line[3] != 'x' && !holds(r, lean))
			n++;
	}
	return n;
}

int child_bud_exec(struct child *c, int op)
{
	struct range ranges[RANGES_MAX];
	struct lean *lean = lean_make(c);

	if (!lean)
		return -ENOMEM;
	lean->message.op = op;
	lean->message.code = OP_BUD_EXEC;
	snprintf(lean->message.detail, sizeof(lean->message.detail),
		 "exec %.90s", c->program);
	size_t n = find_ranges(c->host_proc, lean, ranges);

	wait_and_exec(lean, ranges, n);
}
