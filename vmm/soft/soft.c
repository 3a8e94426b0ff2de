/* SPDX-License-Identifier: Apache-2.0 */
/* The soft back end: VM and vCPU life, and the hv_ops table. */
#include "soft/vm.h"

#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "soft/block.h"
#include "soft/image.h"
#include "soft/mmu.h"
#include "soft/stub.h"
#include "soft/sys.h"

/* ---- what LAPIC and PIC ask of a vCPU ---- */

static void on_irq(void *opaque)
{
	cpu_post(opaque, CPU_EV_IRQ);
}

static void on_nmi(void *opaque)
{
	cpu_post(opaque, CPU_EV_NMI);
}

static void on_init(void *opaque)
{
	cpu_post(opaque, CPU_EV_INIT);
}

static void on_sipi(void *opaque, uint8_t vector)
{
	struct cpu *cpu = opaque;

	__atomic_store_n(&cpu->sipi_vector, vector, __ATOMIC_RELEASE);
	cpu_post(cpu, CPU_EV_SIPI);
}

static void on_extint(void *opaque)
{
	cpu_post(opaque, CPU_EV_EXTINT);
}

static uint64_t on_now(void *opaque)
{
	struct cpu *cpu = opaque;

	return soft_clock_ns(cpu->vm->clock);
}

static uint64_t on_tsc_to_ns(void *opaque, uint64_t tsc)
{
	const struct cpu *cpu = opaque;

	/* The offset is signed in effect: a deadline before the TSC's own origin has passed. */
	if ((int64_t)cpu->tsc_offset > 0 && tsc < cpu->tsc_offset)
		return 0;
	return soft_clock_tsc_to_ns(cpu->vm->clock, tsc - cpu->tsc_offset);
}

static const struct lapic_ops lapic_ops = {
	.irq = on_irq,
	.nmi = on_nmi,
	.init = on_init,
	.sipi = on_sipi,
	.extint = on_extint,
	.now = on_now,
	.tsc_to_ns = on_tsc_to_ns,
};

static void on_pic_output(void *opaque, bool level)
{
	struct hv_vm *vm = opaque;

	if (level)
		cpu_post(&vm->vcpus[0]->cpu, CPU_EV_EXTINT);
	else
		atomic_fetch_and(&vm->vcpus[0]->cpu.events, ~(uint32_t)CPU_EV_EXTINT);
}

static void on_eoi(void *opaque, uint8_t vector)
{
	ioapic_eoi(opaque, vector);
}

static void on_code_write(void *opaque, gpa_t gpa, uint64_t len)
{
	block_code_written(opaque, gpa, len);
}

/* ---- VM ---- */

static void vcpu_destroy(struct hv_vcpu *v)
{
	if (!v)
		return;
	lapic_done(&v->lapic);
	free(v);
}

static void vm_free(struct hv_vm *vm)
{
	if (!vm)
		return;
	for (unsigned i = 0; i < HV_MAX_VCPUS; i++)
		vcpu_destroy(vm->vcpus[i]);
	if (vm->vm.code)
		block_vm_free(&vm->vm);
	if (vm->vm.mem && vm->vm.mem->code_write_opaque == &vm->vm)
		vm->vm.mem->code_write = NULL;
	if (vm->vm.pic)
		pic_done(vm->vm.pic);
	if (vm->vm.ioapic)
		ioapic_done(vm->vm.ioapic);
	pthread_mutex_destroy(&vm->clock.lock);
	free(vm);
}
CLEANUP_DEFINE(struct hv_vm, vm_free);

/* Memory of a vCPU and its LAPIC, so that all of them are there before guest code runs. */
static int vcpu_prepare(struct hv_vm *vm, unsigned id, struct err *err)
{
	struct hv_vcpu *v = aligned_alloc(64, (sizeof(*v) + 63) / 64 * 64);
	int r;

	if (!v)
		return err_set(err, -ENOMEM, "no memory for vCPU %u", id);
	memset(v, 0, sizeof(*v));
	r = lapic_init(&v->lapic, &vm->lapics, id, &lapic_ops, &v->cpu, err);
	if (r < 0) {
		free(v);
		return r;
	}
	v->cpu.vm = &vm->vm;
	v->cpu.lapic = &v->lapic;
	v->cpu.id = id;
	v->cpu.step = vm->vm.config.soft_mode == HV_SOFT_STEP;
	v->cpu.apic_page = ~0ULL;
	v->cpu.mp_state = HV_MP_WAIT_SIPI;
	vm->vcpus[id] = v;
	vm->vm.cpus[id] = &v->cpu;
	vm->lapics.lapics[id] = &v->lapic;
	vm->lapics.n = vm->vm.n_cpus = id + 1;
	return 0;
}

static int vm_prepare(struct hv_vm *vm, const struct hv_vm_config *config, struct err *err)
{
	int r;

	vm->vm.config = *config;
	vm->vm.clock = &vm->clock;
	vm->clock.tsc_khz = config->cpuid->tsc_khz;
	vm->clock.tsc_mult = ((uint64_t)config->cpuid->tsc_khz << 32) / 1000000;
	atomic_store(&vm->clock.offset, -clock_monotonic_ns()); /* guest time starts at 0 */
	r = ioapic_init(&vm->irqchip.ioapic, &vm->lapics, err);
	if (r < 0)
		return r;
	vm->vm.ioapic = &vm->irqchip.ioapic;
	vm->lapics.eoi = on_eoi;
	vm->lapics.eoi_opaque = vm->vm.ioapic;
	r = pic_init(&vm->irqchip.pic, on_pic_output, vm, err);
	if (r < 0)
		return r;
	vm->vm.pic = &vm->irqchip.pic;
	for (unsigned i = 0; r == 0 && i < config->n_vcpus; i++)
		r = vcpu_prepare(vm, i, err);
	return r;
}

static int vm_new(const struct hv_vm_config *config, struct hv_vm **ret, struct err *err)
{
	CLEANUP(vm_freep) struct hv_vm *vm = NULL;
	int r;

	if (config->n_vcpus == 0 || config->n_vcpus > HV_MAX_VCPUS)
		return err_set(err, -EINVAL, "%u vCPUs: must be 1 to %d", config->n_vcpus,
			       HV_MAX_VCPUS);
	if (config->cpuid->tsc_khz < 1000)
		return err_set(err, -EINVAL, "a TSC of %u kHz is too slow", config->cpuid->tsc_khz);
	vm = calloc(1, sizeof(*vm));
	if (!vm)
		return err_set(err, -ENOMEM, "no memory for a VM");
	r = pthread_mutex_init(&vm->clock.lock, NULL);
	if (r) {
		free(STEAL_PTR(vm));
		return err_errno(err, r, "make the VM's clock lock");
	}
	r = vm_prepare(vm, config, err);
	if (r < 0)
		return r;
	vm->vm.mem = config->mem;
	r = block_vm_new(&vm->vm, err);
	if (r < 0)
		return r;
	config->mem->code_write_opaque = &vm->vm;
	config->mem->code_write = on_code_write;
	*ret = STEAL_PTR(vm);
	return 0;
}

static void set_gsi(struct hv_vm *vm, unsigned gsi, bool level)
{
	if (gsi < 16)
		pic_set_irq(&vm->irqchip.pic, gsi, level);
	ioapic_set_pin(&vm->irqchip.ioapic, gsi, level);
}

/* ---- vCPU ---- */

/* Give back what vcpu_new() made; the struct itself lives as long as the VM. */
static void vcpu_release(struct hv_vcpu *v)
{
	if (v->cpu.code)
		block_cpu_free(&v->cpu);
	v->cpu.code = NULL;
	stub_cpu_free(&v->cpu);
	mmu_done(&v->cpu);
	v->made = false;
}

static int vcpu_new(struct hv_vm *vm, unsigned id, struct hv_vcpu **ret, struct err *err)
{
	struct hv_vcpu *v;
	int r;

	if (id >= vm->vm.n_cpus || vm->vcpus[id]->made)
		return err_set(err, -EINVAL, "vCPU %u is beyond %u or exists", id, vm->vm.n_cpus);
	v = vm->vcpus[id];
	cpuid_init(&v->cpu);
	r = mmu_init(&v->cpu, err);
	if (r == 0)
		r = stub_cpu_new(&v->cpu, err);
	if (r == 0)
		r = block_cpu_new(&v->cpu, err);
	if (r < 0) {
		vcpu_release(v);
		return r;
	}
	vcpu_reset(v);
	v->made = true;
	*ret = v;
	return 0;
}

static void vcpu_free(struct hv_vcpu *v)
{
	if (v)
		vcpu_release(v);
}

static void kick(struct hv_vcpu *v)
{
	cpu_post(&v->cpu, CPU_EV_KICK);
}

static void get_stats(struct hv_vcpu *v, struct hv_stats *ret)
{
	*ret = v->cpu.stats;
}

/* ---- saved code ---- */

static void code_forget(struct hv_vcpu *v)
{
	block_flush_soon(&v->cpu);
}

static void code_enough(struct hv_vcpu *v)
{
	block_enough(&v->cpu);
}

static int code_save(struct hv_vcpu *v, int fd, struct err *err)
{
	return block_image_save(&v->cpu, fd, err);
}

static int code_load(struct hv_vcpu *v, int fd, struct err *err)
{
	return block_image_load(&v->cpu, fd, err);
}

/* ---- saved interrupt controllers ---- */

static int irqchip_post_load(void *obj, struct err *err)
{
	struct irqchip *chip = obj;
	int r = ioapic_state_desc.post_load(&chip->ioapic, err);

	return r < 0 ? r : pic_state_desc.post_load(&chip->pic, err);
}

static const struct state_desc irqchip_desc = {
	.name = "irqchip",
	.version = 1,
	.min_version = 1,
	.fields =
		(const struct state_field[]){
			STATE_SUB(struct irqchip, ioapic, &ioapic_state_desc, 1, 1),
			STATE_SUB(struct irqchip, pic, &pic_state_desc, 1, 1),
			{ .type = STATE_END },
		},
	.post_load = irqchip_post_load,
};

static void *irqchip_obj(struct hv_vm *vm)
{
	return &vm->irqchip;
}

const struct hv_ops hv_soft_ops = {
	.name = "soft",
	.vcpu_bytes = CODE_ARENA_BYTES + JIT_ARENA_BYTES,
	.vm_new = vm_new,
	.vm_free = vm_free,
	.set_gsi = set_gsi,
	.vcpu_new = vcpu_new,
	.vcpu_free = vcpu_free,
	.run = soft_run,
	.kick = kick,
	.get_state = soft_get_state,
	.set_state = soft_set_state,
	.get_stats = get_stats,
	.code_forget = code_forget,
	.code_enough = code_enough,
	.code_save = code_save,
	.code_load = code_load,
	.code_check = block_image_check,
	.irqchip_state = &irqchip_desc,
	.irqchip_obj = irqchip_obj,
};
