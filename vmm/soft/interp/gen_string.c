/* SPDX-License-Identifier: Apache-2.0 */
/*
 * String instructions. With REP they run in chunks of at most what lies in one page of plain memory
 * at host speed, element by element elsewhere; registers are committed after each chunk, and
 * attention is looked at between chunks.
 */
#include "soft/exec.h"

#include <string.h>

#include "soft/decode.h"
#include "soft/flags.h"
#include "soft/interp/operand.h"
#include "soft/mmu.h"

/* Elements done before interrupts get a chance. */
#define REP_CHUNK 16384

struct rep {
	struct cpu *cpu;
	const struct insn *in;
	unsigned size;
	int64_t step; /* size, negative with DF */
	bool rep;
	uint64_t count; /* left; 1 without REP */
	uint64_t amask;
};

static void rep_begin(struct rep *r, struct cpu *cpu, const struct insn *in)
{
	*r = (struct rep){ .cpu = cpu, .in = in, .size = in->op_size, .count = 1 };
	r->step = cpu->rflags & FL_DF ? -(int64_t)in->op_size : (int64_t)in->op_size;
	r->amask = size_mask(in->addr_size);
	r->rep = in->prefixes & (INSN_PFX_F2 | INSN_PFX_F3);
	if (r->rep)
		r->count = cpu->gpr[HV_RCX] & r->amask;
}

/* Move an index register, or the count, by so many elements' worth. */
static void bump(struct rep *r, unsigned reg, uint64_t by)
{
	uint64_t v = r->cpu->gpr[reg] + by;

	reg_write(r->cpu, r->in, reg, r->in->addr_size, v & r->amask);
}

static void advance(struct rep *r, bool si, bool di, uint64_t n)
{
	if (si)
		bump(r, HV_RSI, r->step * n);
	if (di)
		bump(r, HV_RDI, r->step * n);
	if (r->rep)
		bump(r, HV_RCX, -n);
	r->count -= n;
}

/* Someone waits, or single-stepping: commit and let the outer loop look. */
static bool rep_interrupted(const struct rep *r, uint64_t done)
{
	const struct cpu *cpu = r->cpu;

	return cpu->smc_hit || cpu->db_pending || (cpu->rflags & FL_TF) || done >= REP_CHUNK ||
	       atomic_load_explicit(&cpu->stop_at, memory_order_relaxed) != 0;
}

static enum insn_result rep_end(const struct rep *r)
{
	if (r->rep && r->count)
		return INSN_REPEAT;
	return INSN_DONE;
}

static uint64_t src_ea(const struct rep *r)
{
	return r->cpu->gpr[HV_RSI] & r->amask;
}

static uint64_t dst_ea(const struct rep *r)
{
	return r->cpu->gpr[HV_RDI] & r->amask;
}

/* Only with flat segments may a chunk skip the per-element checks. */
static bool fast_seg(const struct cpu *cpu, unsigned seg)
{
	if (cpu->mode == CPU_LONG64)
		return true;
	return cpu->seg[seg].base == 0 && cpu->seg[seg].limit == 0xffffffff &&
	       (cpu->seg[seg].attr & (HV_SEG_UNUSABLE | 0x1e)) == (HV_SEG_S | 2);
}

/* Host pointer and room at seg:ea going forward; NULL: element by element. */
static uint8_t *span(struct rep *r, unsigned seg, uint64_t ea, enum mmu_access access,
		     uint64_t *room)
{
	uint64_t va = seg >= HV_FS && r->cpu->mode == CPU_LONG64 ? ea + r->cpu->seg_base[seg] : ea;
	unsigned len;
	uint8_t *p;

	if ((r->cpu->rflags & FL_TF) || r->step < 0 || !fast_seg(r->cpu, seg) || ea > r->amask - GMEM_PAGE_SIZE)
		return NULL;
	p = mmu_page_span(r->cpu, va, access, &len);
	if (p && len < *room)
		*room = len;
	return p;
}

/* MOVSB's overlap rule: each element sees what the ones before have stored. */
static void copy_forward(uint8_t *dst, const uint8_t *src, uint64_t len, unsigned size)
{
	if (dst <= src || dst >= src + len) {
		memmove(dst, src, len);
		return;
	}
	for (uint64_t i = 0; i < len; i += size) {
		uint64_t v = 0;

		memcpy(&v, src + i, size);
		memcpy(dst + i, &v, size);
	}
}

/* As many elements as one pair of pages allows; 0: none this way. */
static uint64_t movs_chunk(struct rep *r)
{
	uint64_t room = r->count > REP_CHUNK ? REP_CHUNK * (uint64_t)r->size : r->count * r->size;
	uint8_t *src, *dst;

	src = span(r, r->in->seg, src_ea(r), MMU_READ, &room);
	if (!src || room < r->size) /* the source's faults come before the destination's */
		return 0;
	dst = span(r, HV_ES, dst_ea(r), MMU_WRITE, &room);
	if (!dst || room < r->size)
		return 0;
	room -= room % r->size;
	copy_forward(dst, src, room, r->size);
	return room / r->size;
}

enum insn_result exec_movs(struct cpu *cpu, const struct insn *in)
{
	uint64_t done = 0, n, v;
	struct rep r;

	rep_begin(&r, cpu, in);
	while (r.count) {
		n = r.count > 1 ? movs_chunk(&r) : 0;
		if (cpu->exc.pending)
			return INSN_FAULT;
		if (n == 0) {
			if (!mem_read(cpu, in->seg, src_ea(&r), r.size, &v) ||
			    !mem_write(cpu, HV_ES, dst_ea(&r), r.size, v))
				return INSN_FAULT;
			n = 1;
		}
		advance(&r, true, true, n);
		done += n;
		if (rep_interrupted(&r, done))
			break;
	}
	return rep_end(&r);
}

static void fill(uint8_t *dst, uint64_t v, uint64_t len, unsigned size)
{
	uint64_t pat = v & size_mask(size), i;

	for (unsigned s = size; s < 8; s *= 2)
		pat |= pat << (8 * s);
	if (pat == (pat & 0xff) * 0x0101010101010101ULL) {
		memset(dst, (int)(pat & 0xff), len);
		return;
	}
	for (i = 0; i + 8 <= len; i += 8)
		memcpy(dst + i, &pat, 8);
	memcpy(dst + i, &pat, len - i);
}

static uint64_t stos_chunk(struct rep *r)
{
	uint64_t room = r->count > REP_CHUNK ? REP_CHUNK * (uint64_t)r->size : r->count * r->size;
	uint8_t *dst = span(r, HV_ES, dst_ea(r), MMU_WRITE, &room);

	if (!dst || room < r->size)
		return 0;
	room -= room % r->size;
	fill(dst, r->cpu->gpr[HV_RAX], room, r->size);
	return room / r->size;
}

enum insn_result exec_stos(struct cpu *cpu, const struct insn *in)
{
	uint64_t done = 0, n;
	struct rep r;

	rep_begin(&r, cpu, in);
	while (r.count) {
		n = r.count > 1 ? stos_chunk(&r) : 0;
		if (cpu->exc.pending)
			return INSN_FAULT;
		if (n == 0) {
			if (!mem_write(cpu, HV_ES, dst_ea(&r), r.size, cpu->gpr[HV_RAX]))
				return INSN_FAULT;
			n = 1;
		}
		advance(&r, false, true, n);
		done += n;
		if (rep_interrupted(&r, done))
			break;
	}
	return rep_end(&r);
}

enum insn_result exec_lods(struct cpu *cpu, const struct insn *in)
{
	uint64_t done = 0, v;
	struct rep r;

	rep_begin(&r, cpu, in);
	while (r.count) {
		if (!mem_read(cpu, in->seg, src_ea(&r), r.size, &v))
			return INSN_FAULT;
		reg_write(cpu, in, HV_RAX, r.size, v);
		advance(&r, true, false, 1);
		if (rep_interrupted(&r, ++done))
			break;
	}
	return rep_end(&r);
}

static void compare_flags(struct rep *r, uint64_t a, uint64_t b)
{
	uint64_t m = size_mask(r->size);

	set_arith(r->cpu, FL_ARITH,
		  cc_arith_of(CC_SUB | __builtin_ctz(r->size), (a - b) & m, b & m));
}

/* REPE goes on while equal, REPNE while different. */
static bool compare_goes_on(const struct rep *r)
{
	bool want = r->in->prefixes & INSN_PFX_F3;

	return r->count && !(r->cpu->rflags & FL_ZF) == !want;
}

enum insn_result exec_scas(struct cpu *cpu, const struct insn *in)
{
	uint64_t done = 0, v;
	struct rep r;

	rep_begin(&r, cpu, in);
	while (r.count) {
		if (!mem_read(cpu, HV_ES, dst_ea(&r), r.size, &v))
			return INSN_FAULT;
		compare_flags(&r, cpu->gpr[HV_RAX] & size_mask(r.size), v);
		advance(&r, false, true, 1);
		if (!r.rep || !compare_goes_on(&r))
			return INSN_DONE;
		if (rep_interrupted(&r, ++done))
			break;
	}
	return rep_end(&r);
}

enum insn_result exec_cmps(struct cpu *cpu, const struct insn *in)
{
	uint64_t done = 0, a, b;
	struct rep r;

	rep_begin(&r, cpu, in);
	while (r.count) {
		if (!mem_read(cpu, in->seg, src_ea(&r), r.size, &a) ||
		    !mem_read(cpu, HV_ES, dst_ea(&r), r.size, &b))
			return INSN_FAULT;
		compare_flags(&r, a, b);
		advance(&r, true, true, 1);
		if (!r.rep || !compare_goes_on(&r))
			return INSN_DONE;
		if (rep_interrupted(&r, ++done))
			break;
	}
	return rep_end(&r);
}
