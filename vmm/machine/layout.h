/* SPDX-License-Identifier: Apache-2.0 */
/* Where things are in the machine: fixed addresses, ports and interrupts. */
#ifndef VMM_MACHINE_LAYOUT_H
#define VMM_MACHINE_LAYOUT_H

#include "base/checked.h"

/* RAM: from 0 to the hole, then from 4 GiB. */
#define LAYOUT_HOLE_START     (3 * GIB)
#define LAYOUT_HIGH_START     (4 * GIB)
#define LAYOUT_MIN_RAM	      (2 * MIB)
#define LAYOUT_MAX_RAM	      (512 * GIB)
#define LAYOUT_MAX_WINDOW     (16 * GIB)

/* Below 1 MiB: what the loaders leave for the guest's first instructions. */
#define LAYOUT_GDT	      0x0500ULL
#define LAYOUT_START_INFO     0x1000ULL /* PVH start info or Multiboot information, one page */
#define LAYOUT_BOOT_PARAMS    0x2000ULL /* Linux's zero page */
#define LAYOUT_CMDLINE	      0x3000ULL
#define LAYOUT_CMDLINE_MAX    0x1000ULL /* with the NUL */
#define LAYOUT_PML4	      0x4000ULL
#define LAYOUT_PDPT	      0x5000ULL
#define LAYOUT_PD	      0x6000ULL /* four pages: 2 MiB pages for 4 GiB */
#define LAYOUT_STACK_TOP      0x10000ULL
#define LAYOUT_LOW_END	      0x10000ULL /* images are refused below */
#define LAYOUT_EBDA	      0x9fc00ULL
#define LAYOUT_ACPI	      0xe0000ULL
#define LAYOUT_ACPI_END	      0x100000ULL
#define LAYOUT_VMGENID	      0xff000ULL /* the last page of what ACPI has */
#define LAYOUT_HIGH_RAM	      0x100000ULL

/* MMIO */
#define LAYOUT_VIRTIO	      0xd0000000ULL
#define LAYOUT_VIRTIO_SIZE    0x1000ULL
#define LAYOUT_MAILBOX	      0xf0000000ULL
#define LAYOUT_TIMESLICE      0xf0001000ULL
#define LAYOUT_CONFIG	      0xf0003000ULL
#define LAYOUT_CONFIG_SIZE    (4 * MIB)
#define LAYOUT_IOAPIC	      0xfec00000ULL
#define LAYOUT_LAPIC	      0xfee00000ULL

/* Ports */
#define LAYOUT_PORT_PIT	      0x40
#define LAYOUT_PORT_I8042     0x60
#define LAYOUT_PORT_PIT_GATE  0x61
#define LAYOUT_PORT_RTC	      0x70
#define LAYOUT_PORT_DEBUG     0xe9
#define LAYOUT_PORT_TEST_EXIT 0xf4
#define LAYOUT_PORT_COM1      0x3f8
#define LAYOUT_PORT_ACPI      0x600

/* Interrupts */
#define LAYOUT_GSI_PIT	      0
#define LAYOUT_GSI_COM1	      4
#define LAYOUT_GSI_FIRST_FREE 5
#define LAYOUT_GSI_RTC	      8
#define LAYOUT_GSI_GED	      9 /* generic event device: the generation id has changed */
#define LAYOUT_N_GSI_FIXED    2 /* from LAYOUT_GSI_RTC on */

#endif
