/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Making blocks: decode, choose handlers, drop dead flags, fuse comparisons with jumps.
 */
#include <string.h>

#include "soft/block_priv.h"
#include "soft/exec.h"
#include "soft/jit/jit.h"
#include "soft/mmu.h"
#include "soft/stub.h"

struct build {
	struct cpu *cpu;
	struct decode_env env;
	const uint8_t *host;
	unsigned off, n_bytes; /* of the block in its page */
	unsigned n, n_general;
	bool ended; /* the last instruction never falls through */
	struct insn in[BLOCK_MAX_INSNS];
	bool general[BLOCK_MAX_INSNS]; /* has no handler of its own */
	bool dead[BLOCK_MAX_INSNS];    /* nobody reads the flags it sets */
	struct op ops[BLOCK_MAX_INSNS];
};

/* ---- memory ---- */

void *block_alloc(struct block_cpu *code, size_t bytes)
{
	void *p = (uint8_t *)code + code->arena_used;

	bytes = ALIGN_UP(bytes, ARENA_UNIT);
	if (bytes > CODE_ARENA_BYTES - code->arena_used)
		return NULL;
	code->arena_used += bytes;
	return p;
}

/*
 * A block with room for @n ops behind its head, and for @n_insns decoded instructions. NULL: memory
 * for code has run out.
 */
static struct block *block_new(struct block_cpu *code, unsigned n, unsigned n_insns,
			       struct insn **ret_insns)
{
	struct insn *insns = block_alloc(code, n_insns * sizeof(*insns));
	struct block *b;

	if (code->arena_used / ARENA_UNIT % 2 == 0)
		block_alloc(code, ARENA_UNIT);
	b = block_alloc(code, sizeof(*b) + (1 + n) * sizeof(struct op));
	if (!insns || !b)
		return NULL;
	*b = (struct block){ .n_bytes = 0 };
	*ret_insns = insns;
	return b;
}

/* ---- decoding ---- */

static enum insn_result exec_too_long(struct cpu *cpu, const struct insn *in)
{
	cpu_raise_err(cpu, VEC_GP, 0);
	return INSN_FAULT;
}

/* An undecodable instruction becomes one that raises. */
static void make_raiser(struct insn *in, enum decode_result res)
{
	memset(in, 0, sizeof(*in));
	in->len = 1;
	in->mod = 3;
	in->exec = res == DECODE_GP ? exec_too_long : exec_ud;
}

static bool raise_for(struct cpu *cpu, enum decode_result res)
{
	if (res == DECODE_GP)
		cpu_raise_err(cpu, VEC_GP, 0);
	else
		cpu_raise(cpu, VEC_UD);
	return false;
}

/* Bytes of an instruction at a page's end, with what follows on the next page. NULL: exc is set. */
static const uint8_t *join_pages(struct cpu *cpu, uint64_t va, const uint8_t *host, unsigned room,
				 uint8_t *buf, gpa_t *ret_gpa2)
{
	uint64_t next = va + room;
	const uint8_t *host2;

	if (cpu->mode != CPU_LONG64)
		next = (uint32_t)next;
	host2 = mmu_fetch(cpu, next, ret_gpa2);
	if (!host2)
		return NULL;
	memcpy(buf, host, room);
	memcpy(buf + room, host2, INSN_MAX_LEN + 1 - room);
	return host2;
}

bool block_decode_one(struct cpu *cpu, uint64_t va, struct insn *ret)
{
	struct decode_env env = { .features = cpu->code->features, .mode = cpu->mode };
	unsigned room = GMEM_PAGE_SIZE - (va & (GMEM_PAGE_SIZE - 1));
	uint8_t buf[INSN_MAX_LEN + 1];
	enum decode_result res;
	const uint8_t *host;
	gpa_t gpa;

	host = mmu_fetch(cpu, va, &gpa);
	if (!host)
		return false;
	res = decode_insn(&env, host, room, ret);
	if (res == DECODE_MORE) {
		if (!join_pages(cpu, va, host, room, buf, &gpa))
			return false;
		res = decode_insn(&env, buf, sizeof(buf), ret);
	}
	return res == DECODE_OK ? true : raise_for(cpu, res);
}

/* Instructions after which control never goes on, or never in the same mode. */
static bool ends_block(const struct insn *in)
{
	switch (in->op) {
	case OP_JCC:
	case OP_JMP:
	case OP_CALL:
	case OP_RET:
	case OP_LOOP: return true;
	default: break;
	}
	return in->exec == exec_ud || in->exec == exec_too_long || in->exec == exec_syscall ||
	       in->exec == exec_sysret || in->exec == exec_iret || in->exec == exec_far_jmp ||
	       in->exec == exec_far_call || in->exec == exec_far_ret || in->exec == exec_hlt ||
	       in->exec == exec_int || in->exec == exec_int3 || in->exec == exec_int1 ||
	       in->exec == exec_sysenter || in->exec == exec_sysexit || in->exec == exec_mov_cr;
}

/* Decode up to the block's end. Stops short of an instruction that leaves the page unless it is the
 * first. */
static enum decode_result decode_run(struct build *b)
{
	unsigned pos = b->off, end = b->off + BLOCK_MAX_BYTES, seen = 0;

	if (end > GMEM_PAGE_SIZE)
		end = GMEM_PAGE_SIZE;
	while (b->n < BLOCK_MAX_INSNS && pos < end) {
		struct insn *in = &b->in[b->n];
		enum decode_result res =
			decode_insn(&b->env, b->host + (pos - b->off), end - pos, in);

		if (res != DECODE_OK) {
			if (b->n)
				break;
			if (res == DECODE_MORE)
				return res;
			make_raiser(in, res);
			seen = INSN_MAX_LEN - in->len; /* bytes behind it made it illegal */
		}
		b->n++;
		pos += in->len;
		if (ends_block(in)) {
			b->ended = true;
			break;
		}
	}
	b->n_bytes = MIN(pos + seen, GMEM_PAGE_SIZE) - b->off;
	return DECODE_OK;
}

/* ---- flags ---- */

enum flag_use { FL_KILLS = 1, FL_SETS = 2, FL_READS = 4 };

static unsigned flag_use(const struct insn *in)
{
	switch (in->op) {
	case OP_ADD:
	case OP_SUB:
	case OP_AND:
	case OP_OR:
	case OP_XOR:
	case OP_CMP:
	case OP_TEST:
	case OP_NEG:
	case OP_IMUL: return FL_KILLS | FL_SETS;
	case OP_INC:
	case OP_DEC:
		return FL_SETS; /* keep CF: what was there is read only if the result is wanted */
	case OP_SHL:
	case OP_SHR:
	case OP_SAL:
	case OP_SAR: return in->form == FORM_RM_CL ? FL_SETS : FL_KILLS | FL_SETS;
	case OP_ROL:
	case OP_ROR: return FL_SETS;
	case OP_MOV:
	case OP_MOVZX:
	case OP_MOVSX:
	case OP_LEA:
	case OP_NOP:
	case OP_NOT:
	case OP_BSWAP:
	case OP_CBW:
	case OP_CWD:
	case OP_PUSH:
	case OP_POP:
	case OP_LEAVE: return 0;
	case OP_XCHG: return 0;
	default: return FL_READS;
	}
}

static bool touches_memory(const struct insn *in)
{
	return (insn_is_mem(in) && in->op != OP_LEA && in->op != OP_NOP) || in->op == OP_PUSH ||
	       in->op == OP_POP || in->op == OP_LEAVE;
}

/* Backwards: flags are wanted at the end, wherever something reads them and wherever one can leave.
 */
void block_dead_flags(const struct insn *in, unsigned n, const bool *general, bool *ret_dead)
{
	bool wanted = true;

	for (unsigned i = n; i-- > 0;) {
		unsigned use = flag_use(&in[i]);

		ret_dead[i] = (use & FL_SETS) && !wanted;
		if (ret_dead[i])
			use = 0;
		else if (use & FL_KILLS)
			wanted = false;
		else if (use)
			wanted = true;
		if ((use & FL_READS) || general[i] || touches_memory(&in[i]))
			wanted = true;
	}
}

/* ---- choosing handlers ---- */

static uint8_t reg_slot(const struct insn *in, unsigned r, unsigned size)
{
	if (size != 1)
		return r;
	return !in->rex && r >= 4 && r < 8 ? (r - 4) * 8 + 1 : r * 8;
}

/* Fill in the memory operand; false: too unusual for a handler. */
static bool set_memory(const struct build *b, const struct insn *in, unsigned off, struct op *op,
		       unsigned *ret_ea)
{
	int64_t disp = in->disp;
	bool long64 = b->env.mode == CPU_LONG64;

	op->base = in->base;
	op->index = in->index;
	op->scale = in->scale;
	op->seg = OP_SEG_NONE;
	if (in->base == INSN_REG_RIP)
		disp += off + in->len;
	if (disp != (int32_t)disp)
		return false;
	op->disp = (int32_t)disp;
	if (!long64) {
		if (b->cpu->code_key != CODE_KEY_FLAT || in->addr_size != 4 || in->seg >= HV_FS ||
		    in->seg == HV_CS)
			return false;
		op->addr32 = 1;
		*ret_ea = OP_EA_GEN;
		return true;
	}
	if (in->addr_size == 4) {
		if (in->base == INSN_REG_RIP)
			return false;
		op->addr32 = 1;
	}
	if (in->seg >= HV_FS)
		op->seg = OP_SEG(in->seg);
	*ret_ea = in->seg >= HV_FS || op->addr32 ? OP_EA_GEN
		  : in->index == INSN_REG_NONE	 ? OP_EA_BD
						 : OP_EA_BIS;
	return true;
}

static op_fn pick_two(const struct build *b, const struct insn *in, struct op *op, bool dead,
		      unsigned ea)
{
	bool mem = insn_is_mem(in);
	unsigned s = insn_log2_size(in->op_size), operands;

	if (in->prefixes & INSN_PFX_LOCK)
		return NULL;
	if (in->form == FORM_R_RM) {
		op->r0 = reg_slot(in, in->reg, in->op_size);
		op->r1 = reg_slot(in, in->rm, in->op_size);
		operands = mem ? OP_RM + ea : OP_RR;
	} else if (in->form == FORM_RM_R) {
		op->r0 = reg_slot(in, mem ? in->reg : in->rm, in->op_size);
		op->r1 = reg_slot(in, in->reg, in->op_size);
		operands = mem ? OP_MR + ea : OP_RR;
	} else {
		op->r0 = reg_slot(in, in->rm, in->op_size);
		op->imm = in->imm;
		operands = mem ? OP_MI + ea : OP_RI;
	}
	op->cond = operands;
	return in->op == OP_MOV ? fast_mov(s, operands) : fast_alu(in->op, s, operands, dead);
}

static op_fn pick_movx(const struct insn *in, struct op *op, unsigned ea)
{
	unsigned from = in->map == INSN_MAP_1 ? 4 : in->opcode & 1 ? 2 : 1;

	if (in->map == INSN_MAP_1 && in->op_size == 4) { /* MOVSXD without REX.W is a move */
		op->r0 = in->reg;
		op->r1 = in->rm;
		return fast_mov(2, insn_is_mem(in) ? OP_RM + ea : OP_RR);
	}
	op->r0 = in->reg;
	op->r1 = reg_slot(in, in->rm, from);
	return fast_movx(in->op == OP_MOVSX, insn_log2_size(from), insn_log2_size(in->op_size),
			 insn_is_mem(in), ea);
}

static op_fn pick_shift(const struct insn *in, struct op *op, bool dead)
{
	unsigned count = in->form == FORM_RM_I ? in->imm : 1;

	count &= in->op_size == 8 ? 63 : 31;
	if (insn_is_mem(in) || (in->form != FORM_RM_CL && count == 0))
		return NULL;
	op->r0 = reg_slot(in, in->rm, in->op_size);
	op->cond = count;
	return fast_shift(in->op, insn_log2_size(in->op_size), in->form == FORM_RM_CL, dead);
}

static op_fn pick_branch(const struct build *b, const struct insn *in, struct op *op, unsigned ea)
{
	bool long64 = b->env.mode == CPU_LONG64;

	if (in->op_size == 2)
		return NULL;
	if (in->op == OP_JCC)
		return fast_jcc(in->opcode & 15);
	if (in->op == OP_JMP && in->form == FORM_REL)
		return fast_branch(OP_JMP, FORM_REL, false, 0);
	if (!long64)
		return NULL;
	op->r0 = in->rm;
	op->imm = in->imm;
	return fast_branch(in->op, in->form, insn_is_mem(in), ea);
}

static op_fn pick_imul(const struct insn *in, struct op *op, unsigned ea)
{
	unsigned s = insn_log2_size(in->op_size);

	op->r0 = in->reg;
	op->r1 = in->rm;
	op->imm = in->imm;
	if (in->form == FORM_R_RM_I)
		return insn_is_mem(in) ? NULL : fast_imul(s, OP_RI);
	return fast_imul(s, insn_is_mem(in) ? OP_RM + ea : OP_RR);
}

static op_fn pick_rest(const struct build *b, const struct insn *in, struct op *op, bool dead,
		       unsigned ea)
{
	unsigned s = insn_log2_size(in->op_size);
	bool mem = insn_is_mem(in), long64 = b->env.mode == CPU_LONG64;

	op->r0 = in->reg;
	op->r1 = in->rm;
	op->imm = in->imm;
	op->cond = in->opcode & 15;
	switch (in->op) {
	case OP_LEA:
		/* no segment in it */
		op->seg = OP_SEG_NONE;
		return in->op_size < 4 ? NULL : fast_lea(s, ea);
	case OP_CMOV: return fast_cmov(s, mem, ea);
	case OP_SETCC: op->r0 = reg_slot(in, in->rm, 1); return mem ? NULL : fast_setcc();
	case OP_INC:
	case OP_DEC:
	case OP_NOT:
	case OP_NEG:
		op->r0 = reg_slot(in, in->rm, in->op_size);
		return in->prefixes & INSN_PFX_LOCK ? NULL : fast_unary(in->op, s, mem, ea, dead);
	case OP_PUSH:
	case OP_POP:
	case OP_LEAVE:
		op->r0 = in->rm;
		return !long64 || in->op_size != 8 ? NULL
						   : fast_push_pop(in->op, in->form, mem, ea);
	case OP_BT:
	case OP_BTS:
	case OP_BTR:
	case OP_BTC:
		op->r0 = in->rm;
		op->r1 = in->reg;
		return mem ? NULL : fast_bt(in->op, s, in->form == FORM_RM_I);
	case OP_BSF:
	case OP_BSR: return mem ? NULL : fast_misc(in->op, s);
	case OP_XCHG:
	case OP_BSWAP:
	case OP_MUL:
	case OP_IMUL1:
	case OP_DIV:
		op->r0 = in->rm;
		op->r1 = in->reg;
		return mem ? NULL : fast_misc(in->op, s);
	case OP_NOP:
	case OP_CBW:
	case OP_CWD: return fast_misc(in->op, s);
	default: return NULL;
	}
}

static op_fn pick(const struct build *b, const struct insn *in, unsigned off, struct op *op,
		  bool dead)
{
	unsigned ea = 0;

	if (in->op == OP_OTHER)
		return b->env.mode == CPU_LONG64 ? fast_system(in) : NULL;
	if (in->exec == exec_movbe)
		return NULL;
	if (insn_is_mem(in) && in->op != OP_NOP) {
		struct insn lea = *in;

		if (in->op == OP_LEA) /* the segment does not count */
			lea.seg = HV_DS;
		if (!set_memory(b, &lea, off, op, &ea))
			return NULL;
	}
	switch (in->op) {
	case OP_ADD:
	case OP_OR:
	case OP_ADC:
	case OP_SBB:
	case OP_AND:
	case OP_SUB:
	case OP_XOR:
	case OP_CMP:
	case OP_TEST:
	case OP_MOV: return pick_two(b, in, op, dead, ea);
	case OP_MOVZX:
	case OP_MOVSX: return pick_movx(in, op, ea);
	case OP_ROL:
	case OP_ROR:
	case OP_RCL:
	case OP_RCR:
	case OP_SHL:
	case OP_SHR:
	case OP_SAL:
	case OP_SAR: return pick_shift(in, op, dead);
	case OP_JCC:
	case OP_JMP:
	case OP_CALL:
	case OP_RET: return pick_branch(b, in, op, ea);
	case OP_IMUL: return pick_imul(in, op, ea);
	default: return pick_rest(b, in, op, dead, ea);
	}
}

/* ---- putting it together ---- */

/* What goes behind the last op; @in is the branch there, NULL if control only falls through. */
struct exit_plan {
	int64_t next;
	const struct insn *in;
	unsigned slots;
};

static bool is_direct(const struct insn *in)
{
	return in->op == OP_JCC || in->form == FORM_REL;
}

static struct exit_plan plan_exit(unsigned next, const struct insn *in)
{
	bool same = next < GMEM_PAGE_SIZE;

	if (in && !is_direct(in))
		return (struct exit_plan){ next, in, 0 };
	if (in && in->op == OP_JCC)
		same = same && next + in->imm < GMEM_PAGE_SIZE;
	else if (in)
		same = next + in->imm < GMEM_PAGE_SIZE;
	return (struct exit_plan){ next, in, same ? OP_EXIT_SLOTS_SAME : OP_EXIT_SLOTS };
}

static void set_exit(struct op *last, const struct exit_plan *plan)
{
	struct op_exit *x = (struct op_exit *)(uintptr_t)op_exit(last);

	if (!plan->slots)
		return;
	memset(x, 0, plan->slots * sizeof(struct op));
	x->target[0] = plan->next;
	x->target[1] = plan->next + (plan->in ? (int64_t)plan->in->imm : 0);
}

/* Comparison and jump next to one another become one handler. */
static void fuse(struct build *b, struct op *ops)
{
	const struct insn *in;
	op_fn fn;

	if (b->n < 2 || b->in[b->n - 1].op != OP_JCC || ops[b->n - 1].fn == op_general)
		return;
	in = &b->in[b->n - 2];
	if (ops[b->n - 2].fn == op_general || ops[b->n - 2].fn == op_vector || in->op < OP_ADD ||
	    (in->op > OP_CMP && in->op != OP_TEST))
		return;
	fn = fast_alu_jcc(in->op, insn_log2_size(in->op_size), ops[b->n - 2].cond,
			  b->in[b->n - 1].opcode & 15);
	if (fn)
		ops[b->n - 2].fn = fn;
}

/* SSE without flags, with neither REP nor anything that ends a block. */
static bool is_vector(const struct insn *in)
{
	bool xmm = in->reg_class == INSN_CLASS_XMM || in->rm_class == INSN_CLASS_XMM;

	return xmm && in->map != INSN_MAP_1 && sse_keeps_flags(in);
}

static void choose_one(struct build *b, unsigned i, unsigned off)
{
	const struct insn *in = &b->in[i];
	struct op *op = &b->ops[i];

	*op = (struct op){ .fn = NULL };
	op->fn = pick(b, in, off, op, b->dead[i]);
	op->off = off;
	op->len = in->len;
	op->left = b->n - 1 - i;
}

/* Handlers for all instructions: with flags wanted first, which tells which have none. */
static void choose(struct build *b)
{
	unsigned off = b->off;

	for (unsigned i = 0; i < b->n; i++) {
		b->dead[i] = false;
		choose_one(b, i, off);
		b->general[i] = !b->ops[i].fn;
		b->n_general += b->general[i];
		off += b->in[i].len;
	}
	block_dead_flags(b->in, b->n, b->general, b->dead);
	for (unsigned i = 0; i < b->n; i++) {
		if (b->general[i])
			b->ops[i].fn = is_vector(&b->in[i]) ? op_vector : op_general;
		else if (b->dead[i])
			choose_one(b, i, b->ops[i].off);
	}
	fuse(b, b->ops);
}

/* The ops to where they stay, the general ones with their instructions. */
static void place(const struct build *b, struct op *ops, struct insn *insns)
{
	memcpy(ops, b->ops, b->n * sizeof(*ops));
	for (unsigned i = 0; i < b->n; i++) {
		if (!b->general[i])
			continue;
		*insns = b->in[i];
		ops[i].insn = insns++;
		ops[i].scale = OP_HAS_INSN;
	}
}

/* A block of one instruction that goes on in the next page. */
static struct block *build_cross(struct build *b, uint64_t rip, gpa_t gpa)
{
	unsigned room = GMEM_PAGE_SIZE - b->off;
	uint8_t buf[INSN_MAX_LEN + 1];
	struct insn *in = &b->in[0], *copy;
	struct exit_plan plan;
	enum decode_result res;
	struct block *blk;
	gpa_t gpa2;

	if (!join_pages(b->cpu, rip, b->host, room, buf, &gpa2))
		return NULL;
	res = decode_insn(&b->env, buf, sizeof(buf), in);
	if (res != DECODE_OK) {
		make_raiser(in, res);
		memcpy(in->bytes, buf, INSN_MAX_LEN);
	}
	plan = plan_exit(b->off + in->len, NULL);
	blk = block_new(b->cpu->code, 3 + plan.slots, 1, &copy);
	if (!blk)
		return NULL;
	*copy = *in;
	blk->gpa = gpa;
	blk->n_bytes = room;
	blk->layout = BLOCK_CROSS;
	blk->ops[0] = (struct op){ .off = b->off, .left = 1, .block = blk };
	blk->ops[1] = (struct op){ .fn = op_check_cross,
				   .off = b->off,
				   .len = (res == DECODE_OK ? in->len : INSN_MAX_LEN) - room };
	blk->ops[2] = (struct op){ .fn = op_general, .off = b->off, .len = in->len, .insn = copy };
	blk->ops[3] = (struct op){ .fn = op_fallthrough, .off = b->off };
	set_exit(&blk->ops[3], &plan);
	return blk;
}

struct block *block_build(struct cpu *cpu, uint64_t rip, const uint8_t *host, gpa_t gpa)
{
	struct build b;
	unsigned room, next;
	bool falls;
	struct exit_plan plan;
	struct block *blk;
	struct insn *insns;
	struct op *end;

	b.cpu = cpu;
	b.env = (struct decode_env){ .features = cpu->code->features, .mode = cpu->mode };
	b.host = host;
	b.off = rip & (GMEM_PAGE_SIZE - 1);
	b.n = b.n_general = 0;
	b.ended = false;
	room = GMEM_PAGE_SIZE - b.off;
	code_page_track(cpu, gpa, room < BLOCK_MAX_BYTES ? room : BLOCK_MAX_BYTES);
	if (decode_run(&b) == DECODE_MORE)
		return build_cross(&b, rip, gpa);
	choose(&b);
	falls = !b.ended || b.general[b.n - 1];
	next = b.ops[b.n - 1].off + b.in[b.n - 1].len;
	plan = plan_exit(next, falls ? NULL : &b.in[b.n - 1]);
	blk = block_new(cpu->code, b.n + falls + plan.slots, b.n_general, &insns);
	if (!blk)
		return NULL;
	blk->gpa = gpa;
	blk->n_bytes = b.n_bytes;
	blk->layout = plan.slots | (falls ? BLOCK_FALLS : 0) | (rip >> 63 ? BLOCK_UPPER : 0);
	blk->ops[0] = (struct op){ .off = b.off, .left = b.n, .block = blk };
	place(&b, blk->ops + 1, insns);
	end = &blk->ops[b.n];
	if (falls)
		*++end = (struct op){ .fn = op_fallthrough, .off = next };
	set_exit(end, &plan);
	jit_watch(cpu, blk);
	return blk;
}
