/* SPDX-License-Identifier: Apache-2.0 */
/* Code that goes with a saved machine: used as it is, withdrawn like any other, refused when
 * damaged. */
#include "soft_fixture.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "soft/block_priv.h"
#include "soft/image_priv.h"

#define P	0x1ULL
#define W	0x2ULL
#define PS	0x80ULL
#define CODE	0x400000ULL
#define N_LOOPS 100
#define N_INSNS (2 + 5 * N_LOOPS + 1)
#define PATCHED (CODE + 0x102) /* the immediate of the called function's ADD */

/*
 * mov ecx, 100; xor eax, eax; 1: call f; dec ecx; jnz 1b; hlt - f: add eax, 3; ret; on a page of
 * its own lies a jump to the start: links within the page and across, calls, returns, handlers.
 */
static const uint8_t program[] = { 0xb9, N_LOOPS, 0, 0,	   0,	 0x31, 0xc0, 0xe8, 0xf4,
				   0,	 0,	  0, 0xff, 0xc9, 0x75, 0xf7, 0xf4 };
static const uint8_t function[] = { 0x83, 0xc0, 3, 0xc3 };
static const uint8_t jump[] = { 0xe9, 0xfb, 0xef, 0xff, 0xff };

/* The same tables and code in each machine, as memory has them that is restored. */
static struct cpu *prepare(struct fixture *f)
{
	gpa_t pml4 = fix_table(f), pdpt = fix_table(f), pd = fix_table(f);
	struct cpu *cpu = fix_cpu(f);

	*fix_u64(f, pml4) = pdpt | P | W;
	*fix_u64(f, pdpt) = pd | P | W;
	for (unsigned i = 0; i < 8; i++)
		*fix_u64(f, pd + 8 * i) = i * 2 * MIB | P | W | PS;
	assert_int_equal(gmem_write(f->mem, CODE, program, sizeof(program)), 0);
	assert_int_equal(gmem_write(f->mem, CODE + 0x100, function, sizeof(function)), 0);
	assert_int_equal(gmem_write(f->mem, CODE + 0x1000, jump, sizeof(jump)), 0);
	fix_long_mode(f, pml4, 0);
	cpu->gpr[HV_RSP] = 0x800000;
	cpu->rflags = FL_ONE;
	return cpu;
}

static uint64_t run(struct cpu *cpu)
{
	uint64_t before = cpu->stats.n_insns;

	cpu->rip = CODE + 0x1000;
	cpu->halted = false;
	cpu->exc.pending = false;
	for (unsigned turns = 0; turns < 1000 && !cpu->halted && !cpu->exc.pending; turns++) {
		atomic_store(&cpu->stop_at, 0);
		cpu->budget = 10000;
		cpu_exec(cpu);
	}
	assert_true(cpu->halted);
	return cpu->stats.n_insns - before;
}

/* Of a machine that has run the program often. */
static int save(void)
{
	int fd = memfd_create("code", MFD_CLOEXEC);
	void *state = NULL;
	struct err err = { 0 };
	struct cpu *cpu;

	assert_int_equal(fixture_setup(&state), 0);
	cpu = prepare(state);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(run(cpu), N_INSNS + 1);
	assert_int_equal(cpu->gpr[HV_RAX], 3 * N_LOOPS);
	assert_int_equal(block_image_save(cpu, fd, &err), 0);
	/* It goes on as before. */
	assert_int_equal(run(cpu), N_INSNS + 1);
	assert_int_equal(cpu->gpr[HV_RAX], 3 * N_LOOPS);
	assert_int_equal(fixture_teardown(&state), 0);
	return fd;
}

static struct block *block_of(struct cpu *cpu, gpa_t gpa)
{
	uint64_t host = (uint64_t)(uintptr_t)gmem_ptr(cpu->vm->mem, gpa, 1);

	return block_lookup(cpu->code, host ^ CODE_KEY_LONG);
}

static size_t length(int fd)
{
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	return (size_t)st.st_size;
}

static void a_machine_runs_the_code_it_begins_with(void **state)
{
	struct cpu *cpu = prepare(*state);
	struct block_cpu *code = cpu->code;
	int AUTO_FD fd = save();
	struct err err = { 0 };
	struct block *loop;
	size_t used, jit_used;

	assert_int_equal(block_image_check(fd, &err), 0);
	assert_int_equal(block_image_load(cpu, fd, &err), 0);
	used = code->arena_used;
	jit_used = code->jit_used;
	assert_true(used > ARENA_START && jit_used > 0);
	loop = block_of(cpu, CODE + 7);
	assert_non_null(loop);
	/* It is translated, and linked with what comes behind the call. */
	assert_true((uintptr_t)loop->ops[1].fn - (uintptr_t)code->jit.rx < jit_used);
	assert_int_equal(run(cpu), N_INSNS + 1);
	assert_int_equal(cpu->gpr[HV_RAX], 3 * N_LOOPS);
	/* Nothing was made. */
	assert_int_equal(code->arena_used, used);
	assert_int_equal(code->jit_used, jit_used);
	/* What is made later lies behind the file's, also after everything was forgotten. */
	block_flush(cpu);
	assert_int_equal(code->jit_used, jit_used);
	for (unsigned i = 0; i < 50; i++)
		assert_int_equal(run(cpu), N_INSNS + 1);
	assert_int_equal(cpu->gpr[HV_RAX], 3 * N_LOOPS);
	assert_true(code->jit_used > jit_used);
}

static void code_that_is_written_is_made_anew(void **state)
{
	struct fixture *f = *state;
	struct cpu *cpu = prepare(f);
	int AUTO_FD fd = save();

	assert_int_equal(block_image_load(cpu, fd, NULL), 0);
	/* By a device, before anything has run. */
	assert_int_equal(gmem_write(f->mem, PATCHED, "\x05", 1), 0);
	run(cpu);
	assert_int_equal(cpu->gpr[HV_RAX], 5 * N_LOOPS);
	/* By the guest: mov byte [PATCHED], 7; jmp to the program's start. */
	assert_int_equal(gmem_write(f->mem, CODE + 0x1000,
				    "\xc6\x04\x25\x02\x01\x40\x00\x07\xe9\xf3\xef\xff\xff", 13),
			 0);
	assert_int_equal(run(cpu), N_INSNS + 2);
	assert_int_equal(cpu->gpr[HV_RAX], 7 * N_LOOPS);
}

static void code_is_saved_again_by_who_began_with_it(void **state)
{
	struct cpu *cpu = prepare(*state);
	int AUTO_FD fd = save();
	int AUTO_FD again = memfd_create("again", MFD_CLOEXEC);
	void *third = NULL;

	assert_int_equal(block_image_load(cpu, fd, NULL), 0);
	assert_int_equal(block_image_save(cpu, again, NULL), 0);
	assert_int_equal(length(again), length(fd));
	assert_int_equal(fixture_setup(&third), 0);
	cpu = prepare(third);
	assert_int_equal(block_image_load(cpu, again, NULL), 0);
	assert_int_equal(run(cpu), N_INSNS + 1);
	assert_int_equal(cpu->gpr[HV_RAX], 3 * N_LOOPS);
	assert_int_equal(fixture_teardown(&third), 0);
}

static void what_is_made_after_enough_is_not_saved(void **state)
{
	struct cpu *cpu = prepare(*state);
	int AUTO_FD fd = memfd_create("code", MFD_CLOEXEC);
	void *other = NULL;

	run(cpu);
	block_enough(cpu);
	/* From then on the call goes to another function. */
	assert_int_equal(gmem_write(cpu->vm->mem, CODE + 0x200, function, sizeof(function)), 0);
	assert_int_equal(gmem_write(cpu->vm->mem, CODE + 8, "\xf4\x01\0\0", 4), 0);
	assert_int_equal(run(cpu), N_INSNS + 1);
	assert_non_null(block_of(cpu, CODE + 0x200));
	assert_int_equal(block_image_save(cpu, fd, NULL), 0);
	assert_int_equal(fixture_setup(&other), 0);
	cpu = prepare(other);
	assert_int_equal(block_image_load(cpu, fd, NULL), 0);
	assert_non_null(block_of(cpu, CODE + 0x100));
	assert_null(block_of(cpu, CODE + 0x200));
	assert_int_equal(fixture_teardown(&other), 0);
	/* Forgetting begins anew. */
	cpu = ((struct fixture *)*state)->vm->vm.cpus[0];
	block_flush(cpu);
	assert_int_equal(run(cpu), N_INSNS + 1);
	assert_int_equal(ftruncate(fd, 0), 0);
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	assert_int_equal(block_image_save(cpu, fd, NULL), 0);
	assert_int_equal(fixture_setup(&other), 0);
	cpu = prepare(other);
	assert_int_equal(block_image_load(cpu, fd, NULL), 0);
	assert_non_null(block_of(cpu, CODE + 0x200));
	assert_int_equal(fixture_teardown(&other), 0);
}

static uint8_t *copy_of(int fd, size_t len)
{
	uint8_t *p = test_malloc(len);

	assert_int_equal(fd_pread_full(fd, p, len, 0), len);
	return p;
}

static int file_of(const uint8_t *p, size_t len)
{
	int fd = memfd_create("damaged", MFD_CLOEXEC);

	assert_int_equal(fd_write_full(fd, p, len), 0);
	return fd;
}

/* Refused, and the machine goes on without. */
static void refused(struct cpu *cpu, const uint8_t *p, size_t len, int why)
{
	int AUTO_FD fd = file_of(p, len);
	struct err err = { 0 };

	assert_int_equal(block_image_load(cpu, fd, &err), why);
	assert_true(err.msg[0]);
	assert_int_equal(cpu->code->arena_used, ARENA_START);
	assert_int_equal(cpu->code->jit_used, 0);
}

/* Also by who looks without a machine. */
static void refused_by_all(struct cpu *cpu, const uint8_t *p, size_t len, int why)
{
	int AUTO_FD fd = file_of(p, len);
	struct err err = { 0 };

	refused(cpu, p, len, why);
	assert_int_equal(block_image_check(fd, &err), why);
	assert_true(err.msg[0]);
}

static void each_byte_and_each_length_counts(void **state)
{
	struct cpu *cpu = prepare(*state);
	int AUTO_FD fd = save();
	size_t len = length(fd);
	uint8_t *p = copy_of(fd, len);

	for (size_t i = 0; i < len; i++) {
		p[i] ^= 1U << i % 8;
		refused_by_all(cpu, p, len, -EBADMSG);
		p[i] ^= 1U << i % 8;
	}
	for (size_t i = 0; i < len; i += i < 2 * GMEM_PAGE_SIZE ? 61 : 997)
		refused_by_all(cpu, p, i, -EBADMSG);
	assert_int_equal(run(cpu), N_INSNS + 1);
	assert_int_equal(cpu->gpr[HV_RAX], 3 * N_LOOPS);
	test_free(p);
}

/* Sums that are right again: what is in it has to lead somewhere. */
static void mend(uint8_t *p, size_t len)
{
	uint64_t host = le64_load(p + 8 * IMAGE_W_HOT) + le64_load(p + 8 * IMAGE_W_COLD),
		 arena = le64_load(p + 8 * IMAGE_W_ARENA), words[2];
	struct image_sum s = { { 0 } };

	if (IMAGE_HEAD_BYTES + host + arena <= len) {
		uint8_t *at = p + IMAGE_HEAD_BYTES;

		image_sum_add(&s, at, host);
		image_sum_add(&s, at + host, arena);
		image_sum_add(&s, at + host + arena, len - IMAGE_HEAD_BYTES - host - arena);
		image_sum_words(&s, words);
		le64_store(p + 8 * IMAGE_W_SUM, words[0]);
		le64_store(p + 8 * IMAGE_W_SUM + 8, words[1]);
	}
	le64_store(p + 8 * IMAGE_W_HEAD_SUM, image_head_sum(p));
}

/* Loading stays within its bounds whatever the file holds; running it is for the store's owner
 * only. */
static void offsets_are_checked_without_the_sums_too(void **state)
{
	struct cpu *cpu = prepare(*state);
	int AUTO_FD fd = save();
	size_t len = length(fd), body;
	uint8_t *p = copy_of(fd, len);
	unsigned n_refused = 0;

	body = IMAGE_HEAD_BYTES + le64_load(p + 8 * IMAGE_W_HOT) + le64_load(p + 8 * IMAGE_W_COLD);
	for (size_t i = body; i < len; i++) {
		for (unsigned v = 0; v < 3; v++) {
			uint8_t was = p[i];
			void *other = NULL;

			p[i] = v == 0 ? 0xff : v == 1 ? was ^ 0x80 : was + 1;
			mend(p, len);
			AUTO_FD int damaged = file_of(p, len);

			assert_int_equal(fixture_setup(&other), 0);
			n_refused += block_image_load(prepare(other), damaged, NULL) < 0;
			assert_int_equal(fixture_teardown(&other), 0);
			p[i] = was;
		}
	}
	assert_true(n_refused > 100);
	for (unsigned w = IMAGE_KEY_WORDS; w < IMAGE_W_SUM; w++) {
		uint64_t was = le64_load(p + 8 * w);

		for (unsigned bit = 0; bit < 64; bit++) {
			le64_store(p + 8 * w, was ^ 1ULL << bit);
			mend(p, len);
			refused_by_all(cpu, p, len, -EBADMSG);
		}
		le64_store(p + 8 * w, was);
	}
	test_free(p);
}

/* Each block has its bytes to itself: one that reaches into another would be changed with it. */
static void blocks_lie_behind_one_another(void **state)
{
	struct cpu *cpu = prepare(*state);
	int AUTO_FD fd = save();
	size_t len = length(fd), refs;
	uint8_t *p = copy_of(fd, len);
	uint32_t first;

	refs = len - le64_load(p + 8 * IMAGE_W_BLOCKS) * sizeof(first);
	first = le32_load(p + refs);
	le32_store(p + refs, le32_load(p + refs + 4));
	le32_store(p + refs + 4, first);
	mend(p, len);
	refused(cpu, p, len, -EBADMSG);
	test_free(p);
}

static void another_program_or_cpu_is_told(void **state)
{
	struct cpu *cpu = prepare(*state);
	int AUTO_FD fd = save();
	size_t len = length(fd);
	uint8_t *p = copy_of(fd, len);

	for (unsigned w = 0; w < IMAGE_KEY_WORDS; w++) {
		uint64_t was = le64_load(p + 8 * w);

		le64_store(p + 8 * w, was ^ 1);
		mend(p, len);
		(w < IMAGE_W_GUEST ? refused_by_all : refused)(cpu, p, len, -ESTALE);
		le64_store(p + 8 * w, was);
	}
	test_free(p);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_machine_runs_the_code_it_begins_with),
		TEST(code_that_is_written_is_made_anew),
		TEST(code_is_saved_again_by_who_began_with_it),
		TEST(what_is_made_after_enough_is_not_saved),
		TEST(each_byte_and_each_length_counts),
		TEST(offsets_are_checked_without_the_sums_too),
		TEST(blocks_lie_behind_one_another),
		TEST(another_program_or_cpu_is_told),
	};

	return cmocka_run_group_tests_name("vmm/soft image", tests, NULL, NULL);
}
