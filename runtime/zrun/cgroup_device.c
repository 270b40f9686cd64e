/* Which devices a container may open or make: cgroup v2 has no files for it,
 * a BPF program decides (BPF_CGROUP_DEVICE).
 *
 * The rules are a list of which the last that matches decides; nothing matches
 * means no. The program is that list from its end, a few instructions a rule:
 *
 *	r2 type, r3 access, r4 major, r5 minor
 *	if type differs: next rule ...
 *	r0 = allow; exit */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/bpf.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "cgroup.h"
#include "kernel.h"

#define RULE_INSNS_MAX 8
#define HEAD_INSNS     6
#define N_OF(array)    (sizeof(array) / sizeof((array)[0]))

enum { MKNOD = RUNTIME_DEVICE_MKNOD, RWM = 7 };

/* Granted to every container unless its config says otherwise later; making
 * any node is harmless while opening it is not allowed. */
static const struct runtime_device_rule default_rules[] = {
	{ true, 'c', { 0 }, { 0 }, MKNOD },
	{ true, 'b', { 0 }, { 0 }, MKNOD },
	{ true, 'c', { true, 1 }, { true, 3 }, RWM }, /* null */
	{ true, 'c', { true, 1 }, { true, 5 }, RWM }, /* zero */
	{ true, 'c', { true, 1 }, { true, 7 }, RWM }, /* full */
	{ true, 'c', { true, 1 }, { true, 8 }, RWM }, /* random */
	{ true, 'c', { true, 1 }, { true, 9 }, RWM }, /* urandom */
	{ true, 'c', { true, 5 }, { true, 0 }, RWM }, /* tty */
	{ true, 'c', { true, 5 }, { true, 1 }, RWM }, /* console */
	{ true, 'c', { true, 5 }, { true, 2 }, RWM }, /* ptmx */
	{ true, 'c', { true, 136 }, { 0 }, RWM },     /* pts */
};

struct program {
	struct bpf_insn *insn;
	size_t n;
};

static void emit(struct program *p, uint8_t code, unsigned dst, unsigned src,
		 int16_t off, int32_t imm)
{
	p->insn[p->n++] = (struct bpf_insn){ .code = code,
					     .dst_reg = dst & 15,
					     .src_reg = src & 15,
					     .off = off,
					     .imm = imm };
}

static void emit_head(struct program *p)
{
	enum { LOAD = BPF_LDX | BPF_MEM | BPF_W };

	emit(p, LOAD, BPF_REG_2, BPF_REG_1, 0, 0);
	emit(p, BPF_ALU | BPF_MOV | BPF_X, BPF_REG_3, BPF_REG_2, 0, 0);
	emit(p, BPF_ALU | BPF_AND | BPF_K, BPF_REG_2, 0, 0, 0xffff);
	emit(p, BPF_ALU | BPF_RSH | BPF_K, BPF_REG_3, 0, 0, 16);
	emit(p, LOAD, BPF_REG_4, BPF_REG_1, 4, 0);
	emit(p, LOAD, BPF_REG_5, BPF_REG_1, 8, 0);
}

/* Returns false when the rule matches everything: the verifier takes no code
 * that cannot be reached, so the program ends there. */
static bool emit_rule(struct program *p, const struct runtime_device_rule *rule)
{
	size_t first = p->n;

	if (rule->type != 'a')
		emit(p, BPF_JMP | BPF_JNE | BPF_K, BPF_REG_2, 0, 0,
		     rule->type == 'b' ? BPF_DEVCG_DEV_BLOCK
				       : BPF_DEVCG_DEV_CHAR);
	if (rule->access != RWM) {
		/* Allow: nothing asked beyond it. Deny: anything of it. */
		int mask = rule->allow ? ~rule->access & RWM : rule->access;

		emit(p, BPF_ALU | BPF_MOV | BPF_X, BPF_REG_1, BPF_REG_3, 0, 0);
		emit(p, BPF_ALU | BPF_AND | BPF_K, BPF_REG_1, 0, 0, mask);
		emit(p, BPF_JMP | (rule->allow ? BPF_JNE : BPF_JEQ) | BPF_K,
		     BPF_REG_1, 0, 0, 0);
	}
	if (rule->major.set)
		emit(p, BPF_JMP | BPF_JNE | BPF_K, BPF_REG_4, 0, 0,
		     (int32_t)rule->major.value);
	if (rule->minor.set)
		emit(p, BPF_JMP | BPF_JNE | BPF_K, BPF_REG_5, 0, 0,
		     (int32_t)rule->minor.value);
	emit(p, BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_0, 0, 0, rule->allow);
	emit(p, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
	for (size_t i = first; i < p->n; i++) {
		if (BPF_CLASS(p->insn[i].code) == BPF_JMP &&
		    p->insn[i].code != (BPF_JMP | BPF_EXIT))
			p->insn[i].off = (int16_t)(p->n - i - 1);
	}
	return rule->type != 'a' || rule->access != RWM || rule->major.set ||
	       rule->minor.set;
}

/* The config's first rule is commonly "deny all": the default ones come after
 * such leading denials and before all others. */
static void emit_rules(struct program *p,
		       const struct runtime_resources *resources)
{
	const struct runtime_device_rule *rule = resources->device;
	size_t leading = 0;

	while (leading < resources->n_device && !rule[leading].allow)
		leading++;
	for (size_t i = resources->n_device; i-- > leading;) {
		if (!emit_rule(p, &rule[i]))
			return;
	}
	for (size_t i = N_OF(default_rules); i-- > 0;)
		emit_rule(p, &default_rules[i]);
	for (size_t i = leading; i-- > 0;) {
		if (!emit_rule(p, &rule[i]))
			return;
	}
	emit(p, BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_0, 0, 0, 0);
	emit(p, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
}

static int load(const struct program *p)
{
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE;
	attr.insns = (uint64_t)(uintptr_t)p->insn;
	attr.insn_cnt = (uint32_t)p->n;
	attr.license = (uint64_t)(uintptr_t) "GPL";
	return kernel_result(
		syscall(SYS_bpf, BPF_PROG_LOAD, &attr, sizeof(attr)));
}

static int attach(int dir, int program)
{
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.target_fd = (uint32_t)dir;
	attr.attach_bpf_fd = (uint32_t)program;
	attr.attach_type = BPF_CGROUP_DEVICE;
	attr.attach_flags = BPF_F_ALLOW_MULTI;
	return kernel_result(
		syscall(SYS_bpf, BPF_PROG_ATTACH, &attr, sizeof(attr)));
}

static int compile(const struct runtime_resources *resources)
{
	size_t rules = resources->n_device + N_OF(default_rules);
	struct program p = { 0 };
	size_t room = rules * RULE_INSNS_MAX + HEAD_INSNS + 2;
	autofree struct bpf_insn *insn = calloc(room, sizeof(*insn));

	if (!insn)
		return -ENOMEM;
	p.insn = insn;
	emit_head(&p);
	emit_rules(&p, resources);
	return load(&p);
}

/* The default rules are most containers': their program is loaded once. */
int cgroup_devices(const struct cgroup *cg,
		   const struct runtime_resources *resources,
		   struct fault *fault)
{
	static int standard = -1;
	autoclose int own = -1;
	int program;

	if (resources->n_device) {
		program = own = compile(resources);
	} else {
		if (standard < 0)
			standard = compile(resources);
		program = standard;
	}
	int r = program < 0 ? program : attach(cg->dir, program);

	return r < 0 ? fault_set(fault, r,
				 "linux.resources.devices: BPF "
				 "program")
		     : 0;
}
