/* SPDX-License-Identifier: Apache-2.0 */
/* The ground under every guest test: descriptor tables, trap records, ring 3, page tables, CPUs. */
#include "guest.h"

#define PORT_DEBUG     0xe9
#define AP_PAGE	       0x8000

void guest_main(const struct pvh_start_info *info);
void trap_dispatch(struct trap_frame *frame);
void ap_main(void);

uint64_t gdt[GDT_N];
struct tss tss;
struct idt_gate idt[256];
trap_fn trap_handlers[256];
volatile uint64_t trap_resume;
uint8_t user_stack[8192] __attribute__((aligned(16)));
static uint8_t trap_stack[16384] __attribute__((aligned(16)));
static unsigned n_cpus = 1;
extern char image_end[];
static uintptr_t next_page;

/* How @va is translated, level by level; the tables are mapped one to one. */
static void print_walk(uint64_t va)
{
	uint64_t table;

	__asm__ volatile("movq %%cr3, %0" : "=r"(table));
	for (unsigned level = 4; level; level--) {
		uint64_t entry, slot = va >> (12 + 9 * (level - 1)) & 511;

		table &= 0xffffffffff000ULL;
		if (table >> 32)
			return;
		entry = ((volatile uint64_t *)table)[slot];
		guest_value("  level ", level);
		guest_value(" entry ", slot);
		guest_value(" of the table at ", table);
		guest_value(" is ", entry);
		guest_print("\n");
		if (!(entry & PTE_P) || (level < 4 && level > 1 && (entry & PTE_PS)))
			return;
		table = entry;
	}
}

static void print_frame(const struct trap_frame *f)
{
	static const char *const names[15] = { " r15 ", " r14 ", " r13 ", " r12 ", " r11 ",
					       " r10 ", " r9 ",	 " r8 ",  " rdi ", " rsi ",
					       " rbp ", " rbx ", " rdx ", " rcx ", " rax " };
	const uint64_t *regs = &f->r15;

	guest_value("trap ", f->vector & 0xff);
	guest_value(" error ", f->error);
	guest_value(" rip ", f->rip);
	guest_value(" cs ", f->cs);
	guest_value(" rflags ", f->rflags);
	guest_value(" rsp ", f->rsp);
	for (unsigned i = 0; i < 15; i++) {
		guest_print(i % 8 ? "" : "\n ");
		guest_value(names[14 - i], regs[14 - i]);
	}
	guest_value("\n  cr0 ", READ_CR(0));
	guest_value(" cr2 ", READ_CR(2));
	guest_value(" cr3 ", READ_CR(3));
	guest_value(" cr4 ", READ_CR(4));
	guest_print("\n");
	print_walk((f->vector & 0xff) == PF ? READ_CR(2) : f->rip);
}

void trap_dispatch(struct trap_frame *f)
{
	uint64_t vec = f->vector & 0xff;

	trap.vector = vec;
	trap.error = f->error;
	trap.rip = f->rip;
	trap.cs = f->cs;
	trap.rflags = f->rflags;
	trap.rsp = f->rsp;
	trap.ss = f->ss;
	trap.cr2 = READ_CR(2);
	trap_count[vec]++;
	if (trap_handlers[vec]) {
		trap_handlers[vec](f);
		return;
	}
	if ((f->cs & 3) == 3)
		user_leave(vec);
	if (!trap_resume)
		print_frame(f);
	if (!trap_resume)
		guest_fail("trap", 0, "unexpected trap", vec, NO_TRAP);
	f->rip = trap_resume;
	f->rflags &= ~(uint64_t)(FLAG_TF | FLAG_AC);
	trap_resume = 0;
}

void idt_set(unsigned vec, unsigned ist, unsigned attr)
{
	/* Entries differ in size: each is 16-aligned and under 16 bytes. */
	uintptr_t at = (uintptr_t)trap_entries + 16 * vec;

	idt[vec] = (struct idt_gate){ .off0 = (uint16_t)at,
				      .sel = SEL_CODE64,
				      .ist = (uint8_t)ist,
				      .attr = (uint8_t)attr,
				      .off1 = (uint16_t)(at >> 16),
				      .off2 = (uint32_t)((uint64_t)at >> 32) };
}

static void load_tables(void)
{
	struct {
		uint16_t limit;
		uint64_t base;
	} __attribute__((packed)) ptr;
	uint64_t t = (uintptr_t)&tss;

	gdt[1] = 0x00af9b000000ffff;
	gdt[2] = 0x00cf93000000ffff;
	gdt[3] = 0x00cf9b000000ffff;
	gdt[4] = 0x00cffb000000ffff;
	gdt[5] = 0x00cff3000000ffff;
	gdt[6] = 0x00affb000000ffff;
	gdt[7] = (sizeof(tss) - 1) | (t & 0xffffff) << 16 | 0x89ULL << 40 | (t >> 24 & 0xff) << 56;
	gdt[8] = t >> 32;
	ptr.limit = sizeof(gdt) - 1;
	ptr.base = (uintptr_t)gdt;
	__asm__ volatile("lgdt %0" ::"m"(ptr));
	tss.rsp[0] = (uintptr_t)trap_stack + sizeof(trap_stack);
	tss.iomap = sizeof(tss);
	__asm__ volatile("ltr %w0" ::"r"(SEL_TSS));
	for (unsigned v = 0; v < 256; v++)
		idt_set(v, 0, 0x8e);
	ptr.limit = sizeof(idt) - 1;
	ptr.base = (uintptr_t)idt;
	__asm__ volatile("lidt %0" ::"m"(ptr));
}

void user_open(void)
{
	boot_pml4[0] |= PTE_U;
	boot_pdpt[0] |= PTE_U;
	for (int i = 0; i < 16; i++)
		boot_pd[i] |= PTE_U;
	WRITE_CR(3, READ_CR(3));
	idt_set(0x80, 0, 0xee);
}

uint64_t run_user_cs(const void *code, uint64_t rflags, uint16_t cs)
{
	const uint64_t frame[5] = { (uintptr_t)code, cs, rflags | 2,
				    (uintptr_t)user_stack + sizeof(user_stack), SEL_UDATA };

	trap.vector = NO_TRAP;
	return user_enter(frame);
}

uint64_t run_user(const void *code, uint64_t rflags)
{
	return run_user_cs(code, rflags, SEL_USER64);
}

void *page_alloc(void)
{
	uint64_t *p;

	if (!next_page)
		next_page =
			((uintptr_t)image_end + 0x3fffff) & ~0x1fffffULL; /* away from the image */
	p = (uint64_t *)next_page;
	next_page += 4096;
	for (int i = 0; i < 512; i++)
		p[i] = 0;
	return p;
}

uint64_t *pte_at(uint64_t va, int level)
{
	uint64_t *table = boot_pml4;

	for (int l = 4; l > level; l--) {
		uint64_t *e = &table[va >> (12 + 9 * (l - 1)) & 511];

		if (!(*e & PTE_P))
			*e = (uintptr_t)page_alloc() | PTE_P | PTE_W | PTE_U;
		table = (uint64_t *)(*e & 0xffffffffff000ULL);
	}
	return &table[va >> (12 + 9 * (level - 1)) & 511];
}

/* ---- secondary CPUs ---- */
volatile uint32_t ap_ready;
void (*volatile ap_work)(void);
extern char ap_start[], ap_end[];
extern uint32_t ap_stack;

bool apic_is_x2;
static bool want_xapic;

void apic_enable(void)
{
	apic_is_x2 = !want_xapic && cpuid(1, 0).ecx >> 21 & 1;
	wrmsr(0x1b, rdmsr(0x1b) | (apic_is_x2 ? 0xc00 : 0x800));
	apic_write(0xf0, 0x1ff);
}

uint32_t apic_read(unsigned reg)
{
	return apic_is_x2 ? (uint32_t)rdmsr(X2APIC(reg)) : XAPIC(reg);
}

void apic_write(unsigned reg, uint32_t v)
{
	if (apic_is_x2)
		wrmsr(X2APIC(reg), v);
	else
		XAPIC(reg) = v;
}

void apic_icr(uint32_t dest, uint32_t low)
{
	if (apic_is_x2) {
		wrmsr(X2APIC(0x300), (uint64_t)dest << 32 | low);
		return;
	}
	XAPIC(0x310) = dest << 24;
	XAPIC(0x300) = low;
}

void ap_main(void)
{
	struct {
		uint16_t limit;
		uint64_t base;
	} __attribute__((packed)) ptr = { sizeof(gdt) - 1, (uintptr_t)gdt };

	__asm__ volatile("lgdt %0" ::"m"(ptr));
	ptr.limit = sizeof(idt) - 1;
	ptr.base = (uintptr_t)idt;
	__asm__ volatile("lidt %0" ::"m"(ptr));
	apic_enable();
	__atomic_add_fetch(&ap_ready, 1, __ATOMIC_SEQ_CST);
	for (;;) {
		void (*work)(void) = ap_work;

		if (work)
			work();
		cpu_relax();
	}
}

void ap_start_one(uint32_t apic_id)
{
	uint32_t before = ap_ready;

	for (char *d = (char *)AP_PAGE, *s = ap_start; s < ap_end;)
		*d++ = *s++;
	ap_stack = (uint32_t)(uintptr_t)page_alloc() + 4096;
	apic_enable();
	apic_icr(apic_id, 0x4500); /* INIT */
	apic_icr(apic_id, 0x4600 | AP_PAGE >> 12);
	for (uint64_t end = rdtsc() + 20000000000ULL; ap_ready == before;) {
		if (rdtsc() > end)
			guest_fail("ap", 0, "secondary CPU started", ap_ready, before + 1);
		cpu_relax();
	}
}

unsigned guest_n_cpus(void)
{
	return n_cpus;
}

void guest_main(const struct pvh_start_info *info)
{
	const char *cmdline = (const char *)(uintptr_t)info->cmdline;
	const char *cpus = guest_option(cmdline, "cpus=");

	load_tables();
	inb(PORT_DEBUG); /* on a KVM that interprets, husk looks at the tables when the guest does I/O */
	want_xapic = guest_option(cmdline, "xapic");
	if (cpus)
		n_cpus = (unsigned)(*cpus - '0');
	guest_run(cmdline);
}
