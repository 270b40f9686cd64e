/* The only file that includes libseccomp, besides the build's generator. */
#define _GNU_SOURCE
#include "seccomp_filter.h"

#include <errno.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"

static const struct {
	const char *name;
	uint32_t arch;
} arches[] = {
	{ "SCMP_ARCH_NATIVE", SCMP_ARCH_NATIVE },
	{ "SCMP_ARCH_X86", SCMP_ARCH_X86 },
	{ "SCMP_ARCH_X86_64", SCMP_ARCH_X86_64 },
	{ "SCMP_ARCH_X32", SCMP_ARCH_X32 },
	{ "SCMP_ARCH_ARM", SCMP_ARCH_ARM },
	{ "SCMP_ARCH_AARCH64", SCMP_ARCH_AARCH64 },
	{ "SCMP_ARCH_RISCV64", SCMP_ARCH_RISCV64 },
	{ "SCMP_ARCH_S390", SCMP_ARCH_S390 },
	{ "SCMP_ARCH_S390X", SCMP_ARCH_S390X },
	{ "SCMP_ARCH_PPC64LE", SCMP_ARCH_PPC64LE },
	{ "SCMP_ARCH_PPC64", SCMP_ARCH_PPC64 },
	{ "SCMP_ARCH_PPC", SCMP_ARCH_PPC },
	{ "SCMP_ARCH_MIPS", SCMP_ARCH_MIPS },
	{ "SCMP_ARCH_MIPS64", SCMP_ARCH_MIPS64 },
	{ "SCMP_ARCH_MIPS64N32", SCMP_ARCH_MIPS64N32 },
	{ "SCMP_ARCH_MIPSEL", SCMP_ARCH_MIPSEL },
	{ "SCMP_ARCH_MIPSEL64", SCMP_ARCH_MIPSEL64 },
	{ "SCMP_ARCH_MIPSEL64N32", SCMP_ARCH_MIPSEL64N32 },
	{ "SCMP_ARCH_PARISC", SCMP_ARCH_PARISC },
	{ "SCMP_ARCH_PARISC64", SCMP_ARCH_PARISC64 },
};

/* The kernel's SECCOMP_RET_* and libseccomp's SCMP_ACT_* have the same values,
 * but for the data, which libseccomp keeps in the same bits too. */
_Static_assert(SCMP_ACT_ERRNO(7) == (SECCOMP_RET_ERRNO | 7), "same encoding");
_Static_assert(SCMP_ACT_ALLOW == SECCOMP_RET_ALLOW, "same encoding");

static int add_arches(scmp_filter_ctx ctx, const struct text_list *names,
		      struct fault *fault)
{
	for (size_t i = 0; i < names->n; i++) {
		size_t a = 0, n = sizeof(arches) / sizeof(arches[0]);

		while (a < n && strcmp(arches[a].name, names->item[i]) != 0)
			a++;
		if (a == n)
			return fault_set(fault, 0,
					 "linux.seccomp.architectures"
					 "[%zu]: \"%.40s\" is not known",
					 i, names->item[i]);
		int r = seccomp_arch_add(ctx, arches[a].arch);

		/* -EDOM: of another byte order, so it cannot run here. */
		if (r < 0 && r != -EEXIST && r != -EDOM)
			return fault_set(fault, r,
					 "linux.seccomp."
					 "architectures[%zu]",
					 i);
	}
	return 0;
}

static int add_rule(scmp_filter_ctx ctx,
		    const struct runtime_seccomp_rule *rule, const char *name)
{
	int number = seccomp_syscall_resolve_name(name);
	struct scmp_arg_cmp args[6];

	if (number == __NR_SCMP_ERROR)
		return 0;
	for (size_t i = 0; i < rule->n_arg; i++) {
		const struct runtime_seccomp_arg *a = &rule->arg[i];

		args[i % 6] = (struct scmp_arg_cmp){
			.arg = a->index,
			.op = (enum scmp_compare)a->op,
			.datum_a = a->value,
			.datum_b = a->value_two,
		};
	}
	return seccomp_rule_add_array(ctx, rule->action, number,
				      (unsigned)rule->n_arg, args);
}

/* libseccomp takes one comparison for an argument in a rule. Several on the
 * same one mean "any of them", as runc reads them. */
static int add_rule_split(scmp_filter_ctx ctx,
			  const struct runtime_seccomp_rule *rule,
			  const char *name)
{
	unsigned seen = 0;
	bool twice = rule->n_arg > 6;

	for (size_t i = 0; i < rule->n_arg; i++) {
		twice |= seen >> rule->arg[i].index & 1;
		seen |= 1u << rule->arg[i].index;
	}
	if (!twice)
		return add_rule(ctx, rule, name);
	for (size_t i = 0; i < rule->n_arg; i++) {
		struct runtime_seccomp_rule one = *rule;

		one.arg = &rule->arg[i];
		one.n_arg = 1;
		int r = add_rule(ctx, &one, name);

		if (r < 0)
			return r;
	}
	return 0;
}

static int add_rules(scmp_filter_ctx ctx, const struct runtime_seccomp *seccomp,
		     struct fault *fault)
{
	for (size_t i = 0; i < seccomp->n_rule; i++) {
		const struct runtime_seccomp_rule *rule = &seccomp->rule[i];

		if (rule->action == seccomp->default_action)
			continue; /* says nothing, and libseccomp refuses it */
		for (size_t j = 0; j < rule->names.n; j++) {
			int r = add_rule_split(ctx, rule, rule->names.item[j]);

			if (r < 0)
				return fault_set(fault, r,
						 "linux.seccomp."
						 "syscalls[%zu] (%.40s)",
						 i, rule->names.item[j]);
		}
	}
	return 0;
}

/* Through a memfd: older libseccomp has no export to memory. */
static int export(scmp_filter_ctx ctx, struct sock_fprog *filter)
{
	struct stat st;
	autoclose int fd = memfd_create("filter", MFD_CLOEXEC);

	if (fd < 0)
		return -errno;
	int r = seccomp_export_bpf(ctx, fd);

	if (r < 0)
		return r;
	if (fstat(fd, &st) < 0 || lseek(fd, 0, SEEK_SET) < 0)
		return -errno;
	if (st.st_size / (off_t)sizeof(struct sock_filter) > BPF_MAXINSNS)
		return -E2BIG;
	struct sock_filter *code = malloc((size_t)st.st_size);

	if (!code)
		return -ENOMEM;
	if (fd_read(fd, code, (size_t)st.st_size) != st.st_size) {
		free(code);
		return -EIO;
	}
	filter->filter = code;
	filter->len = (unsigned short)((size_t)st.st_size / sizeof(*code));
	return 0;
}

int seccomp_compile(const struct runtime_seccomp *seccomp,
		    struct sock_fprog *filter, struct fault *fault)
{
	scmp_filter_ctx ctx = seccomp_init(seccomp->default_action);

	if (!ctx)
		return fault_set(fault, -EINVAL, "linux.seccomp.defaultAction");
	/* no_new_privs is the config's own matter. */
	seccomp_attr_set(ctx, SCMP_FLTATR_CTL_NNP, 0);
	seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	int r = add_arches(ctx, &seccomp->architectures, fault);

	if (r == 0)
		r = add_rules(ctx, seccomp, fault);
	if (r == 0) {
		r = export(ctx, filter);
		if (r < 0)
			fault_set(fault, r, "linux.seccomp");
	}
	seccomp_release(ctx);
	return r;
}
