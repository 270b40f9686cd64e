/* Work that may hang in the kernel, because a disk does not answer, done by
 * children with a time-out each.
 *
 * Rule of use: only for the one-shot jobs of init (mount-zooid, mount-data),
 * which themselves touch no disk. What a step finds out it writes into memory
 * from job_memory(). */
#ifndef INIT_JOB_H
#define INIT_JOB_H

#include <stddef.h>
#include <stdint.h>

/* Zeroed memory that steps share with the job, or NULL. */
void *job_memory(size_t size);

/* Runs fn(arg) in a child. Its result (0 or -errno), or -ETIMEDOUT when it was
 * killed; then it may still be there, stuck, but does nothing any more. */
int job_step(const char *name, int (*fn)(void *), void *arg,
	     uint32_t time_out_ms);

/* Runs a program, its output into our log. 0, or -ECHILD when it ended with
 * any other status than 0, or as job_step. */
int job_exec(const char *const *argv, uint32_t time_out_ms);

#endif
