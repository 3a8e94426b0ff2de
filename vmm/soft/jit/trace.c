/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Traces: which blocks are translated together.
 *
 * Theory of operation. A block that stays hot after it has been translated by itself is translated
 * again, as the first part of a trace: the blocks that mostly follow one another, over jumps, calls
 * and the returns from them, each of which becomes a part with its own instructions and its own
 * charge to the budget. Where control leaves a trace it does so as from the part's own block. A
 * return is taken to go behind the call that the trace came by, and the address is compared.
 * A trace holds as long as the bytes of all its parts: each part's block knows the traces it is in
 * (block_kill()). A part on another page is entered only while the successor that op_follow() has
 * noted is the one that was translated, and is where it was; within a trace no translation changes,
 * so a return to a page that the trace came from needs no check.
 */
#include "soft/exec.h"
#include "soft/jit/jit_priv.h"
#include "soft/stub.h"

op_fn jit_handler(const struct block *b, unsigned i)
{
	return i ? b->ops[1 + i].fn : b->ops[0].fn;
}

static bool is_general(op_fn fn)
{
	return fn == op_general || fn == op_vector;
}

/* The block's instructions once more, behind those there are; false: its bytes have changed. */
static bool decode_part(struct cpu *cpu, struct jit *j, const struct block *b)
{
	const struct decode_env env = { .features = cpu->code->features, .mode = CPU_LONG64 };
	const uint8_t *p = (const uint8_t *)(uintptr_t)(b->key & BLOCK_KEY_HOST);
	unsigned n = b->ops[0].left, pos = 0;
	bool *general = j->general + j->n;

	for (unsigned i = 0; i < n; i++) {
		const struct op *op = &b->ops[1 + i];
		struct insn *in = &j->in[j->n + i];

		general[i] = is_general(jit_handler(b, i));
		if (general[i])
			*in = *op->insn;
		else if (decode_insn(&env, p + pos, b->n_bytes - pos, in) != DECODE_OK)
			return false;
		if (in->len != op->len)
			return false;
		j->op[j->n + i] = op;
		pos += op->len;
	}
	block_dead_flags(j->in + j->n, n, general, j->dead + j->n);
	return true;
}

/* The block becomes the next part. */
static bool append(struct cpu *cpu, struct jit *j, struct block *b)
{
	struct jit_part *p = &j->parts[j->n_parts];

	if (!decode_part(cpu, j, b))
		return false;
	*p = (struct jit_part){ .block = b, .first = j->n };
	j->n += b->ops[0].left;
	j->n_parts++;
	return true;
}

/* The smaller, the more often the block has been entered by itself. */
static int64_t coolness(const struct cpu *cpu, const struct op *head)
{
	return (int64_t)head->disp + (head[1].fn == jit_warm ? cpu->code->jit_trace_threshold : 0);
}

static const struct op *successor(const struct op_exit *x, unsigned dir)
{
	return (uint64_t)x->target[dir] < GMEM_PAGE_SIZE ? x->link[dir] : x->xlink[dir];
}

static unsigned likely_direction(const struct cpu *cpu, const struct op_exit *x)
{
	const struct op *a = successor(x, 0), *b = successor(x, 1);

	if (!a || !b)
		return b != NULL;
	return coolness(cpu, b) < coolness(cpu, a);
}

/* The block behind the call that the return at the trace's end belongs to. */
static struct block *return_block(struct cpu *cpu, const struct jit *j, struct jit_part *p)
{
	const struct jit_part *caller;
	const struct op *call;
	const uint8_t *host;

	if (!j->depth)
		return NULL;
	caller = &j->parts[j->calls[j->depth - 1]];
	call = j->op[caller[1].first - 1];
	host = (const uint8_t *)(uintptr_t)(caller->block->key & BLOCK_KEY_HOST);
	if ((unsigned)(call->off + call->len) >= GMEM_PAGE_SIZE)
		return NULL;
	p->page_step = caller->page - p->page;
	p->returns_to = call->off + call->len;
	return block_lookup(cpu->code,
			    block_key(cpu,
				      host + (call->off - caller->block->ops[0].off) + call->len));
}

/* A branch that leaves the upper bits of the target out: its block's exits say nothing of it. */
static bool is_near16(const struct insn *in)
{
	return in->op_size == 2 &&
	       (in->op == OP_JCC || in->op == OP_JMP || in->op == OP_CALL || in->op == OP_RET);
}

/* How the last part goes on, and to which block; NULL: the trace ends with it. */
static struct block *next_block(struct cpu *cpu, struct jit *j)
{
	struct jit_part *p = &j->parts[j->n_parts - 1];
	const struct insn *in = &j->in[j->n - 1];
	const struct op *last = j->op[j->n - 1], *head;
	const struct op_exit *x;

	if (is_near16(in))
		return NULL;
	switch (in->op) {
	case OP_RET: return in->imm ? NULL : return_block(cpu, j, p);
	case OP_JMP:
	case OP_CALL:
		if (in->form != FORM_REL)
			return NULL;
		p->dir = 1;
		break;
	case OP_JCC: p->dir = likely_direction(cpu, op_exit(last)); break;
	default:
		if (last[1].fn != op_fallthrough)
			return NULL;
		last++;
		p->dir = 0;
		break;
	}
	x = op_exit(last);
	head = successor(x, p->dir);
	p->page_step = x->target[p->dir] & ~(int64_t)(GMEM_PAGE_SIZE - 1);
	if (!head || p->page_step != (int32_t)p->page_step)
		return NULL;
	return head->block;
}

/* A store over the return address: the return goes elsewhere, as in a retpoline. */
static bool replaces_return(const struct jit *j, const struct jit_part *p)
{
	for (unsigned i = p->first; i < j->n; i++)
		if (insn_is_mem(&j->in[i]) && j->in[i].base == HV_RSP &&
		    j->in[i].index == INSN_REG_NONE && (j->in[i].mem_rw & INSN_MEM_W) &&
		    j->in[i].disp == 0)
			return true;
	return false;
}

/* Whether all instructions of the block have host code, more or less: emit_ops() knows. */
static bool has_templates(const struct block *b)
{
	for (unsigned i = 0; i < b->ops[0].left; i++)
		if (jit_handler(b, i) == op_general)
			return false;
	return true;
}

static bool can_append(const struct jit *j, const struct block *b)
{
	if (!b || b->dead || b->ops[1].fn == op_check_cross || j->n_parts == JIT_MAX_PARTS ||
	    j->n + b->ops[0].left > JIT_MAX_INSNS || !has_templates(b))
		return false;
	for (unsigned i = 0; i < j->n_parts; i++)
		if (j->parts[i].block == b && j->in[j->n - 1].op != OP_CALL &&
		    j->in[j->n - 1].op != OP_RET)
			return false;
	return j->parts[0].block != b;
}

/* Keep track of calls and of pages for the part that has just been appended. */
static void follow_call(struct jit *j)
{
	struct jit_part *p = &j->parts[j->n_parts - 1];
	const struct insn *in = &j->in[p->first - 1];

	p->page = p[-1].page + p[-1].page_step;
	if (in->op == OP_RET) {
		j->depth--;
	} else if (in->op == OP_CALL) {
		if (j->depth == JIT_MAX_CALLS) {
			memmove(j->calls, j->calls + 1, JIT_MAX_CALLS - 1);
			j->depth--;
		}
		j->calls[j->depth++] = j->n_parts - 2;
	}
	if (j->depth && replaces_return(j, p))
		j->depth = 0;
}

bool jit_select(struct cpu *cpu, struct jit *j, struct block *b, bool trace)
{
	if (!append(cpu, j, b))
		return false;
	while (trace) {
		struct block *next = next_block(cpu, j);

		if (!can_append(j, next) || !block_depend(cpu->code, next, b))
			break;
		if (!append(cpu, j, next))
			return false;
		follow_call(j);
	}
	return true;
}
