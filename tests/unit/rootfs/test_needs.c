/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/stat.h>

#include "base/checked.h"
#include "fuse_client.h"

static struct fuse_client c;
static char *needs;
static size_t needs_len;

static const char *at(const char *rel)
{
	static char buf[4][160];
	static unsigned i;

	i = (i + 1) % 4;
	snprintf(buf[i], sizeof(buf[i]), "%s/root%s", c.dir, rel);
	return buf[i];
}

static void put(const char *rel, const void *p, size_t len)
{
	int fd = open(at(rel), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0755);

	assert_true(fd >= 0 && write(fd, p, len) == (ssize_t)len);
	close(fd);
}

/* ELF with an interpreter, a run path and libraries, all of which may be NULL. */
struct image {
	Elf64_Ehdr e;
	Elf64_Phdr p[3];
	Elf64_Dyn d[6];
	char strings[256];
};

static size_t put_elf(struct image *o, const char *interp, const char *run, const char *a,
		      const char *b)
{
	const char *names[] = { interp, run, a, b };
	size_t off[4], len = 1;
	unsigned n = 0;

	memset(o, 0, sizeof(*o));
	memcpy(o->e.e_ident, ELFMAG, SELFMAG);
	o->e.e_ident[EI_CLASS] = ELFCLASS64;
	o->e.e_ident[EI_DATA] = ELFDATA2LSB;
	o->e.e_phentsize = sizeof(Elf64_Phdr);
	o->e.e_phoff = offsetof(struct image, p);
	o->e.e_phnum = 3;
	for (unsigned i = 0; i < 4; i++) {
		off[i] = len;
		if (names[i])
			len += (size_t)sprintf(o->strings + len, "%s", names[i]) + 1;
	}
	/* Loaded a page further than it lies in the file. */
	o->p[0] = (Elf64_Phdr){ .p_type = PT_LOAD, .p_vaddr = 4096, .p_filesz = sizeof(*o) };
	if (interp)
		o->p[1] = (Elf64_Phdr){ .p_type = PT_INTERP,
					.p_offset = offsetof(struct image, strings) + off[0],
					.p_filesz = strlen(interp) + 1 };
	o->p[2] = (Elf64_Phdr){ .p_type = PT_DYNAMIC,
				.p_offset = offsetof(struct image, d),
				.p_filesz = sizeof(o->d) };
	for (unsigned i = 2; i < 4; i++) {
		if (names[i])
			o->d[n++] = (Elf64_Dyn){ .d_tag = DT_NEEDED, .d_un.d_val = off[i] };
	}
	if (run)
		o->d[n++] = (Elf64_Dyn){ .d_tag = DT_RUNPATH, .d_un.d_val = off[1] };
	o->d[n] = (Elf64_Dyn){ .d_tag = DT_STRTAB,
			       .d_un.d_ptr = 4096 + offsetof(struct image, strings) };
	return sizeof(*o);
}

static void put_program(const char *rel, const char *interp, const char *run, const char *a,
			const char *b)
{
	struct image o;

	put(rel, &o, put_elf(&o, interp, run, a, b));
}

static int setup(void **state)
{
	static const char *const dirs[] = {
		"/bin", "/lib", "/usr", "/usr/lib", "/opt", "/opt/own"
	};

	needs = NULL;
	if (fc_open(&c, NULL) < 0)
		return -1;
	for (unsigned i = 0; i < ARRAY_LEN(dirs); i++)
		mkdir(at(dirs[i]), 0755);
	return 0;
}

static int teardown(void **state)
{
	free(needs);
	fc_close(&c);
	return 0;
}

static void ask(const char *name, const char *search, const char *dir)
{
	const struct fuse_program program = { name, search, dir };
	struct err err = { 0 };

	free(needs);
	needs = NULL;
	assert_int_equal(fuse_server_needs(c.srv, &program, &needs, &needs_len, &err), 0);
	assert_true(needs_len == 0 || needs[needs_len - 1] == 0);
}

/* How often it is in the answer. */
static unsigned has(const char *path)
{
	unsigned n = 0;

	for (const char *p = needs; p < needs + needs_len; p += strlen(p) + 1)
		n += strcmp(p, path) == 0;
	return n;
}

static void names_interpreter_and_libraries(void **state)
{
	put_program("/bin/prog", "/lib/ld.so", NULL, "liba.so", "/opt/libb.so");
	put_program("/lib/ld.so", NULL, NULL, NULL, NULL);
	put_program("/usr/lib/liba.so", NULL, NULL, "libc.so", "liba.so");
	put_program("/lib/libc.so", NULL, NULL, NULL, NULL);
	put_program("/opt/libb.so", NULL, NULL, NULL, NULL);
	ask("/bin/prog", NULL, "/");
	assert_int_equal(has("/bin/prog"), 1);
	assert_int_equal(has("/lib/ld.so"), 1);
	assert_int_equal(has("/usr/lib/liba.so"), 1);
	assert_int_equal(has("/lib/libc.so"), 1);
	assert_int_equal(has("/opt/libb.so"), 1);
	assert_int_equal(has("/etc/ld.so.cache"), 1);
}

static void follows_run_paths(void **state)
{
	put_program("/opt/prog", NULL, "/nowhere:$ORIGIN/own", "liba.so", NULL);
	put_program("/opt/own/liba.so", NULL, NULL, NULL, NULL);
	put_program("/lib/liba.so", NULL, NULL, NULL, NULL);
	ask("/opt/prog", NULL, "/");
	assert_int_equal(has("/opt/own/liba.so"), 1);
	assert_int_equal(has("/lib/liba.so"), 0);
	/* It is looked for there first, each time. */
	assert_int_equal(has("/nowhere/liba.so"), 1);
}

static void searches_as_a_start_does(void **state)
{
	put_program("/bin/prog", NULL, NULL, NULL, NULL);
	ask("prog", "/opt/own:/bin:/opt", "/");
	assert_int_equal(has("/opt/own/prog"), 1);
	assert_int_equal(has("/bin/prog"), 1);
	assert_int_equal(has("/opt/prog"), 0);
	ask("prog", NULL, "/");
	assert_int_equal(has("/usr/local/sbin/prog"), 1);
	assert_int_equal(has("/bin/prog"), 1);
	ask("./prog", NULL, "/bin");
	assert_int_equal(has("/bin/./prog"), 1);
	ask("not-there", "/bin", "/");
	assert_int_equal(has("/bin/not-there"), 1);
}

static void reads_scripts(void **state)
{
	static const char env[] = "#! /bin/env lang -x\nprint", own[] = "#!/bin/script\n";

	put_program("/bin/env", NULL, NULL, NULL, NULL);
	put_program("/opt/lang", NULL, NULL, NULL, NULL);
	put("/bin/script", env, sizeof(env) - 1);
	ask("/bin/script", "/bin:/opt", "/");
	assert_int_equal(has("/bin/env"), 1);
	assert_int_equal(has("/opt/lang"), 1);
	/* One that interprets itself. */
	put("/bin/script", own, sizeof(own) - 1);
	ask("/bin/script", NULL, "/");
	assert_int_equal(has("/bin/script"), 1);
}

static void stays_in_the_tree(void **state)
{
	put_program("/lib/ld.so", NULL, NULL, NULL, NULL);
	assert_int_equal(symlink("/lib/ld.so", at("/bin/inside")), 0);
	assert_int_equal(symlink("../../../canary/secret", at("/bin/outside")), 0);
	assert_int_equal(mkfifo(at("/bin/fifo"), 0644), 0);
	ask("/bin/inside", NULL, "/");
	assert_int_equal(has("/bin/inside"), 1);
	ask("/bin/outside", NULL, "/");
	assert_int_equal(has("/bin/outside"), 0);
	/* Nobody writes to it: whoever opens it waits. */
	ask("/bin/fifo", NULL, "/");
	assert_int_equal(has("/bin/fifo"), 0);
	ask("/bin", NULL, "/");
	assert_int_equal(has("/bin"), 0);
}

static void takes_any_bytes(void **state)
{
	struct image o;
	uint8_t *bytes = (uint8_t *)&o;
	size_t len = put_elf(&o, "/lib/ld.so", "$ORIGIN", "liba.so", NULL);

	put_program("/lib/ld.so", NULL, NULL, NULL, NULL);
	put_program("/lib/liba.so", NULL, NULL, NULL, NULL);
	for (size_t i = 0; i < len; i++) {
		uint8_t was = bytes[i];

		put("/bin/prog", bytes, i);
		ask("/bin/prog", NULL, "/");
		assert_int_equal(has("/bin/prog"), 1);
		bytes[i] = (uint8_t)~was;
		put("/bin/prog", bytes, len);
		ask("/bin/prog", NULL, "/");
		assert_int_equal(has("/bin/prog"), 1);
		bytes[i] = was;
	}
}

static void is_bounded(void **state)
{
	char name[32], next[32];

	/* A chain of libraries, longer than anybody has one. */
	for (unsigned i = 0; i < 200; i++) {
		snprintf(name, sizeof(name), "/lib/l%u.so", i);
		snprintf(next, sizeof(next), "l%u.so", i + 1);
		put_program(name, NULL, NULL, next, NULL);
	}
	ask("/lib/l0.so", NULL, "/");
	assert_int_equal(has("/lib/l9.so"), 1);
	assert_int_equal(has("/lib/l150.so"), 0);
	/* Larger than is worth the memory. */
	put_program("/bin/large", NULL, NULL, NULL, NULL);
	assert_int_equal(truncate(at("/bin/large"), 1LL << 40), 0);
	ask("/bin/large", NULL, "/");
	assert_int_equal(has("/bin/large"), 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(names_interpreter_and_libraries),
		T(follows_run_paths),
		T(searches_as_a_start_does),
		T(reads_scripts),
		T(stays_in_the_tree),
		T(takes_any_bytes),
		T(is_bounded),
	};

	return cmocka_run_group_tests_name("rootfs/needs", tests, NULL, NULL);
}
