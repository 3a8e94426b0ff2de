/* SPDX-License-Identifier: Apache-2.0 */
/* The guest kernel's entries, on a KVM that interprets guest kernel code. */
#define LOG_MODULE "vmm/kvm"
#include "kvm/entry.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/log.h"

#define MSR_LSTAR	 0xc0000082
#define MSR_CSTAR	 0xc0000083

/* Flat segments, as SYSCALL loads them. */
#define ATTR_CODE64	 (0xb | HV_SEG_S | HV_SEG_P | HV_SEG_L | HV_SEG_G)
#define ATTR_DATA	 (0x3 | HV_SEG_S | HV_SEG_P | HV_SEG_DB | HV_SEG_G)

#define EFER_SCE	 (1U << 0)
#define EFER_LMA	 (1U << 10)
#define RFLAGS_RF	 (1ULL << 16)
#define RFLAGS_OF_RING_3 0x3c7fd7ULL /* all but RF and VM */
#define TYPE_CODE	 0x8
#define TYPE_WRITE	 0x2
#define SELECTOR_LDT	 4U

#define PTE_P		 1ULL
#define PTE_PS		 0x80ULL
#define PTE_ADDRESS	 0x000ffffffffff000ULL

#define GATE_BYTES	 16U
#define GATE_TYPE	 0x9e /* present, and the type but for its last bit: interrupt or trap */
#define GATE_INTERRUPT	 0x8e

static const uint8_t trap[KVM_ENTRY_BYTES] = { 0xe6, KVM_ENTRY_PORT };

/* ---- life ---- */

/* Bit clear: the access is ours. */
static int filter_msrs(struct hv_vm *vm, struct err *err)
{
	uint8_t ours[8] = { 0 };
	struct kvm_enable_cap exits = { .cap = KVM_CAP_X86_USER_SPACE_MSR,
					.args = { KVM_MSR_EXIT_REASON_FILTER } };
	struct kvm_msr_filter filter = {
		.flags = KVM_MSR_FILTER_DEFAULT_ALLOW,
		.ranges = { { .flags = KVM_MSR_FILTER_WRITE,
			      .nmsrs = MSR_CSTAR - MSR_LSTAR + 1,
			      .base = MSR_LSTAR,
			      .bitmap = ours } },
	};

	if (vm->ioctl(vm->fd, KVM_ENABLE_CAP, &exits) < 0 ||
	    vm->ioctl(vm->fd, KVM_X86_SET_MSR_FILTER, &filter) < 0)
		return err_errno(err, errno, "have KVM tell of system call entries");
	return 0;
}

int kvm_entry_init(struct hv_vm *vm, struct err *err)
{
	struct kvm_entries *e;
	void *copies;
	int r;

	if (!vm->interprets)
		return 0;
	r = filter_msrs(vm, err);
	if (r < 0)
		return r;
	e = calloc(1, sizeof(*e));
	copies = mmap(NULL, KVM_N_ENTRY_PAGES * GMEM_PAGE_SIZE, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (!e || copies == MAP_FAILED) {
		free(e);
		return err_set(err, -ENOMEM, "no memory for system call entries");
	}
	pthread_rwlock_init(&e->running, NULL);
	e->copies = copies;
	vm->entries = e;
	return 0;
}

void kvm_entry_done(struct hv_vm *vm)
{
	struct kvm_entries *e = vm->entries;

	if (!e)
		return;
	munmap(e->copies, KVM_N_ENTRY_PAGES * GMEM_PAGE_SIZE);
	pthread_rwlock_destroy(&e->running);
	free(e);
	vm->entries = NULL;
}

/* ---- all vCPUs out of KVM_RUN ---- */

int kvm_entry_run(struct hv_vcpu *vcpu)
{
	struct hv_vm *vm = vcpu->vm;
	struct kvm_entries *e = vm->entries;
	int r, saved;

	if (!e)
		return vm->ioctl(vcpu->fd, KVM_RUN, NULL);
	pthread_rwlock_rdlock(&e->running);
	/* Who holds is behind setting it: either seen here, or KVM_RUN returns at once. */
	while (atomic_load(&e->hold)) {
		pthread_rwlock_unlock(&e->running);
		pthread_mutex_lock(&vm->lock);
		pthread_mutex_unlock(&vm->lock);
		pthread_rwlock_rdlock(&e->running);
	}
	r = vm->ioctl(vcpu->fd, KVM_RUN, NULL);
	saved = errno;
	pthread_rwlock_unlock(&e->running);
	errno = saved;
	return r;
}

static void hold_others(struct hv_vcpu *vcpu)
{
	struct hv_vm *vm = vcpu->vm;

	atomic_store(&vm->entries->hold, true);
	for (unsigned i = 0; i < HV_MAX_VCPUS; i++) {
		if (vm->vcpus[i] && vm->vcpus[i] != vcpu)
			kvm_vcpu_interrupt(vm->vcpus[i]);
	}
	pthread_rwlock_wrlock(&vm->entries->running);
}

static void let_others_run(struct hv_vm *vm)
{
	atomic_store(&vm->entries->hold, false);
	pthread_rwlock_unlock(&vm->entries->running);
}

/* ---- pages ---- */

static struct kvm_entry_page *page_of(struct kvm_entries *e, gpa_t gpa)
{
	for (unsigned i = 0; i < e->n_pages; i++) {
		if (e->pages[i].gpa == (gpa & ~(GMEM_PAGE_SIZE - 1)))
			return &e->pages[i];
	}
	return NULL;
}

/* What the guest is to see: its memory, and the traps in it. */
static void refresh_page_locked(struct hv_vm *vm, struct kvm_entry_page *p)
{
	uint8_t now[GMEM_PAGE_SIZE];

	if (gmem_read(vm->config.mem, p->gpa, now, sizeof(now)) < 0)
		return;
	for (unsigned i = 0; i < HV_MAX_VCPUS; i++) {
		for (unsigned k = 0; vm->vcpus[i] && k < KVM_N_ENTRIES; k++) {
			gpa_t gpa = vm->vcpus[i]->entry[k].gpa;

			if (gpa - p->gpa < GMEM_PAGE_SIZE)
				memcpy(now + (gpa - p->gpa), trap, sizeof(trap));
		}
	}
	if (memcmp(p->copy, now, sizeof(now)) != 0)
		memcpy(p->copy, now, sizeof(now));
}

static void refresh(struct hv_vm *vm)
{
	pthread_mutex_lock(&vm->lock);
	for (unsigned i = 0; i < vm->entries->n_pages; i++)
		refresh_page_locked(vm, &vm->entries->pages[i]);
	pthread_mutex_unlock(&vm->lock);
}

static void add_page(struct kvm_entry_page *pages, unsigned *n, gpa_t gpa)
{
	unsigned at = *n;

	gpa &= ~(GMEM_PAGE_SIZE - 1);
	for (unsigned i = 0; i < *n; i++) {
		if (pages[i].gpa == gpa)
			return;
	}
	if (*n == KVM_N_ENTRY_PAGES) {
		log_debug("more than %u pages with system call entries, ignoring one",
			  KVM_N_ENTRY_PAGES);
		return;
	}
	for (; at > 0 && pages[at - 1].gpa > gpa; at--)
		pages[at] = pages[at - 1];
	pages[at].gpa = gpa;
	++*n;
}

/* The pages that all vCPUs' entries lie in, sorted. Return: true when they are others than before.
 */
static bool collect_pages_locked(struct hv_vm *vm)
{
	struct kvm_entries *e = vm->entries;
	struct kvm_entry_page pages[KVM_N_ENTRY_PAGES] = { 0 };
	unsigned n = 0;
	bool same;

	for (unsigned i = 0; i < HV_MAX_VCPUS; i++) {
		for (unsigned k = 0; vm->vcpus[i] && k < KVM_N_ENTRIES; k++) {
			if (vm->vcpus[i]->entry[k].gpa != KVM_NO_ENTRY)
				add_page(pages, &n, vm->vcpus[i]->entry[k].gpa);
		}
	}
	for (unsigned i = 0; i < n; i++)
		pages[i].copy = e->copies + i * GMEM_PAGE_SIZE;
	same = n == e->n_pages && memcmp(pages, e->pages, sizeof(pages)) == 0;
	memcpy(e->pages, pages, sizeof(pages));
	e->n_pages = n;
	return !same;
}

/* ---- where the entries are ---- */

/*
 * By the guest's page tables of 4 levels, without regard to rights: KVM_TRANSLATE refuses ring 3's
 * pages while SMAP is on.
 */
static bool translate(struct hv_vcpu *vcpu, uint64_t va, gpa_t *ret)
{
	const struct kvm_sregs *sregs = &vcpu->run->s.regs.sregs;
	gpa_t table = sregs->cr3 & PTE_ADDRESS;

	if (!(sregs->efer & EFER_LMA))
		return false;
	for (unsigned shift = 39;; shift -= 9) {
		uint64_t in_page = (1ULL << shift) - 1;
		uint8_t raw[8];
		uint64_t e;

		if (gmem_read(vcpu->vm->config.mem, table + (va >> shift & 511) * 8, raw,
			      sizeof(raw)) < 0)
			return false;
		e = le64_load(raw);
		if (!(e & PTE_P))
			return false;
		if (shift == GMEM_PAGE_SHIFT || (shift < 39 && (e & PTE_PS))) {
			*ret = (e & PTE_ADDRESS & ~in_page) | (va & in_page);
			return true;
		}
		table = e & PTE_ADDRESS;
	}
}

/* What lies in two pages is read in two parts. */
static bool read_va(struct hv_vcpu *vcpu, uint64_t va, void *buf, size_t len)
{
	uint8_t *to = buf;

	while (len) {
		size_t part = MIN(len, (size_t)(GMEM_PAGE_SIZE - va % GMEM_PAGE_SIZE));
		gpa_t gpa;

		if (!translate(vcpu, va, &gpa) ||
		    gmem_read(vcpu->vm->config.mem, gpa, to, part) < 0)
			return false;
		va += part;
		to += part;
		len -= part;
	}
	return true;
}

/* An entry whose trap would not lie in one page of memory is left alone. */
static struct kvm_entry entry_at_va(struct hv_vcpu *vcpu, uint64_t va)
{
	struct kvm_entry entry = { .va = va, .gpa = KVM_NO_ENTRY };
	const struct gmem_region *r;
	gpa_t gpa;

	if (!va || !translate(vcpu, va, &gpa) ||
	    gpa % GMEM_PAGE_SIZE > GMEM_PAGE_SIZE - sizeof(trap))
		return entry;
	r = gmem_region_find(vcpu->vm->config.mem, gpa, sizeof(trap));
	if (r && r->kind != GMEM_WINDOW)
		entry.gpa = gpa;
	return entry;
}

static const uint8_t vectors[KVM_N_ENTRIES] = {
	[KVM_ENTRY_UD] = 6, [KVM_ENTRY_GP] = 13, [KVM_ENTRY_PF] = 14, [KVM_ENTRY_AC] = 17
};

/* Where a 64-bit interrupt or trap gate leads; 0: nowhere. */
static uint64_t gate_target(const struct hv_vm *vm, gpa_t gpa)
{
	uint8_t gate[GATE_BYTES];

	if (gpa == KVM_NO_ENTRY || gmem_read(vm->config.mem, gpa, gate, sizeof(gate)) < 0 ||
	    (gate[5] & GATE_TYPE) != GATE_INTERRUPT)
		return 0;
	return le16_load(gate) | (uint64_t)le16_load(gate + 6) << 16 |
	       (uint64_t)le32_load(gate + 8) << 32;
}

/* Another IDT: its gates that matter, by physical address. */
static void find_gates(struct hv_vcpu *vcpu, const struct kvm_sregs *sregs)
{
	vcpu->idt = (struct hv_table){ .base = sregs->idt.base, .limit = sregs->idt.limit };
	for (unsigned k = 0; k < KVM_N_ENTRIES; k++) {
		unsigned at = vectors[k] * GATE_BYTES;
		gpa_t gpa;

		vcpu->gates[k] = KVM_NO_ENTRY;
		if (vectors[k] && (sregs->efer & EFER_LMA) &&
		    at + GATE_BYTES <= vcpu->idt.limit + 1U &&
		    translate(vcpu, vcpu->idt.base + at, &gpa))
			vcpu->gates[k] = gpa;
	}
}

void kvm_entry_watch(struct hv_vcpu *vcpu)
{
	struct hv_vm *vm = vcpu->vm;
	const struct kvm_sregs *sregs = &vcpu->run->s.regs.sregs;

	if (!vm->entries)
		return;
	refresh(vm);
	if (vcpu->idt.base != sregs->idt.base || vcpu->idt.limit != sregs->idt.limit)
		find_gates(vcpu, sregs);
	for (unsigned k = KVM_ENTRY_UD; k < KVM_N_ENTRIES; k++)
		vcpu->entries_stale |= gate_target(vm, vcpu->gates[k]) != vcpu->entry[k].va;
}

int kvm_entry_follow(struct hv_vcpu *vcpu, struct err *err)
{
	struct hv_vm *vm = vcpu->vm;
	uint64_t at[KVM_N_ENTRIES];
	int r;

	if (!vm->entries || !vcpu->entries_stale)
		return 0;
	vcpu->entries_stale = false;
	/* Later they come with each exit. */
	if (!vcpu->run->kvm_valid_regs) {
		r = kvm_vcpu_ioctl(vcpu, KVM_GET_SREGS, &vcpu->run->s.regs.sregs,
				   "system registers", err);
		if (r < 0)
			return r;
		vcpu->run->kvm_valid_regs = KVM_SYNC_X86_SREGS;
	}
	if (kvm_get_msr(vcpu, MSR_LSTAR, &at[KVM_ENTRY_LSTAR]) < 0 ||
	    kvm_get_msr(vcpu, MSR_CSTAR, &at[KVM_ENTRY_CSTAR]) < 0)
		return err_set(err, -EIO, "KVM hides vCPU %u's system call entries", vcpu->id);
	for (unsigned k = KVM_ENTRY_UD; k < KVM_N_ENTRIES; k++)
		at[k] = gate_target(vm, vcpu->gates[k]);
	pthread_mutex_lock(&vm->lock);
	for (unsigned k = 0; k < KVM_N_ENTRIES; k++)
		vcpu->entry[k] = entry_at_va(vcpu, at[k]);
	r = 0;
	if (collect_pages_locked(vm)) {
		hold_others(vcpu);
		for (unsigned i = 0; i < vm->entries->n_pages; i++)
			refresh_page_locked(vm, &vm->entries->pages[i]);
		r = kvm_set_slots(vm, vm->dirty_on, err);
		let_others_run(vm);
	}
	pthread_mutex_unlock(&vm->lock);
	refresh(vm);
	return r;
}

void kvm_entry_wrmsr(struct hv_vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;

	/* What KVM refuses is #GP. */
	run->msr.error = kvm_set_msr(vcpu, run->msr.index, run->msr.data) < 0;
	vcpu->entries_stale = true;
}

/* ---- at an entry ---- */

/* The entry may have been reached by another of its page's addresses, or be another vCPU's. */
bool kvm_entry_hit(struct hv_vcpu *vcpu)
{
	struct hv_vm *vm = vcpu->vm;
	const struct kvm_run *run = vcpu->run;
	struct kvm_regs regs;
	gpa_t gpa;
	bool hit = false;

	if (!vm->entries || run->io.direction != KVM_EXIT_IO_OUT || run->io.size != 1 ||
	    run->io.count != 1 || run->io.port != KVM_ENTRY_PORT ||
	    vm->ioctl(vcpu->fd, KVM_GET_REGS, &regs) < 0 ||
	    !translate(vcpu, regs.rip - sizeof(trap), &gpa))
		return false;
	pthread_mutex_lock(&vm->lock);
	for (unsigned i = 0; page_of(vm->entries, gpa) && i < HV_MAX_VCPUS; i++) {
		for (unsigned k = 0; vm->vcpus[i] && k < KVM_N_ENTRIES; k++)
			hit |= vm->vcpus[i]->entry[k].gpa == gpa;
	}
	pthread_mutex_unlock(&vm->lock);
	return hit;
}

bool kvm_entry_at(const struct hv_vcpu *vcpu, uint64_t rip)
{
	for (unsigned k = 0; k < KVM_N_ENTRIES; k++) {
		if (vcpu->entry[k].gpa != KVM_NO_ENTRY && vcpu->entry[k].va == rip)
			return true;
	}
	return false;
}

static void enter_by_syscall(struct hv_vcpu_state *s)
{
	uint16_t cs = (uint16_t)(s->star >> 32) & 0xfffc;

	s->seg[HV_CS] =
		(struct hv_segment){ .selector = cs, .limit = 0xffffffff, .attr = ATTR_CODE64 };
	s->seg[HV_SS] = (struct hv_segment){ .selector = (uint16_t)(cs + 8),
					     .limit = 0xffffffff,
					     .attr = ATTR_DATA };
	s->rflags &= ~RFLAGS_RF;
}

/* What a 64-bit interrupt pushes, behind the error code. */
struct frame {
	uint64_t rip, cs, rflags, rsp, ss;
};

static bool load_segment(struct hv_vcpu *vcpu, const struct hv_vcpu_state *s, uint64_t selector,
			 struct hv_segment *ret)
{
	uint64_t at = selector & 0xfff8, d;
	uint8_t raw[8];

	if (selector & SELECTOR_LDT || at + 7 > s->gdt.limit ||
	    !read_va(vcpu, s->gdt.base + at, raw, sizeof(raw)))
		return false;
	d = le64_load(raw);
	*ret = (struct hv_segment){
		.base = (d >> 16 & 0xffffff) | (d >> 56 << 24),
		.limit = (uint32_t)((d & 0xffff) | (d >> 32 & 0xf0000)),
		.selector = (uint16_t)selector,
		.attr = (uint16_t)((d >> 40 & 0xff) | (d >> 44 & 0xf00)),
	};
	if (ret->attr & HV_SEG_G)
		ret->limit = ret->limit << 12 | 0xfff;
	return true;
}

static bool fits_ring_3(const struct hv_segment *s, bool code)
{
	const uint16_t ring_3 = HV_SEG_S | HV_SEG_P | HV_SEG_DPL, both = HV_SEG_L | HV_SEG_DB;

	if ((s->attr & ring_3) != ring_3 || !(s->attr & TYPE_CODE) == code)
		return false;
	return code ? (s->attr & both) != both : (s->attr & TYPE_WRITE) != 0;
}

/* Back to ring 3, before the exception. Return: false when that can't be told, nothing is changed.
 */
static bool undo_exception(struct hv_vcpu *vcpu, const struct frame *f, struct hv_vcpu_state *s)
{
	struct hv_segment cs, ss = { .selector = (uint16_t)f->ss, .attr = ATTR_DATA | HV_SEG_DPL };

	if (!load_segment(vcpu, s, f->cs, &cs) ||
	    ((f->ss & ~3ULL) && !load_segment(vcpu, s, f->ss, &ss)) || !fits_ring_3(&cs, true) ||
	    !fits_ring_3(&ss, false))
		return false;
	s->rip = f->rip;
	s->gpr[HV_RSP] = f->rsp;
	s->rflags = f->rflags & RFLAGS_OF_RING_3;
	s->seg[HV_CS] = cs;
	s->seg[HV_SS] = ss;
	return true;
}

/*
 * An exception at the entry itself: the page is the kernel's alone (#PF), or ring 3 may execute it,
 * but not the trap (#GP). Ring 3 can't forge this: while SFMASK has IF, it can't have IF clear.
 */
static bool is_syscall(struct hv_vcpu *vcpu, const struct hv_vcpu_state *s, const struct frame *f)
{
	static const uint8_t syscall_insn[2] = { 0x0f, 0x05 };
	uint8_t insn[2];

	return (f->rip == s->lstar || f->rip == s->cstar) &&
	       !(f->rflags & s->sfmask & ~RFLAGS_RF) &&
	       read_va(vcpu, s->gpr[HV_RCX] - sizeof(insn), insn, sizeof(insn)) &&
	       memcmp(insn, syscall_insn, sizeof(insn)) == 0;
}

static void correct_exception(struct hv_vcpu *vcpu, unsigned kind, struct hv_vcpu_state *s)
{
	uint64_t has_error = kind == KVM_ENTRY_UD ? 0 : sizeof(uint64_t);
	struct frame f;

	if (!read_va(vcpu, s->gpr[HV_RSP] + has_error, &f, sizeof(f)) || (f.cs & 3) != 3)
		return;
	if (is_syscall(vcpu, s, &f) && (s->efer & EFER_SCE)) {
		s->rip = f.rip;
		s->gpr[HV_RSP] = f.rsp;
		s->rflags = f.rflags & RFLAGS_OF_RING_3;
		enter_by_syscall(s);
	} else if (is_syscall(vcpu, s, &f)) { /* to be refused, with RCX and R11 gone already */
		f.rip = s->gpr[HV_RCX] - sizeof(trap);
		f.rflags = s->gpr[HV_R11];
		undo_exception(vcpu, &f, s);
	} else if (kind != KVM_ENTRY_PF) {
		undo_exception(vcpu, &f, s);
	}
}

void kvm_entry_correct(struct hv_vcpu *vcpu, struct hv_vcpu_state *s)
{
	bool ring_3 = s->seg[HV_SS].attr & HV_SEG_DPL;

	s->rip -= sizeof(trap);
	for (unsigned k = 0; k < KVM_N_ENTRIES; k++) {
		if (vcpu->entry[k].va != s->rip)
			continue;
		if (vectors[k] && !ring_3)
			correct_exception(vcpu, k, s);
		else if (!vectors[k] && ring_3)
			enter_by_syscall(s);
		return;
	}
}
