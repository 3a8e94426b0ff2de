/* SPDX-License-Identifier: Apache-2.0 */
/* Initial RAM disks, program blocks, timelines, the guest programs and their constants. */
#include "test.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/fd.h"
#include "initx/cpio.h"
#include "initx/guest.h"
#include "initx/timeline.h"

static void writes_newc(void **state)
{
	CLEANUP(cpio_freep) struct cpio *c = NULL;
	AUTO_FREE uint8_t *out = NULL;
	size_t len;

	assert_int_equal(cpio_new(&c, NULL), 0);
	assert_int_equal(cpio_add(c, "a", S_IFREG | 0755, 0, "hello", 5, NULL), 0);
	assert_int_equal(cpio_add(c, "n", S_IFCHR | 0600, makedev(5, 1), NULL, 0, NULL), 0);
	assert_int_equal(cpio_finish(c, &out, &len, NULL), 0);
	assert_int_equal(len % 4, 0);
	assert_memory_equal(out,
			    "070701"
			    "00000000"
			    "000081ED"
			    "00000000"
			    "00000000"
			    "00000001"
			    "00000000"
			    "00000005"
			    "00000000"
			    "00000000"
			    "00000000"
			    "00000000"
			    "00000002"
			    "00000000"
			    "a\0hello\0\0\0",
			    110 + 10);
	/* the node: major 5, minor 1 */
	assert_memory_equal(out + 120 + 6 + 8 * 9,
			    "00000005"
			    "00000001",
			    16);
	assert_non_null(memmem(out, len, "TRAILER!!!", 11));
}

static void refuses_bad_entries(void **state)
{
	CLEANUP(cpio_freep) struct cpio *c = NULL;

	assert_int_equal(cpio_new(&c, NULL), 0);
	assert_int_equal(cpio_add(c, "", S_IFREG, 0, NULL, 0, NULL), -EINVAL);
	assert_int_equal(cpio_add(c, "/abs", S_IFREG, 0, NULL, 0, NULL), -EINVAL);
	assert_int_equal(cpio_add(c, "TRAILER!!!", S_IFREG, 0, NULL, 0, NULL), -EINVAL);
	assert_int_equal(cpio_add(c, "d", S_IFDIR, 0, "x", 1, NULL), -EINVAL);
	assert_int_equal(cpio_add(c, "big", S_IFREG, 0, "x", (size_t)1 << 33, NULL), -E2BIG);
}

static void boots_with_init(void **state)
{
	AUTO_FREE uint8_t *out = NULL;
	size_t len;

	assert_int_equal(initramfs_make("ELF", 3, &out, &len, NULL), 0);
	assert_non_null(memmem(out, len, "dev/console", 12));
	assert_non_null(memmem(out, len, "init\0", 5));
}

static void compiles_every_program_for_every_target(void **state)
{
	static const uint16_t machines[] = { EM_X86_64, EM_AARCH64, EM_RISCV };
	static const char *const flags[] = { "rootfs",	"hostname",	 "hosts",  "resolv_conf",
					     "network", "readonly_root", "binfmt", "modules" };
	static const struct rtg_config configs[] = {
		{ "hostname", "box" },
		{ "hosts", "127.0.0.1 localhost\n" },
		{ "resolv_conf", "nameserver 10.0.0.1\n" },
		{ "path", "/x" },
		{ "mode", "0x1ed" },
	};
	static const struct rtg_blob blobs[] = { { "binfmt", "x", 1 },
						 { "network", "\0", 1 },
						 { "modules", "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
						   16 } };
	struct guest_values v = { flags, ARRAY_LEN(flags), configs, ARRAY_LEN(configs),
				  blobs, ARRAY_LEN(blobs) };

	for (unsigned p = 0; p < GUEST_MAX_; p++) {
		for (unsigned a = 0; a < RTG_ARCH_MAX_; a++) {
			struct rtg_output out;
			struct err err = { 0 };

			if (guest_compile((enum guest_program)p, (enum rtg_arch)a, &v, &out, &err))
				fail_msg("program %u, target %u: %s", p, a, err.msg);
			assert_true(out.code_bytes > 0 && out.code_bytes < 65536);
			if (p == GUEST_INIT) {
				assert_memory_equal(out.data, ELFMAG, SELFMAG);
				assert_int_equal(le16_load(out.data + 18), machines[a]);
			}
			rtg_output_done(&out);
		}
	}
}

/* W^X: no segment is writable and executable, and the stack is not executable. */
static void elf_segments_keep_apart(void **state)
{
	struct rtg_output out;
	Elf64_Ehdr eh;
	bool stack = false;

	assert_int_equal(guest_compile(GUEST_INIT, RTG_AMD64, NULL, &out, NULL), 0);
	memcpy(&eh, out.data, sizeof(eh));
	for (unsigned i = 0; i < eh.e_phnum; i++) {
		Elf64_Phdr ph;

		memcpy(&ph, out.data + eh.e_phoff + i * sizeof(ph), sizeof(ph));
		assert_false((ph.p_flags & PF_W) && (ph.p_flags & PF_X));
		assert_true(ph.p_offset + ph.p_filesz <= out.len);
		stack |= ph.p_type == PT_GNU_STACK;
	}
	assert_true(stack);
	rtg_output_done(&out);
}

static void says_which_value_is_missing(void **state)
{
	struct rtg_output out;
	struct err err = { 0 };

	assert_int_equal(guest_compile(GUEST_WRITER, RTG_AMD64, NULL, &out, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "'path'"));
}

static void places_programs(void **state)
{
	uint8_t *config = calloc(1, INITX_CONFIG_SIZE);
	uint32_t relocs[] = { 8, 16 }, data = 0;
	uint8_t code[32] = { 1, 2, 3 };
	struct rtg_output p = {
		.data = code, .len = sizeof(code), .relocs = relocs, .n_relocs = 2
	};

	memset(config + INITX_COMMAND_OFFSET, 0x11, 16);
	assert_int_equal(guest_place_program(config, &p, INITX_CHUNK_REGION, &data, NULL), 0);
	assert_int_equal(le32_load(config), INITX_PROGRAM_MAGIC);
	assert_int_equal(le32_load(config + 4), 32);
	assert_int_equal(le32_load(config + 8), 2);
	assert_int_equal(le32_load(config + 12), data);
	assert_int_equal(le32_load(config + 16), INITX_CHUNK_REGION);
	assert_int_equal(le32_load(config + 44), 16);
	assert_memory_equal(config + 48, code, 32);
	assert_true(data >= 80 && le64_load(config + 24) > 1600000000);
	assert_int_equal(config[INITX_COMMAND_OFFSET], 0x11);
	assert_int_equal(guest_place_program(config, &p, INITX_CONFIG_SIZE, &data, NULL), -E2BIG);
	free(config);
}

/* Every INITX_ number of proto.h is known to guest programs. */
static void constants_cover_the_protocol(void **state)
{
	FILE *f = fopen(PROTO_H, "re");
	char line[512], name[128];
	unsigned n = 0;

	assert_non_null(f);
	while (fgets(line, sizeof(line), f)) {
		bool found = false;

		if (sscanf(line, "#define %127s", name) != 1 || strncmp(name, "INITX_", 6) != 0 ||
		    !strcmp(name, "INITX_PROTO_H"))
			continue;
		for (size_t i = 0; i < n_guest_consts; i++)
			found |= !strcmp(guest_consts[i].name, name);
		if (!found)
			fail_msg("%s is not in proto_consts.h", name);
		n++;
	}
	fclose(f);
	assert_int_equal(n, n_guest_consts);
}

static void writes_a_trace(void **state)
{
	CLEANUP(timeline_freep) struct timeline *t = NULL;
	int AUTO_FD fd = memfd_create("trace", MFD_CLOEXEC);
	char buf[4096];
	ssize_t n;

	assert_int_equal(timeline_new(&t, NULL), 0);
	timeline_host(t, "load \"kernel\"", 1000, 2500);
	timeline_guest(t, INITX_TS_INIT_START, 5000);
	timeline_guest(t, INITX_TS_INIT_DEV, 7250);
	timeline_guest(t, 200, 9000);
	assert_int_equal(timeline_write(t, fd, NULL), 0);
	n = pread(fd, buf, sizeof(buf) - 1, 0);
	assert_true(n > 0);
	buf[n] = '\0';
	assert_non_null(
		strstr(buf,
		       "\"name\":\"load \\\"kernel\\\"\",\"tid\":1,\"ts\":1.000,\"dur\":1.500"));
	assert_non_null(strstr(buf, "\"name\":\"/dev made\",\"tid\":2,\"ts\":5.000,\"dur\":2.250"));
	assert_non_null(strstr(buf, "guest event 200"));
}

static void drops_events_beyond_its_limit(void **state)
{
	CLEANUP(timeline_freep) struct timeline *t = NULL;
	int AUTO_FD fd = memfd_create("trace", MFD_CLOEXEC);
	struct stat st;

	assert_int_equal(timeline_new(&t, NULL), 0);
	for (uint64_t i = 0; i < TIMELINE_MAX + 10; i++)
		timeline_guest(t, 1, i);
	assert_int_equal(timeline_write(t, fd, NULL), 0);
	assert_int_equal(fstat(fd, &st), 0);
	assert_true(st.st_size < 16 << 20);
	{
		char tail[64] = { 0 };

		assert_true(pread(fd, tail, 40, st.st_size - 40) == 40);
		assert_non_null(strstr(tail, "\"dropped\":\"10\""));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(writes_newc),
		cmocka_unit_test(refuses_bad_entries),
		cmocka_unit_test(boots_with_init),
		cmocka_unit_test(compiles_every_program_for_every_target),
		cmocka_unit_test(elf_segments_keep_apart),
		cmocka_unit_test(says_which_value_is_missing),
		cmocka_unit_test(places_programs),
		cmocka_unit_test(constants_cover_the_protocol),
		cmocka_unit_test(writes_a_trace),
		cmocka_unit_test(drops_events_beyond_its_limit),
	};

	return cmocka_run_group_tests_name("initx/image", tests, NULL, NULL);
}
