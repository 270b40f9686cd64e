#include "seccomp_tree.h"

#include <errno.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <string.h>

/* Marks of a jump whose distance is not known yet. No test is that long. */
enum { TO_NEXT_TEST = 254, TO_NEXT_ARG = 255 };

enum comparison {
	CMP_NE = 1,
	CMP_LT,
	CMP_LE,
	CMP_EQ,
	CMP_GE,
	CMP_GT,
	CMP_MASK
};

void tree_begin(struct tree *tree, uint32_t default_action)
{
	for (size_t i = 0; i < SECCOMP_ARCHES_MAX; i++)
		memset(&tree->arch[i], 0, sizeof(tree->arch[i]));
	tree->action[0] = default_action;
	tree->n_action = 1;
	tree->n_test = tree->n_arch = tree->n = 0;
	tree->measuring = false;
}

int tree_action(struct tree *tree, uint32_t action, uint16_t *verdict)
{
	for (size_t i = 1; i < tree->n_action; i++) {
		if (tree->action[i] == action) {
			*verdict = (uint16_t)i;
			return 0;
		}
	}
	if (tree->n_action == TREE_ACTIONS_MAX)
		return -E2BIG;
	tree->action[tree->n_action] = action;
	*verdict = (uint16_t)tree->n_action++;
	return 0;
}

int tree_test(struct tree *tree, const struct tree_test *test,
	      uint16_t *verdict)
{
	if (tree->n_test == TREE_TESTS_MAX)
		return -E2BIG;
	tree->test[tree->n_test] = *test;
	tree->test[tree->n_test].next = 0;
	if (*verdict == VERDICT_DEFAULT) {
		*verdict = (uint16_t)(VERDICT_TESTS | tree->n_test);
	} else {
		struct tree_test *t = &tree->test[*verdict & ~VERDICT_TESTS];

		while (t->next)
			t = &tree->test[t->next - 1];
		t->next = (uint16_t)(tree->n_test + 1);
	}
	tree->n_test++;
	return 0;
}

static void emit(struct tree *tree, uint16_t code, uint32_t k)
{
	if (!tree->measuring && tree->n < BPF_MAXINSNS)
		tree->code[tree->n] = (struct sock_filter)BPF_STMT(code, k);
	tree->n++;
}

/* To: how many instructions to skip, or a mark. */
static void emit_jump(struct tree *tree, uint16_t compare, uint32_t k,
		      uint8_t if_true, uint8_t if_false)
{
	if (!tree->measuring && tree->n < BPF_MAXINSNS)
		tree->code[tree->n] = (struct sock_filter)BPF_JUMP(
			BPF_JMP | compare | BPF_K, k, if_true, if_false);
	tree->n++;
}

static void emit_load(struct tree *tree, size_t offset)
{
	emit(tree, BPF_LD | BPF_W | BPF_ABS, (uint32_t)offset);
}

/* Sets the marks since `from` to lead here. */
static void land(struct tree *tree, size_t from, uint8_t mark)
{
	if (tree->measuring || tree->n > BPF_MAXINSNS)
		return;
	for (size_t i = from; i < tree->n; i++) {
		struct sock_filter *f = &tree->code[i];

		if (BPF_CLASS(f->code) != BPF_JMP || BPF_OP(f->code) == BPF_JA)
			continue;
		if (f->jt == mark)
			f->jt = (uint8_t)(tree->n - i - 1);
		if (f->jf == mark)
			f->jf = (uint8_t)(tree->n - i - 1);
	}
}

/* Both architectures are little endian. */
static size_t argument(uint32_t index, bool high)
{
	return offsetof(struct seccomp_data, args) + index * 8 + (high ? 4 : 0);
}

/* The comparison of one half in which all bits count. */
static void emit_low(struct tree *tree, enum comparison op, uint32_t k)
{
	switch (op) {
	case CMP_EQ:
	case CMP_MASK:
		emit_jump(tree, BPF_JEQ, k, 0, TO_NEXT_TEST);
		break;
	case CMP_NE:
		emit_jump(tree, BPF_JEQ, k, TO_NEXT_TEST, 0);
		break;
	case CMP_GT:
		emit_jump(tree, BPF_JGT, k, 0, TO_NEXT_TEST);
		break;
	case CMP_GE:
		emit_jump(tree, BPF_JGE, k, 0, TO_NEXT_TEST);
		break;
	case CMP_LT:
		emit_jump(tree, BPF_JGE, k, TO_NEXT_TEST, 0);
		break;
	case CMP_LE:
		emit_jump(tree, BPF_JGT, k, TO_NEXT_TEST, 0);
		break;
	}
}

/* Decides by the upper half alone where that is possible. */
static void emit_high(struct tree *tree, enum comparison op, uint32_t k)
{
	switch (op) {
	case CMP_EQ:
	case CMP_MASK:
		emit_jump(tree, BPF_JEQ, k, 0, TO_NEXT_TEST);
		break;
	case CMP_NE:
		emit_jump(tree, BPF_JEQ, k, 0, TO_NEXT_ARG);
		break;
	case CMP_GT:
	case CMP_GE:
		emit_jump(tree, BPF_JGT, k, TO_NEXT_ARG, 0);
		emit_jump(tree, BPF_JEQ, k, 0, TO_NEXT_TEST);
		break;
	case CMP_LT:
	case CMP_LE:
		emit_jump(tree, BPF_JGT, k, TO_NEXT_TEST, 0);
		emit_jump(tree, BPF_JEQ, k, 0, TO_NEXT_ARG);
		break;
	}
}

static void emit_argument(struct tree *tree,
			  const struct runtime_seccomp_arg *arg)
{
	enum comparison op = (enum comparison)arg->op;
	bool masked = op == CMP_MASK;
	uint64_t mask = masked ? arg->value : UINT64_MAX;
	uint64_t value = masked ? arg->value_two & mask : arg->value;
	size_t from = tree->n;

	if (tree->in->wide) {
		emit_load(tree, argument(arg->index, true));
		if (masked)
			emit(tree, BPF_ALU | BPF_AND | BPF_K,
			     (uint32_t)(mask >> 32));
		emit_high(tree, op, (uint32_t)(value >> 32));
	}
	emit_load(tree, argument(arg->index, false));
	if (masked)
		emit(tree, BPF_ALU | BPF_AND | BPF_K, (uint32_t)mask);
	emit_low(tree, op, (uint32_t)value);
	land(tree, from, TO_NEXT_ARG);
}

static void emit_test(struct tree *tree, const struct tree_test *test)
{
	size_t from = tree->n;

	if (test->carried >= 0) {
		emit_load(tree, argument(0, false));
		emit_jump(tree, BPF_JEQ, (uint32_t)test->carried, 0,
			  TO_NEXT_TEST);
	}
	for (size_t i = 0; i < test->n_arg; i++) {
		if (test->carried < 0 || test->arg[i].index != 0)
			emit_argument(tree, &test->arg[i]);
	}
	emit(tree, BPF_RET | BPF_K, test->action);
	land(tree, from, TO_NEXT_TEST);
}

static void emit_verdict(struct tree *tree, uint16_t verdict)
{
	if (!(verdict & VERDICT_TESTS)) {
		emit(tree, BPF_RET | BPF_K, tree->action[verdict]);
		return;
	}
	for (size_t at = (verdict & ~VERDICT_TESTS) + 1u; at;
	     at = tree->test[at - 1].next)
		emit_test(tree, &tree->test[at - 1]);
	emit(tree, BPF_RET | BPF_K, tree->action[VERDICT_DEFAULT]);
}

struct range {
	uint16_t first, verdict;
};

static void emit_tree(struct tree *tree, const struct range *ranges, size_t n);

/* With shared returns all jumps are short, and each but one range costs one,
 * whatever the shape of the tree. */
static void emit_flat(struct tree *tree, const struct range *ranges, size_t n)
{
	tree->n += n - 1;
	for (size_t i = 0; i < n; i++) {
		if (ranges[i].verdict & VERDICT_TESTS)
			emit_verdict(tree, ranges[i].verdict);
	}
}

static size_t measure(struct tree *tree, const struct range *ranges, size_t n)
{
	bool before = tree->measuring;
	size_t at = tree->n;

	tree->measuring = true;
	if (tree->shares)
		emit_flat(tree, ranges, n);
	else
		emit_tree(tree, ranges, n);
	size_t size = tree->n - at;

	tree->n = at;
	tree->measuring = before;
	return size;
}

/* Whether a single range needs no code of its own: its return lies at the end
 * of the tree, where all that lead to it can jump. */
static bool is_shared(const struct tree *tree, const struct range *ranges,
		      size_t n)
{
	return n == 1 && tree->shares && !(ranges[0].verdict & VERDICT_TESTS);
}

static uint8_t to_shared(const struct tree *tree, uint16_t verdict)
{
	return (uint8_t)(tree->returns_at + verdict - tree->n - 1);
}

/* Only an unconditional jump reaches farther than 255 instructions. */
static void emit_tree(struct tree *tree, const struct range *ranges, size_t n)
{
	size_t middle = n / 2;

	if (n == 1) {
		if (!is_shared(tree, ranges, n))
			emit_verdict(tree, ranges[0].verdict);
		return;
	}
	const struct range *right = ranges + middle;
	size_t left = measure(tree, ranges, middle);
	uint32_t first = tree->in->base + right->first;

	if (left <= UINT8_MAX) {
		uint8_t below = is_shared(tree, ranges, middle)
					? to_shared(tree, ranges->verdict)
					: 0;
		uint8_t above = is_shared(tree, right, n - middle)
					? to_shared(tree, right->verdict)
					: (uint8_t)left;

		emit_jump(tree, BPF_JGE, first, above, below);
	} else {
		emit_jump(tree, BPF_JGE, first, 0, 1);
		emit(tree, BPF_JMP | BPF_JA, (uint32_t)left);
	}
	emit_tree(tree, ranges, middle);
	emit_tree(tree, right, n - middle);
}

static size_t make_ranges(const struct tree_arch *a, struct range *ranges)
{
	size_t n = 0;

	for (unsigned i = 0; i < SECCOMP_CALL_MAX; i++) {
		if (i == 0 || a->verdict[i] != a->verdict[i - 1])
			ranges[n++] = (struct range){ (uint16_t)i,
						      a->verdict[i] };
	}
	return n;
}

/* The number is loaded. Halves the code of a usual profile: the returns are
 * shared where every jump reaches the end of the tree. */
static void emit_arch(struct tree *tree, const struct tree_arch *a)
{
	struct range ranges[SECCOMP_CALL_MAX];
	size_t n = make_ranges(a, ranges);

	tree->in = a->arch;
	tree->shares = n > 1;
	size_t size = measure(tree, ranges, n);

	tree->shares = n > 1 && size + tree->n_action <= UINT8_MAX;
	tree->returns_at = tree->n + size;
	emit_tree(tree, ranges, n);
	for (size_t i = 0; tree->shares && i < tree->n_action; i++)
		emit(tree, BPF_RET | BPF_K, tree->action[i]);
}

/* Those that share an audit number, beginning with the one at `a`: numbers
 * from the base of a further one on are its. Where it is not in the profile
 * they are killed, but for -1, by which a tracer skips a call. */
static void emit_group(struct tree *tree, const struct tree_arch *a)
{
	const struct tree_arch *end = tree->arch + tree->n_arch;

	emit_load(tree, offsetof(struct seccomp_data, nr));
	for (const struct tree_arch *b = a + 1; b < end; b++) {
		if (b->arch->audit != a->arch->audit)
			continue;
		size_t at = tree->n;

		emit_jump(tree, BPF_JGE, b->arch->base, 1, 0);
		emit(tree, BPF_JMP | BPF_JA, 0);
		if (b->used) {
			emit_arch(tree, b);
		} else {
			emit_jump(tree, BPF_JEQ, UINT32_MAX, 0, 1);
			emit(tree, BPF_RET | BPF_K,
			     tree->action[VERDICT_DEFAULT]);
			emit(tree, BPF_RET | BPF_K, SECCOMP_RET_KILL_THREAD);
		}
		if (tree->n <= BPF_MAXINSNS)
			tree->code[at + 1].k = (uint32_t)(tree->n - at - 2);
	}
	emit_arch(tree, a);
}

int tree_code(struct tree *tree, struct sock_fprog *filter)
{
	emit_load(tree, offsetof(struct seccomp_data, arch));
	for (size_t i = 0; i < tree->n_arch; i++) {
		const struct tree_arch *a = &tree->arch[i];
		size_t at = tree->n;

		if (!a->used ||
		    (i > 0 && a[-1].arch->audit == a->arch->audit) ||
		    (i > 0 && tree->arch[0].arch->audit == a->arch->audit))
			continue;
		emit_jump(tree, BPF_JEQ, a->arch->audit, 1, 0);
		emit(tree, BPF_JMP | BPF_JA, 0);
		emit_group(tree, a);
		if (tree->n <= BPF_MAXINSNS)
			tree->code[at + 1].k = (uint32_t)(tree->n - at - 2);
	}
	emit(tree, BPF_RET | BPF_K, SECCOMP_RET_KILL_THREAD);
	if (tree->n > BPF_MAXINSNS)
		return -E2BIG;
	*filter = (struct sock_fprog){ .len = (unsigned short)tree->n,
				       .filter = tree->code };
	return 0;
}
