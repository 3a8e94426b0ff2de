/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as a snapshot's code. The first byte says how: as they are; with the key and the sums
 * that this program wants; or as changes to a file that was really saved: u16 place, in units of 4
 * bytes from the first length on, and u8, what is added there. What is loaded is looked at and
 * withdrawn, not run: host code can do what the VMM can.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/fd.h"
#include "soft/block.h"
#include "soft/desc.h"
#include "soft/exe.h"
#include "soft/image_priv.h"
#include "soft/mmu.h"
#include "soft/vm.h"

#define RAM	 (4 * MIB)
#define TABLES	 0x3f0000ULL
#define CODE	 0x100000ULL
#define MAX_FILE (1 << 20)
#define EDIT	 3

enum { AS_IT_IS, MENDED, EDITED, N_WAYS };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

static uint64_t io_read(void *opaque, uint16_t port, unsigned size)
{
	return 0;
}

static void io_write(void *opaque, uint16_t port, unsigned size, uint64_t val)
{
}

static uint64_t mmio_read(void *opaque, gpa_t gpa, unsigned size)
{
	return 0;
}

static void mmio_write(void *opaque, gpa_t gpa, unsigned size, uint64_t val)
{
}

static const struct hv_bus_ops bus = { io_read, io_write, mmio_read, mmio_write };
static struct hv_cpuid_table cpuid = { .n = 1, .tsc_khz = 1000000 };
static struct gmem *mem;
static struct cpu *cpu;
static uint8_t saved[MAX_FILE];
static size_t saved_len;

/* ---- a file that was saved ---- */

/* mov ecx, 100; 1: call f; lfence; dec ecx; jnz 1b; hlt - f, on the next page: add eax, 3; ret */
static const uint8_t program[] = { 0xb9, 100,  0,    0,	   0,	 0xe8, 0xf6, 0x0f, 0,
				   0,	 0x0f, 0xae, 0xe8, 0xff, 0xc9, 0x75, 0xf4, 0xf4 };
static const uint8_t function[] = { 0x83, 0xc0, 3, 0xc3 };

static void make_machine(void)
{
	struct hv_vm_config config = { .bus = &bus, .n_vcpus = 1, .cpuid = &cpuid };
	struct hv_vcpu *vcpu;
	struct hv_vm *vm;

	cpuid.entries[0] = (struct hv_cpuid){ .leaf = 1, .ecx = ~0U, .edx = ~0U };
	if (gmem_new(&mem, NULL) || gmem_add_anon(mem, 0, RAM, GMEM_RAM, NULL))
		abort();
	config.mem = mem;
	if (hv_soft_ops.vm_new(&config, &vm, NULL) || hv_soft_ops.vcpu_new(vm, 0, &vcpu, NULL))
		abort();
	cpu = &vcpu->cpu;
}

static void enter_long_mode(void)
{
	uint64_t *t = gmem_ptr(mem, TABLES, 3 * GMEM_PAGE_SIZE);

	t[0] = (TABLES + GMEM_PAGE_SIZE) | 7;
	t[512] = (TABLES + 2 * GMEM_PAGE_SIZE) | 7;
	t[1024] = 0x87;
	for (unsigned i = HV_ES; i <= HV_GS; i++)
		cpu->seg[i] = (struct hv_segment){ .limit = 0xffffffff, .attr = 0xc93 };
	cpu->seg[HV_CS].attr = 0xa9b;
	cpu->cr0 = CR0_ET | CR0_NE | CR0_PE | CR0_PG;
	cpu->cr3 = TABLES;
	cpu->cr4 = CR4_PAE | CR4_OSFXSR;
	cpu->efer = EFER_LME | EFER_LMA;
	cpu->rflags = FL_ONE;
	cpu->gpr[HV_RSP] = 0x180000;
	cpu_mode_update(cpu);
	mmu_paging_changed(cpu);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	int fd = memfd_create("saved", MFD_CLOEXEC);
	ssize_t n;

	make_machine();
	enter_long_mode();
	gmem_write(mem, CODE, program, sizeof(program));
	gmem_write(mem, CODE + 0x1000, function, sizeof(function));
	cpu->rip = CODE;
	for (unsigned i = 0; i < 1000 && !cpu->halted; i++) {
		atomic_store(&cpu->stop_at, 0);
		cpu->budget = 1000;
		cpu_exec(cpu);
	}
	if (!cpu->halted || block_image_save(cpu, fd, NULL) < 0)
		abort();
	n = fd_pread_full(fd, saved, sizeof(saved), 0);
	if (n <= 0 || block_image_load(cpu, fd, NULL) < 0)
		abort();
	saved_len = (size_t)n;
	close(fd);
	return 0;
}

/* ---- others ---- */

/* Key and sums of this program. */
static void mend(uint8_t *p, size_t len)
{
	uint64_t key[IMAGE_KEY_WORDS], words[2], host, arena;
	struct image_sum s = { { 0 } };

	if (len < IMAGE_HEAD_BYTES || image_key(cpu->code, key, NULL) < 0)
		return;
	for (unsigned i = 0; i < IMAGE_KEY_WORDS; i++)
		le64_store(p + 8 * i, key[i]);
	host = le64_load(p + 8 * IMAGE_W_HOT) + le64_load(p + 8 * IMAGE_W_COLD);
	arena = le64_load(p + 8 * IMAGE_W_ARENA);
	len -= IMAGE_HEAD_BYTES;
	if (host <= len && arena <= len - host) {
		const uint8_t *at = p + IMAGE_HEAD_BYTES;

		image_sum_add(&s, at, host);
		image_sum_add(&s, at + host, arena);
		image_sum_add(&s, at + host + arena, len - host - arena);
	}
	image_sum_words(&s, words);
	le64_store(p + 8 * IMAGE_W_SUM, words[0]);
	le64_store(p + 8 * IMAGE_W_SUM + 8, words[1]);
	le64_store(p + 8 * IMAGE_W_HEAD_SUM, image_head_sum(p));
}

static void edit(uint8_t *p, const uint8_t *edits, size_t len)
{
	for (; len >= EDIT; edits += EDIT, len -= EDIT) {
		size_t at = 8 * IMAGE_W_HOT + 4 * (size_t)le16_load(edits);

		if (at + 4 <= saved_len)
			le32_store(p + at, le32_load(p + at) + edits[2]);
	}
}

static int file_of(const uint8_t *data, size_t size)
{
	static uint8_t p[MAX_FILE];
	unsigned how = size ? data[0] % N_WAYS : AS_IT_IS;
	size_t len = how == EDITED ? saved_len : MIN(size - !!size, sizeof(p));
	int fd = memfd_create("code", MFD_CLOEXEC);

	memcpy(p, how == EDITED ? saved : data + !!size, len);
	if (how == EDITED)
		edit(p, data + 1, size - 1);
	if (how != AS_IT_IS)
		mend(p, len);
	if (fd < 0 || fd_write_full(fd, p, len) < 0)
		abort();
	return fd;
}

/* ---- what came of it ---- */

static void must(bool ok)
{
	if (!ok)
		abort();
}

static bool in_arena(const void *p, size_t len)
{
	uint64_t off = (uint64_t)((uintptr_t)p - (uintptr_t)cpu->code);

	return off >= ARENA_START && off + len <= cpu->code->arena_used;
}

static bool is_code(const void *fn)
{
	uint64_t at = (uint64_t)(uintptr_t)fn;

	return at - cpu->code->exe_base < exe_bytes() ||
	       at - (uintptr_t)cpu->code->jit.rx < cpu->code->jit_kept;
}

static void look_at_exit(const struct block *b, const struct op_exit *x)
{
	unsigned slots = b->layout & BLOCK_SLOTS;

	for (unsigned dir = 0; slots && dir < 2; dir++) {
		must(!x->link[dir] || in_arena(x->link[dir], sizeof(struct op)));
		if (slots != OP_EXIT_SLOTS || !x->xlink[dir])
			continue;
		must(in_arena(x->xlink[dir], sizeof(struct op)));
		must(gmem_ptr(mem, x->xhost[dir] - (uintptr_t)gmem_ptr(mem, 0, RAM), 1));
	}
}

static void look_at(const struct block *b)
{
	unsigned n = image_n_ops(b);

	must(in_arena(b, sizeof(*b) + (n + 1 + (b->layout & BLOCK_SLOTS)) * sizeof(struct op)));
	must(gmem_ptr(mem, b->gpa, b->n_bytes) && b->ops[0].block == b);
	for (unsigned i = 0; i <= n; i++) {
		const struct op *op = &b->ops[i];

		must(is_code((const void *)(uintptr_t)op->fn));
		if (!i || op->scale != OP_HAS_INSN)
			continue;
		must(in_arena(op->insn, sizeof(*op->insn)));
		must(is_code((const void *)(uintptr_t)op->insn->exec));
	}
	look_at_exit(b, (const struct op_exit *)(const void *)&b->ops[n + 1]);
}

/* All tables lead to blocks, each once; a write withdraws what lies there. */
static void look_at_all(void)
{
	struct block_cpu *code = cpu->code;
	unsigned n = 0;

	for (unsigned i = 0; i < 1U << BLOCK_HASH_BITS; i++) {
		for (struct block *b = block_at(code, code->hash[i]); b;
		     b = block_at(code, b->hash_next)) {
			must(++n <= MAX_FILE / sizeof(*b));
			look_at(b);
			gmem_written(mem, b->gpa, 1);
		}
	}
	block_take_queue(code);
	for (unsigned i = 0; n <= 32 && i < 1U << BLOCK_HASH_BITS; i++)
		must(!code->hash[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int fd = file_of(data, size);
	struct err err = { 0 };

	block_flush(cpu);
	if (block_image_check(fd, NULL) == 0 && block_image_load(cpu, fd, &err) == 0)
		look_at_all();
	else
		must(block_image_load(cpu, fd, &err) < 0 && err.msg[0]);
	close(fd);
	return 0;
}
