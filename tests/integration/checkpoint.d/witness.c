/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a process sees of a checkpoint's clocks, timers and random numbers.
 *
 *	witness DIRECTORY
 *
 * One process notes monotonic clock, wall clock and random numbers all the time, in memory. Another
 * answers each byte of its standard input with a line:
 *	c  wall clock, nanoseconds
 *	t  times that fired: one-shots of the wall clock in three days and in a year, of the
 *	   monotonic clock in an hour; a period of the wall clock of an hour
 *	d  "done", when the notes are in DIRECTORY/notes: three little-endian u64 each
 *	r  canary and random bytes of a new process
 *	q  ends
 * Statically linked.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define NSEC	  1000000000LL
#define HOUR	  3600
#define DAY	  (24 * HOUR)
#define MAX_NOTES 400000U
#define N_TIMERS  4

struct note {
	int64_t monotonic, wall;
	uint64_t random;
};

static struct notes {
	atomic_uint n;
	atomic_bool stop;
	struct note v[MAX_NOTES];
} * notes;

static int64_t now_ns(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return ts.tv_sec * NSEC + ts.tv_nsec;
}

static void take_notes(void)
{
	while (!atomic_load(&notes->stop)) {
		unsigned i = atomic_load(&notes->n);
		struct note n;

		if (i == MAX_NOTES)
			break;
		if (getrandom(&n.random, sizeof(n.random), 0) != sizeof(n.random))
			_exit(1);
		do { /* both at the same time, and not another process between */
			n.monotonic = now_ns(CLOCK_MONOTONIC);
			n.wall = now_ns(CLOCK_REALTIME);
		} while (now_ns(CLOCK_MONOTONIC) - n.monotonic > 1000000);
		notes->v[i] = n;
		atomic_store(&notes->n, i + 1);
	}
	_exit(0);
}

static int timer(clockid_t clock, int64_t seconds, int64_t period)
{
	int fd = timerfd_create(clock, TFD_NONBLOCK | TFD_CLOEXEC);
	struct itimerspec its = { .it_value = { .tv_sec = now_ns(clock) / NSEC + seconds },
				  .it_interval = { .tv_sec = period } };

	if (fd < 0 || timerfd_settime(fd, TFD_TIMER_ABSTIME, &its, NULL) < 0)
		exit(2);
	return fd;
}

/* As they are, at once: text of so many takes a slow CPU minutes. */
static void write_notes(void)
{
	FILE *f = fopen("notes", "w");
	unsigned n = atomic_load(&notes->n);

	if (!f || fwrite(notes->v, sizeof(notes->v[0]), n, f) != n || fclose(f))
		exit(2);
}

static void print_secrets(void)
{
	const uint64_t *bytes = (const uint64_t *)getauxval(AT_RANDOM);
	uint64_t canary;

	__asm__("mov %%fs:0x28, %0" : "=r"(canary));
	printf("%016llx %016llx%016llx\n", (unsigned long long)canary, (unsigned long long)bytes[0],
	       (unsigned long long)bytes[1]);
}

static void spawn(void)
{
	pid_t pid = fork();

	if (pid == 0) {
		execl("/proc/self/exe", "witness", "secrets", (char *)NULL);
		_exit(127);
	}
	waitpid(pid, NULL, 0);
}

static void answer(int c, const int timers[N_TIMERS], uint64_t fired[N_TIMERS])
{
	switch (c) {
	case 'c': printf("%lld\n", (long long)now_ns(CLOCK_REALTIME)); break;
	case 't':
		for (int i = 0; i < N_TIMERS; i++) {
			uint64_t n;

			if (read(timers[i], &n, sizeof(n)) == sizeof(n))
				fired[i] += n;
			printf("%llu%c", (unsigned long long)fired[i],
			       i < N_TIMERS - 1 ? ' ' : '\n');
		}
		break;
	case 'd':
		write_notes();
		puts("done");
		break;
	case 'r': spawn(); break;
	default: break;
	}
	fflush(stdout);
}

int main(int argc, char **argv)
{
	uint64_t fired[N_TIMERS] = { 0 };

	if (argc == 2 && strcmp(argv[1], "secrets") == 0) {
		print_secrets();
		return 0;
	}
	notes = mmap(NULL, sizeof(*notes), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		     0);
	if (argc != 2 || chdir(argv[1]) < 0 || notes == MAP_FAILED)
		return 2;
	const int timers[N_TIMERS] = { timer(CLOCK_REALTIME, 3LL * DAY, 0),
				       timer(CLOCK_REALTIME, 365LL * DAY, 0),
				       timer(CLOCK_MONOTONIC, HOUR, 0),
				       timer(CLOCK_REALTIME, HOUR, HOUR) };
	pid_t pid = fork();

	if (pid == 0)
		take_notes();
	for (int c; (c = getchar()) != EOF && c != 'q';)
		answer(c, timers, fired);
	kill(pid, SIGKILL);
	return 5;
}
