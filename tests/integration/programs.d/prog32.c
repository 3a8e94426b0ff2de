/* SPDX-License-Identifier: Apache-2.0 */
/* A static 32-bit program: compatibility mode, int 0x80, x87, 64-bit arithmetic by pairs, signals. */
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static sigjmp_buf env;

static void on_fault(int sig, siginfo_t *info, void *ctx)
{
	(void)ctx;
	printf("signal %d address %#lx\n", sig, (unsigned long)info->si_addr & 0xfffff000UL);
	siglongjmp(env, 1);
}

static int compare(const void *a, const void *b)
{
	const int *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

int main(void)
{
	struct sigaction sa = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO };
	volatile long double ld = 1.0L / 3;
	volatile int zero = 0;
	uint64_t u = 0x123456789abcdefULL;
	int v[1000], status = 0;
	uint32_t s = 1;
	pid_t pid;

	setvbuf(stdout, NULL, _IONBF, 0);
	printf("%zu-byte pointers\n", sizeof(void *));
	for (int i = 0; i < 1000; i++) {
		s = s * 1664525 + 1013904223;
		v[i] = (int)(s >> 8);
	}
	qsort(v, 1000, sizeof(v[0]), compare);
	printf("%d %d %d\n", v[0], v[500], v[999]);
	for (int i = 1; i < 50; i++)
		u = u * 6364136223846793005ULL / (unsigned)i + u % 1000003;
	printf("%llx %lld\n", (unsigned long long)u, (long long)u / -12345);
	printf("%.17Lg %.12g %.12g %.12g\n", ld * ld, sin(1.0), pow(2.5, 3.5), exp2(0.1));
	sigaction(SIGSEGV, &sa, NULL);
	sigaction(SIGFPE, &sa, NULL);
	if (!sigsetjmp(env, 1))
		*(volatile int *)(uintptr_t)0x1234000 = 1;
	if (!sigsetjmp(env, 1))
		printf("%d\n", (1 / zero) & 0);
	pid = fork();
	if (pid == 0)
		_exit(42);
	waitpid(pid, &status, 0);
	printf("child %d\n", WEXITSTATUS(status));
	return 0;
}
