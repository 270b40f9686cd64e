/* Starts programs and tells what each start cost.
 *
 *	starts ROUNDS WORD... -- WORD... -- ...
 *	starts -b NUMBER WORD...
 *
 * The first form runs the commands one after the other, ROUNDS times in turns,
 * so that a load on the machine hits all alike. The second starts NUMBER of
 * one command at once and waits for all. In a word "@" stands for a number
 * that no other start has. The commands get /dev/null as input and output, and
 * a failing one ends the measurement.
 *
 * Small and static, since what a program is started from is counted into its
 * peak memory. Prints a JSON array, one object a command: microseconds from
 * before the start until the exit was taken, and user and system time of it
 * and all its children. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { COMMANDS_MAX = 8, WORDS_MAX = 32, WORD_SIZE = 512, WARM_UP = 10 };

struct command {
	char **word;
	size_t n_words;
	double *wall_us, *cpu_us;
};

static struct command commands[COMMANDS_MAX];
static size_t n_commands;
static posix_spawn_file_actions_t quiet;
extern char **environ;

static double now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static double cpu_us(const struct rusage *usage)
{
	return (double)(usage->ru_utime.tv_sec + usage->ru_stime.tv_sec) * 1e6 +
	       (double)(usage->ru_utime.tv_usec + usage->ru_stime.tv_usec);
}

static pid_t start(const struct command *command)
{
	static char text[WORDS_MAX][WORD_SIZE];
	static unsigned number;
	char *words[WORDS_MAX + 1] = { NULL };
	pid_t pid;

	number++;
	for (size_t i = 0; i < command->n_words; i++) {
		char *at = strchr(command->word[i], '@');

		words[i] = command->word[i];
		if (!at)
			continue;
		words[i] = text[i];
		snprintf(text[i], WORD_SIZE, "%.*s%u%s",
			 (int)(at - command->word[i]), command->word[i], number,
			 at + 1);
	}
	if (posix_spawn(&pid, words[0], &quiet, NULL, words, environ) != 0) {
		perror(words[0]);
		exit(1);
	}
	return pid;
}

static void take(pid_t pid, const struct command *command, struct rusage *usage)
{
	int status;

	if (wait4(pid, &status, 0, usage) < 0 || status != 0) {
		fprintf(stderr, "starts: %s: status %#x\n", command->word[0],
			status);
		exit(1);
	}
}

static void run_once(const struct command *command, size_t round)
{
	struct rusage usage;
	double began = now_us();

	take(start(command), command, &usage);
	if (round < WARM_UP)
		return;
	command->wall_us[round - WARM_UP] = now_us() - began;
	command->cpu_us[round - WARM_UP] = cpu_us(&usage);
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static void print(const char *name, double *values, size_t n)
{
	qsort(values, n, sizeof(*values), compare);
	printf("\"%s\": {\"min\": %.1f, \"median\": %.1f}", name, values[0],
	       values[n / 2]);
}

static void read_commands(char **words, int n, size_t rounds)
{
	n_commands = 1;
	for (int i = 0; i < n; i++) {
		struct command *command = &commands[n_commands - 1];

		if (strcmp(words[i], "--") == 0)
			n_commands++;
		else if (command->n_words++ == 0)
			command->word = words + i;
		if (n_commands > COMMANDS_MAX || command->n_words > WORDS_MAX)
			exit(2);
	}
	for (size_t i = 0; i < n_commands; i++) {
		commands[i].wall_us = calloc(rounds, sizeof(double));
		commands[i].cpu_us = calloc(rounds, sizeof(double));
	}
}

static void in_turns(size_t rounds)
{
	for (size_t round = 0; round < rounds + WARM_UP; round++) {
		for (size_t i = 0; i < n_commands; i++)
			run_once(&commands[i], round);
	}
	for (size_t i = 0; i < n_commands; i++) {
		printf("%c{", i ? ',' : '[');
		print("wall_us", commands[i].wall_us, rounds);
		printf(", ");
		print("cpu_us", commands[i].cpu_us, rounds);
		printf("}");
	}
	printf("]\n");
}

static void at_once(size_t number)
{
	pid_t *pids = calloc(number, sizeof(*pids));
	double began = now_us(), cpu = 0;
	struct rusage usage;

	for (size_t i = 0; i < number; i++)
		pids[i] = start(&commands[0]);
	for (size_t i = 0; i < number; i++) {
		take(pids[i], &commands[0], &usage);
		cpu += cpu_us(&usage);
	}
	printf("[{\"wall_us\": %.1f, \"cpu_us\": %.1f}]\n", now_us() - began,
	       cpu);
}

int main(int argc, char **argv)
{
	bool burst = argc > 1 && strcmp(argv[1], "-b") == 0;
	int first = burst ? 2 : 1;
	size_t number = argc > first + 1 ? strtoul(argv[first], NULL, 10) : 0;

	if (number == 0) {
		fprintf(stderr, "usage: starts [-b] NUMBER WORD...\n");
		return 2;
	}
	posix_spawn_file_actions_init(&quiet);
	posix_spawn_file_actions_addopen(&quiet, 0, "/dev/null", O_RDWR, 0);
	posix_spawn_file_actions_adddup2(&quiet, 0, 1);
	read_commands(argv + first + 1, argc - first - 1, number);
	if (burst)
		at_once(number);
	else
		in_turns(number);
	return 0;
}
