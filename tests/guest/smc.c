/* SPDX-License-Identifier: Apache-2.0 */
/* Code that changes: in its own block, in its own page, through an alias, by string stores. */
#include "lib/guest.h"

/* Code pages are plain identity-mapped RAM: executable and writable. */
static uint8_t *code_page(void)
{
	return page_alloc();
}

typedef uint64_t (*code_fn)(void);

static void put_mov_ret(uint8_t *p, uint32_t v) /* mov $v, %eax; ret */
{
	p[0] = 0xb8;
	*(uint32_t *)(p + 1) = v;
	p[5] = 0xc3;
}

static uint64_t call(const void *p)
{
	uint64_t r;

	__asm__ volatile("call *%1"
			 : "=a"(r)
			 : "r"(p)
			 : "rcx", "rdx", "rsi", "rdi", "r8", "memory");
	return r;
}

GUEST_TEST(rewritten_function_runs_new_code)
{
	uint8_t *p = code_page();

	for (uint32_t i = 0; i < 3000; i++) {
		put_mov_ret(p, i);
		CHECK_EQ(call(p), i);
	}
}

/* The movb rewrites the immediate of the movl right behind it, in one basic block. */
__asm__(".pushsection .wtext, \"awx\", @progbits\n"
	"patch_next: movb %cl, 1f + 1(%rip)\n"
	"1:\tmovl $0, %eax\n\tret\n"
	".popsection");
GUEST_TEST(instruction_patches_the_next_one)
{
	uint64_t got;

	for (uint64_t i = 0; i < 300; i++) {
		__asm__ volatile("call patch_next" : "=a"(got) : "c"(i));
		CHECK_EQ(got, i & 0xff);
	}
}

/* Each turn adds an immediate and then increments that immediate. */
__asm__(".pushsection .wtext, \"awx\", @progbits\n"
	"patch_loop: movl $100, %ecx\n"
	"1:\taddq $0, %rdx\n\tincb 1b + 3(%rip)\n\tdecl %ecx\n\tjnz 1b\n\tret\n"
	".popsection");
GUEST_TEST(loop_that_patches_itself)
{
	uint64_t sum = 0;

	__asm__ volatile("call patch_loop" : "+d"(sum)::"rcx");
	CHECK_EQ(sum, 99 * 100 / 2);
}

GUEST_TEST(write_through_an_alias)
{
	uint8_t *p = code_page(), *alias = (uint8_t *)PAGING_BASE;

	*pte_at(PAGING_BASE, 1) = (uintptr_t)p | PTE_P | PTE_W;
	put_mov_ret(p, 1);
	CHECK_EQ(call(p), 1);
	for (uint32_t i = 2; i < 500; i++) {
		put_mov_ret(alias, i);
		CHECK_EQ(call(p), i);
		put_mov_ret(p, i + 1000);
		CHECK_EQ(call(alias), i + 1000);
	}
}

GUEST_TEST(string_copies_replace_code)
{
	uint8_t *p = code_page(), *q = code_page(), *src = code_page();

	for (uint32_t i = 0; i < 200; i++) {
		void *d = p;
		const void *s = src;
		uint64_t n = 6;

		put_mov_ret(src, i * 3);
		__asm__ volatile("rep movsb" : "+D"(d), "+S"(s), "+c"(n)::"memory");
		CHECK_EQ(call(p), i * 3);
		d = q;
		s = p;
		n = 512;
		__asm__ volatile("rep movsq" : "+D"(d), "+S"(s), "+c"(n)::"memory");
		CHECK_EQ(call(q), i * 3);
		d = p;
		n = 4096;
		__asm__ volatile("rep stosb" : "+D"(d), "+c"(n) : "a"(0xc3) : "memory");
		CHECK_EQ(call(p) & 0xff, 0xc3); /* ret: rax as it was, or not: the call came back */
	}
}

GUEST_TEST(data_beside_code_in_one_page)
{
	uint8_t *p = code_page();
	volatile uint64_t *data = (uint64_t *)(p + 2048);

	put_mov_ret(p, 5);
	for (uint64_t i = 0; i < 20000; i++) {
		*data = i;
		CHECK_EQ(call(p), 5);
		CHECK_EQ(*data, i);
	}
}

GUEST_TEST(page_remapped_under_code)
{
	uint8_t *a = code_page(), *b = code_page();

	put_mov_ret(a, 1);
	put_mov_ret(b, 2);
	for (int i = 0; i < 200; i++) {
		*pte_at(PAGING_BASE, 1) = (uintptr_t)(i & 1 ? b : a) | PTE_P | PTE_W;
		invlpg((void *)PAGING_BASE);
		CHECK_EQ(call((void *)PAGING_BASE), i & 1 ? 2 : 1);
	}
}

GUEST_TEST(jump_into_the_middle_of_an_instruction)
{
	uint8_t *p = code_page();
	static const uint8_t code[] = {
		0xb8, 0xb0, 0x07, 0xc3, 0x90, 0xc3
	}; /* mov $.., %eax; ret | mov $7, %al; ret */

	for (unsigned i = 0; i < sizeof(code); i++)
		p[i] = code[i];
	CHECK_EQ(call(p), 0x90c307b0);
	CHECK_EQ(call(p + 1) & 0xff, 7);
	CHECK_EQ(call(p), 0x90c307b0);
}

const struct test_entry guest_tests[] = {
	ENTRY(rewritten_function_runs_new_code),
	ENTRY(instruction_patches_the_next_one),
	ENTRY(loop_that_patches_itself),
	ENTRY(write_through_an_alias),
	ENTRY(string_copies_replace_code),
	ENTRY(data_beside_code_in_one_page),
	ENTRY(page_remapped_under_code),
	ENTRY(jump_into_the_middle_of_an_instruction),
	{ 0 },
};
