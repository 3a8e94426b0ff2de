/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ACPI tables of a hardware-reduced machine. Stock distribution kernels find the IOAPIC, the other
 * CPUs and virtio-mmio devices only through them.
 * Ref: ACPI 6.4 chapters 5 (tables), 6.4 (resource descriptors), 20 (AML).
 */
#include "boot/boot.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/checked.h"
#include "devices/devices.h"
#include "machine/layout.h"

#define TABLES_MAX		 (LAYOUT_VMGENID - LAYOUT_ACPI)

#define SDT_HEADER		 36
#define RSDP_LEN		 36
#define RSDP_V1_LEN		 20
#define FADT_LEN		 276
#define FADT_REV		 6
#define FADT_MINOR		 3

#define FADT_PROFILE_PERFORMANCE 4
#define FADT_BOOT_LEGACY_DEVICES 0x0001
#define FADT_BOOT_NO_VGA	 0x0004
#define FADT_BOOT_NO_MSI	 0x0008
#define FADT_FLAG_WBINVD	 (1U << 0)
#define FADT_FLAG_PROC_C1	 (1U << 2)
#define FADT_FLAG_NO_PWR_BUTTON	 (1U << 4)
#define FADT_FLAG_NO_SLP_BUTTON	 (1U << 5)
#define FADT_FLAG_RESET_REG	 (1U << 10)
#define FADT_FLAG_HW_REDUCED	 (1U << 20)

#define GAS_IO			 1
#define GAS_BYTE		 1

#define MADT_PCAT_COMPAT	 1
#define MADT_LAPIC		 0
#define MADT_IOAPIC		 1
#define MADT_LAPIC_NMI		 4
#define MADT_ENABLED		 1

#define AML_ZERO		 0x00
#define AML_NAME		 0x08
#define AML_BYTE		 0x0a
#define AML_DWORD		 0x0c
#define AML_STRING		 0x0d
#define AML_SCOPE		 0x10
#define AML_BUFFER		 0x11
#define AML_PACKAGE		 0x12
#define AML_METHOD		 0x14
#define AML_EXT			 0x5b
#define AML_NOTIFY		 0x86
#define AML_EXT_DEVICE		 0x82
#define AML_ONE_ARG		 0x09 /* method flags: one argument, serialised */
#define NOTIFY_CHANGED		 0x80

/* ---- a bounded byte writer ---- */

struct buf {
	uint8_t *data;
	size_t len, max;
	bool overflow;
};

static void put(struct buf *b, const void *p, size_t len)
{
	if (len > b->max - b->len) {
		b->overflow = true;
		return;
	}
	memcpy(b->data + b->len, p, len);
	b->len += len;
}

static void put8(struct buf *b, unsigned v)
{
	uint8_t byte = (uint8_t)v;

	put(b, &byte, 1);
}

static void put16(struct buf *b, unsigned v)
{
	uint8_t raw[2];

	le16_store(raw, (uint16_t)v);
	put(b, raw, 2);
}

static void put32(struct buf *b, uint32_t v)
{
	uint8_t raw[4];

	le32_store(raw, v);
	put(b, raw, 4);
}

static void put64(struct buf *b, uint64_t v)
{
	put32(b, (uint32_t)v);
	put32(b, (uint32_t)(v >> 32));
}

static void put_zeros(struct buf *b, size_t len)
{
	for (size_t i = 0; i < len; i++)
		put8(b, 0);
}

static uint8_t checksum(const uint8_t *p, size_t len)
{
	uint8_t sum = 0;

	for (size_t i = 0; i < len; i++)
		sum = (uint8_t)(sum + p[i]);
	return (uint8_t)-sum;
}

/* ---- AML ---- */

/*
 * A package's length stands before its content and counts its own bytes: the content is written
 * first, then moved up.
 */
static size_t pkg_begin(const struct buf *b)
{
	return b->len;
}

static void pkg_end(struct buf *b, size_t start)
{
	size_t content = b->len - start;
	size_t n = content + 1 < 0x40 ? 1 : content + 2 < 0x1000 ? 2 : 3;
	size_t total = content + n;
	uint8_t head[3];

	if (b->overflow || n > b->max - b->len) {
		b->overflow = true;
		return;
	}
	if (n == 1) {
		head[0] = (uint8_t)total;
	} else {
		head[0] = (uint8_t)((n - 1) << 6 | (total & 0xf));
		head[1] = (uint8_t)(total >> 4);
		head[2] = (uint8_t)(total >> 12);
	}
	memmove(b->data + start + n, b->data + start, content);
	memcpy(b->data + start, head, n);
	b->len += n;
}

static void aml_name(struct buf *b, const char *name)
{
	put8(b, AML_NAME);
	put(b, name, 4);
}

static void aml_int(struct buf *b, uint32_t v)
{
	if (v == 0) {
		put8(b, AML_ZERO);
	} else if (v <= 0xff) {
		put8(b, AML_BYTE);
		put8(b, v);
	} else {
		put8(b, AML_DWORD);
		put32(b, v);
	}
}

static void aml_string(struct buf *b, const char *s)
{
	put8(b, AML_STRING);
	put(b, s, strlen(s) + 1);
}

/* "PNP0501" in EISA's packed form. */
static void aml_eisaid(struct buf *b, const char *id)
{
	unsigned num = 0;
	uint8_t raw[4];

	for (unsigned i = 3; i < 7; i++)
		num = num << 4 | (unsigned)(id[i] <= '9' ? id[i] - '0' : id[i] - 'A' + 10);
	raw[0] = (uint8_t)((id[0] - 0x40) << 2 | (id[1] - 0x40) >> 3);
	raw[1] = (uint8_t)((id[1] - 0x40) << 5 | (id[2] - 0x40));
	raw[2] = (uint8_t)(num >> 8);
	raw[3] = (uint8_t)num;
	put8(b, AML_DWORD);
	put(b, raw, 4);
}

static size_t device_begin(struct buf *b, const char *name)
{
	size_t start;

	put8(b, AML_EXT);
	put8(b, AML_EXT_DEVICE);
	start = pkg_begin(b);
	put(b, name, 4);
	return start;
}

/* ---- resource descriptors, gathered in a small buffer of their own ---- */

#define CRS_MAX 64

static void crs_io(struct buf *crs, unsigned port, unsigned len)
{
	put8(crs, 0x47);
	put8(crs, 1); /* 16-bit decode */
	put16(crs, port);
	put16(crs, port);
	put8(crs, 1);
	put8(crs, len);
}

static void crs_memory32(struct buf *crs, uint32_t base, uint32_t len)
{
	put8(crs, 0x86);
	put16(crs, 9);
	put8(crs, 1); /* read-write */
	put32(crs, base);
	put32(crs, len);
}

static void crs_irq_edge(struct buf *crs, uint32_t gsi)
{
	put8(crs, 0x89);
	put16(crs, 6);
	put8(crs, 0x03); /* consumer, edge, active high, exclusive */
	put8(crs, 1);
	put32(crs, gsi);
}

static void aml_crs(struct buf *b, struct buf *crs)
{
	size_t start;

	put8(crs, 0x79); /* end tag, no checksum */
	put8(crs, 0);
	aml_name(b, "_CRS");
	put8(b, AML_BUFFER);
	start = pkg_begin(b);
	aml_int(b, (uint32_t)crs->len);
	put(b, crs->data, crs->len);
	pkg_end(b, start);
}

static void dsdt_virtio(struct buf *b, unsigned n, const struct acpi_virtio_slot *slot)
{
	uint8_t raw[CRS_MAX];
	struct buf crs = { .data = raw, .max = sizeof(raw) };
	char name[8];
	size_t start;

	snprintf(name, sizeof(name), "VR%02X", n & 0xff);
	start = device_begin(b, name);
	aml_name(b, "_HID");
	aml_string(b, "LNRO0005");
	aml_name(b, "_UID");
	aml_int(b, n);
	aml_name(b, "_CCA");
	aml_int(b, 1);
	crs_memory32(&crs, (uint32_t)slot->gpa, LAYOUT_VIRTIO_SIZE);
	crs_irq_edge(&crs, slot->gsi);
	aml_crs(b, &crs);
	pkg_end(b, start);
}

static void dsdt_com1(struct buf *b)
{
	uint8_t raw[CRS_MAX];
	struct buf crs = { .data = raw, .max = sizeof(raw) };
	size_t start = device_begin(b, "COM1");

	aml_name(b, "_HID");
	aml_eisaid(b, "PNP0501");
	aml_name(b, "_UID");
	aml_int(b, 1);
	crs_io(&crs, LAYOUT_PORT_COM1, SERIAL_LEN);
	crs_irq_edge(&crs, LAYOUT_GSI_COM1);
	aml_crs(b, &crs);
	pkg_end(b, start);
}

static void dsdt_rtc(struct buf *b)
{
	uint8_t raw[CRS_MAX];
	struct buf crs = { .data = raw, .max = sizeof(raw) };
	size_t start = device_begin(b, "RTC_");

	aml_name(b, "_HID");
	aml_eisaid(b, "PNP0B00");
	crs_io(&crs, LAYOUT_PORT_RTC, RTC_LEN);
	crs_irq_edge(&crs, LAYOUT_GSI_RTC);
	aml_crs(b, &crs);
	pkg_end(b, start);
}

/* Where the generation id lies: two integers, the lower and the upper half of the address. */
static void dsdt_vmgenid(struct buf *b)
{
	size_t start = device_begin(b, "VGEN"), package;

	aml_name(b, "_HID");
	aml_string(b, "HUSK0001");
	aml_name(b, "_CID");
	aml_string(b, "VM_Gen_Counter");
	aml_name(b, "_DDN");
	aml_string(b, "VM_Gen_Counter");
	aml_name(b, "ADDR");
	put8(b, AML_PACKAGE);
	package = pkg_begin(b);
	put8(b, 2);
	aml_int(b, LAYOUT_VMGENID);
	aml_int(b, 0);
	pkg_end(b, package);
	pkg_end(b, start);
}

/* The generic event device: its interrupt has one meaning, that the generation id has changed. */
static void dsdt_ged(struct buf *b)
{
	uint8_t raw[CRS_MAX];
	struct buf crs = { .data = raw, .max = sizeof(raw) };
	size_t start = device_begin(b, "GED_"), method;

	aml_name(b, "_HID");
	aml_string(b, "ACPI0013");
	aml_name(b, "_UID");
	aml_int(b, 0);
	crs_irq_edge(&crs, LAYOUT_GSI_GED);
	aml_crs(b, &crs);
	put8(b, AML_METHOD);
	method = pkg_begin(b);
	put(b, "_EVT", 4);
	put8(b, AML_ONE_ARG);
	put8(b, AML_NOTIFY);
	put(b, "VGEN", 4);
	aml_int(b, NOTIFY_CHANGED);
	pkg_end(b, method);
	pkg_end(b, start);
}

/* \_S5: the sleep type that the sleep control register takes for "off". */
static void dsdt_s5(struct buf *b)
{
	size_t start;

	aml_name(b, "_S5_");
	put8(b, AML_PACKAGE);
	start = pkg_begin(b);
	put8(b, 4);
	aml_int(b, ACPI_POWER_S5_TYPE);
	for (unsigned i = 0; i < 3; i++)
		aml_int(b, 0);
	pkg_end(b, start);
}

/* ---- tables ---- */

/* Returns the table's offset; sdt_end() fills length and checksum. */
static size_t sdt_begin(struct buf *b, const char *sig, unsigned rev)
{
	size_t start;

	while (b->len % 16 && !b->overflow)
		put8(b, 0);
	start = b->len;
	put(b, sig, 4);
	put32(b, 0);
	put8(b, rev);
	put8(b, 0);
	put(b, "HUSK  ", 6);
	put(b, "HUSKVM  ", 8);
	put32(b, 1);
	put(b, "HUSK", 4);
	put32(b, 1);
	return start;
}

static void sdt_end(struct buf *b, size_t start)
{
	uint8_t *t = b->data + start;

	if (b->overflow)
		return;
	le32_store(t + 4, (uint32_t)(b->len - start));
	t[9] = checksum(t, b->len - start);
}

static size_t build_dsdt(struct buf *b, const struct acpi_config *config)
{
	size_t start = sdt_begin(b, "DSDT", 2), scope;

	dsdt_s5(b);
	put8(b, AML_SCOPE);
	scope = pkg_begin(b);
	put(b, "\\_SB_", 5);
	dsdt_com1(b);
	dsdt_rtc(b);
	dsdt_vmgenid(b);
	dsdt_ged(b);
	for (unsigned i = 0; i < config->n_slots; i++)
		dsdt_virtio(b, i, &config->slots[i]);
	pkg_end(b, scope);
	sdt_end(b, start);
	return start;
}

static void put_gas(uint8_t *at, unsigned port)
{
	at[0] = GAS_IO;
	at[1] = 8;
	at[2] = 0;
	at[3] = GAS_BYTE;
	le64_store(at + 4, port);
}

static size_t build_fadt(struct buf *b, gpa_t dsdt)
{
	size_t start = sdt_begin(b, "FACP", FADT_REV);
	uint8_t *t = b->data + start;

	put_zeros(b, FADT_LEN - SDT_HEADER);
	if (b->overflow)
		return start;
	le32_store(t + 40, (uint32_t)dsdt);
	t[45] = FADT_PROFILE_PERFORMANCE;
	le16_store(t + 109, FADT_BOOT_LEGACY_DEVICES | FADT_BOOT_NO_VGA | FADT_BOOT_NO_MSI);
	le32_store(t + 112, FADT_FLAG_WBINVD | FADT_FLAG_PROC_C1 | FADT_FLAG_NO_PWR_BUTTON |
				    FADT_FLAG_NO_SLP_BUTTON | FADT_FLAG_RESET_REG |
				    FADT_FLAG_HW_REDUCED);
	put_gas(t + 116, LAYOUT_PORT_ACPI + ACPI_POWER_RESET);
	t[128] = ACPI_POWER_RESET_VALUE;
	t[131] = FADT_MINOR;
	le64_store(t + 140, dsdt);
	put_gas(t + 244, LAYOUT_PORT_ACPI + ACPI_POWER_SLEEP_CONTROL);
	put_gas(t + 256, LAYOUT_PORT_ACPI + ACPI_POWER_SLEEP_STATUS);
	memcpy(t + 268, "HUSK\0\0\0", 8);
	sdt_end(b, start);
	return start;
}

static size_t build_madt(struct buf *b, unsigned n_vcpus)
{
	size_t start = sdt_begin(b, "APIC", 5);

	put32(b, (uint32_t)LAYOUT_LAPIC);
	put32(b, MADT_PCAT_COMPAT);
	for (unsigned i = 0; i < n_vcpus; i++) {
		put8(b, MADT_LAPIC);
		put8(b, 8);
		put8(b, i); /* processor uid */
		put8(b, i); /* APIC id */
		put32(b, MADT_ENABLED);
	}
	put8(b, MADT_IOAPIC);
	put8(b, 12);
	put8(b, 0); /* id */
	put8(b, 0);
	put32(b, (uint32_t)LAYOUT_IOAPIC);
	put32(b, 0); /* first GSI */
	put8(b, MADT_LAPIC_NMI);
	put8(b, 6);
	put8(b, 0xff); /* every processor */
	put16(b, 0);
	put8(b, 1); /* LINT1 */
	sdt_end(b, start);
	return start;
}

static size_t build_xsdt(struct buf *b, gpa_t fadt, gpa_t madt)
{
	size_t start = sdt_begin(b, "XSDT", 1);

	put64(b, fadt);
	put64(b, madt);
	sdt_end(b, start);
	return start;
}

static void fill_rsdp(uint8_t *t, gpa_t xsdt)
{
	memcpy(t, "RSD PTR ", 8);
	memcpy(t + 9, "HUSK  ", 6);
	t[15] = 2;
	le32_store(t + 20, RSDP_LEN);
	le64_store(t + 24, xsdt);
	t[8] = checksum(t, RSDP_V1_LEN);
	t[32] = checksum(t, RSDP_LEN);
}

int acpi_build(struct gmem *mem, const struct acpi_config *config, gpa_t *ret_rsdp, struct err *err)
{
	struct buf b = { .data = gmem_ptr(mem, LAYOUT_ACPI, TABLES_MAX), .max = TABLES_MAX };
	size_t dsdt, fadt, madt, xsdt;

	if (!b.data)
		return err_set(err, -EINVAL, "the guest has too little memory for ACPI tables");
	put_zeros(&b, RSDP_LEN);
	dsdt = build_dsdt(&b, config);
	fadt = build_fadt(&b, LAYOUT_ACPI + dsdt);
	madt = build_madt(&b, config->n_vcpus);
	xsdt = build_xsdt(&b, LAYOUT_ACPI + fadt, LAYOUT_ACPI + madt);
	if (b.overflow)
		return err_set(err, -E2BIG, "ACPI tables of %u devices do not fit",
			       config->n_slots);
	fill_rsdp(b.data, LAYOUT_ACPI + xsdt);
	gmem_written(mem, LAYOUT_ACPI, b.len);
	*ret_rsdp = LAYOUT_ACPI;
	return 0;
}
