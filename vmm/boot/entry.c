/* SPDX-License-Identifier: Apache-2.0 */
/* The first vCPU's registers, and the page tables and descriptors they point to. */
#include "boot/boot.h"

#include <errno.h>
#include <string.h>

#include "base/checked.h"
#include "machine/layout.h"

#define CR0_PE	       0x00000001ULL
#define CR0_ET	       0x00000010ULL
#define CR0_NE	       0x00000020ULL
#define CR0_PG	       0x80000000ULL

#define CR4_PAE	       0x20ULL
#define EFER_LME       0x100ULL
#define EFER_LMA       0x400ULL
#define RFLAGS_FIXED   0x2ULL
#define MTRR_ENABLE_WB 0x806ULL /* all memory write-back, no fixed ranges */
#define PAT_RESET      0x0007040600070406ULL

#define PTE_P	       0x001ULL
#define PTE_RW	       0x002ULL
#define PTE_PS	       0x080ULL
#define N_PTES	       512U
#define N_PDS	       4U
#define PD_PAGE	       (2 * MIB)

/* Selectors as Linux's boot protocol wants them; the TSS for PVH. */
#define SEL_CODE       0x10
#define SEL_DATA       0x18
#define SEL_TSS	       0x20
#define GDT_LEN	       0x30

#define TYPE_CODE      0xb /* execute, read, accessed */
#define TYPE_DATA      0x3 /* read, write, accessed */
#define TYPE_TSS       0xb /* busy 32- or 64-bit TSS */
#define TSS_LIMIT      0x67

static uint64_t descriptor(const struct hv_segment *s)
{
	uint64_t limit = s->attr & HV_SEG_G ? s->limit >> 12 : s->limit;

	return (limit & 0xffff) | (s->base & 0xffffff) << 16 | (uint64_t)(s->attr & 0xff) << 40 |
	       (limit >> 16 & 0xf) << 48 | (uint64_t)(s->attr >> 8 & 0xf) << 52 |
	       (s->base >> 24 & 0xff) << 56;
}

static void set_segments(const struct boot_entry *entry, struct hv_vcpu_state *state)
{
	struct hv_segment code = { .limit = 0xffffffff,
				   .selector = SEL_CODE,
				   .attr = TYPE_CODE | HV_SEG_S | HV_SEG_P | HV_SEG_G };
	struct hv_segment data = { .limit = 0xffffffff,
				   .selector = SEL_DATA,
				   .attr = TYPE_DATA | HV_SEG_S | HV_SEG_P | HV_SEG_G | HV_SEG_DB };

	code.attr |= entry->mode == BOOT_MODE_LONG ? HV_SEG_L : HV_SEG_DB;
	for (unsigned i = HV_ES; i <= HV_GS; i++)
		state->seg[i] = data;
	state->seg[HV_CS] = code;
	state->seg[HV_LDTR] = (struct hv_segment){ .attr = HV_SEG_UNUSABLE };
	state->seg[HV_TR] = (struct hv_segment){ .limit = TSS_LIMIT,
						 .selector = SEL_TSS,
						 .attr = TYPE_TSS | HV_SEG_P };
}

static int write_gdt(struct gmem *mem, const struct hv_vcpu_state *state)
{
	uint8_t gdt[GDT_LEN] = { 0 };

	le64_store(gdt + SEL_CODE, descriptor(&state->seg[HV_CS]));
	le64_store(gdt + SEL_DATA, descriptor(&state->seg[HV_DS]));
	le64_store(gdt + SEL_TSS, descriptor(&state->seg[HV_TR]));
	return gmem_write(mem, LAYOUT_GDT, gdt, sizeof(gdt));
}

static int write_page_tables(struct gmem *mem)
{
	uint8_t page[GMEM_PAGE_SIZE] = { 0 };
	int r;

	le64_store(page, LAYOUT_PDPT | PTE_P | PTE_RW);
	r = gmem_write(mem, LAYOUT_PML4, page, sizeof(page));
	for (unsigned i = 0; i < N_PDS; i++)
		le64_store(page + (size_t)i * 8, (LAYOUT_PD + i * GMEM_PAGE_SIZE) | PTE_P | PTE_RW);
	if (r == 0)
		r = gmem_write(mem, LAYOUT_PDPT, page, sizeof(page));
	for (unsigned pd = 0; r == 0 && pd < N_PDS; pd++) {
		for (unsigned i = 0; i < N_PTES; i++)
			le64_store(page + (size_t)i * 8,
				   (pd * GIB + i * PD_PAGE) | PTE_P | PTE_RW | PTE_PS);
		r = gmem_write(mem, LAYOUT_PD + pd * GMEM_PAGE_SIZE, page, sizeof(page));
	}
	return r;
}

static void set_registers(const struct boot_entry *entry, struct hv_vcpu_state *state)
{
	memset(state->gpr, 0, sizeof(state->gpr));
	state->gpr[HV_RAX] = entry->rax;
	state->gpr[HV_RBX] = entry->rbx;
	state->gpr[HV_RSP] = entry->rsp;
	state->gpr[HV_RSI] = entry->rsi;
	state->gpr[HV_RDI] = entry->rdi;
	state->rip = entry->rip;
	state->rflags = RFLAGS_FIXED;
	state->gdt = (struct hv_table){ .base = LAYOUT_GDT, .limit = GDT_LEN - 1 };
	state->idt = (struct hv_table){ 0 };
	state->cr0 = CR0_PE | CR0_ET | CR0_NE;
	state->cr3 = state->cr4 = state->efer = 0;
	if (entry->mode == BOOT_MODE_LONG) {
		state->cr0 |= CR0_PG;
		state->cr3 = LAYOUT_PML4;
		state->cr4 = CR4_PAE;
		state->efer = EFER_LME | EFER_LMA;
	}
	/* What firmware would have left. */
	state->mtrr_def_type = MTRR_ENABLE_WB;
	state->pat = PAT_RESET;
	state->mp_state = HV_MP_RUNNABLE;
}

int boot_entry_apply(const struct boot_entry *entry, struct gmem *mem, struct hv_vcpu_state *state,
		     struct err *err)
{
	int r = 0;

	set_segments(entry, state);
	set_registers(entry, state);
	if (entry->mode == BOOT_MODE_LONG)
		r = write_page_tables(mem);
	if (r == 0)
		r = write_gdt(mem, state);
	return r < 0 ? err_set(err, r, "the guest has too little memory to boot") : 0;
}
