/* SPDX-License-Identifier: Apache-2.0 */
/* Loaders: what each puts in memory, and that damaged or foreign files get one clear line. */
#include "test.h"

#include <errno.h>
#include <lz4hc.h>
#include <lzma.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include "base/checked.h"
#include "base/fd.h"
#include "boot/boot.h"
#include "machine/layout.h"
#include "vmm/kernel.h"

#define RAM	  (32 * MIB)
#define LOAD_ADDR 0x1000000ULL
#define FILE_MAX  (256 * KIB)

struct fixture {
	struct gmem *mem;
	struct memmap map;
	struct vm_file kernel, initrd;
	struct boot_request req;
	struct boot_entry entry;
	struct err err;
	uint8_t *file; /* FILE_MAX bytes to build a kernel in */
	size_t len;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	if (!f || gmem_new(&f->mem, NULL) < 0 || gmem_add_anon(f->mem, 0, RAM, GMEM_RAM, NULL) < 0)
		return -1;
	f->file = calloc(1, FILE_MAX);
	f->map = (struct memmap){ .e = { { 0, 0x9fc00, 1 }, { 0x100000, RAM - 0x100000, 1 } },
				  .n = 2 };
	f->kernel = (struct vm_file){ .fd = memfd_create("k", MFD_CLOEXEC), .name = "kernel.img" };
	f->initrd = (struct vm_file){ .fd = memfd_create("i", MFD_CLOEXEC), .name = "initrd.img" };
	f->req = (struct boot_request){ .mem = f->mem,
					.map = &f->map,
					.kernel = &f->kernel,
					.cmdline = "root=none",
					.rsdp = LAYOUT_ACPI };
	*state = f;
	return f->file && f->kernel.fd >= 0 && f->initrd.fd >= 0 ? 0 : -1;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	gmem_free(f->mem);
	close(f->kernel.fd);
	close(f->initrd.fd);
	free(f->file);
	free(f);
	return 0;
}

static int load(struct fixture *f)
{
	assert_int_equal(ftruncate(f->kernel.fd, 0), 0);
	assert_int_equal(pwrite(f->kernel.fd, f->file, f->len, 0), (ssize_t)f->len);
	memset(&f->err, 0, sizeof(f->err));
	return boot_load(&f->req, &f->entry, &f->err);
}

static void expect_refusal(struct fixture *f, const char *what)
{
	if (load(f) >= 0)
		fail_msg("loaded, should say '%s'", what);
	if (!strstr(f->err.msg, what) || !strstr(f->err.msg, "'kernel.img'") ||
	    strchr(f->err.msg, '\n'))
		fail_msg("'%s' does not say '%s' and the file", f->err.msg, what);
}

static const uint8_t *ram(struct fixture *f, gpa_t gpa)
{
	return gmem_ptr(f->mem, gpa, 1);
}

static void make_initrd(struct fixture *f, size_t len)
{
	assert_int_equal(ftruncate(f->initrd.fd, (off_t)len), 0);
	assert_int_equal(pwrite(f->initrd.fd, "INITRD", 6, 0), 6);
	f->req.initrd = &f->initrd;
}

/* An ELF64 file with one segment of "KERNEL" and, if wanted, a PVH note. */
static size_t make_elf(uint8_t *e, bool pvh)
{
	unsigned n = pvh ? 2 : 1;
	uint8_t *p = e + 64;

	memset(e, 0, 0x300);
	memcpy(e, "\177ELF\2\1\1", 7);
	le16_store(e + 16, 2);
	le16_store(e + 18, 62);
	le64_store(e + 24, LOAD_ADDR + 0x10);
	le64_store(e + 32, 64);
	le16_store(e + 54, 56);
	le16_store(e + 56, (uint16_t)n);
	le32_store(p, 1);
	le64_store(p + 8, 0x200);
	le64_store(p + 24, LOAD_ADDR);
	le64_store(p + 32, 0x100);
	le64_store(p + 40, 0x3000);
	memcpy(e + 0x200, "KERNEL", 6);
	if (pvh) {
		p += 56;
		le32_store(p, 4);
		le64_store(p + 8, 0x180);
		le64_store(p + 32, 20);
		le32_store(e + 0x180, 4);
		le32_store(e + 0x184, 4);
		le32_store(e + 0x188, 18);
		memcpy(e + 0x18c, "Xen", 4);
		le32_store(e + 0x190, LOAD_ADDR + 0x40);
	}
	return 0x300;
}

/* ---- packing ---- */

static size_t pack_lz4(const uint8_t *in, size_t len, uint8_t *out, size_t max)
{
	int n = LZ4_compress_HC((const char *)in, (char *)out + 8, (int)len, (int)max - 8, 9);

	assert_true(n > 0);
	le32_store(out, 0x184c2102);
	le32_store(out + 4, (uint32_t)n);
	le32_store(out + 8 + n, (uint32_t)len);
	return (size_t)n + 12;
}

static size_t pack_gzip(const uint8_t *in, size_t len, uint8_t *out, size_t max)
{
	z_stream z = { .next_in = (Bytef *)(uintptr_t)in,
		       .avail_in = (uInt)len,
		       .next_out = out,
		       .avail_out = (uInt)max };

	assert_int_equal(deflateInit2(&z, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
	assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
	deflateEnd(&z);
	return z.total_out;
}

static size_t pack_zstd(const uint8_t *in, size_t len, uint8_t *out, size_t max)
{
	size_t n = ZSTD_compress(out, max, in, len, 3);

	assert_false(ZSTD_isError(n));
	le32_store(out + n, (uint32_t)len);
	return n + 4;
}

static size_t pack_xz(const uint8_t *in, size_t len, uint8_t *out, size_t max)
{
	size_t n = 0;

	assert_int_equal(lzma_easy_buffer_encode(1, LZMA_CHECK_CRC32, NULL, in, len, out, &n, max),
			 LZMA_OK);
	le32_store(out + n, (uint32_t)len);
	return n + 4;
}

typedef size_t (*pack_fn)(const uint8_t *in, size_t len, uint8_t *out, size_t max);

#define PAYLOAD 0x600 /* in the file: behind two sectors of set-up code */

static void make_bzimage(struct fixture *f, pack_fn pack)
{
	uint8_t elf[0x300];
	size_t elf_len = make_elf(elf, true), n;

	memset(f->file, 0, 0x2000);
	n = pack(elf, elf_len, f->file + PAYLOAD, FILE_MAX - PAYLOAD);
	f->file[0x1f1] = 1;
	le16_store(f->file + 0x1fe, 0xaa55);
	f->file[0x201] = 0x6a;
	memcpy(f->file + 0x202, "HdrS", 4);
	le16_store(f->file + 0x206, 0x20f);
	le16_store(f->file + 0x20e, 0x100);
	strcpy((char *)f->file + 0x300, "6.1.0-test (somebody)");
	le32_store(f->file + 0x22c, 0x7fffffff);
	le16_store(f->file + 0x236, 1);
	le32_store(f->file + 0x238, 2047);
	le32_store(f->file + 0x248, PAYLOAD - 0x400);
	le32_store(f->file + 0x24c, (uint32_t)n);
	f->len = PAYLOAD + n;
}

/* ---- bzImage ---- */

static void bzimage_of_each_packing_is_entered_at_64_bits(void **state)
{
	static const pack_fn packs[] = { pack_lz4, pack_gzip, pack_zstd, pack_xz };
	struct fixture *f = *state;

	make_initrd(f, 5000);
	for (unsigned i = 0; i < ARRAY_LEN(packs); i++) {
		const uint8_t *bp = ram(f, LAYOUT_BOOT_PARAMS);
		uint32_t rd;

		make_bzimage(f, packs[i]);
		assert_int_equal(gmem_fill(f->mem, LOAD_ADDR, 0, 16), 0);
		if (load(f) < 0)
			fail_msg("packing %u: %s", i, f->err.msg);
		assert_memory_equal(ram(f, LOAD_ADDR), "KERNEL", 6);
		assert_int_equal(f->entry.mode, BOOT_MODE_LONG);
		assert_int_equal(f->entry.rip, LOAD_ADDR + 0x10);
		assert_int_equal(f->entry.rsi, LAYOUT_BOOT_PARAMS);
		assert_int_equal(le16_load(bp + 0x1fe), 0xaa55);
		assert_int_equal(le64_load(bp + 0x70), LAYOUT_ACPI);
		assert_int_equal(bp[0x1e8], 2);
		assert_int_equal(le32_load(bp + 0x228), LAYOUT_CMDLINE);
		assert_string_equal((const char *)ram(f, LAYOUT_CMDLINE), "root=none");
		rd = le32_load(bp + 0x218);
		assert_int_equal(le32_load(bp + 0x21c), 5000);
		assert_true(rd >= LOAD_ADDR + 0x3000 && rd + 5000 <= RAM && rd % 4096 == 0);
		assert_memory_equal(ram(f, rd), "INITRD", 6);
	}
}

static void every_truncation_of_a_bzimage_is_refused(void **state)
{
	struct fixture *f = *state;
	size_t whole;

	make_bzimage(f, pack_lz4);
	whole = f->len;
	for (size_t len = 1; len < whole; len += len < 0x290 ? 97 : 7) {
		make_bzimage(f, pack_lz4);
		f->len = len;
		if (load(f) >= 0)
			fail_msg("%zu of %zu bytes loaded", len, whole);
		if (!strstr(f->err.msg, "'kernel.img'"))
			fail_msg("%s", f->err.msg);
	}
}

static void damaged_payloads_are_refused(void **state)
{
	static const pack_fn packs[] = { pack_lz4, pack_gzip, pack_zstd, pack_xz };
	struct fixture *f = *state;

	for (unsigned i = 0; i < ARRAY_LEN(packs); i++) {
		make_bzimage(f, packs[i]);
		le32_store(f->file + f->len - 4, 0x200); /* the size it claims */
		expect_refusal(f, "damaged");
		le32_store(f->file + f->len - 4, UINT32_MAX);
		expect_refusal(f, "damaged");
		make_bzimage(f, packs[i]);
		for (size_t at = PAYLOAD + 8; at < f->len - 4; at += 3)
			f->file[at] ^= 0x55;
		expect_refusal(f, "damaged");
	}
	make_bzimage(f, pack_lz4);
	memcpy(f->file + PAYLOAD, "BZh9", 4);
	expect_refusal(f, "bzip2");
	memcpy(f->file + PAYLOAD, "what", 4);
	expect_refusal(f, "no known format");
}

static void old_and_32_bit_kernels_are_refused(void **state)
{
	struct fixture *f = *state;

	make_bzimage(f, pack_lz4);
	le16_store(f->file + 0x206, 0x204);
	expect_refusal(f, "too old");
	make_bzimage(f, pack_lz4);
	le16_store(f->file + 0x236, 0);
	expect_refusal(f, "32-bit kernel");
}

static void store_learns_version_and_unpacks(void **state)
{
	struct fixture *f = *state;
	struct kernel_info info;
	int fd = memfd_create("out", MFD_CLOEXEC);
	uint8_t elf[0x300], got[0x300];

	make_bzimage(f, pack_zstd);
	assert_int_equal(load(f), 0);
	assert_int_equal(kernel_inspect(&f->kernel, &info, NULL), 0);
	assert_true(info.is_bzimage);
	assert_string_equal(info.version, "6.1.0-test");
	assert_int_equal(kernel_unpack(&f->kernel, fd, NULL), 0);
	make_elf(elf, true);
	assert_int_equal(fd_pread_full(fd, got, sizeof(got), 0), sizeof(got));
	assert_memory_equal(elf, got, sizeof(elf));
	close(fd);
}

/* ---- ELF ---- */

static void pvh_elf_gets_start_info_in_protected_mode(void **state)
{
	struct fixture *f = *state;
	const uint8_t *si = ram(f, LAYOUT_START_INFO), *mod;

	f->len = make_elf(f->file, true);
	make_initrd(f, 100);
	assert_int_equal(load(f), 0);
	assert_int_equal(f->entry.mode, BOOT_MODE_PROTECTED);
	assert_int_equal(f->entry.rip, LOAD_ADDR + 0x40);
	assert_int_equal(f->entry.rbx, LAYOUT_START_INFO);
	assert_int_equal(le32_load(si), 0x336ec578);
	assert_int_equal(le32_load(si + 12), 1);
	mod = ram(f, le64_load(si + 16));
	assert_memory_equal(ram(f, le64_load(mod)), "INITRD", 6);
	assert_int_equal(le64_load(mod + 8), 100);
	assert_string_equal((const char *)ram(f, le64_load(si + 24)), "root=none");
	assert_int_equal(le32_load(si + 48), 2);
	assert_int_equal(le64_load(ram(f, le64_load(si + 40)) + 24), 0x100000);
}

static void known_linux_takes_the_64_bit_entry(void **state)
{
	struct fixture *f = *state;

	f->len = make_elf(f->file, true);
	f->req.linux64 = true;
	assert_int_equal(load(f), 0);
	assert_int_equal(f->entry.mode, BOOT_MODE_LONG);
	assert_memory_equal(ram(f, LAYOUT_BOOT_PARAMS + 0x202), "HdrS", 4);
}

static void foreign_and_damaged_elf_files_are_refused(void **state)
{
	struct fixture *f = *state;
	uint8_t *e = f->file;

	f->len = make_elf(e, false);
	le16_store(e + 18, 183);
	expect_refusal(f, "for arm64");
	make_elf(e, false);
	le16_store(e + 18, 243);
	expect_refusal(f, "for riscv");
	make_elf(e, false);
	e[5] = 2;
	expect_refusal(f, "big-endian");
	make_elf(e, false);
	le16_store(e + 16, 3);
	expect_refusal(f, "no executable");
	make_elf(e, false);
	le16_store(e + 56, 1000);
	expect_refusal(f, "program headers");
	make_elf(e, false);
	le64_store(e + 32, UINT64_MAX - 8);
	expect_refusal(f, "out of range");
	make_elf(e, false);
	le64_store(e + 64 + 24, RAM);
	expect_refusal(f, "memory");
	make_elf(e, false);
	le64_store(e + 64 + 40, UINT64_MAX);
	expect_refusal(f, "memory");
	make_elf(e, false);
	le64_store(e + 64 + 24, 0x2000); /* over the boot data */
	expect_refusal(f, "memory");
	make_elf(e, false);
	le64_store(e + 64 + 24, 0xe0000); /* over the ACPI tables */
	expect_refusal(f, "memory");
	make_elf(e, false);
	le64_store(e + 64 + 32, 0x4000);
	expect_refusal(f, "larger");
	make_elf(e, false);
	le32_store(e + 64, 6);
	expect_refusal(f, "nothing to load");
	f->len = make_elf(e, false);
	f->len = 0x280;
	expect_refusal(f, "truncated");
}

static void files_that_are_no_kernels_are_named(void **state)
{
	struct fixture *f = *state;

	memset(f->file, 'x', 4096);
	f->len = 4096;
	expect_refusal(f, "not a kernel");
	f->len = 1;
	expect_refusal(f, "not a kernel");
	f->len = 0;
	expect_refusal(f, "empty");
	memset(f->file, 0, 4096);
	memcpy(f->file + 56, "ARM\x64", 4);
	f->len = 4096;
	expect_refusal(f, "arm64");
	memcpy(f->file, "\x1f\x8b\x08", 3);
	memset(f->file + 56, 0, 4);
	expect_refusal(f, "gzip");
}

/* ---- Multiboot ---- */

static void multiboot_flat_image_gets_module_and_command_line(void **state)
{
	struct fixture *f = *state;
	const uint8_t *mbi = ram(f, LAYOUT_START_INFO), *mod;
	uint32_t flags = 0x10003;

	memset(f->file, 0, 0x1000);
	le32_store(f->file + 0x40, 0x1badb002);
	le32_store(f->file + 0x44, flags);
	le32_store(f->file + 0x48, 0U - 0x1badb002 - flags);
	le32_store(f->file + 0x4c, 0x200040);
	le32_store(f->file + 0x50, 0x200000);
	le32_store(f->file + 0x54, 0x200800);
	le32_store(f->file + 0x58, 0x210000);
	le32_store(f->file + 0x5c, 0x200100);
	memcpy(f->file + 0x100, "CODE", 4);
	f->len = 0x1000;
	make_initrd(f, 100);
	if (load(f) < 0)
		fail_msg("%s", f->err.msg);
	assert_int_equal(f->entry.mode, BOOT_MODE_PROTECTED);
	assert_int_equal(f->entry.rax, 0x2badb002);
	assert_int_equal(f->entry.rip, 0x200100);
	assert_memory_equal(ram(f, 0x200100), "CODE", 4);
	assert_int_equal(le32_load(mbi) & 0x4d, 0x4d);
	assert_int_equal(le32_load(mbi + 20), 1);
	mod = ram(f, le32_load(mbi + 24));
	assert_memory_equal(ram(f, le32_load(mod)), "INITRD", 6);
	assert_int_equal(le32_load(mod + 4) - le32_load(mod), 100);
	assert_string_equal((const char *)ram(f, le32_load(mod + 8)), "initrd.img");
	assert_string_equal((const char *)ram(f, le32_load(mbi + 16)), "root=none");

	le32_store(f->file + 0x4c, 0x1fffff); /* header below its own load address */
	expect_refusal(f, "out of range");
	le32_store(f->file + 0x4c, 0x200040);
	le32_store(f->file + 0x58, 0xf0000000);
	expect_refusal(f, "memory");
}

/* ---- limits ---- */

static void command_line_and_initrd_are_bounded(void **state)
{
	struct fixture *f = *state;
	char *longline = malloc(5000);

	assert_non_null(longline);
	memset(longline, 'a', 4999);
	longline[2048] = '\0';
	f->len = make_elf(f->file, false);
	f->req.linux64 = true;
	f->req.cmdline = longline;
	expect_refusal(f, "command line");
	longline[2047] = '\0';
	assert_int_equal(load(f), 0);
	free(longline);
	f->req.cmdline = "";
	make_initrd(f, RAM + 1);
	assert_int_equal(load(f), -E2BIG);
	assert_non_null(strstr(f->err.msg, "'initrd.img'"));
	make_initrd(f, RAM - LOAD_ADDR); /* beside nothing but the kernel's own pages */
	assert_int_equal(load(f), -E2BIG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		T(bzimage_of_each_packing_is_entered_at_64_bits),
		T(every_truncation_of_a_bzimage_is_refused),
		T(damaged_payloads_are_refused),
		T(old_and_32_bit_kernels_are_refused),
		T(store_learns_version_and_unpacks),
		T(pvh_elf_gets_start_info_in_protected_mode),
		T(known_linux_takes_the_64_bit_entry),
		T(foreign_and_damaged_elf_files_are_refused),
		T(files_that_are_no_kernels_are_named),
		T(multiboot_flat_image_gets_module_and_command_line),
		T(command_line_and_initrd_are_bounded),
	};

	return cmocka_run_group_tests_name("vmm/boot", tests, NULL, NULL);
}
