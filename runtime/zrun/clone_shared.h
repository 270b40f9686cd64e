/* clone3 of a child that shares the caller's memory and runs on a stack of its
 * own: it cannot return from the function that the caller is in. */
#ifndef ZRUN_CLONE_SHARED_H
#define ZRUN_CLONE_SHARED_H

#include <linux/sched.h>
#include <sys/syscall.h>

/* args: with CLONE_VM and a stack that is aligned to 16 bytes. The child calls
 * run(data), which must not return. The child's process id or -errno. */
#if defined(__x86_64__)
static inline int clone_shared(struct clone_args *args, void (*run)(void *),
			       void *data)
{
	register void (*function)(void *) __asm__("r12") = run;
	register void *argument __asm__("r13") = data;
	long r;

	__asm__ volatile("syscall\n\t"
			 "test %%rax, %%rax\n\t"
			 "jnz 1f\n\t"
			 "xor %%ebp, %%ebp\n\t"
			 "mov %%r13, %%rdi\n\t"
			 "call *%%r12\n\t"
			 "hlt\n"
			 "1:"
			 : "=a"(r)
			 : "0"((long)SYS_clone3), "D"(args), "S"(sizeof(*args)),
			   "r"(function), "r"(argument)
			 : "rcx", "r11", "memory", "cc");
	return (int)r;
}
#elif defined(__aarch64__)
static inline int clone_shared(struct clone_args *args, void (*run)(void *),
			       void *data)
{
	register void (*function)(void *) __asm__("x19") = run;
	register void *argument __asm__("x20") = data;
	register long number __asm__("x8") = SYS_clone3;
	register long r __asm__("x0") = (long)args;
	register long size __asm__("x1") = sizeof(*args);

	__asm__ volatile("svc #0\n\t"
			 "cbnz x0, 1f\n\t"
			 "mov x29, xzr\n\t"
			 "mov x0, x20\n\t"
			 "blr x19\n\t"
			 "brk #0\n"
			 "1:"
			 : "+r"(r)
			 : "r"(number), "r"(size), "r"(function), "r"(argument)
			 : "memory", "cc");
	return (int)r;
}
#endif

#endif
