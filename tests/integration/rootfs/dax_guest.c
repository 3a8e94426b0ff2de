/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside the guest, on a share with a window onto file pages (tests/integration/rootfs/dax):
 *
 *	dax_guest DIRECTORY
 *
 * The host has put "pattern" there (each page begins with its number), and answers "cut" on the
 * console by cutting it to one page and sending a line. Prints "ok" at the end, or what went wrong.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define PAGE  4096UL
#define CHUNK (2UL << 20)

static sigjmp_buf sigbus;

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static void check(int ok, const char *what)
{
	if (!ok) {
		printf("not ok: %s\n", what);
		exit(1);
	}
}

static void on_sigbus(int sig)
{
	siglongjmp(sigbus, 1);
}

static uint64_t page_number(const uint8_t *p)
{
	uint64_t n;

	memcpy(&n, p, sizeof(n));
	return n;
}

static uint8_t *map(const char *name, int flags, int prot, size_t *ret_len)
{
	int fd = open(name, flags | O_CLOEXEC);
	struct stat st;
	uint8_t *p;

	if (fd < 0 || fstat(fd, &st) < 0)
		die(name);
	p = mmap(NULL, (size_t)st.st_size, prot, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		die("mmap");
	close(fd);
	*ret_len = (size_t)st.st_size;
	return p;
}

/* More than the window holds, back and forth, so that the kernel must give chunks up again. */
static void read_all(void)
{
	size_t len;
	uint8_t *p = map("pattern", O_RDONLY, PROT_READ, &len);

	for (int round = 0; round < 2; round++) {
		for (size_t off = 0; off < len; off += PAGE)
			check(page_number(p + off) == off / PAGE, "reading through a mapping");
	}
	for (size_t off = len & ~(CHUNK - 1); off >= CHUNK; off -= CHUNK)
		check(page_number(p + off - CHUNK) == (off - CHUNK) / PAGE, "reading backwards");
	munmap(p, len);
}

static void write_some(void)
{
	size_t len;
	int fd = open("written", O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	uint8_t *p;

	if (fd < 0 || ftruncate(fd, 3 * CHUNK) < 0)
		die("written");
	p = map("written", O_RDWR, PROT_READ | PROT_WRITE, &len);
	memcpy(p + 2 * CHUNK, "by mapping", 10);
	check(pwrite(fd, "by write", 8, CHUNK) == 8, "writing");
	check(memcmp(p + CHUNK, "by write", 8) == 0, "seeing what was written");
	check(msync(p, len, MS_SYNC) == 0, "msync");
	munmap(p, len);
	close(fd);
}

/* A program of the share runs from the window, also after it was overwritten. */
static void run_program(const char *self)
{
	int status;

	if (fork() == 0) {
		execl(self, self, "child", NULL);
		_exit(2);
	}
	check(wait(&status) > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 42, "running");
}

static void shrink_under_us(void)
{
	char line[16];
	size_t len;
	uint8_t *p = map("pattern", O_RDWR, PROT_READ | PROT_WRITE, &len);

	check(page_number(p + CHUNK) == CHUNK / PAGE, "reading before the cut");
	puts("cut");
	check(fgets(line, sizeof(line), stdin) != NULL, "hearing from the host");
	signal(SIGBUS, on_sigbus);
	/* Zeros, or SIGBUS once the kernel knows; never what was there, and the machine goes on. */
	for (size_t off = PAGE; off < len; off += 16 * PAGE) {
		if (sigsetjmp(sigbus, 1) == 0) {
			check(page_number(p + off) == 0, "reading behind the cut");
			p[off] = 1;
		}
	}
	check(page_number(p) == 0, "reading before the cut's end");
	munmap(p, len);
}

int main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "child"))
		return 42;
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc != 2 || chdir(argv[1]) < 0)
		die("usage: dax_guest DIRECTORY");
	read_all();
	write_some();
	run_program("./dax_guest");
	shrink_under_us();
	run_program("./dax_guest");
	puts("ok");
	return 0;
}
