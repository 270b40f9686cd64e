/* The system calls that this machine has, by name: for each architecture that
 * a program may use here, its number. mkcalls prints the table at build time,
 * so that no library of names is needed where containers start. */
#ifndef ZRUN_SECCOMP_CALL_H
#define ZRUN_SECCOMP_CALL_H

#include <stdbool.h>
#include <stdint.h>

enum {
	SECCOMP_ARCHES_MAX = 3,
	SECCOMP_CALL_MAX = 640,	   /* greater than any number, less its base */
	SECCOMP_CALL_SLOTS = 1024, /* a power of two, some two a name */
	SECCOMP_MUX_IPC = 100,
};

struct seccomp_arch {
	const char *name; /* "SCMP_ARCH_..." */
	uint32_t audit;	  /* AUDIT_ARCH_... */
	/* Numbers from here on are looked up here: those of x32 have a bit
	 * set, some of ARM lie far above the others. */
	uint32_t base;
	bool wide; /* arguments of 64 bits */
	/* Numbers of socketcall and ipc, which carry other calls; or -1. */
	int16_t socketcall, ipc;
};

struct seccomp_call {
	uint16_t name; /* where it begins in seccomp_call_names */
	/* What carries it where there is socketcall: that one's first argument;
	 * SECCOMP_MUX_IPC and more: ipc's. 0: nothing. */
	uint8_t mux;
	int16_t number[SECCOMP_ARCHES_MAX]; /* -1: it has none */
};

/* Where the search for a name begins in the table of slots. */
static inline uint32_t seccomp_call_slot(const char *name)
{
	uint32_t hash = 2166136261u;

	while (*name)
		hash = (hash ^ (uint8_t)*name++) * 16777619u;
	return (hash ^ hash >> 15) % SECCOMP_CALL_SLOTS;
}

#endif
