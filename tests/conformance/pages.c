/* Holds memory and knows what must be in it: `pages MB`.
 *
 * At each SIGUSR1 it does what the file /order says, looks at every page, and
 * writes to /said how many are wrong. Pages cannot be compressed. Test code. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
	PAGE = 4096,
	WORDS = PAGE / 8,
	PAGES_MAX = 1 << 15,
	/* What the kernel moves by one entry of its table. */
	RUN = 512,
	RUN_SIZE = RUN * PAGE,
	REMAPPED = 64,
};

static uint64_t *memory;
static size_t n_pages;
static uint32_t serial;
static uint32_t want[PAGES_MAX]; /* 0: zero */
static pid_t child;

static uint64_t *page(size_t n)
{
	return memory + n * WORDS;
}

/* The next word of xorshift64*. */
static uint64_t next(uint64_t *x)
{
	*x ^= *x >> 12;
	*x ^= *x << 25;
	*x ^= *x >> 27;
	return *x * 0x2545f4914f6cdd1d;
}

static void fill(size_t n)
{
	uint64_t x = want[n] = ++serial;

	for (size_t i = 0; i < WORDS; i++)
		page(n)[i] = next(&x);
}

static int is_wrong(size_t n)
{
	uint64_t x = want[n];

	for (size_t i = 0; i < WORDS; i++) {
		if (page(n)[i] != (want[n] ? next(&x) : 0))
			return 1;
	}
	return 0;
}

static size_t count_wrong(void)
{
	size_t wrong = 0;

	for (size_t i = 0; i < n_pages; i++)
		wrong += (size_t)is_wrong(i);
	return wrong;
}

static void touch(void)
{
	for (size_t i = serial % 97; i < n_pages; i += 97)
		fill(i);
}

/* Half of what is mapped anew is not written. */
static void map_again(void)
{
	uint64_t *at = page(2 * RUN);

	munmap(at, REMAPPED * PAGE);
	if (mmap(at, REMAPPED * PAGE, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != at)
		exit(3);
	memset(want + 2 * RUN, 0, REMAPPED * sizeof(*want));
	for (size_t i = 0; i < REMAPPED; i += 2)
		fill(2 * RUN + i);
}

static void move(void *from, void *to)
{
	if (mremap(from, RUN_SIZE, RUN_SIZE, MREMAP_MAYMOVE | MREMAP_FIXED,
		   to) != to)
		exit(4);
}

/* Exchanges two runs of pages without writing to them. */
static void exchange(void)
{
	static uint32_t kept[RUN];
	uint64_t *spare = page(n_pages);

	move(page(0), spare);
	move(page(RUN), page(0));
	move(spare, page(RUN));
	memcpy(kept, want, sizeof(kept));
	memcpy(want, want + RUN, sizeof(kept));
	memcpy(want + RUN, kept, sizeof(kept));
}

static void wait_signal(void)
{
	sigset_t set;
	int number;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigwait(&set, &number);
}

/* One that has the same pages, but for some, and ends when it is asked. */
static void part(void)
{
	child = fork();
	if (child != 0)
		return;
	touch();
	wait_signal();
	_exit(count_wrong() != 0);
}

/* What the child found is counted too. */
static size_t join(void)
{
	int status = -1;

	kill(child, SIGUSR1);
	waitpid(child, &status, 0);
	return status != 0;
}

static size_t obey(const char *order)
{
	size_t wrong = 0;

	if (strstr(order, "touch"))
		touch();
	for (size_t i = 0; strstr(order, "all") && i < n_pages; i++)
		fill(i);
	if (strstr(order, "map"))
		map_again();
	if (strstr(order, "exchange"))
		exchange();
	if (strstr(order, "fork"))
		part();
	if (strstr(order, "join"))
		wrong = join();
	return wrong + count_wrong();
}

static void answer(size_t wrong)
{
	FILE *file = fopen("/said.new", "w");

	fprintf(file, "%zu\n", wrong);
	fclose(file);
	rename("/said.new", "/said");
}

static void read_order(char *text, size_t size)
{
	int fd = open("/order", O_RDONLY | O_CLOEXEC);
	ssize_t n = read(fd, text, size - 1);

	text[n > 0 ? n : 0] = '\0';
	close(fd);
}

int main(int argc, char **argv)
{
	sigset_t set;
	char order[256];
	uint64_t *all;

	n_pages = argc > 1 ? (size_t)atoi(argv[1]) * (1 << 20) / PAGE : 0;
	if (n_pages < 4 * RUN || n_pages > PAGES_MAX)
		return 2;
	all = mmap(NULL, n_pages * PAGE + 2 * RUN_SIZE, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (all == MAP_FAILED)
		return 1;
	memory = all + (-(uintptr_t)all & (RUN_SIZE - 1)) / 8;
	for (size_t i = 0; i < n_pages; i++)
		fill(i);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	for (answer(0);;) {
		wait_signal();
		read_order(order, sizeof(order));
		answer(obey(order));
	}
}
