/* SPDX-License-Identifier: Apache-2.0 */
/* A process that ends as it is told: by what a program does wrong, or by a signal's number. */
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

/* A page of a file that ends before it. */
static void touch_past_end(void)
{
	int fd = open("/bin/die", O_RDONLY);
	volatile char *p = mmap(NULL, 1 << 20, PROT_READ, MAP_PRIVATE, fd, 1 << 30);

	if (p != MAP_FAILED)
		(void)*p;
}

static void touch_nothing(void)
{
	volatile uintptr_t nowhere = 16;

	*(volatile int *)nowhere = 1;
}

static void undefined(void)
{
	__asm__ volatile("ud2");
}

static void divide(void)
{
	volatile int zero = 0;

	__asm__ volatile("idivl %1" : : "a"(1), "r"(zero), "d"(0));
}

static void trap(void)
{
	__asm__ volatile("int3");
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*fn)(void);
	} ways[] = { { "bus", touch_past_end }, { "segv", touch_nothing }, { "ill", undefined },
		     { "fpe", divide },		{ "abrt", abort },	   { "trap", trap } };

	if (argc != 2)
		return 2;
	setrlimit(RLIMIT_CORE, &(struct rlimit){ 0 });
	/* pid 1 of its namespace gets no signal that it does not handle, but for those of its own
	 * doing. */
	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		if (!strcmp(argv[1], ways[i].name))
			ways[i].fn();
	}
	if (argv[1][0] == '-')
		kill(getpid(), -atoi(argv[1]));
	if (atoi(argv[1]) > 0) {
		printf("up\n");
		fflush(stdout);
		for (;;)
			pause();
	}
	return 3;
}
