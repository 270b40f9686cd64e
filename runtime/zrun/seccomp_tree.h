/* Verdicts for numbers of system calls, and the BPF that finds them: what
 * seccomp.c fills and this turns into code. */
#ifndef ZRUN_SECCOMP_TREE_H
#define ZRUN_SECCOMP_TREE_H

#include <linux/filter.h>

#include "oci/runtime_config.h"
#include "seccomp_call.h"

enum {
	TREE_ACTIONS_MAX = 64,
	TREE_TESTS_MAX = 1024, /* each takes four instructions or more */
};

/* A verdict is the number of an action, or VERDICT_TESTS and the number of the
 * first test. */
enum { VERDICT_DEFAULT = 0, VERDICT_TESTS = 0x8000 };

/* All conditions hold: this action. */
struct tree_test {
	const struct runtime_seccomp_arg *arg;
	uint16_t n_arg;
	uint16_t next;	 /* the test after it, and one; 0: the default action */
	int16_t carried; /* what the first argument must be instead; or -1 */
	uint32_t action;
};

struct tree_arch {
	const struct seccomp_arch *arch;
	bool used;
	uint16_t verdict[SECCOMP_CALL_MAX];
};

struct tree {
	struct tree_arch arch[SECCOMP_ARCHES_MAX];
	size_t n_arch;
	uint32_t action[TREE_ACTIONS_MAX];
	size_t n_action, n_test;

	/* private to the code's maker */
	const struct seccomp_arch *in; /* whose code is being made */
	bool measuring;
	bool shares; /* returns at the end of the tree */
	size_t returns_at;
	size_t n;

	/* Last what is large: a start touches the first pages of each. */
	struct tree_test test[TREE_TESTS_MAX];
	struct sock_filter code[BPF_MAXINSNS];
};

void tree_begin(struct tree *tree, uint32_t default_action);
/* Makes *verdict an action. -E2BIG. */
int tree_action(struct tree *tree, uint32_t action, uint16_t *verdict);
/* Adds a test after those that *verdict has. -E2BIG. */
int tree_test(struct tree *tree, const struct tree_test *test,
	      uint16_t *verdict);
/* The filter lies in the tree. -E2BIG when it is longer than the kernel
 * takes. */
int tree_code(struct tree *tree, struct sock_fprog *filter);

#endif
