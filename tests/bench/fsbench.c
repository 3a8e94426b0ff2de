/* SPDX-License-Identifier: Apache-2.0 */
/*
 * File system workload of tests/bench/fs; runs in the guest and natively.
 *
 *	fsbench DIRECTORY SCALE
 *	fsbench cold|warm NAME COMMAND [ARGUMENT...]	times one command
 *
 * Prints "figure NAME SECONDS" a line. Caches are dropped before each cold figure (needs root).
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define BLOCK	  (128 * 1024)
#define PER_DIR	  100
#define RAND_SIZE 4096

static char buf[BLOCK];
static int n_files, n_blocks;

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static void drop_caches(void)
{
	int fd;

	sync();
	fd = open("/proc/sys/vm/drop_caches", O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, "3", 1) != 1)
		die("drop_caches");
	close(fd);
}

static void name_of(int i, char *path)
{
	sprintf(path, "d%d/file-%d", i / PER_DIR, i);
}

static void files_create(void)
{
	char path[64];

	for (int i = 0; i < n_files; i++) {
		int fd;

		if (i % PER_DIR == 0) {
			sprintf(path, "d%d", i / PER_DIR);
			if (mkdir(path, 0755) < 0)
				die(path);
		}
		name_of(i, path);
		fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644);
		if (fd < 0 || write(fd, buf, 1024) != 1024)
			die(path);
		close(fd);
	}
}

static void files_stat(void)
{
	struct stat st;
	char path[64];

	for (int i = 0; i < n_files; i++) {
		name_of(i, path);
		if (stat(path, &st) < 0 || st.st_size != 1024)
			die(path);
	}
}

static void files_read(void)
{
	char path[64];

	for (int i = 0; i < n_files; i++) {
		int fd;

		name_of(i, path);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0 || read(fd, buf, BLOCK) != 1024)
			die(path);
		close(fd);
	}
}

static void files_list(void)
{
	char path[64];

	for (int i = 0; i < n_files; i += PER_DIR) {
		DIR *d;

		sprintf(path, "d%d", i / PER_DIR);
		d = opendir(path);
		while (d && readdir(d))
			;
		if (!d)
			die(path);
		closedir(d);
	}
}

static void files_unlink(void)
{
	char path[64];

	for (int i = 0; i < n_files; i++) {
		name_of(i, path);
		if (unlink(path) < 0)
			die(path);
		if (i % PER_DIR == PER_DIR - 1) {
			sprintf(path, "d%d", i / PER_DIR);
			rmdir(path);
		}
	}
}

static void big_write(void)
{
	int fd = open("big", O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0644);

	for (int i = 0; i < n_blocks; i++) {
		if (write(fd, buf, BLOCK) != BLOCK)
			die("big");
	}
	close(fd);
}

static void big_read(void)
{
	int fd = open("big", O_RDONLY | O_CLOEXEC);

	for (int i = 0; i < n_blocks; i++) {
		if (read(fd, buf, BLOCK) != BLOCK)
			die("big");
	}
	close(fd);
}

static void big_random(int flags)
{
	uint64_t rng = 88172645463325252ULL, n = (uint64_t)n_blocks * (BLOCK / RAND_SIZE);
	int fd = open("big", flags | O_CLOEXEC);

	for (int i = 0; i < n_files; i++) {
		off_t off;

		rng ^= rng << 13;
		rng ^= rng >> 7;
		rng ^= rng << 17;
		off = (off_t)(rng % n) * RAND_SIZE;
		if (flags == O_RDONLY ? pread(fd, buf, RAND_SIZE, off) != RAND_SIZE
				      : pwrite(fd, buf, RAND_SIZE, off) != RAND_SIZE)
			die("big");
	}
	close(fd);
}

static void big_random_read(void)
{
	big_random(O_RDONLY);
}

static void big_random_write(void)
{
	big_random(O_WRONLY);
}

static void print(const char *name, double start)
{
	printf("figure %s %.6f\n", name, now() - start);
	fflush(stdout);
}

static int time_command(const char *name, char **argv)
{
	double start = now();
	int status = 0;
	pid_t pid = fork();

	if (pid == 0) {
		execvp(argv[0], argv);
		die(argv[0]);
	}
	if (pid < 0 || waitpid(pid, &status, 0) < 0 || status)
		die(argv[0]);
	print(name, start);
	return 0;
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*run)(void);
		int cold;
	} steps[] = {
		{ "create", files_create, 0 },
		{ "stat-cold", files_stat, 1 },
		{ "stat-warm", files_stat, 0 },
		{ "list-cold", files_list, 1 },
		{ "read-small-cold", files_read, 1 },
		{ "read-small-warm", files_read, 0 },
		{ "unlink", files_unlink, 0 },
		{ "write-seq", big_write, 0 },
		{ "read-seq-cold", big_read, 1 },
		{ "read-seq-warm", big_read, 0 },
		{ "read-rand-cold", big_random_read, 1 },
		{ "write-rand", big_random_write, 0 },
	};

	if (argc > 3 && strcmp(argv[1], "cold") == 0)
		drop_caches();
	if (argc > 3)
		return time_command(argv[2], argv + 3);
	if (argc != 3 || chdir(argv[1]) < 0)
		die("usage: fsbench DIRECTORY SCALE");
	n_files = atoi(argv[2]) * PER_DIR;
	n_blocks = atoi(argv[2]) * 40; /* 5 MiB a step of scale */
	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		double start;

		if (steps[i].cold)
			drop_caches();
		start = now();
		steps[i].run();
		print(steps[i].name, start);
	}
	unlink("big");
	return 0;
}
