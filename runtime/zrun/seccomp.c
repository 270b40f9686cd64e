/* From linux.seccomp to BPF.
 *
 * Every architecture of the profile has a verdict for each of its numbers: the
 * default action, another one, or a list of rules on the arguments, of which
 * the first that matches decides. Neighbours with the same verdict form a
 * range, and the filter is a search tree over the ranges (seccomp_tree.c):
 * some seven comparisons a call, and little for the kernel to check when the
 * filter is loaded, which it walks once for every number.
 *
 * What a profile means is what libseccomp makes of it, since engines write
 * theirs for it; the unit test compares the two:
 *	- the machine's own architecture is always in the filter; whatever comes
 *	  from one that is not is killed;
 *	- a rule without arguments decides for its call, whatever others say,
 *	  the first such rule if there are several;
 *	- several conditions on one argument are alternatives;
 *	- where calls are carried by socketcall or ipc, the rule holds for those
 *	  too; the condition on the first argument gives way to the number. */
#include "seccomp_filter.h"

#include <errno.h>
#include <string.h>

#include "seccomp_calls.h"
#include "seccomp_tree.h"

static const char *const foreign[] = {
	"SCMP_ARCH_X86",      "SCMP_ARCH_X86_64",      "SCMP_ARCH_X32",
	"SCMP_ARCH_ARM",      "SCMP_ARCH_AARCH64",     "SCMP_ARCH_RISCV64",
	"SCMP_ARCH_S390",     "SCMP_ARCH_S390X",       "SCMP_ARCH_PPC64LE",
	"SCMP_ARCH_PPC64",    "SCMP_ARCH_PPC",	       "SCMP_ARCH_MIPS",
	"SCMP_ARCH_MIPS64",   "SCMP_ARCH_MIPS64N32",   "SCMP_ARCH_MIPSEL",
	"SCMP_ARCH_MIPSEL64", "SCMP_ARCH_MIPSEL64N32", "SCMP_ARCH_PARISC",
	"SCMP_ARCH_PARISC64", "SCMP_ARCH_LOONGARCH64", "SCMP_ARCH_M68K",
	"SCMP_ARCH_SH",	      "SCMP_ARCH_SHEB",
};

#define N_OF(array) (sizeof(array) / sizeof((array)[0]))

bool seccomp_arch_known(const char *name)
{
	for (size_t i = 0; i < N_OF(foreign); i++) {
		if (strcmp(foreign[i], name) == 0)
			return true;
	}
	return strcmp(name, "SCMP_ARCH_NATIVE") == 0;
}

static int find_archs(const struct text_list *names, struct tree *tree,
		      struct fault *fault)
{
	tree->arch[0].used = true;
	for (size_t i = 0; i < N_OF(seccomp_archs); i++)
		tree->arch[i].arch = &seccomp_archs[i];
	tree->n_arch = N_OF(seccomp_archs);
	for (size_t i = 0; i < names->n; i++) {
		if (!seccomp_arch_known(names->item[i]))
			return fault_set(fault, 0,
					 "linux.seccomp.architectures"
					 "[%zu]: \"%.40s\" is not known",
					 i, names->item[i]);
		for (size_t a = 0; a < tree->n_arch; a++)
			tree->arch[a].used |= strcmp(seccomp_archs[a].name,
						     names->item[i]) == 0;
	}
	return 0;
}

static const struct seccomp_call *find_call(const char *name)
{
	for (uint32_t slot = seccomp_call_slot(name); seccomp_call_slots[slot];
	     slot = (slot + 1) % SECCOMP_CALL_SLOTS) {
		const struct seccomp_call *call =
			&seccomp_calls[seccomp_call_slots[slot] - 1];

		if (strcmp(seccomp_call_names + call->name, name) == 0)
			return call;
	}
	return NULL;
}

/* For one number of one architecture. */
static int add_test(struct tree *tree, uint16_t *verdict,
		    const struct tree_test *test)
{
	bool conditional = test->n_arg > 0 || test->carried >= 0;

	if (*verdict != VERDICT_DEFAULT && !(*verdict & VERDICT_TESTS))
		return 0; /* one without arguments came before */
	if (!conditional)
		return tree_action(tree, test->action, verdict);
	return tree_test(tree, test, verdict);
}

static int add_call(struct tree *tree, const struct seccomp_call *call,
		    struct tree_test test)
{
	int r = 0;

	for (size_t i = 0; i < tree->n_arch && r == 0; i++) {
		struct tree_arch *a = &tree->arch[i];
		int carrier = call->mux > SECCOMP_MUX_IPC ? a->arch->ipc
			      : call->mux		  ? a->arch->socketcall
							  : -1;

		if (!a->used)
			continue;
		if (carrier >= 0) {
			struct tree_test through = test;

			through.carried = call->mux % SECCOMP_MUX_IPC;
			r = add_test(tree, &a->verdict[carrier], &through);
		}
		if (r == 0 && call->number[i] >= 0)
			r = add_test(tree, &a->verdict[call->number[i]], &test);
	}
	return r;
}

static bool has_alternatives(const struct runtime_seccomp_rule *rule)
{
	unsigned seen = 0;

	for (size_t i = 0; i < rule->n_arg; i++) {
		if (seen >> rule->arg[i].index & 1)
			return true;
		seen |= 1u << rule->arg[i].index;
	}
	return false;
}

static int add_rule(struct tree *tree, const struct runtime_seccomp_rule *rule,
		    const struct seccomp_call *call)
{
	struct tree_test test = { .arg = rule->arg,
				  .n_arg = (uint16_t)rule->n_arg,
				  .action = rule->action,
				  .carried = -1 };
	int r = 0;

	if (!has_alternatives(rule))
		return add_call(tree, call, test);
	test.n_arg = 1;
	for (size_t i = 0; i < rule->n_arg && r == 0; i++, test.arg++)
		r = add_call(tree, call, test);
	return r;
}

static int add_rules(struct tree *tree, const struct runtime_seccomp *seccomp,
		     struct fault *fault)
{
	for (size_t i = 0; i < seccomp->n_rule; i++) {
		const struct runtime_seccomp_rule *rule = &seccomp->rule[i];

		if (rule->action == seccomp->default_action)
			continue; /* says nothing */
		for (size_t j = 0; j < rule->names.n; j++) {
			const struct seccomp_call *call =
				find_call(rule->names.item[j]);
			int r = call ? add_rule(tree, rule, call) : 0;

			if (r < 0)
				return fault_set(fault, r,
						 "linux.seccomp."
						 "syscalls[%zu] (%.40s)",
						 i, rule->names.item[j]);
		}
	}
	return 0;
}

int seccomp_compile(const struct runtime_seccomp *seccomp,
		    struct sock_fprog *filter, struct fault *fault)
{
	static struct tree tree; /* large, and little of it is used */
	int r;

	tree_begin(&tree, seccomp->default_action);
	r = find_archs(&seccomp->architectures, &tree, fault);
	if (r == 0)
		r = add_rules(&tree, seccomp, fault);
	if (r < 0)
		return r;
	r = tree_code(&tree, filter);
	return r < 0 ? fault_set(fault, r, "linux.seccomp") : 0;
}
