/* mkcalls: the numbers of the system calls, as libseccomp knows them.
 *
 *	mkcalls ARCH > seccomp_calls.h		(x86_64 or aarch64)
 *
 * A program of the build, on the host. Prints the tables that seccomp_call.h
 * describes: architectures (its own first, those with a base after the one
 * that they share the audit number with), names, numbers, slots. */
#define _GNU_SOURCE
#include <linux/audit.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "seccomp_call.h"

#define X32_BIT	    0x40000000u
#define ARM_PRIVATE 0x0f0000u /* cacheflush, set_tls, ... */

/* Pseudo numbers of libseccomp: the call goes through socketcall or ipc. */
enum {
	SOCKET_FIRST = -101,
	SOCKET_LAST = -120,
	IPC_FIRST = -201,
	IPC_LAST = -224
};

static const struct machine {
	const char *name;
	struct {
		uint32_t token;
		struct seccomp_arch arch;
	} arch[SECCOMP_ARCHES_MAX]; /* its own one first */
} machines[] = {
	{ "x86_64",
	  { { SCMP_ARCH_X86_64,
	      { "SCMP_ARCH_X86_64", AUDIT_ARCH_X86_64, 0, true, -1, -1 } },
	    { SCMP_ARCH_X86,
	      { "SCMP_ARCH_X86", AUDIT_ARCH_I386, 0, false, 102, 117 } },
	    { SCMP_ARCH_X32,
	      { "SCMP_ARCH_X32", AUDIT_ARCH_X86_64, X32_BIT, false, -1,
		-1 } } } },
	{ "aarch64",
	  { { SCMP_ARCH_AARCH64,
	      { "SCMP_ARCH_AARCH64", AUDIT_ARCH_AARCH64, 0, true, -1, -1 } },
	    { SCMP_ARCH_ARM,
	      { "SCMP_ARCH_ARM", AUDIT_ARCH_ARM, 0, false, -1, -1 } },
	    { SCMP_ARCH_ARM,
	      { "SCMP_ARCH_ARM", AUDIT_ARCH_ARM, ARM_PRIVATE, false, -1,
		-1 } } } },
};

static struct {
	char *name;
	struct seccomp_call call;
} calls[SECCOMP_CALL_SLOTS / 2];

static size_t n_calls;

static void fail(const char *why)
{
	fprintf(stderr, "mkcalls: %s\n", why);
	exit(1);
}

static struct seccomp_call *call_of(const char *name)
{
	for (size_t i = 0; i < n_calls; i++) {
		if (strcmp(calls[i].name, name) == 0)
			return &calls[i].call;
	}
	if (n_calls == sizeof(calls) / sizeof(calls[0]))
		fail("more names than the table has room for");
	calls[n_calls].name = strdup(name);
	calls[n_calls].call = (struct seccomp_call){ .number = { -1, -1, -1 } };
	return &calls[n_calls++].call;
}

static void read_numbers(const struct machine *machine, int i)
{
	uint32_t token = machine->arch[i].token;
	uint32_t base = machine->arch[i].arch.base;

	for (uint32_t number = 0; number < 4096; number++) {
		char *name = seccomp_syscall_resolve_num_arch(
			token, (int)(base + number));

		if (name && number >= SECCOMP_CALL_MAX)
			fail("a number above SECCOMP_CALL_MAX");
		if (name)
			call_of(name)->number[i] = (int16_t)number;
		free(name);
	}
}

static void read_carried(uint32_t token)
{
	for (size_t i = 0; i < n_calls; i++) {
		int n = seccomp_syscall_resolve_name_arch(token, calls[i].name);

		if (n <= SOCKET_FIRST && n >= SOCKET_LAST)
			calls[i].call.mux = (uint8_t)(-n % 100);
		if (n <= IPC_FIRST && n >= IPC_LAST)
			calls[i].call.mux =
				(uint8_t)(-n % 200 + SECCOMP_MUX_IPC);
	}
}

static void print_archs(const struct machine *machine)
{
	printf("static const struct seccomp_arch seccomp_archs[] = {\n");
	for (int i = 0; i < SECCOMP_ARCHES_MAX && machine->arch[i].token; i++) {
		const struct seccomp_arch *a = &machine->arch[i].arch;

		printf("\t{ \"%s\", 0x%x, 0x%x, %d, %d, %d },\n", a->name,
		       a->audit, a->base, a->wide, a->socketcall, a->ipc);
	}
	printf("};\n");
}

static void print_calls(void)
{
	size_t at = 0;

	printf("static const char seccomp_call_names[] =\n");
	for (size_t i = 0; i < n_calls; i++) {
		calls[i].call.name = (uint16_t)at;
		at += strlen(calls[i].name) + 1;
		printf("\t\"%s\\0\"\n", calls[i].name);
	}
	printf(";\nstatic const struct seccomp_call seccomp_calls[] = {\n");
	for (size_t i = 0; i < n_calls; i++) {
		const struct seccomp_call *c = &calls[i].call;

		printf("\t{ %u, %u, { %d, %d, %d } },\n", c->name, c->mux,
		       c->number[0], c->number[1], c->number[2]);
	}
	printf("};\n");
}

/* Open addressing; a slot holds the index and one, 0 is free. */
static void print_slots(void)
{
	static size_t slots[SECCOMP_CALL_SLOTS];

	for (size_t i = 0; i < n_calls; i++) {
		uint32_t slot = seccomp_call_slot(calls[i].name);

		while (slots[slot])
			slot = (slot + 1) % SECCOMP_CALL_SLOTS;
		slots[slot] = i + 1;
	}
	printf("static const uint16_t seccomp_call_slots[] = {");
	for (size_t i = 0; i < SECCOMP_CALL_SLOTS; i++)
		printf("%s%zu,", i % 12 ? " " : "\n\t", slots[i]);
	printf("\n};\n");
}

int main(int argc, char **argv)
{
	const struct machine *machine = NULL;

	for (size_t i = 0; argc == 2 && i < 2; i++) {
		if (strcmp(argv[1], machines[i].name) == 0)
			machine = &machines[i];
	}
	if (!machine) {
		fprintf(stderr, "usage: mkcalls x86_64|aarch64\n");
		return 2;
	}
	for (int i = 0; i < SECCOMP_ARCHES_MAX && machine->arch[i].token; i++)
		read_numbers(machine, i);
	for (int i = 0; i < SECCOMP_ARCHES_MAX && machine->arch[i].token; i++) {
		if (machine->arch[i].arch.socketcall >= 0)
			read_carried(machine->arch[i].token);
	}
	printf("/* Made by mkcalls for %s. */\n"
	       "#include \"zrun/seccomp_call.h\"\n\n",
	       machine->name);
	print_archs(machine);
	print_calls();
	print_slots();
	return 0;
}
