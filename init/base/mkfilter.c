/* mkfilter: the system calls that sources list, as a ready seccomp filter.
 *
 *	mkfilter -a ARCH [-x "NAME ..."] -o OUT.h FILE ...
 *
 * A program of the build, on the host; needs libseccomp, only for the numbers
 * of the calls of each architecture. ARCH is x86_64 or aarch64. The FILEs are
 * searched for lines such as
 *
 *	#syscalls: read write
 *	#syscalls[x86_64]: open
 *
 * OUT.h gets `static const struct sock_filter seccomp_filter[]`. -x adds calls
 * that the build needs, as those of a sanitizer's run time.
 *
 * The filter is a search tree. The allowed numbers, sorted, form ranges; the
 * edges of the ranges are the places where the verdict turns. Each inner node
 * asks whether the number is at least one edge, each leaf returns. Thirty
 * calls take about five comparisons, where a list takes thirty. Numbers of
 * the x32 ABI lie above every edge, other architectures are refused first. */
#define _GNU_SOURCE
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CALL_MAX 1024 /* greater than any call number */

static const struct arch {
	const char *name;
	uint32_t token, audit;
} archs[] = {
	{ "x86_64", SCMP_ARCH_X86_64, AUDIT_ARCH_X86_64 },
	{ "aarch64", SCMP_ARCH_AARCH64, AUDIT_ARCH_AARCH64 },
};

static const struct arch *arch;
static bool allowed[CALL_MAX];

__attribute__((format(printf, 1, 2), noreturn)) static void die(const char *fmt,
								...)
{
	va_list ap;

	fputs("mkfilter: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	exit(1);
}

/* Adds the names of a list that white space parts. */
static void names_add(const char *where, char *names)
{
	char *save;

	for (char *name = strtok_r(names, " \t\r\n", &save); name;
	     name = strtok_r(NULL, " \t\r\n", &save)) {
		int n;

		if (!strcmp(name, "*/"))
			return;
		n = seccomp_syscall_resolve_name_arch(arch->token, name);
		if (n < 0 || n >= CALL_MAX)
			die("%s: %s: no system call of %s; if it is one of "
			    "another, list it as #syscalls[ARCH]:",
			    where, name, arch->name);
		allowed[n] = true;
	}
}

static void line_add(const char *where, char *line)
{
	char *mark = strstr(line, "#syscalls"), *end;

	if (!mark)
		return;
	mark += strlen("#syscalls");
	if (*mark == '[') {
		end = strchr(++mark, ']');
		if (!end || end[1] != ':')
			return;
		*end = '\0';
		if (!strcmp(mark, arch->name))
			names_add(where, end + 2);
	} else if (*mark == ':') {
		names_add(where, mark + 1);
	}
}

static void file_add(const char *path)
{
	FILE *f = fopen(path, "re");
	char *line = NULL;
	size_t size = 0;

	if (!f)
		die("%s: %m", path);
	while (getline(&line, &size, f) >= 0)
		line_add(path, line);
	free(line);
	fclose(f);
}

struct program {
	size_t n;
	struct sock_filter code[BPF_MAXINSNS];
};

static size_t emit(struct program *p, struct sock_filter instruction)
{
	if (p->n == BPF_MAXINSNS)
		die("filter too long");
	p->code[p->n] = instruction;
	return p->n++;
}

/* The tree over edges[0..n); verdict is that of numbers below all of them. */
static void emit_tree(struct program *p, const uint32_t *edges, size_t n,
		      bool verdict)
{
	size_t middle = n / 2, at, distance;

	if (n == 0) {
		emit(p, (struct sock_filter)BPF_STMT(
				BPF_RET | BPF_K,
				verdict ? SECCOMP_RET_ALLOW
					: SECCOMP_RET_KILL_PROCESS));
		return;
	}
	at = emit(p, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K,
						  edges[middle], 0, 0));
	emit_tree(p, edges, middle, verdict);
	distance = p->n - at - 1;
	if (distance > UINT8_MAX)
		die("filter tree too wide for its jumps");
	p->code[at].jt = (uint8_t)distance;
	emit_tree(p, edges + middle + 1, n - middle - 1,
		  verdict ^ (middle % 2 == 0));
}

static void program_make(struct program *p)
{
	uint32_t edges[CALL_MAX];
	size_t n = 0;

	for (uint32_t i = 0; i < CALL_MAX; i++) {
		if (allowed[i] != (i > 0 && allowed[i - 1]))
			edges[n++] = i;
	}
	emit(p,
	     (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
					  offsetof(struct seccomp_data, arch)));
	emit(p, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K,
					     arch->audit, 1, 0));
	emit(p, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K,
					     SECCOMP_RET_KILL_PROCESS));
	emit(p,
	     (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
					  offsetof(struct seccomp_data, nr)));
	emit_tree(p, edges, n, false);
}

static void program_write(const struct program *p, const char *path)
{
	FILE *f = fopen(path, "we");

	if (!f)
		die("%s: %m", path);
	fprintf(f, "/* Made by mkfilter for %s. Allowed:\n", arch->name);
	for (int i = 0; i < CALL_MAX; i++) {
		if (allowed[i]) {
			char *name = seccomp_syscall_resolve_num_arch(
				arch->token, i);

			fprintf(f, " * %3d %s\n", i, name);
			free(name);
		}
	}
	fputs(" */\n#include <linux/filter.h>\n\n"
	      "static const struct sock_filter seccomp_filter[] = {\n",
	      f);
	for (size_t i = 0; i < p->n; i++)
		fprintf(f, "\t{ 0x%02x, %u, %u, 0x%08x },\n", p->code[i].code,
			p->code[i].jt, p->code[i].jf, p->code[i].k);
	fputs("};\n", f);
	if (ferror(f) || fclose(f) != 0)
		die("%s: cannot write", path);
}

static const struct arch *arch_find(const char *name)
{
	for (size_t i = 0; i < sizeof(archs) / sizeof(archs[0]); i++) {
		if (!strcmp(archs[i].name, name))
			return &archs[i];
	}
	die("%s: unknown architecture", name);
}

int main(int argc, char **argv)
{
	char *extra = NULL, *out = NULL;
	static struct program program;
	int option;

	while ((option = getopt(argc, argv, "a:x:o:")) != -1) {
		switch (option) {
		case 'a':
			arch = arch_find(optarg);
			break;
		case 'x':
			extra = optarg;
			break;
		case 'o':
			out = optarg;
			break;
		default:
			return 2;
		}
	}
	if (!arch || !out || optind == argc)
		die("usage: mkfilter -a ARCH [-x \"NAME ...\"] -o OUT.h FILE "
		    "...");
	if (extra)
		names_add("-x", extra);
	while (optind < argc)
		file_add(argv[optind++]);
	program_make(&program);
	program_write(&program, out);
	return 0;
}
