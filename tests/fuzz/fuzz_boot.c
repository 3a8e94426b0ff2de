/* SPDX-License-Identifier: Apache-2.0 */
/* Kernel files: any bytes either load into guest memory or are refused with a message. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/checked.h"
#include "boot/boot.h"
#include "machine/layout.h"

#define RAM (16 * MIB)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The first byte chooses what else the machine is given. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct memmap map = { .e = { { 0, LAYOUT_EBDA, 1 }, { LAYOUT_HIGH_RAM, RAM, 1 } }, .n = 2 };
	struct vm_file kernel = { .name = "kernel" }, initrd = { .name = "initrd" };
	struct boot_request req = {
		.map = &map, .kernel = &kernel, .cmdline = "fuzz", .rsdp = LAYOUT_ACPI
	};
	struct boot_entry entry;
	struct hv_vcpu_state *state;
	struct err err = { 0 };

	if (size < 2 || size > 1 * MIB)
		return 0;
	kernel.fd = memfd_create("kernel", MFD_CLOEXEC);
	initrd.fd = memfd_create("initrd", MFD_CLOEXEC);
	state = calloc(1, sizeof(*state));
	if (kernel.fd < 0 || initrd.fd < 0 || !state || gmem_new(&req.mem, NULL) < 0 ||
	    gmem_add_anon(req.mem, 0, RAM, GMEM_RAM, NULL) < 0 ||
	    write(kernel.fd, data + 1, size - 1) != (ssize_t)(size - 1) ||
	    ftruncate(initrd.fd, 5000) < 0)
		abort();
	req.linux64 = data[0] & 1;
	req.initrd = data[0] & 2 ? &initrd : NULL;
	if (boot_load(&req, &entry, &err) == 0)
		(void)boot_entry_apply(&entry, req.mem, state, NULL);
	else if (!err.msg[0] || strchr(err.msg, '\n'))
		abort();
	gmem_free(req.mem);
	free(state);
	close(kernel.fd);
	close(initrd.fd);
	return 0;
}
