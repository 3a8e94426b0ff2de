/* SPDX-License-Identifier: Apache-2.0 */
/* From a hot block to host code; jit.h has the theory. */
#include <stdlib.h>

#include "base/checked.h"
#include "soft/exec.h"
#include "soft/jit/jit_priv.h"
#include "soft/stub.h"

#define JIT_BLOCK_BYTES	    (24 * KIB) /* the most one translation may come to, of either kind */
#define JIT_THRESHOLD	    40	       /* entries before a block is translated */
#define JIT_TRACE_THRESHOLD 1000       /* and more before it is again, with what follows on it */

void jit_reset(struct block_cpu *code)
{
	code->jit_used = code->jit_kept;
	code->jit_cold_used = JIT_COLD_START + code->jit_cold_kept;
}

int jit_cpu_new(struct cpu *cpu, struct err *err)
{
	jit_reset(cpu->code);
	cpu->code->jit_threshold = JIT_THRESHOLD;
	cpu->code->jit_trace_threshold = JIT_TRACE_THRESHOLD;
	return execmem_init(&cpu->code->jit, "husk-jit", JIT_ARENA_BYTES,
			    (uint8_t *)cpu->code + CODE_ARENA_BYTES, err);
}

void jit_cpu_free(struct cpu *cpu)
{
	execmem_done(&cpu->code->jit);
}

/* ---- one translation ---- */

static bool vector(struct jit *j, const struct insn *in)
{
	return (in->exec == exec_sse || sse_keeps_flags(in)) && jit_simd(j, in);
}

/* Host code for the op at hand; false, with nothing emitted: its handler has to run. */
static bool template(struct jit *j)
{
	const struct insn *in = &j->in[j->i];

	if (j->general[j->i])
		return vector(j, in);
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
	case OP_OTHER: return jit_system(j, in) || vector(j, in);
	default: return jit_arith(j, in);
	}
}

/* mov rsi, op; then on to a function that takes it. */
static void load_op(struct emit *e, const struct op *op)
{
	emit_address(e, RSI, op);
}

static bool is_branch(const struct insn *in)
{
	return in->op == OP_JCC || in->op == OP_JMP || in->op == OP_CALL || in->op == OP_RET;
}

/* What runs the op without this translation. */
static op_fn handler_of(const struct jit *j, const struct op *op)
{
	for (unsigned i = 0; i < j->n_parts; i++)
		if (op == &j->parts[i].block->ops[1])
			return jit_handler(j->parts[i].block, 0);
	return op->fn;
}

static const struct op *jit_hot(struct cpu *cpu, const struct op *op);

/* Count, and translate again when the count is up. */
static void count(struct jit *j)
{
	emit_address(&j->e, RAX, &j->ops[-1].disp);
	emit8(&j->e, 0xff); /* dec dword [rax] */
	emit_mem(&j->e, 1, RAX, 0);
	jit_exit_to(j, COND_E, JIT_HOT);
}

/* Control comes from a handler, or from another block: nothing is known but the latter's flags. */
static void start(struct jit *j, unsigned guess, bool counts)
{
	jit_forget(j);
	if (j->i)
		return;
	j->entry = j->e.len; /* a first op that jumps to itself needs it already */
	j->guess = guess;
	if (counts)
		count(j);
}

/* The handler runs and comes back by itself; that of a later part goes on with its own block. */
static void leave_to_handler(struct jit *j)
{
	load_op(&j->e, j->op[j->i]);
	emit8(&j->e, 0xff);
	emit_mem(&j->e, 4, RSI, 0);
}

/*
 * All ops in order; entries[i] is where op i of the first part can be entered, ~0 where its handler
 * stays. @guess: what cc.op holds now, before the first op.
 */
static void emit_ops(struct jit *j, uint32_t *entries, unsigned guess, bool counts)
{
	bool at_start = true;

	for (j->i = 0; j->i < j->n; j->i++) {
		uint32_t here = j->e.len, n_exits = j->n_exits;

		if (j->part + 1 < j->n_parts && j->i == j->parts[j->part + 1].first)
			j->part++;
		j->at = j->op[j->i];
		entries[j->i] = ~0U;
		if (at_start)
			start(j, guess, counts);
		if (template(j)) {
			if (at_start)
				entries[j->i] = here;
			at_start = false;
			if (!is_branch(&j->in[j->i]) && jit_continues(j))
				jit_continue(j, j->at + 1, 0);
			continue;
		}
		if (j->part) {
			leave_to_handler(j);
			return;
		}
		if (j->i == 0)
			j->entry = ~0U;
		if (at_start) {
			j->e.len = here;
			j->n_exits = n_exits;
		} else {
			leave_to_handler(j);
		}
		at_start = true;
	}
	if (!at_start && !is_branch(&j->in[j->n - 1]))
		jit_go(j, j->at + 1, 0);
}

/* Where the trace does not go. */
static void emit_side(struct jit *j, const struct jit_exit *x)
{
	struct emit hot = j->e;

	j->e = j->cold;
	j->cold = hot;
	j->in_cold = true;
	j->page = x->page;
	jit_go(j, x->op, x->kind == JIT_SIDE1);
	hot = j->cold;
	j->cold = j->e;
	j->e = hot;
	j->in_cold = false;
}

/* RAX = @fn, which may have been translated before. */
static void load_fn(const struct jit *j, struct emit *e, op_fn fn)
{
	const struct execmem *m = &j->code->jit;

	if ((uintptr_t)fn - (uintptr_t)m->rx < m->size)
		emit_address(e, RAX, (const void *)(uintptr_t)fn);
	else
		emit_function(e, RAX, (uintptr_t)fn);
}

static void emit_exit(struct jit *j, const struct jit_exit *x)
{
	const struct op *op = x->op;
	struct emit *e = &j->cold;
	op_fn fn = op_stop;

	switch (x->kind) {
	case JIT_SIDE0:
	case JIT_SIDE1: emit_side(j, x); return;
	case JIT_FOLLOW0:
	case JIT_FOLLOW1:
		load_op(e, op);
		emit_mov_imm(e, RDX, x->kind == JIT_FOLLOW1);
		emit_function(e, RAX, (uintptr_t)op_follow);
		emit8(e, 0xff);
		emit8(e, 0xe0); /* jmp rax */
		return;
	case JIT_SLOW: fn = op_slow; break;
	case JIT_HOT: fn = jit_hot; break;
	case JIT_HANDLER: fn = handler_of(j, op); break;
	case JIT_STOP_SELF:
	case JIT_STOP_HEAD: op = j->ops - 1; break;
	default: op = op_exit(op)->link[x->kind == JIT_STOP1]; break;
	}
	if (x->kind != JIT_STOP_HEAD)
		load_op(e, op);
	load_fn(j, e, fn);
	emit8(e, 0xff);
	emit8(e, 0xe0);
}

/* Where the jumps to cold code go; each destination is written once. More come on the way. */
static void emit_exits(struct jit *j)
{
	for (unsigned a = 0; a < j->n_exits; a++) {
		struct jit_exit x = j->exits[a];
		uint32_t to = j->cold.len;

		if (!x.at)
			continue;
		emit_exit(j, &x);
		for (unsigned b = a; b < j->n_exits; b++) {
			struct jit_exit *y = &j->exits[b];

			if (y->kind != x.kind || y->op != x.op || y->page != x.page || !y->at)
				continue;
			if (y->cold)
				emit_bind(&j->cold, y->at, to);
			else
				emit_bind(&j->e, y->at, j->cold.at + to - j->e.at);
			y->at = 0;
		}
	}
}

static void publish(struct block_cpu *code, struct jit *j, const uint32_t *entries)
{
	uint8_t *start = code->jit.rx + code->jit_used;

	for (unsigned i = 0; i <= j->ops[0].left; i++)
		if (entries[i] != ~0U)
			j->ops[i].fn = (op_fn)(uintptr_t)(start + entries[i]);
	code->jit_used += ALIGN_UP(j->e.len, 16);
	code->jit_cold_used += j->cold.len;
}

static struct emit emit_at(const struct block_cpu *code, size_t off)
{
	return (struct emit){ .at = code->jit.rw + off,
			      .room = JIT_BLOCK_BYTES,
			      .run = code->jit.rx + off,
			      .exe = &code->exe_base };
}

/* The block by itself, counting, or with @trace as the first of a trace. */
static void translate(struct cpu *cpu, struct block *b, bool trace)
{
	struct block_cpu *code = cpu->code;
	uint32_t entries[JIT_MAX_INSNS];
	struct jit *j;

	if (JIT_COLD_START - code->jit_used < JIT_BLOCK_BYTES ||
	    JIT_ARENA_BYTES - code->jit_cold_used < JIT_BLOCK_BYTES) {
		block_flush_soon(cpu); /* no room left: all over again */
		return;
	}
	j = calloc(1, sizeof(*j));
	if (!j)
		return;
	j->code = code;
	j->ops = b->ops + 1;
	j->half = cpu->page_va >> 63;
	j->entry = ~0U;
	j->e = emit_at(code, code->jit_used);
	j->cold = emit_at(code, code->jit_cold_used);
	if (jit_select(cpu, j, b, trace)) {
		emit_ops(j, entries, cpu->cc.op, !trace);
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

void jit_translate(struct cpu *cpu, struct block *b)
{
	b->ops[0].disp = cpu->code->jit_trace_threshold;
	b->ops[1].fn = b->ops[0].fn;
	translate(cpu, b, false);
}

const struct op *jit_warm(struct cpu *cpu, const struct op *op)
{
	struct block *b = op[-1].block;

	if (--b->ops[0].disp <= 0) {
		jit_translate(cpu, b);
		OP_GO(op);
	}
	return b->ops[0].fn(cpu, op);
}

/* First op of a translated block whose count has come to 0. */
static const struct op *jit_hot(struct cpu *cpu, const struct op *op)
{
	translate(cpu, op[-1].block, true);
	OP_GO(op);
}
