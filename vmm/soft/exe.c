/* SPDX-License-Identifier: Apache-2.0 */
#include "soft/exe.h"

#include <elf.h>

#include "base/checked.h"

/* Both from the linker. */
extern const char __ehdr_start[] __attribute__((visibility("hidden")));
extern const char etext[];

uintptr_t exe_base(void)
{
	return (uintptr_t)__ehdr_start;
}

uint64_t exe_bytes(void)
{
	return (uint64_t)((uintptr_t)etext - (uintptr_t)__ehdr_start);
}

/* In one segment of notes. NULL: it is another one's. */
static const uint8_t *find_build_id(const char *p, size_t len, size_t *ret_len)
{
	const char *end = p + len;

	while (p + sizeof(Elf64_Nhdr) < end) {
		const Elf64_Nhdr *n = (const void *)p;
		const char *desc = p + sizeof(*n) + ALIGN_UP(n->n_namesz, 4U);

		if (n->n_type == NT_GNU_BUILD_ID && n->n_namesz == sizeof("GNU")) {
			*ret_len = n->n_descsz;
			return (const uint8_t *)desc;
		}
		p = desc + ALIGN_UP(n->n_descsz, 4U);
	}
	return NULL;
}

const uint8_t *exe_build_id(size_t *ret_len)
{
	const Elf64_Ehdr *eh = (const void *)__ehdr_start;
	const Elf64_Phdr *ph = (const void *)(__ehdr_start + eh->e_phoff);
	const uint8_t *id = NULL;

	/* The notes lie in the part that begins with the ELF header. */
	for (unsigned i = 0; i < eh->e_phnum && !id; i++)
		if (ph[i].p_type == PT_NOTE)
			id = find_build_id(__ehdr_start + ph[i].p_offset, ph[i].p_filesz, ret_len);
	return id;
}
