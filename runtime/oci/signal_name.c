#define _GNU_SOURCE
#include "signal_name.h"

#include <errno.h>
#include <signal.h>
#include <strings.h>

#include "base/span.h"

enum { RTMIN = 34, RTMAX = 64 };

static const struct {
	const char *name;
	int number;
} signals[] = {
	{ "HUP", SIGHUP },	 { "INT", SIGINT },   { "QUIT", SIGQUIT },
	{ "ILL", SIGILL },	 { "TRAP", SIGTRAP }, { "ABRT", SIGABRT },
	{ "IOT", SIGABRT },	 { "BUS", SIGBUS },   { "FPE", SIGFPE },
	{ "KILL", SIGKILL },	 { "USR1", SIGUSR1 }, { "SEGV", SIGSEGV },
	{ "USR2", SIGUSR2 },	 { "PIPE", SIGPIPE }, { "ALRM", SIGALRM },
	{ "TERM", SIGTERM },	 { "STKFLT", 16 },    { "CHLD", SIGCHLD },
	{ "CLD", SIGCHLD },	 { "CONT", SIGCONT }, { "STOP", SIGSTOP },
	{ "TSTP", SIGTSTP },	 { "TTIN", SIGTTIN }, { "TTOU", SIGTTOU },
	{ "URG", SIGURG },	 { "XCPU", SIGXCPU }, { "XFSZ", SIGXFSZ },
	{ "VTALRM", SIGVTALRM }, { "PROF", SIGPROF }, { "WINCH", SIGWINCH },
	{ "IO", SIGIO },	 { "POLL", SIGIO },   { "PWR", SIGPWR },
	{ "SYS", SIGSYS },
};

/* "RTMIN", "RTMIN+3", "RTMAX-1": 34 to 64, as the C library keeps 32 and 33 to
 * itself. */
static int real_time_number(const char *name)
{
	bool from_least = strncasecmp(name, "RTMIN", 5) == 0;
	uint64_t n = 0;

	if (!from_least && strncasecmp(name, "RTMAX", 5) != 0)
		return -EINVAL;
	name += 5;
	if (*name && (*name != (from_least ? '+' : '-') ||
		      span_u64(span_of(name + 1), RTMAX - RTMIN, &n) < 0))
		return -EINVAL;
	return from_least ? RTMIN + (int)n : RTMAX - (int)n;
}

int signal_number(const char *name)
{
	uint64_t number;
	int r = span_u64(span_of(name), RTMAX, &number);

	if (r != -EINVAL)
		return r == 0 ? (int)number : -EINVAL;
	if (strncasecmp(name, "SIG", 3) == 0)
		name += 3;
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
		if (strcasecmp(name, signals[i].name) == 0)
			return signals[i].number;
	}
	return real_time_number(name);
}
