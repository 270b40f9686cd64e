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
#define FEW_INSNS      128
#define PROGRAMS_MAX   64 /* the kernel's, of a cgroup */

enum { MKNOD = RUNTIME_DEVICE_MKNOD, RWM = 7 };

/* Granted to every container unless its config says otherwise later:
 * c 1:3 null, 5 zero, 7 full, 8 random, 9 urandom; c 5:0 tty, 1 console, 2
 * ptmx; c 136 pts. Making any node is harmless while opening it is not allowed.
 */
enum {
	MEMORY_MAJOR = 1,
	MEMORY_MINORS = 1 << 3 | 1 << 5 | 1 << 7 | 1 << 8 | 1 << 9,
	MEMORY_MINOR_MAX = 9,
	TTY_MAJOR = 5,
	TTY_MINOR_MAX = 2,
	PTS_MAJOR = 136,
	DEFAULT_INSNS = 42,
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

static void emit_alu(struct program *p, uint8_t op, unsigned dst, int32_t value)
{
	emit(p, BPF_ALU64 | op | BPF_K, dst, 0, 0, value);
}

static void emit_with(struct program *p, uint8_t op, unsigned dst, unsigned src)
{
	emit(p, BPF_ALU64 | op | BPF_X, dst, src, 0, 0);
}

/* dst = value of reg == k, as 0 or 1: only 0 is below 0 once it is less by 1.
 */
static void emit_is(struct program *p, unsigned dst, unsigned reg, int32_t k)
{
	emit_with(p, BPF_MOV, dst, reg);
	emit_alu(p, BPF_XOR, dst, k);
	emit_alu(p, BPF_SUB, dst, 1);
	emit_alu(p, BPF_RSH, dst, 63);
}

static void emit_below(struct program *p, unsigned dst, unsigned reg, int32_t k)
{
	emit_with(p, BPF_MOV, dst, reg);
	emit_alu(p, BPF_SUB, dst, k);
	emit_alu(p, BPF_RSH, dst, 63);
}

/* The default rules as one, and without a branch: the kernel checks a program
 * branch by branch. The numbers are of 32 bits in registers of 64. */
static void emit_default(struct program *p)
{
	enum { RESULT = BPF_REG_0, DEVICE, TYPE, ACCESS, MAJOR, MINOR, A, B };

	emit_is(p, DEVICE, MAJOR, PTS_MAJOR);
	emit_is(p, A, MAJOR, TTY_MAJOR);
	emit_below(p, B, MINOR, TTY_MINOR_MAX + 1);
	emit_with(p, BPF_AND, A, B);
	emit_with(p, BPF_OR, DEVICE, A);
	emit_is(p, A, MAJOR, MEMORY_MAJOR);
	emit_below(p, B, MINOR, MEMORY_MINOR_MAX + 1);
	emit_with(p, BPF_AND, A, B);
	emit_alu(p, BPF_MOV, B, MEMORY_MINORS);
	emit_with(p, BPF_RSH, B, MINOR);
	emit_with(p, BPF_AND, A, B);
	emit_with(p, BPF_OR, DEVICE, A);
	emit_is(p, RESULT, TYPE, BPF_DEVCG_DEV_CHAR);
	emit_with(p, BPF_AND, RESULT, DEVICE);
	emit_is(p, A, ACCESS, MKNOD);
	emit_with(p, BPF_OR, RESULT, A);
	emit(p, BPF_JMP | BPF_JEQ | BPF_K, RESULT, 0, 1, 0);
	emit(p, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
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
	emit_default(p);
	for (size_t i = leading; i-- > 0;) {
		if (!emit_rule(p, &rule[i]))
			return;
	}
	emit(p, BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_0, 0, 0, 0);
	emit(p, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
}

static int load(const struct program *p)
{
	static const char license[] = "GPL";
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE;
	attr.insns = (uint64_t)(uintptr_t)p->insn;
	attr.insn_cnt = (uint32_t)p->n;
	attr.license = (uint64_t)(uintptr_t)license;
	return kernel_result(
		syscall(SYS_bpf, BPF_PROG_LOAD, &attr, sizeof(attr)));
}

static int attach(int dir, int program, int command)
{
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.target_fd = (uint32_t)dir;
	attr.attach_bpf_fd = (uint32_t)program;
	attr.attach_type = BPF_CGROUP_DEVICE;
	if (command == BPF_PROG_ATTACH)
		attr.attach_flags = BPF_F_ALLOW_MULTI;
	return kernel_result(syscall(SYS_bpf, command, &attr, sizeof(attr)));
}

static int compile(const struct runtime_resources *resources)
{
	struct bpf_insn few[FEW_INSNS] = { 0 };
	struct program p = { .insn = few };
	size_t room = resources->n_device * RULE_INSNS_MAX + HEAD_INSNS +
		      DEFAULT_INSNS + 2;
	autofree struct bpf_insn *many = room > FEW_INSNS
						 ? calloc(room, sizeof(*many))
						 : NULL;

	if (room > FEW_INSNS && !many)
		return -ENOMEM;
	if (many)
		p.insn = many;
	emit_head(&p);
	emit_rules(&p, resources);
	return load(&p);
}

/* The default rules are most containers': their program is loaded once. */
static int standard = -1;

void cgroup_devices_forget(void)
{
	standard = -1;
}

int cgroup_devices(const struct cgroup *cg,
		   const struct runtime_resources *resources,
		   struct fault *fault)
{
	autoclose int own = resources->n_device ? compile(resources) : -1;

	if (!resources->n_device && standard < 0)
		standard = compile(resources);
	int program = resources->n_device ? own : standard;
	int r = program < 0 ? program
			    : attach(cg->dir, program, BPF_PROG_ATTACH);

	return r < 0 ? fault_set(fault, r,
				 "linux.resources.devices: BPF "
				 "program")
		     : 0;
}

/* Their ids, or -errno. */
static int attached(int dir, uint32_t *id, uint32_t room)
{
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.query.target_fd = (uint32_t)dir;
	attr.query.attach_type = BPF_CGROUP_DEVICE;
	attr.query.prog_ids = (uint64_t)(uintptr_t)id;
	attr.query.prog_cnt = room;
	int r = kernel_result(
		syscall(SYS_bpf, BPF_PROG_QUERY, &attr, sizeof(attr)));

	return r < 0 ? r : (int)attr.query.prog_cnt;
}

static int detach(int dir, uint32_t id)
{
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.prog_id = id;
	autoclose int program = kernel_result(
		syscall(SYS_bpf, BPF_PROG_GET_FD_BY_ID, &attr, sizeof(attr)));

	return program < 0 ? program : attach(dir, program, BPF_PROG_DETACH);
}

/* All that are attached must agree: what is to be allowed no longer is not from
 * here on, and what newly is, is at the end. */
int cgroup_devices_renew(const struct cgroup *cg,
			 const struct runtime_resources *resources,
			 struct fault *fault)
{
	uint32_t old[PROGRAMS_MAX];
	int n = attached(cg->dir, old, PROGRAMS_MAX);
	autoclose int program = n < 0 ? n : compile(resources);
	int r = program < 0 ? program
			    : attach(cg->dir, program, BPF_PROG_ATTACH);

	for (int i = 0; r == 0 && i < n; i++)
		r = detach(cg->dir, old[i]);
	return r < 0 ? fault_set(fault, r, "BPF program") : 0;
}
