/* SPDX-License-Identifier: Apache-2.0 */
/*
 * 16-bit code on a 16-bit stack segment in a 32-bit process, for as long as it takes for some
 * interrupts to come: each returns to the 16-bit stack, and ESP's upper half must come back too.
 * 32-bit, without a C library. Prints "sixteen ok" and ends with 0.
 */
#include <asm/ldt.h>
#include <asm/unistd.h>

#define N_TURNS 60

static long syscall3(long nr, long a, long b, long c)
{
	long r;

	__asm__ volatile("int $0x80" : "=a"(r) : "a"(nr), "b"(a), "c"(b), "d"(c) : "memory");
	return r;
}

static int set_segment(unsigned n, void *base, unsigned contents)
{
	struct user_desc d = { .entry_number = n,
			       .base_addr = (unsigned)base,
			       .limit = 0xffff,
			       .contents = contents };

	return (int)syscall3(__NR_modify_ldt, 1, (long)&d, sizeof(d));
}

/* Adds 3 to DI, CX times; pushes and pops on the way. */
extern char code16[];
__asm__(".pushsection .text\n.code16\n.balign 16\n"
	"code16: pushw %ax\n popw %ax\n addw $3, %di\n loop code16\n lretl\n.code32\n.popsection");

static unsigned char stack16[4096];
static struct {
	unsigned off;
	unsigned short sel;
} __attribute__((packed)) target = { 0, 1 << 3 | 7 };
static unsigned short stack_sel = 0 << 3 | 7;

/* One trip; the upper half of ESP is that of a pattern. Return: whether all came back right. */
static int trip(void)
{
	unsigned esp, di = 0;

	__asm__ volatile("movl %%esp, %%esi\n\tmovw %%ss, %%dx\n\t"
			 "movw %2, %%ss\n\tmovl $0x5aa50f00, %%esp\n\t"
			 "movl $0xffff, %%ecx\n\tlcall *%3\n\tmovl %%esp, %0\n\t"
			 "movw %%dx, %%ss\n\tmovl %%esi, %%esp"
			 : "=&b"(esp), "+D"(di)
			 : "m"(stack_sel), "m"(target)
			 : "ecx", "edx", "esi", "memory", "cc");
	return esp == 0x5aa50f00 && di == (0xffffU * 3 & 0xffff);
}

void _start(void);
void _start(void)
{
	static const char ok[] = "sixteen ok\n", bad[] = "sixteen bad\n";
	int good = !set_segment(0, stack16, 0) && !set_segment(1, code16, 2);

	for (unsigned i = 0; good && i < N_TURNS; i++)
		good = trip();
	syscall3(__NR_write, 1, (long)(good ? ok : bad), good ? sizeof(ok) - 1 : sizeof(bad) - 1);
	syscall3(__NR_exit, !good, 0, 0);
}
