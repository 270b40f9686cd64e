#define _GNU_SOURCE
#include "listening.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/span.h"
#include "kernel.h"

enum {
	RING_SIZE = 4096, /* a page, the least */
	TABLE_SIZE_MAX = 4 << 20,
	STATE_LISTEN = 10, /* TCP_LISTEN of linux/tcp_states.h */
	ADDRESS_DIGITS = 8,
};

void listening_init(struct listening *l)
{
	l->watch.fd = l->link = l->told = -1;
}

/* ------------------------------------------------------------------- event */

static int bpf(int command, union bpf_attr *attr)
{
	return kernel_result(syscall(SYS_bpf, command, attr, sizeof(*attr)));
}

static int ring_make(void)
{
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.map_type = BPF_MAP_TYPE_RINGBUF;
	attr.max_entries = RING_SIZE;
	return bpf(BPF_MAP_CREATE, &attr);
}

/* Writes a word to the ring for each listen on that port. */
static int program_load(int ring, uint16_t port)
{
	enum {
		LOAD = BPF_LDX | BPF_MEM | BPF_W,
		LOAD_MAP = BPF_DW | BPF_IMM,
		ADD = BPF_ALU64 | BPF_ADD,
		STORE = BPF_ST | BPF_MEM | BPF_DW,
		MOVE = BPF_ALU64 | BPF_MOV,
		OTHER = BPF_JMP | (BPF_JNE | BPF_K),
		SAME = BPF_JMP | (BPF_JEQ | BPF_K),
	};
	const struct bpf_insn insns[] = {
		{ LOAD, 2, 1, offsetof(struct bpf_sock_ops, op), 0 },
		{ OTHER, 2, 0, 10, BPF_SOCK_OPS_TCP_LISTEN_CB },
		{ LOAD, 2, 1, offsetof(struct bpf_sock_ops, local_port), 0 },
		/* None listens on port 0. */
		{ port ? OTHER : SAME, 2, 0, 8, port },
		{ STORE, 10, 0, -8, 0 },
		{ LOAD_MAP, 1, BPF_PSEUDO_MAP_FD, 0, ring },
		{ 0 },
		{ MOVE | BPF_X, 2, 10, 0, 0 },
		{ ADD, 2, 0, 0, -8 },
		{ MOVE | BPF_K, 3, 0, 0, 8 },
		{ MOVE | BPF_K, 4, 0, 0, 0 },
		{ BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_ringbuf_output },
		{ MOVE | BPF_K, 0, 0, 0, 1 },
		{ BPF_JMP | BPF_EXIT, 0, 0, 0, 0 },
	};
	static const char license[] = "GPL";
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.prog_type = BPF_PROG_TYPE_SOCK_OPS;
	attr.insns = (uint64_t)(uintptr_t)insns;
	attr.insn_cnt = sizeof(insns) / sizeof(insns[0]);
	attr.license = (uint64_t)(uintptr_t)license;
	return bpf(BPF_PROG_LOAD, &attr);
}

static int link_make(int cgroup_dir, int program)
{
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.link_create.prog_fd = (uint32_t)program;
	attr.link_create.target_fd = (uint32_t)cgroup_dir;
	attr.link_create.attach_type = BPF_CGROUP_SOCK_OPS;
	return bpf(BPF_LINK_CREATE, &attr);
}

static void came(struct watch *w, uint32_t events)
{
	(void)events;
	listening_end(container_of(w, struct listening, watch));
}

int listening_begin(struct listening *l, struct loop *loop, int cgroup_dir,
		    uint16_t port)
{
	int pair[2];

	listening_end(l);
	l->loop = loop;
	autoclose int ring = ring_make();
	autoclose int program = ring < 0 ? ring : program_load(ring, port);

	l->link = program < 0 ? program : link_make(cgroup_dir, program);
	if (l->link < 0)
		return l->link;
	if (pipe2(pair, O_CLOEXEC) < 0)
		return -errno;
	l->told = pair[1];
	l->watch.ready = came;
	int r = watch_add(loop, &l->watch, ring, EPOLLIN);

	if (r == 0) {
		fd_take(&ring);
		return pair[0];
	}
	close(pair[0]);
	listening_end(l);
	return r;
}

void listening_end(struct listening *l)
{
	int ring = l->watch.fd;

	watch_del(l->loop, &l->watch);
	fd_close(&ring);
	fd_close(&l->link);
	fd_close(&l->told);
}

/* ------------------------------------------------------------------- table */

struct wanted {
	uint16_t port;	  /* 0: any */
	uint32_t address; /* network order; 0: any */
};

/* "  0: 0100007F:1F90 00000000:0000 0A ...": the address as the kernel has it
 * in memory, of IPv6 in four words, of which the last is an IPv4 address that
 * is mapped. */
static bool line_matches(const char *line, const struct wanted *w)
{
	struct span rest = span_of(line + strspn(line, " ")), skipped, local;

	if (!span_cut(&rest, ' ', &skipped) || !span_cut(&rest, ' ', &local) ||
	    !span_cut(&rest, ' ', &skipped))
		return false;
	const char *colon = memchr(local.data, ':', local.size);

	if (!colon || colon - local.data < ADDRESS_DIGITS ||
	    strtoul(rest.data, NULL, 16) != STATE_LISTEN ||
	    (w->port && strtoul(colon + 1, NULL, 16) != w->port))
		return false;
	return !w->address ||
	       strtoul(colon - ADDRESS_DIGITS, NULL, 16) == w->address;
}

static int table_has(pid_t pid, const char *name, const struct wanted *w)
{
	autofree char *text = NULL;
	char path[40];
	size_t size;

	snprintf(path, sizeof(path), "/proc/%d/net/%s", (int)pid, name);
	int r = file_read(AT_FDCWD, path, TABLE_SIZE_MAX, &text, &size);

	for (char *rest = text, *line; r == 0 && (line = strsep(&rest, "\n"));)
		r = line_matches(line, w);
	return r;
}

static int tables_have(pid_t pid, const struct wanted *w)
{
	int r = table_has(pid, "tcp", w);

	if (r == 0)
		r = table_has(pid, "tcp6", w);
	/* A kernel without IPv6 has no such table. */
	return r == -ENOENT ? 0 : r;
}

int listening_is(pid_t pid, uint16_t port)
{
	return tables_have(pid, &(struct wanted){ .port = port });
}

int listening_is_on(pid_t pid, uint32_t address)
{
	return tables_have(pid, &(struct wanted){ .address = htonl(address) });
}
