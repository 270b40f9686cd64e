/* The compiler of seccomp profiles, call by call, on the architectures of this
 * machine and on one that is not: against the plain reading of the profile,
 * and, for profiles without arguments, against the filter of libseccomp. (With
 * them version 2.6 errs in one of some thousand calls: it takes one half of an
 * argument for loaded that is not.) */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tap.h"
#include "zrun/seccomp_filter.h"

#define N_OF(array) (sizeof(array) / sizeof((array)[0]))

enum { PROFILES = 150, TEXT_SIZE = 16384 };

static const char *const names[] = {
	"read",		"write",
	"open",		"clone",
	"clone3",	"socket",
	"socketcall",	"personality",
	"semop",	"shmget",
	"ipc",		"accept4",
	"recvmmsg",	"execve",
	"mmap",		"mmap2",
	"ptrace",	"setuid",
	"setuid32",	"futex",
	"statx",	"landlock_create_ruleset",
	"arch_prctl",	"time",
	"send",		"rt_sigreturn",
	"no_such_call", "cacheflush",
	"bpf",		"keyctl",
};

static const struct {
	const char *name;
	uint32_t token;
} archs[] = {
	{ "SCMP_ARCH_X86_64", SCMP_ARCH_X86_64 },
	{ "SCMP_ARCH_X86", SCMP_ARCH_X86 },
	{ "SCMP_ARCH_X32", SCMP_ARCH_X32 },
	{ "SCMP_ARCH_AARCH64", SCMP_ARCH_AARCH64 },
	{ "SCMP_ARCH_ARM", SCMP_ARCH_ARM },
};

static const char *const actions[] = { "SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO",
				       "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_LOG",
				       "SCMP_ACT_TRAP" };
static const char *const ops[] = { "NE", "LT", "LE",	   "EQ",
				   "GE", "GT", "MASKED_EQ" };
static const uint64_t values[] = {
	0,	     1,		  2,
	16,	     0x7e020000,  0xffffffff,
	0x100000000, 0x100000001, 0xffffffffffffffff
};

/* libseccomp loses a few bytes when it is given the same rule twice. */
const char *__asan_default_options(void);

const char *__asan_default_options(void)
{
	return "detect_leaks=0";
}

static unsigned pick(unsigned n)
{
	return (unsigned)random() % n;
}

/* What the kernel's interpreter does. */
static uint32_t judge(const struct sock_fprog *filter,
		      const struct seccomp_data *data)
{
	uint32_t a = 0;

	for (unsigned pc = 0; pc < filter->len; pc++) {
		const struct sock_filter *f = &filter->filter[pc];
		bool hit;

		switch (BPF_CLASS(f->code)) {
		case BPF_LD:
			memcpy(&a, (const char *)data + f->k, sizeof(a));
			continue;
		case BPF_ALU:
			a &= f->k;
			continue;
		case BPF_RET:
			return f->k;
		}
		if (BPF_OP(f->code) == BPF_JA) {
			pc += f->k;
			continue;
		}
		hit = BPF_OP(f->code) == BPF_JEQ   ? a == f->k
		      : BPF_OP(f->code) == BPF_JGT ? a > f->k
		      : BPF_OP(f->code) == BPF_JGE ? a >= f->k
						   : a & f->k;
		pc += hit ? f->jt : f->jf;
	}
	abort();
}

static bool compare(const struct runtime_seccomp_arg *a, uint64_t arg,
		    bool wide)
{
	uint64_t cut = wide ? UINT64_MAX : UINT32_MAX;
	uint64_t value = a->value & cut;

	arg &= cut;
	switch ((enum scmp_compare)a->op) {
	case SCMP_CMP_NE:
		return arg != value;
	case SCMP_CMP_LT:
		return arg < value;
	case SCMP_CMP_LE:
		return arg <= value;
	case SCMP_CMP_EQ:
		return arg == value;
	case SCMP_CMP_GE:
		return arg >= value;
	case SCMP_CMP_GT:
		return arg > value;
	default:
		return (arg & value) == (a->value_two & value);
	}
}

static bool matches(const struct runtime_seccomp_rule *rule,
		    const struct seccomp_data *data, bool wide, bool carried)
{
	for (size_t i = 0; i < rule->n_arg; i++) {
		const struct runtime_seccomp_arg *a = &rule->arg[i];

		if (!(carried && a->index == 0) &&
		    !compare(a, data->args[a->index], wide))
			return false;
	}
	return true;
}

/* The number by which `name` is called, or through which it is carried by
 * socketcall (102) and ipc (117); *carried: their first argument. */
static bool is_call(const char *name, uint32_t token,
		    const struct seccomp_data *data, bool *carried)
{
	char *own = seccomp_syscall_resolve_num_arch(token, data->nr);
	int number = seccomp_syscall_resolve_name_arch(token, name);
	bool same = own && strcmp(own, name) == 0;
	int carrier = number <= -200 ? 117 : 102;

	free(own);
	*carried = token == SCMP_ARCH_X86 && number <= -101 && number >= -224 &&
		   data->nr == carrier &&
		   (uint32_t)data->args[0] ==
			   (uint32_t)(-number % (number <= -200 ? 200 : 100));
	return same || *carried;
}

static uint32_t reading(const struct runtime_seccomp *s,
			const struct seccomp_data *data, uint32_t token)
{
	bool wide = token == SCMP_ARCH_X86_64 || token == SCMP_ARCH_AARCH64;
	uint32_t found = s->default_action;
	bool any = false, carried;

	for (size_t i = 0; i < s->n_rule; i++) {
		const struct runtime_seccomp_rule *rule = &s->rule[i];

		if (rule->action == s->default_action ||
		    !is_call(rule->names.item[0], token, data, &carried))
			continue;
		if (!rule->n_arg && !carried)
			return rule->action;
		if (!any && matches(rule, data, wide, carried)) {
			found = rule->action;
			any = true;
		}
	}
	return found;
}

static void oracle_rules(scmp_filter_ctx ctx, const struct runtime_seccomp *s)
{
	for (size_t i = 0; i < s->n_rule; i++) {
		const struct runtime_seccomp_rule *rule = &s->rule[i];
		int number = seccomp_syscall_resolve_name(rule->names.item[0]);

		if (number == __NR_SCMP_ERROR ||
		    rule->action == s->default_action)
			continue;
		int r = seccomp_rule_add(ctx, rule->action, number, 0);

		if (r < 0 && r != -EEXIST)
			ok(false, "libseccomp refuses a rule: %s",
			   strerror(-r));
	}
}

static struct sock_fprog oracle(const struct runtime_seccomp *s)
{
	static struct sock_filter code[BPF_MAXINSNS];
	scmp_filter_ctx ctx = seccomp_init(s->default_action);
	int fd = memfd_create("oracle", 0);

	for (size_t i = 0; i < s->architectures.n; i++) {
		for (size_t a = 0; a < N_OF(archs); a++) {
			if (strcmp(archs[a].name, s->architectures.item[i]) ==
			    0)
				seccomp_arch_add(ctx, archs[a].token);
		}
	}
	oracle_rules(ctx, s);
	if (seccomp_export_bpf(ctx, fd) < 0)
		abort();
	ssize_t n = pread(fd, code, sizeof(code), 0);

	close(fd);
	seccomp_release(ctx);
	return (struct sock_fprog){ .len = (unsigned short)(n / 8),
				    .filter = code };
}

static bool has_arch(const struct runtime_seccomp *s, const char *name)
{
	for (size_t i = 0; i < s->architectures.n; i++) {
		if (strcmp(s->architectures.item[i], name) == 0)
			return true;
	}
	return false;
}

static uint32_t token_of(const struct runtime_seccomp *s,
			 const struct seccomp_data *data)
{
	bool high = (uint32_t)data->nr >= 0x40000000 && data->nr != -1;

	switch (data->arch) {
	case AUDIT_ARCH_X86_64:
		if (!high)
			return SCMP_ARCH_X86_64;
		return has_arch(s, "SCMP_ARCH_X32") ? SCMP_ARCH_X32 : 0;
	case AUDIT_ARCH_AARCH64:
		return SCMP_ARCH_AARCH64;
	case AUDIT_ARCH_I386:
		return has_arch(s, "SCMP_ARCH_X86") ? SCMP_ARCH_X86 : 0;
	case AUDIT_ARCH_ARM:
		return has_arch(s, "SCMP_ARCH_ARM") ? SCMP_ARCH_ARM : 0;
	default:
		return 0;
	}
}

static const uint32_t audits[] = {
#ifdef __x86_64__
	AUDIT_ARCH_X86_64,
	AUDIT_ARCH_I386,
#else
	AUDIT_ARCH_AARCH64,
	AUDIT_ARCH_ARM,
#endif
	AUDIT_ARCH_S390X,
};

/* How many of many calls our filter judges unlike the other one, or, if there
 * is none, unlike the plain reading. */
static size_t disagreements(const struct runtime_seccomp *s,
			    const struct sock_fprog *ours,
			    const struct sock_fprog *theirs)
{
	static const uint32_t bases[] = { 0, 0x0f0000, 0x40000000,
					  UINT32_MAX - 99 };
	size_t n = 0;

	for (size_t i = 0; i < N_OF(audits) * N_OF(bases) * 600; i++) {
		struct seccomp_data data = {
			.arch = audits[i % N_OF(audits)],
			.nr = (int)(bases[i / N_OF(audits) % N_OF(bases)] +
				    i / N_OF(audits) / N_OF(bases)),
		};
		uint32_t token = token_of(s, &data);

		for (int k = 0; k < 6; k++)
			data.args[k] = values[pick(N_OF(values))] + pick(3) - 1;
		if (theirs)
			n += judge(ours, &data) != judge(theirs, &data);
		else
			n += judge(ours, &data) !=
			     (token ? reading(s, &data, token)
				    : SECCOMP_RET_KILL_THREAD);
	}
	return n;
}

static void write_arg(FILE *f, unsigned index)
{
	fprintf(f,
		"{\"index\": %u, \"value\": %llu, \"valueTwo\": %llu,"
		" \"op\": \"SCMP_CMP_%s\"}",
		index, (unsigned long long)values[pick(N_OF(values))],
		(unsigned long long)values[pick(N_OF(values))],
		ops[pick(N_OF(ops))]);
}

static void write_args(FILE *f)
{
	fprintf(f, ", \"args\": [");
	write_arg(f, pick(2));
	if (pick(2)) {
		fprintf(f, ", ");
		write_arg(f, 2);
	}
	fprintf(f, "]");
}

static void write_rules(FILE *f, unsigned one_of_has_args)
{
	unsigned n = pick(16);

	for (unsigned i = 0; i < n; i++) {
		fprintf(f, "%s{\"names\": [\"%s\"], \"action\": \"%s\"",
			i ? "," : "", names[pick(N_OF(names))],
			actions[pick(N_OF(actions))]);
		if (one_of_has_args && pick(one_of_has_args) == 0)
			write_args(f);
		fprintf(f, "}");
	}
}

static void write_profile(FILE *f, unsigned one_of_has_args)
{
	fprintf(f,
		"{\"ociVersion\": \"1.2.0\", \"root\": {\"path\": \"r\"},"
		" \"linux\": {\"namespaces\": [{\"type\": \"mount\"}],"
		" \"seccomp\": {\"defaultAction\": \"%s\","
		" \"architectures\": [",
		actions[pick(N_OF(actions))]);
	for (unsigned i = 0, any = 0; i < N_OF(archs); i++) {
		if (pick(2))
			fprintf(f, "%s\"%s\"", any++ ? "," : "", archs[i].name);
	}
	fprintf(f, "], \"syscalls\": [");
	write_rules(f, one_of_has_args);
	fprintf(f, "]}}}");
}

/* Profiles in which one rule of so many has arguments; 0: none. */
static void test_random_profiles(unsigned one_of_has_args, const char *what)
{
	static char text[TEXT_SIZE];
	char error[RUNTIME_ERROR_SIZE];
	struct runtime_config config;
	struct fault fault = { "" };
	size_t wrong = 0;

	for (int i = 0; i < PROFILES; i++) {
		FILE *f = fmemopen(text, sizeof(text), "w");
		struct sock_fprog ours, theirs;

		write_profile(f, one_of_has_args);
		fclose(f);
		if (runtime_config_parse(&config, text, strlen(text), error) <
			    0 ||
		    seccomp_compile(&config.seccomp, &ours, &fault) < 0) {
			ok(false, "%s%s: %s", error, fault.text, text);
			return;
		}
		if (!one_of_has_args)
			theirs = oracle(&config.seccomp);
		size_t n = disagreements(&config.seccomp, &ours,
					 one_of_has_args ? NULL : &theirs);

		if (n && wrong++ == 0)
			fprintf(stderr, "# %zu calls differ: %s\n", n, text);
		runtime_config_free(&config);
	}
	ok(wrong == 0, "%d random profiles %s", PROFILES, what);
}

/* What comparing with libseccomp leaves out. */
static void test_alternatives(void)
{
	struct runtime_seccomp_arg args[] = { { 0, 3, 0, SCMP_CMP_EQ },
					      { 0, 5, 0, SCMP_CMP_EQ },
					      { 0, 5, 0, SCMP_CMP_GE } };
	const char *one[] = { "read", NULL };
	struct runtime_seccomp_rule rule[] = {
		{ { one, 1 }, SECCOMP_RET_ERRNO | 1, args, 2 },
		{ { one, 1 }, SECCOMP_RET_ERRNO | 2, args + 2, 1 },
	};
	const struct runtime_seccomp s = { .default_action = SECCOMP_RET_ALLOW,
					   .rule = rule,
					   .n_rule = 2 };
	static const uint32_t expected[] = { 0, 0, 0, 1, 0, 1, 2 };
	struct fault fault = { "" };
	struct sock_fprog filter;
	size_t right = 0;

	if (seccomp_compile(&s, &filter, &fault) < 0)
		abort();
	for (size_t i = 0; i < N_OF(expected); i++) {
		struct seccomp_data data = { .arch = filter.filter[1].k,
					     .args = { i } };
		uint32_t action = expected[i] ? SECCOMP_RET_ERRNO | expected[i]
					      : SECCOMP_RET_ALLOW;

		right += judge(&filter, &data) == action;
	}
	ok(right == N_OF(expected),
	   "conditions on one argument are alternatives, the first rule wins");
}

/* More instructions than the kernel takes, and more than a conditional jump
 * reaches. */
static void test_large(void)
{
	static struct runtime_seccomp_arg arg = { 0, 7, 0, SCMP_CMP_EQ };
	static struct runtime_seccomp_rule rule[900];
	static const char *one[] = { "read", NULL };
	struct runtime_seccomp s = { .default_action = SECCOMP_RET_ALLOW,
				     .rule = rule };
	struct fault fault = { "" };
	struct sock_fprog filter;

	for (size_t i = 0; i < N_OF(rule); i++)
		rule[i] = (struct runtime_seccomp_rule){
			.names = { one, 1 },
			.action = SECCOMP_RET_ERRNO | (uint32_t)(i % 9),
			.arg = &arg,
			.n_arg = 1,
		};
	s.n_rule = 200;
	int r = seccomp_compile(&s, &filter, &fault);
	struct seccomp_data data = { .arch = filter.filter[1].k };

	ok(r == 0 && judge(&filter, &data) == SECCOMP_RET_ALLOW,
	   "jumps over long lists of rules");
	data.args[0] = 7;
	ok(judge(&filter, &data) == SECCOMP_RET_ERRNO,
	   "the first rule that matches decides");
	s.n_rule = N_OF(rule);
	ok(seccomp_compile(&s, &filter, &fault) < 0 &&
		   strcmp(fault.text,
			  "linux.seccomp: Argument list too long") == 0,
	   "longer than the kernel takes: %s", fault.text);
}

int main(void)
{
	srandom(2026);
	test_random_profiles(0, "as libseccomp compiles them");
	test_random_profiles(2, "as they are read");
	test_alternatives();
	test_large();
	return tap_done();
}
