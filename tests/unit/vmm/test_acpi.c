/* SPDX-License-Identifier: Apache-2.0 */
/* ACPI tables: structure and checksums; and what ACPICA's disassembler makes of them. */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/fd.h"
#include "base/process.h"
#include "boot/boot.h"
#include "machine/layout.h"

static const struct acpi_virtio_slot slots[] = {
	{ 0xd0000000, 5 },
	{ 0xd0001000, 6 },
	{ 0xd0002000, 7 },
};

struct fixture {
	struct gmem *mem;
	gpa_t rsdp;
	char dir[32];
};

static int setup(void **state)
{
	struct acpi_config config = { .n_vcpus = 4, .slots = slots, .n_slots = ARRAY_LEN(slots) };
	struct fixture *f = calloc(1, sizeof(*f));

	if (!f || gmem_new(&f->mem, NULL) < 0 ||
	    gmem_add_anon(f->mem, 0, 2 * MIB, GMEM_RAM, NULL) < 0)
		return -1;
	strcpy(f->dir, "/tmp/husk-acpi-XXXXXX");
	*state = f;
	if (!mkdtemp(f->dir))
		return -1;
	return acpi_build(f->mem, &config, &f->rsdp, NULL);
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	const char *rm[] = { "rm", "-rf", f->dir, NULL };
	int r = process_run(rm, NULL, NULL, 0, NULL);

	gmem_free(f->mem);
	free(f);
	return r;
}

static uint8_t sum(const uint8_t *p, size_t len)
{
	uint8_t s = 0;

	for (size_t i = 0; i < len; i++)
		s = (uint8_t)(s + p[i]);
	return s;
}

static const uint8_t *table(struct fixture *f, const char *sig)
{
	const uint8_t *rsdp = gmem_ptr(f->mem, f->rsdp, 36), *xsdt;

	assert_non_null(rsdp);
	xsdt = gmem_ptr(f->mem, le64_load(rsdp + 24), 36);
	assert_non_null(xsdt);
	if (!memcmp(xsdt, sig, 4))
		return xsdt;
	for (uint32_t at = 36; at + 8 <= le32_load(xsdt + 4); at += 8) {
		const uint8_t *t = gmem_ptr(f->mem, le64_load(xsdt + at), 36);

		assert_non_null(t);
		if (!memcmp(t, sig, 4))
			return t;
		if (!strcmp(sig, "DSDT") && !memcmp(t, "FACP", 4))
			return gmem_ptr(f->mem, le64_load(t + 140), 36);
	}
	return NULL;
}

static void every_table_is_found_and_sums_to_zero(void **state)
{
	static const char *const sigs[] = { "XSDT", "FACP", "APIC", "DSDT" };
	struct fixture *f = *state;
	const uint8_t *rsdp = gmem_ptr(f->mem, f->rsdp, 36);

	assert_memory_equal(rsdp, "RSD PTR ", 8);
	assert_int_equal(sum(rsdp, 20), 0);
	assert_int_equal(sum(rsdp, 36), 0);
	for (unsigned i = 0; i < ARRAY_LEN(sigs); i++) {
		const uint8_t *t = table(f, sigs[i]);

		assert_non_null(t);
		assert_int_equal(sum(t, le32_load(t + 4)), 0);
	}
}

static void madt_lists_each_cpu_once(void **state)
{
	struct fixture *f = *state;
	const uint8_t *t = table(f, "APIC");
	uint32_t len = le32_load(t + 4);
	unsigned n_lapic = 0, n_ioapic = 0;

	for (uint32_t at = 44; at < len; at += t[at + 1]) {
		assert_true(t[at + 1] >= 2);
		if (t[at] == 0)
			assert_int_equal(t[at + 3], n_lapic++);
		if (t[at] == 1) {
			n_ioapic++;
			assert_int_equal(le32_load(t + at + 4), LAYOUT_IOAPIC);
		}
	}
	assert_int_equal(n_lapic, 4);
	assert_int_equal(n_ioapic, 1);
}

static void too_many_devices_are_refused(void **state)
{
	struct fixture *f = *state;
	struct acpi_virtio_slot *many = calloc(4000, sizeof(*many));
	struct acpi_config config = { .n_vcpus = 1, .slots = many, .n_slots = 4000 };

	assert_non_null(many);
	assert_int_equal(acpi_build(f->mem, &config, &f->rsdp, NULL), -E2BIG);
	free(many);
}

/* The disassembler reads each table; its compiler takes the DSDT back without errors. */
static void acpica_accepts_the_tables(void **state)
{
	static const char *const sigs[] = { "FACP", "APIC", "DSDT" };
	struct fixture *f = *state;
	const char *iasl[] = { "iasl", "-v", NULL };
	char out[16384];

	if (process_run(iasl, NULL, out, sizeof(out), NULL) == -ENOENT) {
		print_message("iasl is not installed\n");
		skip();
	}
	for (unsigned i = 0; i < ARRAY_LEN(sigs); i++) {
		const uint8_t *t = table(f, sigs[i]);
		char file[16], dsl[16];
		const char *dis[] = { "iasl", "-d", file, NULL };
		const char *comp[] = { "iasl", "-ve", dsl, NULL };
		int dir, fd;

		snprintf(file, sizeof(file), "%s.dat", sigs[i]);
		snprintf(dsl, sizeof(dsl), "%s.dsl", sigs[i]);
		dir = open(f->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		fd = openat(dir, file, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
		assert_int_equal(fd_write_full(fd, t, le32_load(t + 4)), 0);
		close(fd);
		close(dir);
		assert_int_equal(process_run(dis, f->dir, out, sizeof(out), NULL), 0);
		if (strcmp(sigs[i], "DSDT"))
			continue;
		assert_int_equal(process_run(comp, f->dir, out, sizeof(out), NULL), 0);
	}
}

static void dsdt_names_each_virtio_window(void **state)
{
	struct fixture *f = *state;
	const uint8_t *t = table(f, "DSDT");
	uint32_t len = le32_load(t + 4);
	unsigned n = 0;

	for (uint32_t at = 36; at + 12 < len; at++) {
		/* Memory32Fixed, 9 bytes, read-write */
		if (t[at] != 0x86 || le16_load(t + at + 1) != 9)
			continue;
		assert_int_equal(le32_load(t + at + 4), slots[n].gpa);
		assert_int_equal(le32_load(t + at + 8), LAYOUT_VIRTIO_SIZE);
		assert_int_equal(t[at + 12], 0x89);
		assert_int_equal(le32_load(t + at + 17), slots[n].gsi);
		n++;
	}
	assert_int_equal(n, ARRAY_LEN(slots));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		T(every_table_is_found_and_sums_to_zero),
		T(madt_lists_each_cpu_once),
		T(too_many_devices_are_refused),
		T(dsdt_names_each_virtio_window),
		T(acpica_accepts_the_tables),
	};

	return cmocka_run_group_tests_name("vmm/boot/acpi", tests, NULL, NULL);
}
