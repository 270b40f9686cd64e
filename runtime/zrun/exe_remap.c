/* The same program from another mount of its file, without a second execve,
 * which costs more than all else that zrun itself does.
 *
 * Each segment gives way to the same pages of the file opened through that
 * mount; the one that can be written to, to a copy of itself. Then the kernel
 * is told that this is the program (PR_SET_MM_MAP), which is what
 * /proc/self/exe leads to from there on; it refuses as long as anything of the
 * old mount is mapped, so nothing can be forgotten. The code that runs is
 * replaced by its equal between two instructions. */
#define _GNU_SOURCE
#include "exe_remap.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/fd.h"

enum { PAGE = 4096, SEGMENTS = 2 };

extern const char __ehdr_start[];
extern char **environ;

struct segment {
	char *at;
	size_t size;
	off_t offset;
	const Elf64_Phdr *head;
};

static int remap_shared(const struct segment *s, int file)
{
	void *at = mmap(s->at, s->size, PROT_READ | PROT_EXEC,
			MAP_PRIVATE | MAP_FIXED | MAP_POPULATE, file,
			s->offset);

	return at == MAP_FAILED ? -errno : 0;
}

static int remap_own(const struct segment *s)
{
	void *copy = mmap(NULL, s->size, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	if (copy == MAP_FAILED)
		return -errno;
	memcpy(copy, s->at, s->size);
	return mremap(copy, s->size, s->size, MREMAP_MAYMOVE | MREMAP_FIXED,
		      s->at) == MAP_FAILED
		       ? -errno
		       : 0;
}

/* What zrun is linked as: code and constants in one segment, data in the other,
 * both where the file says. */
static int segments_find(struct segment segment[static SEGMENTS])
{
	const Elf64_Ehdr *elf = (const Elf64_Ehdr *)__ehdr_start;
	const Elf64_Phdr *head =
		(const Elf64_Phdr *)(__ehdr_start + elf->e_phoff);
	size_t n = 0;

	if (elf->e_type != ET_EXEC)
		return -ENOTSUP;
	for (size_t i = 0; i < elf->e_phnum; i++) {
		uint64_t into = head[i].p_vaddr % PAGE;

		if (head[i].p_type != PT_LOAD)
			continue;
		if (n == SEGMENTS)
			return -ENOTSUP;
		segment[n++] = (struct segment){
			.at = (char *)(uintptr_t)(head[i].p_vaddr - into),
			.size = (head[i].p_filesz + into + PAGE - 1) / PAGE *
				PAGE,
			.offset = (off_t)(head[i].p_offset - into),
			.head = &head[i],
		};
	}
	return n == SEGMENTS && !(segment[0].head->p_flags & PF_W) &&
			       segment[1].head->p_flags & PF_W
		       ? 0
		       : -ENOTSUP;
}

static uint64_t end_of(char **words, uint64_t none)
{
	if (!*words)
		return none;
	while (words[1])
		words++;
	return (uint64_t)(uintptr_t)(*words + strlen(*words) + 1);
}

/* All else stays as it is: the kernel wants it told again. */
static int tell_kernel(const struct segment segment[static SEGMENTS],
		       char **argv, int file)
{
	const Elf64_Phdr *code = segment[0].head, *data = segment[1].head;
	struct prctl_mm_map map = {
		.start_code = code->p_vaddr,
		.end_code = code->p_vaddr + code->p_filesz,
		.start_data = data->p_vaddr,
		.end_data = data->p_vaddr + data->p_filesz,
		.start_stack = (uint64_t)(uintptr_t)argv - sizeof(*argv),
		.arg_start = (uint64_t)(uintptr_t)argv[0],
		.exe_fd = (uint32_t)file,
	};

	/* Nothing has been taken from the heap yet. */
	map.start_brk = map.brk = (uint64_t)(uintptr_t)sbrk(0);
	map.arg_end = end_of(argv, map.arg_start);
	map.env_start = map.arg_end;
	map.env_end = end_of(environ, map.env_start);
	return prctl(PR_SET_MM, PR_SET_MM_MAP, &map, sizeof(map), 0) < 0
		       ? -errno
		       : 0;
}

int exe_remap(int tree, char **argv)
{
	struct segment segment[SEGMENTS];
	char path[32];
	int r = segments_find(segment);

	if (r < 0)
		return r;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", tree);
	autoclose int file = openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC);

	if (file < 0)
		return -errno;
	r = remap_shared(&segment[0], file);
	if (r == 0)
		r = remap_own(&segment[1]);
	return r < 0 ? r : tell_kernel(segment, argv, file);
}
