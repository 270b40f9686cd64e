/* The last step of a bud, which may take it hours: it waits to be told to go,
 * and becomes the program.
 *
 * execve frees the memory of who calls it while the program waits, and what a
 * bud has is much: what serve had when it forked the nursery, and what was read
 * and planned. So all of it is given back before, but one small mapping with
 * the program's name, words and environment. From then on nothing of the data
 * segment holds but libc's thread block; what is called is code, system calls
 * and errno. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "child.h"
#include "kernel.h"

/* The thread block of libc is less on either side of its pointer. */
enum {
	THREAD_SIZE = 512,
	MAPS_SIZE = 8 << 10,
	RANGES_MAX = 64,
	STACK_SIZE = 64 << 10,
};

struct lean {
	size_t size;
	int channel;
	struct child_message message;
	char **args, **env;
	char program[]; /* then all the rest */
};

struct range {
	uintptr_t start, end;
	bool has_file;
};

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
	lean->size = size;
	lean->channel = c->channel;
	char *at = stpcpy(lean->program, c->program) + 1;

	at = (char *)lean + aligned((size_t)(at - (char *)lean));
	lean->args = list_put(&process->args, &at);
	at = (char *)lean + aligned((size_t)(at - (char *)lean));
	lean->env = list_put(&process->env, &at);
	return lean;
}

static bool holds(const struct range *r, const void *p)
{
	return r->start <= (uintptr_t)p && (uintptr_t)p < r->end;
}

/* What it reads from then on is zero, or what the program file has there. */
static void discard(uintptr_t start, uintptr_t end)
{
	uintptr_t page = (uintptr_t)getpagesize();

	start = (start + page - 1) & ~(page - 1);
	end &= ~(page - 1);
	if (start < end)
		madvise((void *)start, end - start, MADV_DONTNEED);
}

/* Nobody's canary may change between a function's beginning and its end. */
#define NO_CANARY __attribute__((no_stack_protector, noinline))

NO_CANARY static void give_back(const struct range *r, const struct lean *lean)
{
	const char *thread = __builtin_thread_pointer();
	static char data;

	if (holds(r, lean) || holds(r, &r))
		return;
	if (holds(r, thread)) {
		discard(r->start, (uintptr_t)thread - THREAD_SIZE);
		discard((uintptr_t)thread + THREAD_SIZE, r->end);
	} else if (holds(r, &data) || r->has_file) {
		discard(r->start, r->end);
	} else {
		munmap((void *)r->start, r->end - r->start);
	}
}

/* The mappings that can be written to. */
static size_t find_ranges(int host_proc, struct range ranges[RANGES_MAX])
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
		r->has_file = strchr(line, '/');
		n += line[2] == 'w';
	}
	return n;
}

NO_CANARY static void shed(int host_proc, const struct lean *lean)
{
	struct range ranges[RANGES_MAX];
	size_t n = find_ranges(host_proc, ranges);

	for (size_t i = 0; i < n; i++)
		give_back(&ranges[i], lean);
}

static void say(struct lean *lean, uint32_t what, int error)
{
	lean->message.what = what;
	lean->message.error = error;
	(void)send(lean->channel, &lean->message, sizeof(lean->message),
		   MSG_NOSIGNAL);
}

NO_CANARY _Noreturn static void wait_and_exec(struct lean *lean)
{
	uintptr_t here = (uintptr_t)__builtin_frame_address(0);
	char answer;
	ssize_t n;

	/* Where the stack was deeper. */
	discard(here - STACK_SIZE, here - (uintptr_t)getpagesize());
	say(lean, CHILD_READY, 0);
	do
		n = recv(lean->channel, &answer, 1, 0);
	while (n < 0 && errno == EINTR);
	if (n != 1)
		_exit(1);
	execve(lean->program, lean->args, lean->env);
	say(lean, CHILD_FAILED, -errno);
	_exit(1);
}

int child_bud_exec(struct child *c, int op)
{
	struct lean *lean = lean_make(c);

	if (!lean)
		return -ENOMEM;
	lean->message.op = op;
	lean->message.code = OP_BUD_EXEC;
	snprintf(lean->message.detail, sizeof(lean->message.detail),
		 "exec %.90s", c->program);
	shed(c->host_proc, lean);
	/* Nothing of c is left. */
	if (lean->channel > 3)
		kernel_close_range(3, (unsigned)lean->channel - 1, 0);
	kernel_close_range((unsigned)lean->channel + 1, ~0u, 0);
	wait_and_exec(lean);
}
