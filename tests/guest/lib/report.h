/* SPDX-License-Identifier: Apache-2.0 */
/* What guest tests of 64-bit and of 32-bit code share: verdicts, the record of the last trap, ports. */
#ifndef REPORT_H
#define REPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GUEST_TEST(name) static void guest_test_##name(void)

/* Each file ends with one: const struct test_entry guest_tests[] = { ENTRY(a), ENTRY(b), { 0 } }; */
struct test_entry {
	const char *name;
	void (*run)(void);
};
extern const struct test_entry guest_tests[];
#define ENTRY(test) { #test, guest_test_##test }

/* The verdict, by the test-exit port: the VMM's exit status is (value << 1) | 1. */
enum { GUEST_PASS = 16, GUEST_FAIL = 17, GUEST_NO_TEST = 18 };
void guest_exit(uint32_t value) __attribute__((noreturn));
void guest_fail(const char *file, int line, const char *what, uint64_t got, uint64_t want)
	__attribute__((noreturn));
void guest_print(const char *s);
void guest_print_hex(uint64_t v);

#define CHECK(cond)                                                   \
	do {                                                          \
		if (!(cond))                                          \
			guest_fail(__FILE__, __LINE__, #cond, 0, 1);  \
	} while (0)
#define CHECK_EQ(a, b)                                                    \
	do {                                                              \
		uint64_t a_ = (uint64_t)(a), b_ = (uint64_t)(b);          \
		if (a_ != b_)                                             \
			guest_fail(__FILE__, __LINE__, #a " == " #b, a_, b_); \
	} while (0)

/* The last trap, and how often each vector came. */
struct trap_record {
	uint64_t vector, error, rip, cs, rflags, rsp, ss, cr2;
};
extern volatile struct trap_record trap;
extern volatile uint32_t trap_count[256];
#define NO_TRAP 0x1ff

#define CHECK_TRAP(vec)	   CHECK_EQ(trap.vector, (vec))
#define CHECK_TRAP_ERR(vec, err)             \
	do {                                 \
		CHECK_EQ(trap.vector, (vec)); \
		CHECK_EQ(trap.error, (err));  \
	} while (0)

enum { DE, DB, NMI, BP, OF, BR, UD, NM, DF, TS = 10, NP, SS_, GP, PF, MF = 16, AC, MC, XM };

/* What follows @key ("key=") on the command line; NULL: it is not there. */
const char *guest_option(const char *cmdline, const char *key);
/* "name0xVALUE" to the debug port. */
void guest_value(const char *name, uint64_t v);
/* Run the test that the command line names. */
void guest_run(const char *cmdline) __attribute__((noreturn));

/* What the loader hands over. */
struct pvh_start_info {
	uint32_t magic, version, flags, n_modules;
	uint64_t modlist, cmdline, rsdp;
};

/* ---- machine ---- */
static inline void outb(uint16_t port, uint8_t v) { __asm__ volatile("outb %0, %1" ::"a"(v), "Nd"(port)); }
static inline void outl(uint16_t port, uint32_t v) { __asm__ volatile("outl %0, %1" ::"a"(v), "Nd"(port)); }
static inline uint8_t inb(uint16_t port)
{
	uint8_t v;
	__asm__ volatile("inb %1, %0" : "=a"(v) : "Nd"(port));
	return v;
}
static inline uint64_t rdmsr(uint32_t msr)
{
	uint32_t lo, hi;
	__asm__ volatile("rdmsr" : "=a"(lo), "=d"(hi) : "c"(msr));
	return lo | (uint64_t)hi << 32;
}
static inline void wrmsr(uint32_t msr, uint64_t v)
{
	__asm__ volatile("wrmsr" ::"c"(msr), "a"((uint32_t)v), "d"((uint32_t)(v >> 32)) : "memory");
}
static inline uint64_t rdtsc(void)
{
	uint32_t lo, hi;
	__asm__ volatile("rdtsc" : "=a"(lo), "=d"(hi));
	return lo | (uint64_t)hi << 32;
}
struct cpuid { uint32_t eax, ebx, ecx, edx; };
static inline struct cpuid cpuid(uint32_t leaf, uint32_t sub)
{
	struct cpuid r;
	__asm__ volatile("cpuid" : "=a"(r.eax), "=b"(r.ebx), "=c"(r.ecx), "=d"(r.edx) : "a"(leaf), "c"(sub));
	return r;
}

#endif
