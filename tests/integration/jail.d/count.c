/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which rows of the table of system calls are used: run a command, and count.
 *
 *	jail-count COMMAND [ARGUMENT...]
 *
 * With HUSK_SECCOMP=trace in the environment the kernel stops a thread of husk at each call that
 *the table lets pass and says by which row of which role; a call that no row has ends the machine
 *as ever. At the end there is a line for each row and role that nobody used, "rare" or "unused" at
 * its front. Status: the command's, or 99 when it is 0 and some row is unused.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sandbox/sandbox.h"

#define ROWS_MAX 4096
#define UNUSED	 99
#define OPTIONS                                                                                \
	(PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE | PTRACE_O_TRACEEXEC | \
	 PTRACE_O_TRACESECCOMP | PTRACE_O_EXITKILL)

static unsigned long counts[SANDBOX_MAX_][ROWS_MAX];

static void count(pid_t tid)
{
	unsigned long data = 0;

	if (ptrace(PTRACE_GETEVENTMSG, tid, NULL, &data) < 0)
		return;
	if (data >> 12 < SANDBOX_MAX_)
		counts[data >> 12][data & (ROWS_MAX - 1)]++;
}

/* What a stopped thread goes on with. */
static void go_on(pid_t tid, int status)
{
	int event = status >> 16, sig = WSTOPSIG(status);

	if (event == PTRACE_EVENT_SECCOMP)
		count(tid);
	if (event == PTRACE_EVENT_STOP && sig != SIGTRAP)
		ptrace(PTRACE_LISTEN, tid, NULL, NULL); /* a group's stop: until SIGCONT */
	else
		ptrace(PTRACE_CONT, tid, NULL, (void *)(long)(event ? 0 : sig));
}

static pid_t start(char **argv)
{
	int go[2];
	char c;
	pid_t pid;

	if (pipe(go) < 0)
		return -1;
	pid = fork();
	if (pid == 0) {
		close(go[1]);
		if (read(go[0], &c, 1) == 1)
			execvp(argv[0], argv);
		perror(argv[0]);
		_exit(127);
	}
	close(go[0]);
	if (pid > 0 && (ptrace(PTRACE_SEIZE, pid, NULL, (void *)(long)OPTIONS) < 0 ||
			write(go[1], "", 1) != 1))
		pid = -1;
	close(go[1]);
	return pid;
}

static int print(void)
{
	size_t n;
	const struct sandbox_rule *rules = sandbox_rules(&n);
	int unused = 0;

	for (size_t i = 0; i < n; i++) {
		for (unsigned role = 0; role < SANDBOX_MAX_; role++) {
			if (!(rules[i].roles & 1U << role) || counts[role][i])
				continue;
			unused += !rules[i].rare;
			printf("%s: %s (%s) by %s: %s\n", rules[i].rare ? "rare" : "unused",
			       rules[i].name, rules[i].condition, sandbox_role_str(role),
			       rules[i].reason);
		}
	}
	return unused;
}

int main(int argc, char **argv)
{
	int result = 1, status;
	pid_t pid, tid;

	if (argc < 2)
		return 2;
	setenv("HUSK_SECCOMP", "trace", 1);
	pid = start(argv + 1);
	if (pid < 0) {
		perror("trace");
		return 1;
	}
	while ((tid = waitpid(-1, &status, __WALL)) > 0 || errno == EINTR) {
		if (tid > 0 && WIFSTOPPED(status))
			go_on(tid, status);
		else if (tid == pid)
			result = WIFEXITED(status) ? WEXITSTATUS(status) : 1;
	}
	if (print() && result == 0)
		result = UNUSED;
	return result;
}
