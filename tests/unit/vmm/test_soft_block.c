/* SPDX-License-Identifier: Apache-2.0 */
#include "soft_fixture.h"

#include <sys/mman.h>

#include "soft/block_priv.h"

#define P     0x1ULL
#define W     0x2ULL
#define PS    0x80ULL
#define CODE  0x400000ULL
#define DATA  0x600000ULL
#define ALIAS 0x40000000ULL /* maps the first 2 MiB pages again, at 1 GiB */
#define HLT   "\xf4"

/* The first 16 MiB, identity-mapped and again at ALIAS; 64-bit mode, level 0. */
static struct cpu *prepare(struct fixture *f)
{
	gpa_t pml4 = fix_table(f), pdpt = fix_table(f), pd = fix_table(f);
	struct cpu *cpu = fix_cpu(f);

	*fix_u64(f, pml4) = pdpt | P | W;
	*fix_u64(f, pdpt) = pd | P | W;
	*fix_u64(f, pdpt + 8) = pd | P | W;
	for (unsigned i = 0; i < 8; i++)
		*fix_u64(f, pd + 8 * i) = i * 2 * MIB | P | W | PS;
	fix_long_mode(f, pml4, 0);
	cpu->gpr[HV_RSP] = 0x800000;
	cpu->rflags = FL_ONE;
	return cpu;
}

#define LOAD(f, gpa, bytes) assert_int_equal(gmem_write((f)->mem, gpa, bytes, sizeof(bytes) - 1), 0)

/* Run until HLT or an exception. Instructions done. */
static uint64_t run(struct cpu *cpu, uint64_t rip)
{
	uint64_t before = cpu->stats.n_insns;

	cpu->rip = rip;
	cpu->halted = false;
	cpu->exc.pending = false;
	for (unsigned turns = 0; turns < 1000 && !cpu->halted && !cpu->exc.pending; turns++) {
		atomic_store(&cpu->stop_at, 0);
		cpu->budget = 10000;
		cpu_exec(cpu);
	}
	assert_true(cpu->halted || cpu->exc.pending);
	return cpu->stats.n_insns - before;
}

static void counts_instructions_exactly(void **state)
{
	struct cpu *cpu = prepare(*state);

	/* mov ecx, 1000; xor eax, eax; 1: add eax, ecx; dec ecx; jnz 1b; hlt */
	LOAD((struct fixture *)*state, CODE,
	     "\xb9\xe8\x03\0\0\x31\xc0\x01\xc8\xff\xc9\x75\xfa" HLT);
	assert_int_equal(run(cpu, CODE), 2 + 3 * 1000 + 1);
	assert_int_equal(cpu->gpr[HV_RAX], 500500);
	/* the same again, translated or not */
	for (unsigned i = 0; i < 50; i++)
		assert_int_equal(run(cpu, CODE), 2 + 3 * 1000 + 1);
	cpu->step = true;
	assert_int_equal(run(cpu, CODE), 2 + 3 * 1000 + 1);
	assert_int_equal(cpu->gpr[HV_RAX], 500500);
}

static void stops_when_the_budget_is_spent(void **state)
{
	struct cpu *cpu = prepare(*state);

	LOAD((struct fixture *)*state, CODE, "\xff\xc0\xeb\xfc"); /* 1: inc eax; jmp 1b */
	cpu->rip = CODE;
	cpu->gpr[HV_RAX] = 0;
	cpu->budget = 1000;
	cpu_exec(cpu);
	assert_int_equal(cpu->stats.n_insns, 1000);
	assert_int_equal(cpu->gpr[HV_RAX], 500);
	assert_true(cpu->rip == CODE);
	/* attention comes before anything is run */
	cpu_attention(cpu);
	cpu->budget = 1000;
	cpu_exec(cpu);
	assert_int_equal(cpu->stats.n_insns, 1000);
	atomic_store(&cpu->stop_at, 0);
}

static void a_block_that_changes_itself_runs_the_new_bytes(void **state)
{
	struct cpu *cpu = prepare(*state);

	/* mov byte [rip+1], 7; mov al, 1; hlt: the store hits the next instruction's immediate */
	LOAD((struct fixture *)*state, CODE, "\xc6\x05\x01\0\0\0\x07\xb0\x01" HLT);
	for (unsigned i = 0; i < 100; i++) {
		LOAD((struct fixture *)*state, CODE, "\xc6\x05\x01\0\0\0\x07\xb0\x01" HLT);
		cpu->gpr[HV_RAX] = 0;
		run(cpu, CODE);
		assert_int_equal(cpu->gpr[HV_RAX], 7);
	}
}

static void writes_through_an_alias_are_seen(void **state)
{
	struct cpu *cpu = prepare(*state);

	/* f: mov al, 1; ret - g: call f; mov byte [ALIAS+f+1], 2; call f; hlt */
	LOAD((struct fixture *)*state, CODE, "\xb0\x01\xc3");
	LOAD((struct fixture *)*state, CODE + 0x100,
	     "\xe8\xfb\xfe\xff\xff\xc6\x04\x25\x01\0\x40\x40\x02\xe8\xee\xfe\xff\xff" HLT);
	cpu->gpr[HV_RAX] = 0;
	run(cpu, CODE + 0x100);
	assert_int_equal(cpu->gpr[HV_RAX], 2);
	/* and from outside the CPU */
	LOAD((struct fixture *)*state, CODE, "\xb0\x09\xf4");
	run(cpu, CODE);
	assert_int_equal(cpu->gpr[HV_RAX], 9);
}

static void runs_the_same_code_at_two_addresses(void **state)
{
	struct cpu *cpu = prepare(*state);

	/* lea rax, [rip]; hlt */
	LOAD((struct fixture *)*state, CODE, "\x48\x8d\x05\0\0\0\0" HLT);
	run(cpu, CODE);
	assert_true(cpu->gpr[HV_RAX] == CODE + 7);
	run(cpu, ALIAS + CODE);
	assert_true(cpu->gpr[HV_RAX] == ALIAS + CODE + 7);
}

static void an_instruction_over_two_pages_follows_both(void **state)
{
	struct fixture *f = *state;
	struct cpu *cpu = prepare(f);

	/* mov eax, imm32 with the last two bytes on the next page; hlt */
	LOAD(f, CODE + 0xffd, "\xb8\x11\x22\x33\x44" HLT);
	run(cpu, CODE + 0xffd);
	assert_int_equal(cpu->gpr[HV_RAX], 0x44332211);
	LOAD(f, CODE + 0x1000, "\x55");
	run(cpu, CODE + 0xffd);
	assert_int_equal(cpu->gpr[HV_RAX], 0x44552211);
	LOAD(f, CODE + 0xffe, "\x66");
	run(cpu, CODE + 0xffd);
	assert_int_equal(cpu->gpr[HV_RAX], 0x44552266);
}

static void *run_long(void *opaque)
{
	struct cpu *cpu = opaque;

	cpu->rip = CODE + 0xffd;
	cpu->budget = 600000;
	cpu_exec(cpu);
	return NULL;
}

/* Handlers go on by tail calls: a loop must not eat the stack. */
static void a_loop_over_a_page_border_needs_no_stack(void **state)
{
	struct cpu *cpu = prepare(*state);
	pthread_attr_t attr;
	pthread_t thread;

	/* 1: mov eax, imm32 over the border; inc ecx; jmp 1b */
	LOAD((struct fixture *)*state, CODE + 0xffd, "\xb8\x11\x22\x33\x44\xff\xc1\xeb\xf7");
	cpu->gpr[HV_RCX] = 0;
	assert_int_equal(pthread_attr_init(&attr), 0);
	assert_int_equal(pthread_attr_setstacksize(&attr, 256 * 1024), 0);
	assert_int_equal(pthread_create(&thread, &attr, run_long, cpu), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
	pthread_attr_destroy(&attr);
	assert_int_equal(cpu->gpr[HV_RCX], 200000);
}

static void a_fault_in_a_block_is_exact(void **state)
{
	struct cpu *cpu = prepare(*state);

	/* mov eax, 1; add eax, -1 (ZF CF); mov rbx, [rcx]; add eax, 5; hlt */
	LOAD((struct fixture *)*state, CODE,
	     "\xb8\x01\0\0\0\x83\xc0\xff\x48\x8b\x19\x83\xc0\x05" HLT);
	cpu->gpr[HV_RCX] = 0x123456789000ULL;
	assert_int_equal(run(cpu, CODE), 2);
	assert_true(cpu->exc.pending);
	assert_int_equal(cpu->exc.vector, VEC_PF);
	assert_true(cpu->exc.cr2 == 0x123456789000ULL);
	assert_true(cpu->rip == CODE + 8);
	assert_int_equal(cpu->gpr[HV_RAX], 0);
	assert_int_equal(cpu->rflags & FL_ARITH, FL_ZF | FL_PF | FL_CF | FL_AF);
	/* with a good address it runs on */
	cpu->gpr[HV_RCX] = DATA;
	assert_int_equal(run(cpu, CODE), 5);
	assert_int_equal(cpu->gpr[HV_RAX], 5);
	/* an access through SS to no address is #SS */
	LOAD((struct fixture *)*state, CODE + 0x40, "\x8b\x45\0" HLT);
	cpu->gpr[HV_RBP] = 1ULL << 60;
	run(cpu, CODE + 0x40);
	assert_int_equal(cpu->exc.vector, VEC_SS);
	cpu->exc.pending = false;
}

static void undecodable_bytes_raise(void **state)
{
	struct cpu *cpu = prepare(*state);

	LOAD((struct fixture *)*state, CODE, "\x90\x0f\x0b");
	run(cpu, CODE);
	assert_int_equal(cpu->exc.vector, VEC_UD);
	assert_true(cpu->rip == CODE + 1);
	LOAD((struct fixture *)*state, CODE + 0x20,
	     "\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x90");
	run(cpu, CODE + 0x20);
	assert_int_equal(cpu->exc.vector, VEC_GP);
	cpu->exc.pending = false;
}

/* Its end decides too, wherever that lies: 64 bytes on, or on the next page. */
static void bytes_that_become_decodable_run(void **state)
{
	static const gpa_t places[] = { CODE + 0x3f, CODE + 0xfff };
	struct cpu *cpu = prepare(*state);

	for (unsigned i = 0; i < 2; i++) {
		LOAD((struct fixture *)*state, places[i], "\x0f\x0b");
		run(cpu, places[i]);
		assert_true(cpu->exc.pending);
		assert_int_equal(cpu->exc.vector, VEC_UD);
		LOAD((struct fixture *)*state, places[i] + 1, "\x1f\xc0" HLT);
		run(cpu, places[i]);
		assert_false(cpu->exc.pending);
	}
}

static void rep_movsb_forward_overlap_repeats_the_pattern(void **state)
{
	struct fixture *f = *state;
	struct cpu *cpu = prepare(f);
	uint8_t *data = gmem_ptr(f->mem, DATA, 8192);

	LOAD(f, CODE, "\xf3\xa4" HLT);
	memset(data, 0, 8192);
	memcpy(data, "abc", 3);
	cpu->gpr[HV_RSI] = DATA;
	cpu->gpr[HV_RDI] = DATA + 3;
	cpu->gpr[HV_RCX] = 6000;
	run(cpu, CODE);
	assert_int_equal(cpu->gpr[HV_RCX], 0);
	assert_true(cpu->gpr[HV_RDI] == DATA + 3 + 6000);
	for (unsigned i = 0; i < 6003; i++)
		assert_int_equal(data[i], "abc"[i % 3]);
	assert_int_equal(data[6003], 0);
}

static void rep_stos_stops_at_a_fault_with_what_is_done(void **state)
{
	struct fixture *f = *state;
	struct cpu *cpu = prepare(f);

	LOAD(f, CODE, "\xf3\x48\xab" HLT);
	cpu->gpr[HV_RDI] = FIX_RAM - 64; /* the mapping ends at 16 MiB */
	cpu->gpr[HV_RCX] = 100;
	cpu->gpr[HV_RAX] = 0x1234;
	run(cpu, CODE);
	assert_int_equal(cpu->exc.vector, VEC_PF);
	assert_true(cpu->exc.cr2 == FIX_RAM);
	assert_int_equal(cpu->gpr[HV_RCX], 92);
	assert_true(cpu->gpr[HV_RDI] == FIX_RAM);
	assert_true(cpu->rip == CODE);
	cpu->exc.pending = false;
}

/* A page written over and over while it runs gives up its blocks, and still runs what is there. */
static void a_page_that_changes_all_the_time_stays_right(void **state)
{
	struct fixture *f = *state;
	struct cpu *cpu = prepare(f);

	for (unsigned i = 0; i < 2000; i++) {
		char code[] = "\xb8\0\0\0\0" HLT;

		memcpy(code + 1, &i, 4);
		assert_int_equal(gmem_write(f->mem, CODE, code, sizeof(code) - 1), 0);
		run(cpu, CODE);
		assert_int_equal(cpu->gpr[HV_RAX], i);
	}
}

/* More code than the cache holds: everything is dropped and decoded again. */
static void forgets_all_when_it_is_told_to(void **state)
{
	struct fixture *f = *state;
	struct cpu *cpu = prepare(f);

	LOAD(f, CODE, "\xb8\x07\0\0\0\xeb\0" HLT);
	for (unsigned i = 0; i < 5; i++) {
		run(cpu, CODE);
		assert_int_equal(cpu->gpr[HV_RAX], 7);
		block_flush(cpu);
	}
}

#define N_JUMPS 20000

static size_t resident(struct cpu *cpu)
{
	static uint8_t map[CODE_ARENA_BYTES / GMEM_PAGE_SIZE];
	size_t n = 0;

	assert_int_equal(mincore(cpu->code, CODE_ARENA_BYTES, map), 0);
	for (size_t i = 0; i < sizeof(map); i++)
		n += map[i] & 1;
	return n * GMEM_PAGE_SIZE;
}

static void gives_back_what_an_idle_vcpu_has_decoded(void **state)
{
	struct fixture *f = *state;
	struct cpu *cpu = prepare(f);
	uint8_t *code = gmem_ptr(f->mem, CODE, 2 * N_JUMPS + 1);
	uint64_t now = NSEC_PER_SEC;

	assert_true(block_idle_until(cpu, now) == UINT64_MAX);
	for (unsigned i = 0; i < N_JUMPS; i++)
		memcpy(code + 2 * i, "\xeb\0", 2); /* to the next one */
	code[2 * N_JUMPS] = 0xf4;
	for (unsigned seconds = 1; seconds < 5; seconds *= 2) {
		assert_int_equal(run(cpu, CODE), N_JUMPS + 1);
		now += NSEC_PER_SEC;
		cpu->stats.n_insns += 10000000; /* busy until now */
		assert_true(block_idle_until(cpu, now) == now + seconds * NSEC_PER_SEC);
		cpu->stats.n_insns += 1000;
		assert_true(block_idle_until(cpu, now + 1) == now + seconds * NSEC_PER_SEC);
		now += seconds * NSEC_PER_SEC;
		assert_true(resident(cpu) > 2 * MIB);
		block_give_back(cpu);
		assert_true(resident(cpu) < 1 * MIB);
		assert_true(block_idle_until(cpu, now) == UINT64_MAX);
	}
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, fixture_setup, fixture_teardown)
	const struct CMUnitTest tests[] = {
		TEST(counts_instructions_exactly),
		TEST(stops_when_the_budget_is_spent),
		TEST(a_block_that_changes_itself_runs_the_new_bytes),
		TEST(writes_through_an_alias_are_seen),
		TEST(runs_the_same_code_at_two_addresses),
		TEST(an_instruction_over_two_pages_follows_both),
		TEST(a_loop_over_a_page_border_needs_no_stack),
		TEST(a_fault_in_a_block_is_exact),
		TEST(undecodable_bytes_raise),
		TEST(bytes_that_become_decodable_run),
		TEST(rep_movsb_forward_overlap_repeats_the_pattern),
		TEST(rep_stos_stops_at_a_fault_with_what_is_done),
		TEST(a_page_that_changes_all_the_time_stays_right),
		TEST(forgets_all_when_it_is_told_to),
		TEST(gives_back_what_an_idle_vcpu_has_decoded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
