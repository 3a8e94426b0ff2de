/* SPDX-License-Identifier: Apache-2.0 */
/* The x86-64 machine: every device with its place, in one table. */
#include "machine/machine.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "devices/devices.h"
#include "machine/cpumodel.h"
#include "machine/layout.h"
#include "virtio/virtio.h"
#include "vmm/window.h"

static const struct console_backend no_console = { .in_fd = -1, .out_fd = -1 };

static struct irq_line irq_line(const struct machine *m, unsigned gsi)
{
	return (struct irq_line){ .set = m->env.irq_set,
				  .pulse = m->env.irq_pulse,
				  .opaque = m->env.irq_opaque,
				  .gsi = gsi };
}

/* ---- port devices ---- */

static int make_pit(struct machine *m, struct device **ret, struct err *err)
{
	struct irq_line irq = irq_line(m, LAYOUT_GSI_PIT);
	int r = pit_new(m->env.loop, &irq, ret, err);

	if (r == 0)
		m->pit = *ret;
	return r;
}

static int make_pit_gate(struct machine *m, struct device **ret, struct err *err)
{
	return pit_gate_new(m->pit, ret, err);
}

static int make_i8042(struct machine *m, struct device **ret, struct err *err)
{
	int r = i8042_new(&m->env.power, ret, err);

	if (r == 0)
		m->i8042 = *ret;
	return r;
}

static int make_i8042_data(struct machine *m, struct device **ret, struct err *err)
{
	return i8042_data_new(m->i8042, ret, err);
}

static int make_rtc(struct machine *m, struct device **ret, struct err *err)
{
	struct irq_line irq = irq_line(m, LAYOUT_GSI_RTC);

	return rtc_new(m->config->ram_bytes, m->env.loop, &irq, ret, err);
}

static int make_debugport(struct machine *m, struct device **ret, struct err *err)
{
	return debugport_new(m->env.loop, m->config->has_debug_fd ? m->config->debug_fd : -1, ret,
			     err);
}

static int make_testexit(struct machine *m, struct device **ret, struct err *err)
{
	return testexit_new(&m->env.power, ret, err);
}

static int make_serial(struct machine *m, struct device **ret, struct err *err)
{
	const struct console_backend *backend = m->config->serial;
	struct irq_line irq = irq_line(m, LAYOUT_GSI_COM1);

	return serial_new(m->env.loop, backend ? backend : &no_console, &irq, ret, err);
}

static int make_acpi_power(struct machine *m, struct device **ret, struct err *err)
{
	return acpi_power_new(&m->env.power, ret, err);
}

/*
 * Ports. The PIC (0x20, 0xa0), IOAPIC and LAPIC belong to the back end. The PCI configuration ports
 * (0xcf8) have nobody: reads of all ones say that there is no PCI.
 */
static const struct port_entry {
	uint16_t port, len;
	int (*make)(struct machine *m, struct device **ret, struct err *err);
} x86_64_ports[] = {
	{ LAYOUT_PORT_PIT, PIT_LEN, make_pit },
	{ LAYOUT_PORT_PIT_GATE, 1, make_pit_gate },
	{ LAYOUT_PORT_I8042 + 4, 1, make_i8042 },
	{ LAYOUT_PORT_I8042, 1, make_i8042_data },
	{ LAYOUT_PORT_RTC, RTC_LEN, make_rtc },
	{ LAYOUT_PORT_DEBUG, 1, make_debugport },
	{ LAYOUT_PORT_TEST_EXIT, TESTEXIT_LEN, make_testexit },
	{ LAYOUT_PORT_COM1, SERIAL_LEN, make_serial },
	{ LAYOUT_PORT_ACPI, ACPI_POWER_LEN, make_acpi_power },
};

static int add_ports(struct machine *m, struct err *err)
{
	for (unsigned i = 0; i < ARRAY_LEN(x86_64_ports); i++) {
		const struct port_entry *p = &x86_64_ports[i];
		struct device *dev = NULL;
		int r = p->make(m, &dev, err);

		if (r < 0)
			return r;
		m->devs[m->n_devs++] = dev;
		r = bus_add(m->io, p->port, p->len, dev, err);
		if (r < 0)
			return r;
	}
	return 0;
}

static int add_vmgenid(struct machine *m, struct err *err)
{
	struct irq_line irq = irq_line(m, LAYOUT_GSI_GED);
	int r = vmgenid_new(m->mem, LAYOUT_VMGENID, &irq, &m->vmgenid, err);

	if (r == 0)
		m->devs[m->n_devs++] = m->vmgenid;
	return r;
}

/* ---- virtio ---- */

static int make_console(struct machine *m, const struct virtio_env *env, struct device **ret,
			struct err *err)
{
	int r;

	if (!m->config->virtio_console)
		return 0;
	r = virtio_console_new(env, m->config->virtio_console, ret, err);
	if (r == 0)
		m->console = *ret;
	return r;
}

static int make_rng(struct machine *m, const struct virtio_env *env, struct device **ret,
		    struct err *err)
{
	return m->config->virtio_rng ? virtio_rng_new(env, ret, err) : 0;
}

static int make_vsock(struct machine *m, const struct virtio_env *env, struct device **ret,
		      struct err *err)
{
	int r;

	if (!m->config->vsock)
		return 0;
	r = virtio_vsock_new(env, m->config->vsock, ret, err);
	if (r == 0)
		m->vsock = *ret;
	return r;
}

/* Behind all RAM, aligned to its own size as Linux likes it for its own tables. */
static int add_window(struct machine *m, uint64_t len, gpa_t *ret, struct err *err)
{
	const struct gmem_region *last = &m->mem->regions[m->mem->n_regions - 1];
	gpa_t gpa = ALIGN_UP(MAX(last->gpa + last->len, LAYOUT_HIGH_START), MAX(len, GIB));

	if (len & (len - 1) || len < WINDOW_CHUNK || len > LAYOUT_MAX_WINDOW)
		return err_set(
			err, -EINVAL,
			"a window of %llu bytes: powers of two from 2 MiB to %llu GiB are possible",
			(unsigned long long)len, (unsigned long long)(LAYOUT_MAX_WINDOW / GIB));
	*ret = gpa;
	return window_add(m->mem, gpa, len, err);
}

static int make_fs(struct machine *m, const struct virtio_env *env, struct device **ret,
		   struct err *err)
{
	const struct vm_fs *fs = &m->config->fs[m->n_fs];
	gpa_t window = 0;
	int r = 0;

	if (m->n_fs == m->config->n_fs)
		return 0;
	m->n_fs++;
	if (fs->window_len)
		r = add_window(m, fs->window_len, &window, err);
	return r < 0 ? r : virtio_fs_new(env, fs, window, ret, err);
}

static int make_net(struct machine *m, const struct virtio_env *env, struct device **ret,
		    struct err *err)
{
	if (m->n_net == m->config->n_net)
		return 0;
	return virtio_net_new(env, &m->config->net[m->n_net++], ret, err);
}

/* In slot order: a device's address and interrupt depend on those before it. */
static int (*const x86_64_virtio[])(struct machine *m, const struct virtio_env *env,
				    struct device **ret, struct err *err) = {
	make_console, make_rng, make_fs, make_fs, make_fs, make_fs, make_vsock,
	make_net,     make_net, make_net, make_net,
};

static unsigned next_gsi(const struct machine *m)
{
	unsigned gsi = LAYOUT_GSI_FIRST_FREE + m->n_slots;

	return gsi >= LAYOUT_GSI_RTC ? gsi + LAYOUT_N_GSI_FIXED : gsi;
}

static int add_virtio(struct machine *m, struct err *err)
{
	for (unsigned i = 0; i < ARRAY_LEN(x86_64_virtio); i++) {
		struct virtio_env env = { .mem = m->mem, .loop = m->env.loop };
		struct acpi_virtio_slot *slot = &m->slots[m->n_slots];
		struct device *dev = NULL;
		int r;

		env.irq = irq_line(m, next_gsi(m));
		r = x86_64_virtio[i](m, &env, &dev, err);
		if (r < 0)
			return r;
		if (!dev)
			continue;
		m->devs[m->n_devs++] = dev;
		slot->gsi = env.irq.gsi;
		r = mmioalloc_take(&m->mmio_space, LAYOUT_VIRTIO, LAYOUT_MAILBOX,
				   LAYOUT_VIRTIO_SIZE, dev->ops->name, &slot->gpa, err);
		if (r == 0)
			r = bus_add(m->mmio, slot->gpa, LAYOUT_VIRTIO_SIZE, dev, err);
		if (r < 0)
			return r;
		m->virtio[m->n_slots++] = (struct virtio *)dev;
	}
	return 0;
}

static_assert(VM_MAX_FS == 4, "one make_fs each");
static_assert(VM_MAX_NET == 4, "one make_net each");

/* ---- guest channel ---- */

/* Fresh memory, or a saved machine's at byte @off of its file. */
static int add_region(struct machine *m, uint64_t gpa, uint64_t len, enum gmem_kind kind,
		      uint64_t off, struct err *err)
{
	const struct vm_saved *saved = m->config->saved;

	return saved ? gmem_add_file(m->mem, gpa, len, kind, saved->memory_fd, off, err) :
		       gmem_add_anon(m->mem, gpa, len, kind, err);
}

static int add_guest_page(struct machine *m, struct device *dev, uint64_t gpa, struct err *err)
{
	m->devs[m->n_devs++] = dev;
	return bus_add(m->mmio, gpa, GMEM_PAGE_SIZE, dev, err);
}

static int add_guest_channel(struct machine *m, struct err *err)
{
	struct device *dev = NULL;
	int r;

	if (!m->config->guest)
		return 0;
	r = mailbox_new(m->config->guest, &dev, err);
	if (r == 0)
		r = add_guest_page(m, dev, LAYOUT_MAILBOX, err);
	if (r == 0)
		r = timeslice_new(m->config->guest, &dev, err);
	if (r == 0)
		r = add_guest_page(m, dev, LAYOUT_TIMESLICE, err);
	if (r == 0)
		r = add_region(m, LAYOUT_CONFIG, LAYOUT_CONFIG_SIZE, GMEM_SHARED,
			       m->config->ram_bytes, err);
	return r;
}

/* ---- memory ---- */

static void map_add(struct memmap *map, uint64_t start, uint64_t end, uint32_t type)
{
	if (end > start)
		map->e[map->n++] =
			(struct memmap_entry){ .addr = start, .len = end - start, .type = type };
}

static int add_memory(struct machine *m, uint64_t ram_bytes, struct err *err)
{
	uint64_t low = MIN(ram_bytes, LAYOUT_HOLE_START);
	uint64_t high = ram_bytes - low;
	int r = add_region(m, 0, low, GMEM_RAM, 0, err);

	if (r == 0 && high)
		r = add_region(m, LAYOUT_HIGH_START, high, GMEM_RAM, low, err);
	if (r < 0)
		return r;
	map_add(&m->map, 0, LAYOUT_EBDA, MEMMAP_RAM);
	map_add(&m->map, LAYOUT_EBDA, 0xa0000, MEMMAP_RESERVED);
	map_add(&m->map, LAYOUT_ACPI, LAYOUT_ACPI_END, MEMMAP_RESERVED);
	map_add(&m->map, LAYOUT_HIGH_RAM, low, MEMMAP_RAM);
	map_add(&m->map, LAYOUT_HIGH_START, LAYOUT_HIGH_START + high, MEMMAP_RAM);
	return 0;
}

static int reserve_fixed(struct machine *m, struct err *err)
{
	static const struct {
		uint64_t base, len;
		const char *name;
	} fixed[] = {
		{ LAYOUT_MAILBOX, GMEM_PAGE_SIZE, "mailbox" },
		{ LAYOUT_TIMESLICE, GMEM_PAGE_SIZE, "timeslice page" },
		{ LAYOUT_CONFIG, LAYOUT_CONFIG_SIZE, "config region" },
		{ LAYOUT_IOAPIC, GMEM_PAGE_SIZE, "IOAPIC" },
		{ LAYOUT_LAPIC, GMEM_PAGE_SIZE, "LAPIC" },
	};
	int r = 0;

	for (unsigned i = 0; r == 0 && i < ARRAY_LEN(fixed); i++)
		r = mmioalloc_reserve(&m->mmio_space, fixed[i].base, fixed[i].len, fixed[i].name,
				      err);
	return r;
}

static int check_config(const struct vm_config *config, struct err *err)
{
	if (config->n_fs > VM_MAX_FS)
		return err_set(err, -EINVAL, "%u shared directories: at most %d are possible",
			       config->n_fs, VM_MAX_FS);
	if (config->n_net > VM_MAX_NET)
		return err_set(err, -EINVAL, "%u network interfaces: at most %d are possible",
			       config->n_net, VM_MAX_NET);
	if (config->n_vcpus == 0 || config->n_vcpus > HV_MAX_VCPUS)
		return err_set(err, -EINVAL, "%u vCPUs: 1 to %d are possible", config->n_vcpus,
			       HV_MAX_VCPUS);
	if (!IS_ALIGNED(config->ram_bytes, GMEM_PAGE_SIZE) || config->ram_bytes < LAYOUT_MIN_RAM ||
	    config->ram_bytes > LAYOUT_MAX_RAM)
		return err_set(err, -EINVAL,
			       "guest memory of %llu bytes: %llu MiB to %llu GiB are possible",
			       (unsigned long long)config->ram_bytes,
			       (unsigned long long)(LAYOUT_MIN_RAM / MIB),
			       (unsigned long long)(LAYOUT_MAX_RAM / GIB));
	return 0;
}

int machine_new(const struct vm_config *config, const struct machine_env *env, struct machine **ret,
		struct err *err)
{
	CLEANUP(machine_freep) struct machine *m = NULL;
	int r = check_config(config, err);

	if (r < 0)
		return r;
	m = calloc(1, sizeof(*m));
	if (!m)
		return err_set(err, -ENOMEM, "no memory for the machine");
	m->env = *env;
	m->config = config;
	r = cpumodel_fill(config->cpu_model ? config->cpu_model : "base", config->n_vcpus,
			  vm_tsc_khz(config->hv), &m->cpuid, err);
	if (r == 0)
		r = gmem_new(&m->mem, err);
	if (r == 0)
		r = add_memory(m, config->ram_bytes, err);
	if (r == 0)
		r = bus_new(&m->io, err);
	if (r == 0)
		r = bus_new(&m->mmio, err);
	if (r == 0)
		r = reserve_fixed(m, err);
	if (r == 0)
		r = add_ports(m, err);
	if (r == 0)
		r = add_vmgenid(m, err);
	if (r == 0)
		r = add_virtio(m, err);
	if (r == 0)
		r = add_guest_channel(m, err);
	m->config = NULL;
	if (r < 0)
		return r;
	*ret = STEAL_PTR(m);
	return 0;
}

void machine_free(struct machine *m)
{
	if (!m)
		return;
	while (m->n_devs)
		device_free(m->devs[--m->n_devs]);
	bus_free(m->io);
	bus_free(m->mmio);
	gmem_free(m->mem);
	free(m);
}

int machine_load(struct machine *m, const struct vm_config *config, struct boot_entry *ret,
		 struct err *err)
{
	struct acpi_config acpi = { .n_vcpus = config->n_vcpus,
				    .slots = m->slots,
				    .n_slots = m->n_slots };
	struct boot_request req = { .mem = m->mem,
				    .map = &m->map,
				    .kernel = &config->kernel,
				    .initrd = config->initrd.fd >= 0 ? &config->initrd : NULL,
				    .cmdline = config->cmdline ? config->cmdline : "",
				    .linux64 = config->linux64 };
	int r = acpi_build(m->mem, &acpi, &req.rsdp, err);

	return r < 0 ? r : boot_load(&req, ret, err);
}

/* ---- what vCPUs touch ---- */

static uint64_t machine_io_read(void *opaque, uint16_t port, unsigned size)
{
	return bus_read(((struct machine *)opaque)->io, port, size);
}

static void machine_io_write(void *opaque, uint16_t port, unsigned size, uint64_t val)
{
	bus_write(((struct machine *)opaque)->io, port, size, val);
}

static uint64_t machine_mmio_read(void *opaque, gpa_t gpa, unsigned size)
{
	return bus_read(((struct machine *)opaque)->mmio, gpa, size);
}

static void machine_mmio_write(void *opaque, gpa_t gpa, unsigned size, uint64_t val)
{
	bus_write(((struct machine *)opaque)->mmio, gpa, size, val);
}

const struct hv_bus_ops machine_bus_ops = {
	.io_read = machine_io_read,
	.io_write = machine_io_write,
	.mmio_read = machine_mmio_read,
	.mmio_write = machine_mmio_write,
};
