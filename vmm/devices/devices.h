/* SPDX-License-Identifier: Apache-2.0 */
/* Constructors of the small port devices. All give an owned device, freed by device_free(). */
#ifndef VMM_DEVICES_DEVICES_H
#define VMM_DEVICES_DEVICES_H

#include "base/err.h"
#include "base/loop.h"
#include "devices/power.h"
#include "vmm/backend.h"
#include "vmm/device.h"
#include "vmm/gmem.h"
#include "vmm/irq.h"

/* 16550A, 8 ports. */
#define SERIAL_LEN 8
int serial_new(struct loop *loop, const struct console_backend *backend, const struct irq_line *irq,
	       struct device **ret, struct err *err);

/*
 * Keyboard controller: only what resets the machine. One device for ports 0x60 and 0x64, each a
 * window of its own because port 0x61 between them is another's: i8042_data_new() gives the window
 * for 0x60.
 */
int i8042_new(const struct power_line *power, struct device **ret, struct err *err);
/* @kbc: borrowed, outlives the window. */
int i8042_data_new(struct device *kbc, struct device **ret, struct err *err);

/* MC146818 clock and its memory, ports 0x70-0x71. @ram_bytes: told to old kernels. */
#define RTC_LEN 2
int rtc_new(uint64_t ram_bytes, struct loop *loop, const struct irq_line *irq, struct device **ret,
	    struct err *err);

/* 8254 timer; window 0 is ports 0x40-0x43, the gate at port 0x61 is a device of its own. */
#define PIT_LEN 4
int pit_new(struct loop *loop, const struct irq_line *irq, struct device **ret, struct err *err);
/* @pit: borrowed, outlives the gate. */
int pit_gate_new(struct device *pit, struct device **ret, struct err *err);

/* ACPI reset and sleep registers of a hardware-reduced machine. */
#define ACPI_POWER_LEN		 4
#define ACPI_POWER_SLEEP_CONTROL 0
#define ACPI_POWER_SLEEP_STATUS	 1
#define ACPI_POWER_RESET	 2
#define ACPI_POWER_RESET_VALUE	 1
#define ACPI_POWER_S5_TYPE	 5
int acpi_power_new(const struct power_line *power, struct device **ret, struct err *err);

/* The machine's generation id at @gpa, in no window of a bus. @mem: borrowed. */
#define VMGENID_BYTES 16
int vmgenid_new(struct gmem *mem, gpa_t gpa, const struct irq_line *irq, struct device **ret,
		struct err *err);
/* A new id, and the interrupt that tells of it. Context: interrupts reach the guest. */
int vmgenid_change(struct device *dev, struct err *err);

/* Bytes written to port 0xe9 go to @fd (borrowed, -1 for nowhere). */
int debugport_new(struct loop *loop, int fd, struct device **ret, struct err *err);

/* Port 0xf4: a write of v ends the machine with status (v << 1) | 1. */
#define TESTEXIT_LEN 4
int testexit_new(const struct power_line *power, struct device **ret, struct err *err);

/* Mailbox page: words of the guest's init. @backend: copied. */
int mailbox_new(const struct guest_backend *backend, struct device **ret, struct err *err);

/* Timeslice page: a u32 event id stored at offset 0. @backend: copied. */
int timeslice_new(const struct guest_backend *backend, struct device **ret, struct err *err);

#endif
