/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Differential test of the back ends: the same random code in ring 0, block by block, on KVM and on
 * the software CPU. At each exit registers, flags and a hash of memory must be equal.
 *
 * usage: kvm_soft [-n blocks] [-s seed]
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "boot/boot.h"
#include "kvm/kvm.h"
#include "machine/cpumodel.h"
#include "test.h"
#include "vmm/vm.h"

#define RAM	  (1 << 20)
#define CODE	  0x20000
#define CODE_LEN  0x1000
#define DATA	  0x40000
#define DATA_LEN  0x1000
#define STACK	  0x60000
#define PORT	  0x10
#define N_INSNS	  24
#define FLAGS	  0x8d5 /* CF PF AF ZF SF OF */
#define MAX_SHOWN 5

struct side {
	const struct hv_ops *ops;
	struct gmem *mem;
	struct hv_cpuid_table cpuid;
	struct hv_vm *vm;
	struct hv_vcpu *vcpu;
	struct hv_vcpu_state state;
	uint64_t port_val;
};

struct rng {
	uint64_t s;
};

static uint64_t rnd(struct rng *r)
{
	r->s ^= r->s << 13;
	r->s ^= r->s >> 7;
	r->s ^= r->s << 17;
	return r->s * 0x2545f4914f6cdd1dULL;
}

static unsigned below(struct rng *r, unsigned n)
{
	return (unsigned)((rnd(r) >> 32) * n >> 32);
}

/* ---- code: RBX holds the data area, RSP the stack; neither is a destination ---- */

struct code {
	uint8_t b[CODE_LEN];
	unsigned n;
};

static void put(struct code *c, unsigned byte)
{
	c->b[c->n++] = (uint8_t)byte;
}

static void put_imm(struct code *c, uint64_t v, unsigned size)
{
	for (unsigned i = 0; i < size; i++)
		put(c, (unsigned)(v >> 8 * i) & 0xff);
}

static unsigned dest(struct rng *r)
{
	unsigned reg;

	do
		reg = below(r, 16);
	while (reg == HV_RBX || reg == HV_RSP);
	return reg;
}

/* Prefixes, opcode and ModRM with a register or the data area as the second operand. */
static void put_modrm(struct code *c, struct rng *r, unsigned wide, unsigned op0f, unsigned opcode,
		      unsigned reg, bool mem)
{
	unsigned rm = mem ? HV_RBX : dest(r);

	put(c, 0x40 | wide << 3 | (reg >> 3) << 2 | rm >> 3);
	if (op0f)
		put(c, 0x0f);
	put(c, opcode);
	put(c, (mem ? 0x80 : 0xc0) | (reg & 7) << 3 | (rm & 7));
	if (mem)
		put_imm(c, below(r, DATA_LEN - 8), 4);
}

/* Sets every flag to something defined. */
static void put_cmp(struct code *c, struct rng *r)
{
	put_modrm(c, r, below(r, 2), 0, 0x39, dest(r), false);
}

static void put_insn(struct code *c, struct rng *r)
{
	static const uint8_t jumps[] = { 0x70, 0x72, 0x74, 0x76, 0x78, 0x7a, 0x7c, 0x7e };
	bool mem = below(r, 2);
	unsigned wide = below(r, 2);

	switch (below(r, 12)) {
	case 0: /* ALU rm, r; ALU r, rm; byte forms too */
	case 1:
	case 2: put_modrm(c, r, wide, 0, below(r, 8) << 3 | below(r, 4), dest(r), mem); break;
	case 3: /* ALU rm, imm */
		put_modrm(c, r, wide, 0, 0x81, below(r, 8), mem);
		put_imm(c, rnd(r), 4);
		break;
	case 4: put_modrm(c, r, wide, 0, 0x88 | below(r, 4), dest(r), mem); break; /* MOV */
	case 5:									   /* shifts */
		put_modrm(c, r, wide, 0, 0xc1, (unsigned[]){ 0, 1, 4, 5, 7 }[below(r, 5)], mem);
		put(c, below(r, 32));
		put_cmp(c, r);
		break;
	case 6: /* IMUL r, rm */
		put_modrm(c, r, wide, 1, 0xaf, dest(r), mem);
		put_cmp(c, r);
		break;
	case 7:
		put_modrm(c, r, wide, 1, 0xb6 | below(r, 2) | below(r, 2) << 3, dest(r), mem);
		break;
	case 8: put_modrm(c, r, wide, 1, 0x40 | below(r, 16), dest(r), mem); break; /* CMOVcc */
	case 9: /* Jcc over a MOV */
		put(c, jumps[below(r, 8)] | below(r, 2));
		put(c, 3);
		put_modrm(c, r, 1, 0, 0x89, dest(r), false);
		break;
	case 10: put_modrm(c, r, wide, 0, 0xff, below(r, 2), mem); break; /* INC, DEC */
	default:							  /* PUSH, POP */
		put(c, 0x50 | HV_RSI);
		put(c, 0x58 | (unsigned[]){ HV_RAX, HV_RCX, HV_RDX, HV_RDI }[below(r, 4)]);
		break;
	}
}

static void make_code(struct code *c, struct rng *r)
{
	c->n = 0;
	for (unsigned i = 0; i < N_INSNS; i++)
		put_insn(c, r);
	put(c, 0xe6); /* out %al, $PORT */
	put(c, PORT);
	put(c, 0xf4);
}

/* ---- the two sides ---- */

static uint64_t io_read(void *opaque, uint16_t port, unsigned size)
{
	return 0;
}

static void io_write(void *opaque, uint16_t port, unsigned size, uint64_t val)
{
	struct side *s = opaque;

	s->port_val = val;
	s->ops->kick(s->vcpu);
}

static uint64_t mmio_read(void *opaque, gpa_t gpa, unsigned size)
{
	return 0;
}

static void mmio_write(void *opaque, gpa_t gpa, unsigned size, uint64_t val)
{
}

static const struct hv_bus_ops bus = { io_read, io_write, mmio_read, mmio_write };

static int side_new(struct side *s, const struct hv_ops *ops, struct err *err)
{
	const struct boot_entry entry = { .mode = BOOT_MODE_LONG, .rip = CODE, .rsp = STACK };
	struct hv_vm_config config = { .bus = &bus, .bus_opaque = s, .n_vcpus = 1 };
	int r = gmem_new(&s->mem, err);

	s->ops = ops;
	if (r == 0)
		r = gmem_add_anon(s->mem, 0, RAM, GMEM_RAM, err);
	if (r == 0)
		r = cpumodel_fill("base", 1, vm_tsc_khz(ops), &s->cpuid, err);
	config.mem = s->mem;
	config.cpuid = &s->cpuid;
	if (r == 0)
		r = ops->vm_new(&config, &s->vm, err);
	if (r == 0)
		r = ops->vcpu_new(s->vm, 0, &s->vcpu, err);
	if (r < 0)
		return r;
	ops->get_state(s->vcpu, &s->state);
	return boot_entry_apply(&entry, s->mem, &s->state, err);
}

static void side_free(struct side *s)
{
	s->ops->vcpu_free(s->vcpu);
	s->ops->vm_free(s->vm);
	gmem_free(s->mem);
}

static uint64_t hash(const struct side *s, gpa_t from, uint64_t len)
{
	const uint8_t *p = gmem_ptr(s->mem, from, len);
	uint64_t h = 0xcbf29ce484222325ULL;

	for (uint64_t i = 0; i < len; i++)
		h = (h ^ p[i]) * 0x100000001b3ULL;
	return h;
}

static int run_block(struct side *s, const struct code *c, const uint64_t gpr[HV_N_GPR],
		     const uint8_t *data, struct err *err)
{
	struct hv_exit exit;
	int r = gmem_write(s->mem, CODE, c->b, c->n);

	if (r == 0)
		r = gmem_write(s->mem, DATA, data, DATA_LEN);
	memcpy(s->state.gpr, gpr, sizeof(s->state.gpr));
	s->state.rip = CODE;
	s->state.rflags = 2;
	if (r == 0)
		r = s->ops->set_state(s->vcpu, &s->state, err);
	if (r < 0)
		return r;
	s->ops->run(s->vcpu, &exit);
	if (exit.reason != HV_EXIT_INTERRUPTED)
		return err_set(err, -5, "%s: exit %u: %s", s->ops->name, exit.reason, exit.err.msg);
	s->ops->get_state(s->vcpu, &s->state);
	return 0;
}

static bool compare(const struct side *a, const struct side *b, const struct code *c, unsigned n)
{
	bool same = memcmp(a->state.gpr, b->state.gpr, sizeof(a->state.gpr)) == 0 &&
		    a->state.rip == b->state.rip && a->port_val == b->port_val &&
		    !((a->state.rflags ^ b->state.rflags) & FLAGS) &&
		    hash(a, DATA, DATA_LEN) == hash(b, DATA, DATA_LEN) &&
		    hash(a, STACK - 64, 64) == hash(b, STACK - 64, 64);

	if (same)
		return true;
	printf("block %u differs, rip %#llx %#llx, flags %#llx %#llx\n  code", n,
	       (unsigned long long)a->state.rip, (unsigned long long)b->state.rip,
	       (unsigned long long)a->state.rflags, (unsigned long long)b->state.rflags);
	for (unsigned i = 0; i < c->n; i++)
		printf(" %02x", c->b[i]);
	printf("\n");
	for (unsigned i = 0; i < HV_N_GPR; i++) {
		if (a->state.gpr[i] != b->state.gpr[i])
			printf("  register %u: %s %#llx, %s %#llx\n", i, a->ops->name,
			       (unsigned long long)a->state.gpr[i], b->ops->name,
			       (unsigned long long)b->state.gpr[i]);
	}
	return false;
}

static int run_all(struct side *a, struct side *b, unsigned blocks, uint64_t seed)
{
	static uint8_t data[DATA_LEN];
	struct rng r = { seed };
	struct err err = { 0 };
	unsigned bad = 0;

	for (unsigned n = 0; n < blocks && bad < MAX_SHOWN; n++) {
		uint64_t gpr[HV_N_GPR];
		struct code c;

		for (unsigned i = 0; i < HV_N_GPR; i++)
			gpr[i] = rnd(&r) >> below(&r, 64);
		for (unsigned i = 0; i < DATA_LEN; i++)
			data[i] = (uint8_t)rnd(&r);
		gpr[HV_RBX] = DATA;
		gpr[HV_RSP] = STACK;
		make_code(&c, &r);
		if (run_block(a, &c, gpr, data, &err) < 0 ||
		    run_block(b, &c, gpr, data, &err) < 0) {
			printf("block %u: %s\n", n, err.msg);
			return 1;
		}
		bad += !compare(a, b, &c, n);
	}
	printf("%u blocks of %u instructions, %u differ\n", blocks, N_INSNS, bad);
	return bad != 0;
}

int main(int argc, char **argv)
{
	unsigned blocks = 2000;
	uint64_t seed = 1;
	struct side kvm = { 0 }, soft = { 0 };
	struct err err = { 0 };
	int c, fd;

	while ((c = getopt(argc, argv, "n:s:")) >= 0) {
		if (c == 'n')
			blocks = (unsigned)strtoul(optarg, NULL, 0);
		else if (c == 's')
			seed = strtoull(optarg, NULL, 0);
		else
			return 2;
	}
	fd = kvm_open(KVM_PATH, kvm_ioctl, &err);
	if (fd < 0)
		return test_skip(err.msg);
	close(fd);
	if (side_new(&kvm, &hv_kvm_ops, &err) < 0 || side_new(&soft, &hv_soft_ops, &err) < 0) {
		printf("%s\n", err.msg);
		return 1;
	}
	c = run_all(&kvm, &soft, blocks, seed ? seed : 1);
	side_free(&kvm);
	side_free(&soft);
	return c;
}
