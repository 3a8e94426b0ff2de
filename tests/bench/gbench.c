/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Work for the CPU benchmark: runs as /init in a guest (or as a plain program on a host), prints
 * one line per workload, "gbench NAME NANOSECONDS CHECK", and powers the machine off when it is
 * pid 1.
 *
 * Each workload runs for a fixed amount of work and repeats until MIN_NS have passed; the figure is
 * nanoseconds for one unit, the smallest of the repeats: one of them is short enough to get through
 * without being preempted, on a busy host too. CHECK is a result that must be the same
 * everywhere, so that a fast wrong CPU does not win. Arguments name the workloads to run, none
 * means all; "--tsc-khz" prints the frequency of this machine's TSC instead.
 */
#include <fcntl.h>
#include <linux/reboot.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <x86intrin.h>

#define MIN_NS	    300000000ULL
#define MIN_REPEATS 3

struct workload {
	const char *name;
	uint64_t (*run)(void); /* returns the check value */
	unsigned n_units;      /* how many units one run does */
};

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ULL + (uint64_t)ts.tv_nsec;
}

static uint64_t xorshift(uint64_t *s)
{
	*s ^= *s << 13;
	*s ^= *s >> 7;
	*s ^= *s << 17;
	return *s;
}

static uint64_t integer_loop(void)
{
	uint64_t s = 88172645463325252ULL, sum = 0;

	for (int i = 0; i < 1000000; i++)
		sum += xorshift(&s);
	return sum;
}

__attribute__((noinline)) static uint64_t fib(unsigned n)
{
	uint64_t a;

	if (n < 2)
		return n;
	a = fib(n - 1);
	__asm__ volatile("" : "+r"(a));
	return a + fib(n - 2);
}

static uint64_t recursion(void)
{
	return fib(27);
}

static uint64_t pointer_chase(void)
{
	static uint32_t next[4096];
	uint64_t s = 12345;
	uint32_t at = 0;

	if (!next[0]) {
		for (uint32_t i = 0; i < 4096; i++)
			next[i] = i;
		for (uint32_t i = 4095; i > 0; i--) { /* Sattolo: one cycle */
			uint32_t j = (uint32_t)(xorshift(&s) % i), t = next[i];

			next[i] = next[j];
			next[j] = t;
		}
	}
	for (int i = 0; i < 1000000; i++)
		at = next[at];
	return at;
}

static int compare_u32(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

#define N_SORT 20000
static uint64_t sort_numbers(void)
{
	static uint32_t v[N_SORT];
	uint64_t s = 42, sum = 0;

	for (int i = 0; i < N_SORT; i++)
		v[i] = (uint32_t)xorshift(&s);
	qsort(v, N_SORT, sizeof(v[0]), compare_u32);
	for (int i = 0; i < N_SORT; i += 97)
		sum = sum * 31 + v[i];
	return sum;
}

static uint32_t ror(uint32_t x, int n)
{
	return x >> n | x << (32 - n);
}

/* FIPS 180-4 compression function; constants computed once from the cube roots of primes. */
static uint32_t sha_k[64];

static void sha_init(void)
{
	unsigned n = 0;

	for (unsigned p = 2; n < 64; p++) {
		unsigned d = 2;
		unsigned __int128 lo = 0, hi = (unsigned __int128)1 << 40;

		while (d * d <= p && p % d)
			d++;
		if (d * d <= p)
			continue;
		while (hi - lo >
		       1) { /* cube root of p scaled by 2^36, fraction's top 32 bits wanted */
			unsigned __int128 mid = (lo + hi) / 2;

			if (mid * mid * mid <= (unsigned __int128)p << 108)
				lo = mid;
			else
				hi = mid;
		}
		sha_k[n++] = (uint32_t)(lo >> 4);
	}
}

static void sha_block(uint32_t h[8], const uint8_t *p)
{
	uint32_t w[64], v[8];

	for (int i = 0; i < 16; i++)
		w[i] = (uint32_t)p[4 * i] << 24 | (uint32_t)p[4 * i + 1] << 16 |
		       (uint32_t)p[4 * i + 2] << 8 | p[4 * i + 3];
	for (int i = 16; i < 64; i++)
		w[i] = w[i - 16] + w[i - 7] +
		       (ror(w[i - 15], 7) ^ ror(w[i - 15], 18) ^ w[i - 15] >> 3) +
		       (ror(w[i - 2], 17) ^ ror(w[i - 2], 19) ^ w[i - 2] >> 10);
	memcpy(v, h, sizeof(v));
	for (int i = 0; i < 64; i++) {
		uint32_t t1 = v[7] + (ror(v[4], 6) ^ ror(v[4], 11) ^ ror(v[4], 25)) +
			      ((v[4] & v[5]) ^ (~v[4] & v[6])) + sha_k[i] + w[i];
		uint32_t t2 = (ror(v[0], 2) ^ ror(v[0], 13) ^ ror(v[0], 22)) +
			      ((v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]));

		memmove(v + 1, v, 7 * sizeof(v[0]));
		v[4] += t1;
		v[0] = t1 + t2;
	}
	for (int i = 0; i < 8; i++)
		h[i] += v[i];
}

static uint64_t sha256(void)
{
	static uint8_t data[32768];
	uint32_t h[8] = { 0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
			  0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19 };

	if (!sha_k[0])
		sha_init();
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 7);
	for (size_t i = 0; i < sizeof(data); i += 64)
		sha_block(h, data + i);
	return (uint64_t)h[0] << 32 | h[1];
}

#define N_MAT 96
static uint64_t sse2_matrix(void)
{
	static double a[N_MAT][N_MAT], b[N_MAT][N_MAT], c[N_MAT][N_MAT];
	double sum = 0;

	for (int i = 0; i < N_MAT; i++)
		for (int j = 0; j < N_MAT; j++) {
			a[i][j] = i + j * 0.5;
			b[i][j] = i - j * 0.25;
			c[i][j] = 0;
		}
	for (int i = 0; i < N_MAT; i++)
		for (int k = 0; k < N_MAT; k++) {
			__m128d x = _mm_set1_pd(a[i][k]);

			for (int j = 0; j < N_MAT; j += 2)
				_mm_storeu_pd(&c[i][j],
					      _mm_add_pd(_mm_loadu_pd(&c[i][j]),
							 _mm_mul_pd(x, _mm_loadu_pd(&b[k][j]))));
		}
	for (int i = 0; i < N_MAT; i++)
		sum += c[i][(i * 7) % N_MAT];
	return (uint64_t)(int64_t)sum;
}

typedef uint64_t (*step_fn)(uint64_t);
static uint64_t step_a(uint64_t x)
{
	return x * 3 + 1;
}
static uint64_t step_b(uint64_t x)
{
	return x ^ x >> 5;
}
static uint64_t step_c(uint64_t x)
{
	return x + 0x9e3779b97f4a7c15ULL;
}
static uint64_t step_d(uint64_t x)
{
	return x << 1 | x >> 63;
}

static uint64_t indirect_calls(void)
{
	static step_fn volatile steps[4] = { step_a, step_b, step_c, step_d };
	uint64_t x = 1;

	for (int i = 0; i < 100000; i++)
		x = steps[(x >> 3 ^ (uint64_t)i) & 3](x);
	return x;
}

static uint64_t getppid_call(void)
{
	uint64_t sum = 0;

	for (int i = 0; i < 5000; i++)
		sum += (uint64_t)(syscall(SYS_getppid) >= 0);
	return sum;
}

static uint64_t page_fault(void)
{
	size_t len = 4096 * 200;
	char *p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint64_t sum = 0;

	if (p == MAP_FAILED)
		return 0;
	madvise(p, len, MADV_NOHUGEPAGE);
	for (size_t i = 0; i < len; i += 4096) {
		p[i] = 1;
		sum += (uint64_t)p[i];
	}
	munmap(p, len);
	return sum;
}

static uint64_t fork_exit(void)
{
	uint64_t sum = 0;

	for (int i = 0; i < 4; i++) {
		int status = 0;
		pid_t pid = fork();

		if (pid == 0)
			_exit(7);
		waitpid(pid, &status, 0);
		sum += (uint64_t)WEXITSTATUS(status);
	}
	return sum;
}

static const char *self;

static uint64_t fork_exec(void)
{
	uint64_t sum = 0;

	for (int i = 0; i < 2; i++) {
		int status = 0;
		pid_t pid = fork();

		if (pid == 0) {
			execl(self, self, "exit9", (char *)NULL);
			_exit(1);
		}
		waitpid(pid, &status, 0);
		sum += (uint64_t)WEXITSTATUS(status);
	}
	return sum;
}

static uint64_t pipe_pingpong(void)
{
	int there[2], back[2], status;
	uint64_t sum = 0;
	char c = 0;
	pid_t pid;

	if (pipe(there) || pipe(back))
		return 0;
	pid = fork();
	if (pid == 0) {
		close(there[1]);
		while (read(there[0], &c, 1) == 1 && write(back[1], &c, 1) == 1)
			;
		_exit(0);
	}
	close(there[0]);
	for (int i = 0; i < 100; i++) {
		if (write(there[1], &c, 1) != 1 || read(back[0], &c, 1) != 1)
			break;
		sum++;
	}
	close(there[1]);
	close(back[0]);
	close(back[1]);
	waitpid(pid, &status, 0);
	return sum;
}

static uint64_t shell_loop(void)
{
	int status = 0;
	pid_t pid = fork();

	if (pid == 0) {
		execl("/bin/busybox", "sh", "-c",
		      "i=0; s=0; while [ $i -lt 5000 ]; do s=$((s + i)); i=$((i + 1)); done; "
		      "[ $s = 12497500 ] && exit 5",
		      (char *)NULL);
		_exit(1);
	}
	waitpid(pid, &status, 0);
	return (uint64_t)WEXITSTATUS(status);
}

static const struct workload workloads[] = {
	{ "integer-loop", integer_loop, 1 },
	{ "recursion", recursion, 1 },
	{ "pointer-chase", pointer_chase, 1 },
	{ "qsort", sort_numbers, 1 },
	{ "sha256", sha256, 1 },
	{ "sse2-matrix", sse2_matrix, 1 },
	{ "indirect-calls", indirect_calls, 1 },
	{ "shell-loop", shell_loop, 1 },
	{ "getppid", getppid_call, 5000 },
	{ "page-fault", page_fault, 200 },
	{ "fork-exit", fork_exit, 4 },
	{ "fork-exec", fork_exec, 2 },
	{ "pipe-pingpong", pipe_pingpong, 100 },
};

static void run_workload(const struct workload *w)
{
	uint64_t best = UINT64_MAX, begin = now_ns(), check = 0;

	for (int i = 0; i < MIN_REPEATS || now_ns() - begin < MIN_NS; i++) {
		uint64_t start = now_ns(), took;

		check = w->run();
		took = (now_ns() - start) / w->n_units;
		if (took < best)
			best = took;
	}
	printf("gbench %s %llu %llx\n", w->name, (unsigned long long)best,
	       (unsigned long long)check);
	fflush(stdout);
}

static bool wanted(const char *name, int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		if (!strcmp(argv[i], name))
			return true;
	return argc == 1;
}

/* A peer's guest without a timer to measure its TSC against has to be told. */
static int print_tsc_khz(void)
{
	uint64_t begin = now_ns(), tsc = __rdtsc(), ns;

	do
		ns = now_ns() - begin;
	while (ns < 100000000);
	printf("%llu\n", (unsigned long long)((__rdtsc() - tsc) * 1000000 / ns));
	return 0;
}

int main(int argc, char **argv)
{
	if (argc > 1 && !strcmp(argv[1], "exit9"))
		return 9;
	if (argc > 1 && !strcmp(argv[1], "--tsc-khz"))
		return print_tsc_khz();
	self = argv[0];
	if (getpid() == 1) {
		mkdir("/dev", 0755);
		mount("devtmpfs", "/dev", "devtmpfs", 0, NULL);
		self = "/init";
	}
	for (size_t i = 0; i < sizeof(workloads) / sizeof(workloads[0]); i++)
		if (wanted(workloads[i].name, argc, argv))
			run_workload(&workloads[i]);
	printf("gbench done 0 0\n");
	fflush(stdout);
	if (getpid() == 1) {
		sleep(1); /* the UART drains */
		reboot(LINUX_REBOOT_CMD_RESTART);
	}
	return 0;
}
