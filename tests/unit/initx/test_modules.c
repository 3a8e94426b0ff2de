/* SPDX-License-Identifier: Apache-2.0 */
/* Module closure on trees made here: order, names, compression, damage. */
#include "test.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <lzma.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include "base/checked.h"
#include "base/fd.h"
#include "initx/modules.h"

static char tree[] = "/tmp/husk-modules-XXXXXX";

static int write_file(const char *name, const void *data, size_t len)
{
	char path[256];
	int AUTO_FD fd = -1;

	snprintf(path, sizeof(path), "%s/%s", tree, name);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	return fd < 0 ? -errno : fd_write_full(fd, data, len);
}

/* The smallest ELF with a .modinfo section. */
static size_t make_module(uint8_t *buf, const char *info, size_t info_len)
{
	static const char names[] = "\0.modinfo\0.shstrtab";
	Elf64_Ehdr eh = { .e_type = ET_REL,
			  .e_shoff = sizeof(eh),
			  .e_shentsize = sizeof(Elf64_Shdr),
			  .e_shnum = 3,
			  .e_shstrndx = 2 };
	Elf64_Shdr sh[3] = { 0 };
	size_t at = sizeof(eh) + sizeof(sh);

	memcpy(eh.e_ident, ELFMAG, SELFMAG);
	eh.e_ident[EI_CLASS] = ELFCLASS64;
	sh[1] = (Elf64_Shdr){ .sh_name = 1, .sh_offset = at, .sh_size = info_len };
	sh[2] = (Elf64_Shdr){ .sh_name = 10, .sh_offset = at + info_len, .sh_size = sizeof(names) };
	memcpy(buf, &eh, sizeof(eh));
	memcpy(buf + sizeof(eh), sh, sizeof(sh));
	memcpy(buf + at, info, info_len);
	memcpy(buf + at + info_len, names, sizeof(names));
	return at + info_len + sizeof(names);
}

/* @info: NUL-separated, ends with the string literal's own NUL. */
#define MODULE(name, info)                                           \
	do {                                                         \
		uint8_t mod_[1024];                                  \
		size_t len_ = make_module(mod_, info, sizeof(info)); \
		assert_int_equal(write_file(name, mod_, len_), 0);   \
	} while (0)

/* Names of the blob's modules, in order, separated by blanks. */
static void names_of(const uint8_t *blob, size_t len, char *ret, size_t ret_size)
{
	uint32_t n = le32_load(blob);
	size_t at = 16;

	*ret = '\0';
	while (n-- > 0) {
		uint32_t name_len = le32_load(blob + at), size = le32_load(blob + at + 4);

		assert_true(at + 8 + name_len <= len);
		if (*ret)
			strncat(ret, " ", ret_size - strlen(ret) - 1);
		strncat(ret, (const char *)blob + at + 8, ret_size - strlen(ret) - 1);
		at = ALIGN_UP(at + 8 + name_len, (size_t)16);
		assert_memory_equal(blob + at, ELFMAG, SELFMAG);
		at = ALIGN_UP(at + size, (size_t)16);
	}
	assert_int_equal(at, len);
}

static void expect(const char *want, const char *const *wanted, size_t n)
{
	AUTO_FREE uint8_t *blob = NULL;
	struct err err = { 0 };
	char names[512];
	size_t len;

	if (modules_blob(tree, wanted, n, &blob, &len, &err) != 0)
		fail_msg("%s", err.msg);
	names_of(blob, len, names, sizeof(names));
	assert_string_equal(names, want);
}

static int failure(const char *name)
{
	AUTO_FREE uint8_t *blob = NULL;
	size_t len;

	return modules_blob(tree, &name, 1, &blob, &len, NULL);
}

static void orders_by_what_modules_say(void **state)
{
	const char *a[] = { "a" }, *twice[] = { "c", "a", "b" }, *dashed[] = { "dash_ed" };

	expect("c b s a", a, 1);
	expect("c b s a", twice, 3);
	expect("dash_ed", dashed, 1);
}

static void skips_what_is_built_in(void **state)
{
	const char *names[] = { "built_in", "?not-there", "c" };

	expect("c", names, 3);
}

static void prefers_modules_dep(void **state)
{
	static const char dep[] = "kernel/a.ko: kernel/dash-ed.ko kernel/c.ko\nkernel/c.ko:\n";
	const char *a[] = { "a" };

	assert_int_equal(write_file("modules.dep", dep, sizeof(dep) - 1), 0);
	expect("dash_ed c s a", a, 1);
}

static void unpacks_all_three_forms(void **state)
{
	static const char info[] = "license=GPL\0depends=";
	uint8_t mod[1024], packed[4096];
	size_t len = make_module(mod, info, sizeof(info)), n = 0;
	const char *names[] = { "xz", "zst", "gz" };
	z_stream z = { .next_in = mod,
		       .avail_in = (uInt)len,
		       .next_out = packed,
		       .avail_out = sizeof(packed) };

	assert_int_equal(lzma_easy_buffer_encode(6, LZMA_CHECK_CRC32, NULL, mod, len, packed, &n,
						 sizeof(packed)),
			 LZMA_OK);
	assert_int_equal(write_file("kernel/xz.ko.xz", packed, n), 0);
	n = ZSTD_compress(packed, sizeof(packed), mod, len, 3);
	assert_int_equal(write_file("kernel/zst.ko.zst", packed, n), 0);
	assert_int_equal(write_file("kernel/cut.ko.zst", packed, n - 3), 0);
	assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY), Z_OK);
	assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
	assert_int_equal(write_file("kernel/gz.ko.gz", packed, z.total_out), 0);
	assert_int_equal(write_file("kernel/cutgz.ko.gz", packed, z.total_out - 5), 0);
	deflateEnd(&z);
	expect("xz zst gz", names, 3);
	assert_int_equal(failure("cut"), -EBADMSG);
	assert_int_equal(failure("cutgz"), -EBADMSG);
}

static void refuses_what_is_wrong(void **state)
{
	assert_int_equal(failure("missing"), -ENOENT);
	assert_int_equal(failure("needs_missing"), -ENOENT);
	assert_int_equal(failure("circle1"), -ELOOP);
	assert_int_equal(failure("junk"), -EBADMSG);
	assert_int_equal(failure("short"), -EBADMSG);
}

static void survives_any_damage(void **state)
{
	static const char info[] = "depends=";
	uint8_t mod[1024];
	size_t len = make_module(mod, info, sizeof(info));

	for (size_t at = 0; at < len; at++) {
		uint8_t old = mod[at];

		mod[at] = 0xff;
		assert_int_equal(write_file("kernel/broken.ko", mod, len), 0);
		(void)failure("broken"); /* either verdict; the sanitizers look on */
		mod[at] = old;
	}
}

static int setup(void **state)
{
	char path[64];

	if (!mkdtemp(tree))
		return -1;
	snprintf(path, sizeof(path), "%s/kernel", tree);
	if (mkdir(path, 0755) < 0)
		return -1;
	write_file("modules.builtin", "kernel/drivers/built-in.ko\n", 27);
	MODULE("kernel/a.ko", "license=GPL\0depends=b,c\0softdep=pre: s gone post: late\0");
	MODULE("kernel/b.ko", "depends=c");
	MODULE("kernel/c.ko", "depends=");
	MODULE("kernel/s.ko", "name=s");
	MODULE("kernel/late.ko", "name=late");
	MODULE("kernel/dash-ed.ko", "name=dash_ed");
	MODULE("kernel/needs_missing.ko", "depends=missing");
	MODULE("kernel/circle1.ko", "depends=circle2");
	MODULE("kernel/circle2.ko", "depends=circle1");
	write_file("kernel/junk.ko",
		   "this is no module, though it is long enough to hold an ELF header", 65);
	write_file("kernel/short.ko", "x", 1);
	return 0;
}

static int teardown(void **state)
{
	char cmd[128];

	snprintf(cmd, sizeof(cmd), "rm -rf %s", tree);
	return system(cmd) ? -1 : 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(orders_by_what_modules_say),
		cmocka_unit_test(skips_what_is_built_in),
		cmocka_unit_test(unpacks_all_three_forms),
		cmocka_unit_test(refuses_what_is_wrong),
		cmocka_unit_test(survives_any_damage),
		cmocka_unit_test(prefers_modules_dep),
	};

	return cmocka_run_group_tests_name("initx/modules", tests, setup, teardown);
}
