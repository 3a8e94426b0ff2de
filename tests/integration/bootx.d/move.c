/* SPDX-License-Identifier: Apache-2.0 */
/* Moves bootx in physical memory: move FILE ADDRESS; and damages files: move FILE bit BYTE BIT. */
#include <elf.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINK 0x400000U
#define MAX  (1 << 24)

static uint8_t file[MAX];

static uint32_t *word(size_t at)
{
	return (uint32_t *)(void *)(file + at);
}

static void move(size_t len, uint32_t to)
{
	Elf64_Ehdr *h = (void *)file;
	Elf64_Phdr *p = (void *)(file + h->e_phoff);
	int64_t delta = (int64_t)to - LINK;

	for (unsigned i = 0; i < h->e_phnum; i++) {
		p[i].p_paddr += (uint64_t)delta;
		if (p[i].p_type == PT_NOTE)
			*word(p[i].p_offset + 16) += (uint32_t)delta;
	}
	h->e_entry += (uint64_t)delta;
	for (size_t at = 0; at + 32 <= len && at < 8192; at += 4) {
		if (*word(at) != 0x1badb002)
			continue;
		for (unsigned i = 3; i < 8; i++)
			*word(at + 4 * i) += (uint32_t)delta;
		break;
	}
}

int main(int argc, char **argv)
{
	FILE *f = argc >= 3 ? fopen(argv[1], "r+b") : NULL;
	size_t len = f ? fread(file, 1, MAX, f) : 0;

	if (!len)
		return 1;
	if (strcmp(argv[2], "bit") == 0 && argc == 5)
		file[strtoul(argv[3], NULL, 0) % len] ^= (uint8_t)(1U << strtoul(argv[4], NULL, 0));
	else
		move(len, (uint32_t)strtoul(argv[2], NULL, 0));
	rewind(f);
	return fwrite(file, 1, len, f) != len || fclose(f) != 0;
}
