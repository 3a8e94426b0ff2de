/* SPDX-License-Identifier: Apache-2.0 */
/* A hypervisor back end without a CPU. */
#include "fake_hv.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/checked.h"

struct hv_vm {
	struct hv_vm_config config;
	bool levels[HV_N_GSI];
};

struct hv_vcpu {
	struct hv_vm *vm;
	unsigned id;
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool kicked; /* guarded by lock */
	struct hv_vcpu_state state;
	struct hv_stats stats;
};

struct fake_vcpu {
	struct hv_vcpu hv;
};

static struct {
	fake_script_fn fn;
	void *opaque;
	unsigned edges[HV_N_GSI]; /* atomic */
	struct hv_vcpu_state boot_state;
} fake;

void fake_hv_script(fake_script_fn fn, void *opaque)
{
	memset(&fake, 0, sizeof(fake));
	fake.fn = fn;
	fake.opaque = opaque;
}

unsigned fake_hv_edges(unsigned gsi)
{
	return __atomic_load_n(&fake.edges[gsi], __ATOMIC_SEQ_CST);
}

const struct hv_vcpu_state *fake_hv_boot_state(void)
{
	return &fake.boot_state;
}

const struct hv_bus_ops *fake_vcpu_bus(const struct fake_vcpu *vcpu, void **ret_opaque)
{
	*ret_opaque = vcpu->hv.vm->config.bus_opaque;
	return vcpu->hv.vm->config.bus;
}

void fake_out(struct fake_vcpu *vcpu, uint16_t port, unsigned size, uint64_t val)
{
	const struct hv_vm_config *c = &vcpu->hv.vm->config;

	vcpu->hv.stats.n_io++;
	c->bus->io_write(c->bus_opaque, port, size, val);
}

uint64_t fake_in(struct fake_vcpu *vcpu, uint16_t port, unsigned size)
{
	const struct hv_vm_config *c = &vcpu->hv.vm->config;

	vcpu->hv.stats.n_io++;
	return c->bus->io_read(c->bus_opaque, port, size);
}

void fake_idle(struct fake_vcpu *vcpu)
{
	struct hv_vcpu *hv = &vcpu->hv;

	pthread_mutex_lock(&hv->lock);
	while (!hv->kicked)
		pthread_cond_wait(&hv->cond, &hv->lock);
	hv->kicked = false;
	pthread_mutex_unlock(&hv->lock);
}

int fake_kernel(void)
{
	uint8_t elf[64 + 56 + 8] = { 0x7f, 'E', 'L', 'F', 2, 1, 1 };
	int fd = memfd_create("kernel", MFD_CLOEXEC);

	le16_store(elf + 16, 2);
	le16_store(elf + 18, 62);
	le64_store(elf + 24, 0x100000);
	le64_store(elf + 32, 64);
	le16_store(elf + 54, 56);
	le16_store(elf + 56, 1);
	le32_store(elf + 64, 1);
	le64_store(elf + 64 + 8, 120);
	le64_store(elf + 64 + 24, 0x100000);
	le64_store(elf + 64 + 32, 1);
	le64_store(elf + 64 + 40, 8192);
	elf[120] = 0xf4;
	if (fd < 0 || write(fd, elf, sizeof(elf)) != (ssize_t)sizeof(elf))
		return -1;
	return fd;
}

static int fake_vm_new(const struct hv_vm_config *config, struct hv_vm **ret, struct err *err)
{
	struct hv_vm *vm = calloc(1, sizeof(*vm));

	if (!vm)
		return err_set(err, -ENOMEM, "fake vm");
	vm->config = *config;
	*ret = vm;
	return 0;
}

static void fake_vm_free(struct hv_vm *vm)
{
	free(vm);
}

static void fake_set_gsi(struct hv_vm *vm, unsigned gsi, bool level)
{
	bool was = __atomic_exchange_n(&vm->levels[gsi], level, __ATOMIC_SEQ_CST);

	if (level && !was)
		__atomic_fetch_add(&fake.edges[gsi], 1, __ATOMIC_SEQ_CST);
}

static int fake_vcpu_new(struct hv_vm *vm, unsigned id, struct hv_vcpu **ret, struct err *err)
{
	struct fake_vcpu *vcpu = calloc(1, sizeof(*vcpu));

	if (!vcpu)
		return err_set(err, -ENOMEM, "fake vcpu");
	vcpu->hv.vm = vm;
	vcpu->hv.id = id;
	pthread_mutex_init(&vcpu->hv.lock, NULL);
	pthread_cond_init(&vcpu->hv.cond, NULL);
	vcpu->hv.state.mp_state = id ? HV_MP_WAIT_SIPI : HV_MP_RUNNABLE;
	*ret = &vcpu->hv;
	return 0;
}

static void fake_vcpu_free(struct hv_vcpu *vcpu)
{
	pthread_cond_destroy(&vcpu->cond);
	pthread_mutex_destroy(&vcpu->lock);
	free(vcpu);
}

static void fake_run(struct hv_vcpu *vcpu, struct hv_exit *ret_exit)
{
	ret_exit->reason = fake.fn((struct fake_vcpu *)vcpu, fake.opaque);
	if (ret_exit->reason == HV_EXIT_ERROR)
		err_set(&ret_exit->err, -EIO, "the script failed");
}

static void fake_kick(struct hv_vcpu *vcpu)
{
	pthread_mutex_lock(&vcpu->lock);
	vcpu->kicked = true;
	vcpu->stats.n_kicks++;
	pthread_cond_broadcast(&vcpu->cond);
	pthread_mutex_unlock(&vcpu->lock);
}

static void fake_get_state(struct hv_vcpu *vcpu, struct hv_vcpu_state *ret)
{
	*ret = vcpu->state;
}

static int fake_set_state(struct hv_vcpu *vcpu, const struct hv_vcpu_state *state, struct err *err)
{
	(void)err;
	vcpu->state = *state;
	if (vcpu->id == 0)
		fake.boot_state = *state;
	return 0;
}

static void fake_get_stats(struct hv_vcpu *vcpu, struct hv_stats *ret)
{
	*ret = vcpu->stats;
}

const struct hv_ops fake_hv_ops = {
	.name = "fake",
	.vm_new = fake_vm_new,
	.vm_free = fake_vm_free,
	.set_gsi = fake_set_gsi,
	.vcpu_new = fake_vcpu_new,
	.vcpu_free = fake_vcpu_free,
	.run = fake_run,
	.kick = fake_kick,
	.get_state = fake_get_state,
	.set_state = fake_set_state,
	.get_stats = fake_get_stats,
};
