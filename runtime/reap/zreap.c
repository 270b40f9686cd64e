/* The first process of a container that asks for one (`init: true` in Compose):
 *
 *	zreap PROGRAM ARGV0 [ARGV...]
 *
 * runs PROGRAM, hands on every signal that it gets, waits for whoever is left
 * to it, and ends as PROGRAM does: with its status, or 128 and the number of
 * the signal. `zrun serve` executes it in the container's root, where nothing
 * but the container's own files is, so it is static and opens none.
 *
 * Where the container shares the pid namespace of another it is not the first
 * process; the kernel then gives it the orphans of its program alone. */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { EXIT_USAGE = 2, EXIT_CANNOT = 126, EXIT_NOT_FOUND = 127 };

_Noreturn static void run(char **argv, const sigset_t *mask)
{
	static const char what[] = ": cannot be executed\n";
	int error;

	sigprocmask(SIG_SETMASK, mask, NULL);
	execv(argv[1], argv + 2);
	error = errno;
	/* Nobody else could say it. */
	(void)!write(2, argv[1], strlen(argv[1]));
	(void)!write(2, what, sizeof(what) - 1);
	_exit(error == ENOENT ? EXIT_NOT_FOUND : EXIT_CANNOT);
}

static int status_of(int status)
{
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* Ends when the program has. */
static void reap(pid_t program)
{
	pid_t pid;
	int status;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		if (pid == program)
			_exit(status_of(status));
}

/* What the kernel sends for a fault of our own is not for others. */
static void wanted(sigset_t *set)
{
	static const int own[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP };

	sigfillset(set);
	for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++)
		sigdelset(set, own[i]);
}

int main(int argc, char **argv)
{
	sigset_t set, before;

	if (argc < 3)
		return EXIT_USAGE;
	wanted(&set);
	sigprocmask(SIG_SETMASK, &set, &before);
	if (getpid() != 1)
		prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	pid_t program = fork();

	if (program < 0)
		return EXIT_CANNOT;
	if (program == 0)
		run(argv, &before);
	for (;;) {
		int signal = sigwaitinfo(&set, NULL);

		if (signal == SIGCHLD)
			reap(program);
		else if (signal > 0)
			kill(program, signal);
	}
}
