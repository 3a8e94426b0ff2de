/* SPDX-License-Identifier: Apache-2.0 */
/* bootx: finds the payload and hands over. */
#include "internal.h"

void bootx_main(uint32_t magic, uint64_t info, uint64_t loader) __attribute__((noreturn));

void leave_low(const struct boot *b, uint32_t entry, uint32_t ebx)
{
	uint64_t leave = b->loader + ((uint64_t)leave_to_32 - LINK_BOOT);
	void (*go)(uint32_t to, uint32_t ebx);

	memcpy(&go, &leave, sizeof(go));
	go(entry, ebx);
	__builtin_unreachable();
}

void bootx_main(uint32_t magic, uint64_t info, uint64_t loader)
{
	static struct boot boot;
	struct image img;

	fault_init();
	boot_read(&boot, magic, info, loader);
	if (!boot.n_modules)
		refuse("no payload: give one as the first boot module (QEMU, husk vm: the initrd)");
	pack_open(&boot, &boot.modules[0], &img);
	if (linux_probe(&img))
		linux_boot(&boot, &img);
	if (elf_probe(&img))
		elf_boot(&boot, &img);
	refuse("the payload is neither ELF nor a Linux kernel");
}
