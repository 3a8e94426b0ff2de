/* SPDX-License-Identifier: Apache-2.0 */
/* From a hot block to host code; jit.h has the theory. */
#include <stdlib.h>

#include "base/checked.h"
#include "soft/exec.h"
#include "soft/jit/jit_priv.h"
#include "soft/stub.h"

#define JIT_ARENA_BYTES (32 * MIB)
#define JIT_COLD_START	(20 * MIB) /* code that is seldom run lies behind */
#define JIT_BLOCK_BYTES (16 * KIB) /* the most one block may come to, of either kind */
#define JIT_THRESHOLD	40	   /* entries before a block is translated */

void jit_reset(struct block_cpu *code)
{
	code->jit_used = 0;
	code->jit_cold_used = JIT_COLD_START;
}

int jit_cpu_new(struct cpu *cpu, struct err *err)
{
	jit_reset(cpu->code);
	cpu->code->jit_threshold = JIT_THRESHOLD;
	return execmem_init(&cpu->code->jit, "husk-jit", JIT_ARENA_BYTES, err);
}

void jit_cpu_free(struct cpu *cpu)
{
	execmem_done(&cpu->code->jit);
}

/* ---- one block ---- */

/* The instruction has no handler of its own. */
static bool is_general(const struct op *op)
{
	return op->fn == op_general || op->fn == op_vector;
}

/* The instructions once more; false: the bytes have changed meanwhile. */
static bool decode_again(struct cpu *cpu, struct jit *j)
{
	const struct decode_env env = { .features = cpu->code->features, .mode = CPU_LONG64 };
	const uint8_t *p = (const uint8_t *)(uintptr_t)(j->block->key & 0x00ffffffffffffffULL);
	bool general[BLOCK_MAX_INSNS];
	unsigned pos = 0;

	for (unsigned i = 0; i < j->n; i++) {
		const struct op *op = &j->ops[i];

		if (is_general(op))
			j->in[i] = *op->insn;
		else if (decode_insn(&env, p + pos, j->block->n_bytes - pos, &j->in[i]) !=
			 DECODE_OK)
			return false;
		if (j->in[i].len != op->len)
			return false;
		general[i] = is_general(op);
		pos += op->len;
	}
	block_dead_flags(j->in, j->n, general, j->dead);
	return true;
}

/* Host code for the op at hand; false, with nothing emitted: its handler has to run. */
static bool template(struct jit *j)
{
	const struct insn *in = &j->in[j->i];

	if (is_general(&j->ops[j->i]))
		return (in->exec == exec_sse || sse_keeps_flags(in)) && jit_simd(j, in);
	switch (in->op) {
	case OP_MOV:
	case OP_MOVZX:
	case OP_MOVSX:
	case OP_LEA:
	case OP_CBW:
	case OP_CWD:
	case OP_NOP: return jit_move(j, in);
	case OP_PUSH:
	case OP_POP:
	case OP_LEAVE: return jit_stack(j, in);
	case OP_JCC:
	case OP_JMP:
	case OP_CALL:
	case OP_RET: return jit_branch(j, in);
	case OP_OTHER: return jit_system(j, in);
	default: return jit_arith(j, in);
	}
}

/* mov rsi, op; then on to a function that takes it. */
static void load_op(struct emit *e, const struct op *op)
{
	emit_mov_imm(e, RSI, (uintptr_t)op);
}

static bool ends_with_branch(const struct jit *j)
{
	const struct insn *in = &j->in[j->n - 1];

	return in->op == OP_JCC || in->op == OP_JMP || in->op == OP_CALL || in->op == OP_RET;
}

/* All ops in order; entries[i] is where op i can be entered, ~0 where its handler stays. */
static void emit_ops(struct jit *j, uint32_t *entries, unsigned guess)
{
	bool at_start = true; /* control comes from a handler: nothing is known */

	jit_forget(j);
	j->guess = guess;
	for (j->i = 0; j->i < j->n; j->i++) {
		uint32_t here = j->e.len;

		entries[j->i] = ~0U;
		if (at_start && j->i == 0)
			j->entry = here; /* a first op that jumps to itself needs it already */
		if (template(j)) {
			if (at_start)
				entries[j->i] = here;
			at_start = false;
			continue;
		}
		if (j->i == 0)
			j->entry = ~0U;
		if (!at_start) {
			load_op(&j->e, &j->ops[j->i]);
			emit8(&j->e, 0xff);
			emit_mem(&j->e, 4, RSI, 0);
		}
		jit_forget(j);
		at_start = true;
	}
	if (!at_start && !ends_with_branch(j))
		jit_go(j, j->n, 0);
}

static void emit_exit(struct jit *j, const struct jit_exit *x)
{
	const struct op *op = &j->ops[x->op];
	struct emit *e = &j->cold;
	op_fn fn = op_stop;

	switch (x->kind) {
	case JIT_FOLLOW0:
	case JIT_FOLLOW1:
		load_op(e, op);
		emit_mov_imm(e, RDX, x->kind == JIT_FOLLOW1);
		emit_mov_imm(e, RAX, (uintptr_t)op_follow);
		emit8(e, 0xff);
		emit8(e, 0xe0); /* jmp rax */
		return;
	case JIT_SLOW: fn = op_slow; break;
	case JIT_HANDLER: fn = op->fn; break;
	case JIT_STOP_SELF:
	case JIT_STOP_HEAD: op = j->ops - 1; break;
	default: op = op_exit(op)->link[x->kind == JIT_STOP1]; break;
	}
	if (x->kind != JIT_STOP_HEAD)
		load_op(e, op);
	emit_mov_imm(e, RAX, (uintptr_t)fn);
	emit8(e, 0xff);
	emit8(e, 0xe0);
}

/* Where the jumps to cold code go; each destination is written once. */
static void emit_exits(struct jit *j)
{
	for (unsigned a = 0; a < j->n_exits; a++) {
		struct jit_exit x = j->exits[a];

		if (!x.at)
			continue;
		for (unsigned b = a; b < j->n_exits; b++)
			if (j->exits[b].kind == x.kind && j->exits[b].op == x.op &&
			    j->exits[b].at) {
				emit_bind(&j->e, j->exits[b].at,
					  j->cold.at + j->cold.len - j->e.at);
				j->exits[b].at = 0;
			}
		emit_exit(j, &x);
	}
}

/* No room left: have the outer loop drop all blocks of this vCPU. */
static void start_over(struct cpu *cpu)
{
	struct block_cpu *code = cpu->code;

	pthread_mutex_lock(&code->lock);
	code->n_queue = INVAL_QUEUE + 1;
	atomic_store(&code->pending, true);
	pthread_mutex_unlock(&code->lock);
	cpu_attention(cpu);
}

static void publish(struct block_cpu *code, struct jit *j, const uint32_t *entries)
{
	uint8_t *start = code->jit.rx + code->jit_used;

	for (unsigned i = 0; i < j->n; i++)
		if (entries[i] != ~0U)
			j->ops[i].fn = (op_fn)(uintptr_t)(start + entries[i]);
	code->jit_used += ALIGN_UP(j->e.len, 16);
	code->jit_cold_used += j->cold.len;
}

static void translate(struct cpu *cpu, struct block *b)
{
	struct block_cpu *code = cpu->code;
	uint32_t entries[BLOCK_MAX_INSNS];
	struct jit *j;

	if (JIT_COLD_START - code->jit_used < JIT_BLOCK_BYTES ||
	    JIT_ARENA_BYTES - code->jit_cold_used < JIT_BLOCK_BYTES) {
		start_over(cpu);
		return;
	}
	j = malloc(sizeof(*j));
	if (!j)
		return;
	*j = (struct jit){ .block = b,
			   .code = code,
			   .ops = b->ops + 1,
			   .n = b->ops[0].left,
			   .half = cpu->page_va >> 63,
			   .entry = ~0U };
	j->e = (struct emit){ .at = code->jit.rw + code->jit_used, .room = JIT_BLOCK_BYTES };
	j->cold =
		(struct emit){ .at = code->jit.rw + code->jit_cold_used, .room = JIT_BLOCK_BYTES };
	if (decode_again(cpu, j)) {
		emit_ops(j, entries, cpu->cc.op);
		emit_exits(j);
		if (!j->e.overflow && !j->cold.overflow)
			publish(code, j, entries);
	}
	free(j);
}

/* ---- counting ---- */

void jit_watch(struct cpu *cpu, struct block *b)
{
	if (!cpu->code->jit.rw || cpu->code_key != CODE_KEY_LONG)
		return;
	b->ops[0].fn = b->ops[1].fn;
	b->ops[0].disp = cpu->code->jit_threshold;
	b->ops[1].fn = jit_warm;
}

const struct op *jit_warm(struct cpu *cpu, const struct op *op)
{
	struct block *b = op[-1].block;

	if (--b->ops[0].disp <= 0) {
		b->ops[1].fn = b->ops[0].fn;
		translate(cpu, b);
		OP_GO(op);
	}
	return b->ops[0].fn(cpu, op);
}
