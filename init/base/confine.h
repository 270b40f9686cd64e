/* Confinement of a daemon, once it holds all that it needs and before it reads
 * the first foreign byte.
 *
 * Rule of use: beside each loop, a comment lists the system calls that it
 * makes; one that exists on one architecture only is listed for it. Without
 * the space behind #, which keeps these two out of every filter:
 *
 *	# syscalls: splice pipe2
 *	# syscalls[x86_64]: open
 *
 * `mkfilter` collects them from this header and the sources of the program
 * into build/<arch>/gen/NAME_filter.h, which has seccomp_filter[]:
 *
 *	#include "znet_filter.h"
 *	error = confine_files(NULL, 0);
 *	if (error == 0)
 *		error = confine(seccomp_filter, ARRAY_SIZE(seccomp_filter));
 *
 * A call that is not listed kills the process (SIGSYS; the kernel log names
 * the number). An errno instead would let a captured process try what it may,
 * and would turn a call missing from the list into an odd error far from its
 * cause; init starts the daemon anew and no container notices.
 *
 * What every program needs, for musl and for base (log, loop, ipc, service):
 *
 * #syscalls: read write readv writev close fcntl
 * #syscalls: brk mmap munmap mremap madvise futex
 * #syscalls: rt_sigaction rt_sigprocmask rt_sigreturn restart_syscall
 * #syscalls: getpid gettid tkill tgkill exit exit_group
 * #syscalls: clock_gettime epoll_ctl epoll_pwait ppoll
 * #syscalls: sendmsg recvmsg sendto recvfrom accept4 getsockopt
 * #syscalls[x86_64]: epoll_wait poll gettimeofday
 */
#ifndef BASE_CONFINE_H
#define BASE_CONFINE_H

#include <linux/filter.h>
#include <stddef.h>
#include <stdint.h>

/* Landlock: from now on no file is opened, made or removed by this process
 * but beneath the n directories (held descriptors); none at all with n = 0.
 * Descriptors that are already open are not touched. 0, or -errno after one
 * log line. */
int confine_files(const int *dirs, size_t n);

/* The same, and what lies beneath the n_read other directories may be
 * read. */
int confine_files_reading(const int *dirs, size_t n, const int *read_dirs,
			  size_t n_read);

/* For ever, and for all that this process starts: no new privileges, no
 * capability (bounding set included), no core file, no ptrace by the same uid,
 * and only the system calls of the filter. 0, or -errno after one log line. */
int confine(const struct sock_filter *filter, size_t n);

/* The same for a worker that keeps some capabilities: bit N of the set stands
 * for capability N of linux/capability.h. */
int confine_keeping(uint64_t capabilities, const struct sock_filter *filter,
		    size_t n);

#endif
