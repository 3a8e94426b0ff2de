/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The machine's state as sections: a device's under its own name, vCPUs, interrupt controllers.
 *
 * Theory of operation. Sections of one name are told apart by instance, counted in the order of the
 * machine's devices, which is the same for the same configuration. Restoring goes in the order that
 * the parts depend on one another: memory (already mapped), devices, then on their own threads the
 * vCPUs with their local APICs and clocks, then the interrupt controllers, which may pass on at
 * once what was pending, and last a new generation id with its interrupt. If there is code, the
 * first vCPU is made and its code loaded by a thread of its own, beside whatever comes between
 * vm_new() and vm_start(), which waits for its end. Device interrupts raised while devices load
 * lead nowhere, as there is no back end yet; their levels are in the interrupt controllers' state.
 */
#define LOG_MODULE "vmm/vm_state"
#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/log.h"
#include "base/sha256.h"
#include "devices/devices.h"
#include "machine/cpumodel.h"
#include "vm_priv.h"

#define IRQCHIP_NAME "irqchip"

struct vm_restore {
	uint8_t *irqchip; /* owned; NULL: the back end has none */
	size_t irqchip_len;
	int code_fd; /* borrowed; -1: none */
	pthread_t maker;
	bool has_maker;	       /* what is below is its until it has been joined */
	struct hv_vcpu *first; /* owned; NULL: taken, or not made */
	int made;
	struct err why;
	struct hv_vcpu_state vcpus[]; /* n_vcpus */
};

/* How many devices before this one have state of the same name. */
static uint32_t instance_of(const struct machine *m, unsigned at)
{
	const char *name = m->devs[at]->ops->state->name;
	uint32_t n = 0;

	for (unsigned i = 0; i < at; i++) {
		const struct state_desc *d = m->devs[i]->ops->state;

		n += d && !strcmp(d->name, name);
	}
	return n;
}

/* ---- saving ---- */

struct saving {
	int (*put)(void *opaque, const char *name, uint32_t instance, const void *data, size_t len,
		   struct err *err);
	void *opaque;
};

static int save_one(const struct saving *s, const struct state_desc *desc, uint32_t instance,
		    void *obj, struct err *err)
{
	AUTO_FREE uint8_t *buf = malloc(state_size(desc));

	if (!buf)
		return err_set(err, -ENOMEM, "no memory for the state of '%s'", desc->name);
	return s->put(s->opaque, desc->name, instance, buf, state_save(desc, obj, buf), err);
}

static int save_devices(const struct vm *vm, const struct saving *s, struct err *err)
{
	int r = 0;

	for (unsigned i = 0; i < vm->machine->n_devs && r == 0; i++) {
		struct device *dev = vm->machine->devs[i];

		if (!dev->ops->state)
			continue;
		pthread_mutex_lock(&dev->lock);
		r = save_one(s, dev->ops->state, instance_of(vm->machine, i), dev, err);
		pthread_mutex_unlock(&dev->lock);
	}
	return r;
}

static int save_vcpus(struct vm *vm, const struct saving *s, struct err *err)
{
	AUTO_FREE struct hv_vcpu_state *state = malloc(sizeof(*state));
	int r = state ? 0 : err_set(err, -ENOMEM, "no memory for a vCPU's state");

	for (unsigned i = 0; i < vm->n_vcpus && r == 0; i++) {
		memset(state, 0, sizeof(*state));
		vm->ops->get_state(vm->vcpus[i].hv, state);
		r = save_one(s, &hv_vcpu_state_desc, i, state, err);
	}
	return r;
}

/* What the guest has mapped in a window is nowhere in the state. */
static int check_windows(const struct gmem *mem, struct err *err)
{
	for (unsigned i = 0; i < mem->n_regions; i++) {
		if (mem->regions[i].kind == GMEM_WINDOW)
			return err_set(err, -EOPNOTSUPP,
				       "a machine with a window onto files cannot be saved");
	}
	return 0;
}

int vm_save(struct vm *vm,
	    int (*put)(void *opaque, const char *name, uint32_t instance, const void *data,
		       size_t len, struct err *err),
	    void *opaque, struct err *err)
{
	const struct saving s = { put, opaque };
	int r = check_windows(vm->machine->mem, err);

	if (r == 0)
		r = save_devices(vm, &s, err);
	if (r == 0)
		r = save_vcpus(vm, &s, err);
	/* After the devices: they may have raised interrupts while they came to rest. */
	if (r == 0 && vm->ops->irqchip_state)
		r = save_one(&s, vm->ops->irqchip_state, 0, vm->ops->irqchip_obj(vm->hv), err);
	return r;
}

/* Code is the first vCPU's: one that begins with it makes the others wait no longer than today. */
bool vm_rehearse(struct vm *vm)
{
	struct err err = { 0 };

	if (!vm->ops->code_forget)
		return false;
	vm->ops->code_forget(vm->vcpus[0].hv);
	if (vmgenid_change(vm->machine->vmgenid, &err) < 0)
		log_debug("%s, rehearsing without it", err.msg);
	return true;
}

void vm_rehearsed(struct vm *vm)
{
	if (vm->ops->code_enough)
		vm->ops->code_enough(vm->vcpus[0].hv);
}

int vm_code_save(struct vm *vm, int fd, struct err *err)
{
	return vm->ops->code_save ? vm->ops->code_save(vm->vcpus[0].hv, fd, err) : 0;
}

unsigned vm_memory(const struct vm *vm, struct vm_memory_part ret[VM_MEMORY_PARTS])
{
	const struct gmem *mem = vm->machine->mem;
	uint64_t off = 0;
	unsigned n = 0;

	/* RAM first: regions are sorted by address, and the config region lies in the hole. */
	for (enum gmem_kind kind = GMEM_RAM; kind <= GMEM_SHARED; kind++) {
		for (unsigned i = 0; i < mem->n_regions && n < VM_MEMORY_PARTS; i++) {
			const struct gmem_region *r = &mem->regions[i];

			if (r->kind != kind)
				continue;
			ret[n++] = (struct vm_memory_part){ r->hva, r->len, off };
			off += r->len;
		}
	}
	return n;
}

/* ---- restoring ---- */

static int load_one(const struct vm_saved *saved, const struct state_desc *desc, uint32_t instance,
		    void *obj, struct err *err)
{
	const void *data;
	size_t len;

	if (!saved->find(saved->opaque, desc->name, instance, &data, &len))
		return err_set(err, -ESTALE, "the snapshot has no state of '%s' (%u)", desc->name,
			       instance);
	return state_load(desc, obj, data, len, err);
}

static int load_devices(struct vm *vm, const struct vm_saved *saved, struct err *err)
{
	int r = 0;

	for (unsigned i = 0; i < vm->machine->n_devs && r == 0; i++) {
		struct device *dev = vm->machine->devs[i];

		if (dev->ops->state)
			r = load_one(saved, dev->ops->state, instance_of(vm->machine, i), dev, err);
	}
	return r;
}

/* Kept for later: it can be given to the back end only when vCPUs exist. */
static int read_irqchip(struct vm *vm, const struct vm_saved *saved, struct err *err)
{
	struct vm_restore *restore = vm->restore;
	const void *data;
	size_t len;

	if (!vm->ops->irqchip_state)
		return 0;
	if (!saved->find(saved->opaque, IRQCHIP_NAME, 0, &data, &len))
		return err_set(err, -ESTALE, "the snapshot has no state of '" IRQCHIP_NAME "'");
	restore->irqchip = malloc(len + 1);
	if (!restore->irqchip)
		return err_set(err, -ENOMEM, "no memory for a saved machine");
	memcpy(restore->irqchip, data, len);
	restore->irqchip_len = len;
	return 0;
}

int vm_restore_begin(struct vm *vm, const struct vm_saved *saved, struct err *err)
{
	int r;

	vm->restore = calloc(1, sizeof(*vm->restore) + vm->n_vcpus * sizeof(vm->restore->vcpus[0]));
	if (!vm->restore)
		return err_set(err, -ENOMEM, "no memory for a saved machine");
	vm->restore->code_fd = saved->has_code ? saved->code_fd : -1;
	r = load_devices(vm, saved, err);
	for (unsigned i = 0; i < vm->n_vcpus && r == 0; i++)
		r = load_one(saved, &hv_vcpu_state_desc, i, &vm->restore->vcpus[i], err);
	if (r == 0)
		r = read_irqchip(vm, saved, err);
	return r < 0 ? r : saved->check(saved->opaque, err);
}

int vm_restore_vcpu(const struct vm *vm, unsigned id, struct hv_vcpu **ret, struct err *err)
{
	int r = vm->ops->vcpu_new(vm->hv, id, ret, err);

	return r < 0 ? r : vm->ops->set_state(*ret, &vm->restore->vcpus[id], err);
}

/* The first vCPU, with code; without, if that is of no use. */
static void *make_first(void *opaque)
{
	struct vm *vm = opaque;
	struct vm_restore *restore = vm->restore;
	struct err why = { 0 };

	pthread_setname_np(pthread_self(), "code");
	restore->made = vm_restore_vcpu(vm, 0, &restore->first, &restore->why);
	if (restore->made == 0 && vm->ops->code_load(restore->first, restore->code_fd, &why) < 0)
		log_debug("%s, making it anew", why.msg);
	return NULL;
}

void vm_restore_make(struct vm *vm)
{
	struct vm_restore *restore = vm->restore;
	sigset_t all, old;

	if (restore->code_fd < 0 || !vm->ops->code_load)
		return;
	sigfillset(&all);
	sigdelset(&all, SIGBUS);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	/* Without it, the machine makes its code as it needs it. */
	restore->has_maker = pthread_create(&restore->maker, NULL, make_first, vm) == 0;
	pthread_sigmask(SIG_SETMASK, &old, NULL);
}

static bool join_maker(struct vm_restore *restore)
{
	if (!restore->has_maker)
		return false;
	pthread_join(restore->maker, NULL);
	restore->has_maker = false;
	return true;
}

bool vm_restore_makes(const struct vm *vm, unsigned id)
{
	return id == 0 && vm->restore->has_maker;
}

/* The first vCPU, if the maker has made it. */
static int take_first(struct vm *vm, struct err *err)
{
	struct vm_restore *restore = vm->restore;

	if (!join_maker(restore))
		return 0;
	if (restore->made < 0)
		return err_set(err, restore->made, "%s", restore->why.msg);
	pthread_mutex_lock(&vm->lock);
	vm->vcpus[0].hv = STEAL_PTR(restore->first);
	pthread_mutex_unlock(&vm->lock);
	return 0;
}

int vm_restore_finish(struct vm *vm, struct err *err)
{
	struct vm_restore *restore = vm->restore;
	int r = take_first(vm, err);

	if (r == 0 && restore->irqchip)
		r = state_load(vm->ops->irqchip_state, vm->ops->irqchip_obj(vm->hv),
			       restore->irqchip, restore->irqchip_len, err);
	/* Another machine may have begun with the same state: the guest has to know. */
	return r < 0 ? r : vmgenid_change(vm->machine->vmgenid, err);
}

void vm_restore_stop(struct vm *vm)
{
	if (vm->restore && join_maker(vm->restore) && vm->restore->first)
		vm->ops->vcpu_free(STEAL_PTR(vm->restore->first));
}

/* Who has been made with the old time is made again. */
void vm_restore_later(struct vm *vm, uint64_t ns)
{
	uint64_t ticks = (uint64_t)((unsigned __int128)ns * vm_tsc_khz(vm->ops) / 1000000);

	if (!vm->restore)
		return;
	vm_restore_stop(vm);
	for (unsigned i = 0; i < vm->n_vcpus; i++)
		vm->restore->vcpus[i].tsc += ticks;
	vm_restore_make(vm);
}

void vm_restore_free(struct vm_restore *restore)
{
	if (!restore)
		return;
	free(restore->irqchip);
	free(restore);
}

/* ---- identity ---- */

int vm_identify(const struct vm_config *config, struct vm_identity *ret, struct err *err)
{
	const char *model = config->cpu_model ? config->cpu_model : "base";
	uint8_t hash[SHA256_BYTES], words[7 * 4];
	struct hv_cpuid_table table;
	struct sha256 s;
	int r = cpumodel_fill(model, config->n_vcpus, vm_tsc_khz(config->hv), &table, err);

	if (r < 0)
		return r;
	sha256_init(&s);
	for (unsigned i = 0; i < table.n; i++) {
		const struct hv_cpuid *e = &table.entries[i];
		const uint32_t v[] = { e->leaf, e->has_subleaf, e->subleaf, e->eax,
				       e->ebx,	e->ecx,		e->edx };

		for (unsigned w = 0; w < ARRAY_LEN(v); w++)
			le32_store(words + 4 * w, v[w]);
		sha256_update(&s, words, sizeof(words));
	}
	sha256_final(&s, hash);
	*ret = (struct vm_identity){ .arch = "x86_64",
				     .cpu_model = model,
				     .tsc_khz = table.tsc_khz };
	sha256_hex(hash, ret->cpuid);
	return 0;
}

static_assert(VM_ID_HEX == SHA256_HEX, "length of a hash");
