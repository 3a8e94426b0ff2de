/* SPDX-License-Identifier: Apache-2.0 */
/* A KVM VM: making it, its memory slots, its interrupt lines and its dirty log. */
#define LOG_MODULE "vmm/kvm"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/fd.h"
#include "base/log.h"
#include "kvm/assist.h"
#include "kvm/entry.h"
#include "kvm/irqchip.h"
#include "kvm/kvm.h"

/* ---- memory ---- */

static void mark_dirty(const struct kvm_slot *s, uint64_t page)
{
	uint64_t first = (s->gpa - s->region->gpa) >> GMEM_PAGE_SHIFT;

	__atomic_fetch_or(&s->region->page_flags[first + page], GMEM_PAGE_DIRTY, __ATOMIC_RELAXED);
}

/* Fetching a slot's bitmap also clears it in the kernel. */
static int fetch_dirty(struct hv_vm *vm, unsigned i)
{
	const struct kvm_slot *s = &vm->slots[i];
	uint64_t n_pages = s->len >> GMEM_PAGE_SHIFT, n_words = (n_pages + 63) / 64;
	AUTO_FREE uint64_t *bits = calloc(n_words, sizeof(*bits));
	struct kvm_dirty_log log = { .slot = i };

	if (!bits)
		return -ENOMEM;
	log.dirty_bitmap = bits;
	if (vm->ioctl(vm->fd, KVM_GET_DIRTY_LOG, &log) < 0)
		return -errno;
	for (uint64_t w = 0; w < n_words; w++) {
		for (uint64_t left = bits[w]; left; left &= left - 1) {
			uint64_t page = w * 64 + (unsigned)__builtin_ctzll(left);

			if (page < n_pages)
				mark_dirty(s, page);
		}
	}
	return 0;
}

/* What is not known to be clean is dirty. A read-only slot's pages are written by us alone. */
static void sync_slot(struct hv_vm *vm, unsigned i)
{
	const struct kvm_slot *s = &vm->slots[i];
	int e = s->len && !s->readonly ? fetch_dirty(vm, i) : 0;

	if (e == 0)
		return;
	log_warn("dirty log of the memory at %#llx: %s, using all of it",
		 (unsigned long long)s->gpa, err_str(-e));
	for (uint64_t p = 0; p < s->len >> GMEM_PAGE_SHIFT; p++)
		mark_dirty(s, p);
}

static void add_slot(struct kvm_slot *slots, unsigned *n, struct kvm_slot slot)
{
	if (slot.len && *n < KVM_N_SLOTS)
		slots[(*n)++] = slot;
}

/* A region is one slot, but for its pages with system call entries. */
static void plan_region(const struct hv_vm *vm, const struct gmem_region *r, struct kvm_slot *slots,
			unsigned *n)
{
	const struct kvm_entries *e = vm->entries;
	uint64_t at = 0;

	for (unsigned i = 0; e && i < e->n_pages; i++) {
		uint64_t off = e->pages[i].gpa - r->gpa;

		if (off >= r->len)
			continue;
		add_slot(slots, n, (struct kvm_slot){ r->gpa + at, off - at, r->hva + at, r, 0 });
		add_slot(slots, n,
			 (struct kvm_slot){ r->gpa + off, GMEM_PAGE_SIZE, e->pages[i].copy, r, 1 });
		at = off + GMEM_PAGE_SIZE;
	}
	add_slot(slots, n, (struct kvm_slot){ r->gpa + at, r->len - at, r->hva + at, r, 0 });
}

static bool same_slot(const struct kvm_slot *a, const struct kvm_slot *b)
{
	return a->gpa == b->gpa && a->len == b->len && a->hva == b->hva &&
	       a->readonly == b->readonly;
}

static int set_slot(struct hv_vm *vm, unsigned i, const struct kvm_slot *slot, bool dirty_log,
		    struct err *err)
{
	struct kvm_userspace_memory_region k = {
		.slot = i,
		.flags = slot->readonly ? KVM_MEM_READONLY
			 : dirty_log	? KVM_MEM_LOG_DIRTY_PAGES
					: 0,
		.guest_phys_addr = slot->gpa,
		.memory_size = slot->len,
		.userspace_addr = (uintptr_t)slot->hva,
	};

	if (vm->ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &k) < 0)
		return err_errno(err, errno, "KVM refuses the memory slot at %#llx of %llu KiB",
				 (unsigned long long)slot->gpa,
				 (unsigned long long)(slot->len / KIB));
	return 0;
}

/* Its dirty log goes with it. */
static int drop_slot(struct hv_vm *vm, unsigned i, struct err *err)
{
	struct kvm_slot *slot = &vm->slots[i];
	int r;

	if (vm->dirty_on)
		sync_slot(vm, i);
	slot->len = 0;
	r = set_slot(vm, i, slot, false, err);
	*slot = (struct kvm_slot){ 0 };
	return r;
}

int kvm_set_slots(struct hv_vm *vm, bool dirty_log, struct err *err)
{
	const struct gmem *mem = vm->config.mem;
	struct kvm_slot want[KVM_N_SLOTS] = { 0 };
	unsigned n = 0;
	int r = 0;

	for (unsigned i = 0; i < mem->n_regions; i++)
		plan_region(vm, &mem->regions[i], want, &n);
	for (unsigned i = 0; r == 0 && i < KVM_N_SLOTS; i++) {
		if (vm->slots[i].len && !same_slot(&vm->slots[i], &want[i]))
			r = drop_slot(vm, i, err);
	}
	for (unsigned i = 0; r == 0 && i < n; i++) {
		r = set_slot(vm, i, &want[i], dirty_log, err);
		if (r == 0)
			vm->slots[i] = want[i];
	}
	return r;
}

int kvm_dirty_follow(struct hv_vm *vm, struct err *err)
{
	bool want = vm->config.mem->dirty_log;
	int r = 0;

	pthread_mutex_lock(&vm->lock);
	if (vm->dirty_on != want) {
		r = kvm_set_slots(vm, want, err);
		if (r == 0)
			vm->dirty_on = want;
	}
	pthread_mutex_unlock(&vm->lock);
	return r;
}

void kvm_dirty_sync(struct hv_vm *vm)
{
	pthread_mutex_lock(&vm->lock);
	for (unsigned i = 0; vm->dirty_on && i < KVM_N_SLOTS; i++)
		sync_slot(vm, i);
	pthread_mutex_unlock(&vm->lock);
}

/* ---- life ---- */

static void kvm_vm_free(struct hv_vm *vm)
{
	if (!vm)
		return;
	kvm_assist_free(vm->assist);
	kvm_entry_done(vm);
	kvm_chips_free(vm->chips);
	fd_close(vm->fd);
	fd_close(vm->sys_fd);
	free(vm->cpuid);
	pthread_mutex_destroy(&vm->lock);
	free(vm);
}
CLEANUP_DEFINE(struct hv_vm, kvm_vm_free);

/* Some of this is only for KVM on old Intel CPUs; all of it is before the first vCPU. */
static int set_up_vm(struct hv_vm *vm, struct err *err)
{
	uint64_t identity = KVM_IDENTITY_GPA;
	struct kvm_enable_cap x2apic = { .cap = KVM_CAP_X2APIC_API,
					 .args = { KVM_X2APIC_API_USE_32BIT_IDS |
						   KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK } };

	struct kvm_enable_cap emulation = { .cap = KVM_CAP_EXIT_ON_EMULATION_FAILURE,
					    .args = { 1 } };
	int r;

	if (vm->ioctl(vm->fd, KVM_SET_IDENTITY_MAP_ADDR, &identity) < 0)
		return err_errno(err, errno, "place KVM's identity map");
	if (vm->ioctl(vm->fd, KVM_SET_TSS_ADDR, (void *)KVM_TSS_GPA) < 0)
		return err_errno(err, errno, "place KVM's TSS");
	if (vm->ioctl(vm->fd, KVM_CREATE_IRQCHIP, NULL) < 0)
		return err_errno(err, errno, "make KVM's interrupt controllers");
	/* Without it (Linux before 4.7) ids of x2APIC state are shifted, which state.c then undoes.
	 */
	if (vm->ioctl(vm->fd, KVM_ENABLE_CAP, &x2apic) < 0)
		log_debug("KVM_CAP_X2APIC_API: %s, ignoring", err_str(errno));
	/* Else instructions of user code that KVM can't emulate become #UD without the assist. */
	if (vm->ioctl(vm->fd, KVM_ENABLE_CAP, &emulation) < 0)
		log_debug("KVM_CAP_EXIT_ON_EMULATION_FAILURE: %s, ignoring", err_str(errno));
	r = kvm_entry_init(vm, err);
	return r < 0 ? r : kvm_set_slots(vm, false, err);
}

static int query(struct hv_vm *vm, struct err *err)
{
	int size = vm->ioctl(vm->sys_fd, KVM_GET_VCPU_MMAP_SIZE, NULL);
	int xsave = vm->ioctl(vm->fd, KVM_CHECK_EXTENSION, (void *)KVM_CAP_XSAVE2);

	if (size < (int)sizeof(struct kvm_run))
		return err_set(err, -EOPNOTSUPP, "KVM's run area of %d bytes is too small", size);
	vm->run_size = (size_t)size;
	vm->xsave_size = MAX(sizeof(struct kvm_xsave), (size_t)MAX(xsave, 0));
	vm->has_clock_ctrl =
		vm->ioctl(vm->sys_fd, KVM_CHECK_EXTENSION, (void *)KVM_CAP_KVMCLOCK_CTRL) > 0;
	return 0;
}

int kvm_vm_make(const struct hv_vm_config *config, bool quick, struct hv_vm **ret, struct err *err)
{
	CLEANUP(kvm_vm_freep) struct hv_vm *vm = calloc(1, sizeof(*vm));
	int r;

	if (!vm)
		return err_set(err, -ENOMEM, "no memory for a VM");
	vm->fd = vm->sys_fd = -1;
	pthread_mutex_init(&vm->lock, NULL);
	vm->config = *config;
	vm->ioctl = kvm_ioctl;
	vm->tsc_khz = config->cpuid->tsc_khz;
	vm->quick = quick;
	vm->interprets = !quick && kvm_interprets();
	if (config->soft_mode != HV_SOFT_FAST)
		return err_set(err, -EINVAL, "the back end 'kvm' has no step mode");
	vm->sys_fd = kvm_open(KVM_PATH, vm->ioctl, err);
	if (vm->sys_fd < 0)
		return vm->sys_fd;
	vm->fd = kvm_create_vm(vm->sys_fd, vm->ioctl);
	if (vm->fd < 0)
		return err_errno(err, errno, "make a KVM VM");
	r = query(vm, err);
	if (r == 0)
		r = set_up_vm(vm, err);
	if (r == 0)
		r = kvm_cpuid_init(vm, err);
	if (r == 0)
		r = kvm_chips_new(vm, &vm->chips, err);
	if (r < 0)
		return r;
	*ret = STEAL_PTR(vm);
	return 0;
}

static int kvm_vm_new(const struct hv_vm_config *config, struct hv_vm **ret, struct err *err)
{
	return kvm_vm_make(config, false, ret, err);
}

static void kvm_set_gsi(struct hv_vm *vm, unsigned gsi, bool level)
{
	struct kvm_irq_level irq = { .irq = gsi, .level = level };

	if (vm->ioctl(vm->fd, KVM_IRQ_LINE, &irq) < 0)
		log_debug("GSI %u: %s", gsi, err_str(errno));
}

static int kvm_irqfd(struct hv_vm *vm, unsigned gsi, int fd, bool on, struct err *err)
{
	struct kvm_irqfd irqfd = { .fd = (uint32_t)fd,
				   .gsi = gsi,
				   .flags = on ? 0 : KVM_IRQFD_FLAG_DEASSIGN };

	if (vm->ioctl(vm->fd, KVM_IRQFD, &irqfd) < 0)
		return err_errno(err, errno, "KVM refuses an eventfd for GSI %u", gsi);
	return 0;
}

static int kvm_ioeventfd(struct hv_vm *vm, const struct hv_ioevent *event, int fd, bool on,
			 struct err *err)
{
	struct kvm_ioeventfd io = { .datamatch = event->value,
				    .addr = event->gpa,
				    .len = event->size,
				    .fd = fd,
				    .flags = KVM_IOEVENTFD_FLAG_DATAMATCH |
					     (on ? 0 : KVM_IOEVENTFD_FLAG_DEASSIGN) };

	if (vm->ioctl(vm->fd, KVM_IOEVENTFD, &io) < 0)
		return err_errno(err, errno, "KVM refuses an eventfd at %#llx",
				 (unsigned long long)event->gpa);
	return 0;
}

static void *kvm_irqchip_obj(struct hv_vm *vm)
{
	return vm->chips;
}

const struct hv_ops hv_kvm_ops = {
	.name = "kvm",
	.tsc_khz = kvm_tsc_khz,
	.vm_new = kvm_vm_new,
	.vm_free = kvm_vm_free,
	.set_gsi = kvm_set_gsi,
	.irqfd = kvm_irqfd,
	.ioeventfd = kvm_ioeventfd,
	.vcpu_new = kvm_vcpu_new,
	.vcpu_free = kvm_vcpu_free,
	.run = kvm_vcpu_run,
	.kick = kvm_vcpu_kick,
	.get_state = kvm_get_state,
	.set_state = kvm_set_state,
	.get_stats = kvm_vcpu_get_stats,
	.dirty_sync = kvm_dirty_sync,
	.irqchip_state = &kvm_chips_state_desc,
	.irqchip_obj = kvm_irqchip_obj,
};
