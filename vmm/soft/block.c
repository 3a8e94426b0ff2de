/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Running blocks: look-up, links, leaving, invalidation.
 *
 * Theory of operation. Blocks belong to one vCPU and are found by the host address of their first
 * byte and the mode, so that a change of address space costs nothing and code shared by processes
 * is decoded once. Successors on the same page are linked directly: control stays on the page, so
 * its translation holds. What is remembered of other addresses (a successor on another page, the
 * target of an indirect jump) is good for as long as no translation of the present TLB array has
 * been withdrawn, which cpu->code_gen tells. A block is killed by turning its first op into
 * op_dead: whoever still has a link to it finds its way from there. The memory is reclaimed when
 * all of it is used up, all at once.
 */
#include <string.h>
#include <sys/mman.h>

#include "base/clock.h"
#include "soft/block_priv.h"
#include "soft/exe.h"
#include "soft/exec.h"
#include "soft/flags.h"
#include "soft/jit/jit.h"
#include "soft/mmu.h"

/* ---- look-up ---- */

void block_insert(struct block_cpu *code, struct block *b)
{
	block_ref *slot = &code->hash[hash_slot(b->key)], *page = &code->pages[page_slot(b->gpa)];

	b->hash_next = *slot;
	b->page_next = *page;
	*slot = *page = block_ref_of(code, b);
}

static void forget_all(struct block_cpu *code)
{
	memset(code, 0, BLOCK_TABLES_BYTES);
	code->arena_used = ARENA_START;
	code->save_end = 0;
	jit_reset(code);
	code->flushes++;
}

void block_flush(struct cpu *cpu)
{
	forget_all(cpu->code);
}

void block_flush_soon(struct cpu *cpu)
{
	struct block_cpu *code = cpu->code;

	pthread_mutex_lock(&code->lock);
	code->n_queue = INVAL_QUEUE + 1;
	atomic_store(&code->pending, true);
	pthread_mutex_unlock(&code->lock);
	cpu_attention(cpu);
}

void block_enough(struct cpu *cpu)
{
	struct block_cpu *code = cpu->code;

	pthread_mutex_lock(&code->lock);
	code->enough = true;
	atomic_store(&code->pending, true);
	pthread_mutex_unlock(&code->lock);
	cpu_attention(cpu);
}

/* ---- giving memory back ---- */

#define IDLE_KEEP  (2 * MIB) /* of decoded code: never worth giving back */
#define IDLE_INSNS 2000000   /* executed in all of the time that counts as idle */
#define IDLE_MIN   NSEC_PER_SEC
#define IDLE_MAX   (64 * NSEC_PER_SEC)

uint64_t block_idle_until(struct cpu *cpu, uint64_t now)
{
	struct block_cpu *code = cpu->code;

	if (code->arena_used - ARENA_START < IDLE_KEEP)
		return UINT64_MAX;
	if (cpu->stats.n_insns - code->idle_insns > IDLE_INSNS || !code->idle_ns) {
		code->idle_insns = cpu->stats.n_insns;
		code->idle_since = now;
		if (!code->idle_ns)
			code->idle_ns = IDLE_MIN;
	}
	return code->idle_since + code->idle_ns;
}

void block_give_back(struct cpu *cpu)
{
	struct block_cpu *code = cpu->code;

	forget_all(code);
	madvise((uint8_t *)code + ARENA_START, CODE_ARENA_BYTES - ARENA_START, MADV_DONTNEED);
	code->idle_ns = MIN(2 * code->idle_ns, IDLE_MAX);
}

static void exec_one(struct cpu *cpu);

static __attribute__((noinline)) const struct op *find_slow(struct cpu *cpu, uint64_t rip,
							    const uint8_t *host)
{
	struct block_cpu *code = cpu->code;
	uint64_t key = block_key(cpu, host);
	struct jump_entry *j = &code->jumps[jump_slot((uint64_t)(uintptr_t)host)];
	struct block *b;
	gpa_t gpa;

	b = block_lookup(code, key);
	if (!b) {
		cpu->rip = rip;
		host = mmu_fetch(cpu, rip, &gpa);
		if (!host)
			return NULL;
		key = block_key(cpu, host);
		if (code_page_is_hot(cpu, gpa)) {
			exec_one(cpu);
			return NULL;
		}
		b = block_build(cpu, rip, host, gpa);
		if (!b && !cpu->exc.pending) {
			forget_all(code);
			b = block_build(cpu, rip, host, gpa);
		}
		if (!b)
			return NULL;
		b->key = key;
		block_insert(code, b);
		j = &code->jumps[jump_slot((uint64_t)(uintptr_t)host)];
	}
	*j = (struct jump_entry){ key, b->ops };
	return b->ops;
}

/*
 * The gen under which the translation of code at @rip may be kept, which the TLB has just given; 0:
 * it may not.
 */
static inline uint64_t keep_gen(const struct cpu *cpu, uint64_t rip)
{
	const struct tlb_array *a = (const struct tlb_array *)(const void *)cpu->tlb;
	unsigned i = (rip >> GMEM_PAGE_SHIFT) & (TLB_ENTRIES - 1);

	if ((rip >> 63) && cpu->cpl != 3 &&
	    (!(a->kind[i] & TLB_GLOBAL) || a->e[i].tag_x != (rip & ~(GMEM_PAGE_SIZE - 1))))
		return 0;
	return cpu->code_gen[rip >> 63];
}

/* Host address of the code at @rip, which the TLB's slot does not have. NULL: exc is set, rip too.
 */
static __attribute__((noinline)) const uint8_t *fetch_host(struct cpu *cpu, uint64_t rip,
							   uint64_t *ret_gen)
{
	uint64_t page = rip & ~(GMEM_PAGE_SIZE - 1);
	struct code_tlb_entry *c = &cpu->code->pages_seen[(rip >> 12 ^ rip >> 18 ^ rip >> 24) &
							  ((1U << CODE_TLB_BITS) - 1)];
	const uint8_t *host;
	gpa_t gpa;

	if (c->page == page && c->gen == cpu->code_gen[rip >> 63]) {
		*ret_gen = c->gen;
		return c->host + (rip - page);
	}
	cpu->rip = rip;
	host = mmu_fetch(cpu, rip, &gpa);
	if (!host)
		return NULL;
	*ret_gen = keep_gen(cpu, rip);
	*c = (struct code_tlb_entry){ page, *ret_gen, host - (rip - page) };
	return host;
}

/*
 * Head of the block at @rip, made if need be; cpu->page_va is set for it. NULL: back to cpu_exec(),
 * rip is right, an exception may be pending, or an instruction of an uncached page has been run.
 * *ret_host is where the code lies, *ret_gen as keep_gen() has it.
 */
static inline const struct op *find(struct cpu *cpu, uint64_t rip, uint64_t *ret_host,
				    uint64_t *ret_gen)
{
	const struct tlb_entry *e = tlb_slot(cpu, rip);
	const struct jump_entry *j;
	const uint8_t *host;

	if (likely((rip & ~(GMEM_PAGE_SIZE - 1)) == e->tag_x)) {
		host = tlb_host(e, rip);
		*ret_gen = keep_gen(cpu, rip);
	} else {
		host = fetch_host(cpu, rip, ret_gen);
		if (!host)
			return NULL;
	}
	cpu->page_va = rip & ~(GMEM_PAGE_SIZE - 1);
	*ret_host = (uint64_t)(uintptr_t)host;
	j = &cpu->code->jumps[jump_slot((uint64_t)(uintptr_t)host)];
	if (likely(j->key == block_key(cpu, host)))
		return j->head;
	return find_slow(cpu, rip, host);
}

/* The same, remembered for op_jump(). */
static __attribute__((noinline)) const struct op *find_target(struct cpu *cpu, uint64_t rip)
{
	uint64_t host, gen;
	const struct op *head = find(cpu, rip, &host, &gen);

	if (head && cpu->code_key == CODE_KEY_LONG)
		cpu->code->targets[target_slot(rip)] =
			(struct target_entry){ .rip = rip, .gen = gen, .head = head };
	return head;
}

const struct op *op_jump(struct cpu *cpu, uint64_t rip)
{
	const struct target_entry *t = &cpu->code->targets[target_slot(rip)];
	const struct op *head;

	if (likely(t->rip == rip && t->gen == cpu->code_gen[rip >> 63] &&
		   cpu->code_key == CODE_KEY_LONG)) {
		cpu->page_va = rip & ~(GMEM_PAGE_SIZE - 1);
		head = t->head;
		OP_ENTER(head);
	}
	head = find_target(cpu, rip);
	if (unlikely(!head))
		return NULL;
	OP_ENTER(head);
}

/* Read-only to the handlers; this file fills the links in. */
static struct op_exit *exit_of(const struct op *last)
{
	return (struct op_exit *)(uintptr_t)op_exit(last);
}

static __attribute__((noinline)) const struct op *follow_slow(struct cpu *cpu, const struct op *op,
							      unsigned dir, uint64_t rip, bool same)
{
	uint32_t flushes = cpu->code->flushes;
	uint64_t from = cpu->page_va, host, gen;
	const struct op *head = find(cpu, rip, &host, &gen);

	if (!head)
		return NULL;
	if (cpu->code->flushes == flushes) {
		if (same) {
			exit_of(op)->link[dir] = head;
		} else {
			exit_of(op)->xlink[dir] = head;
			exit_of(op)->xhost[dir] = host;
			exit_of(op)->xfrom[dir] = from;
			exit_of(op)->xgen[dir] = gen;
		}
	}
	return head;
}

const struct op *op_follow(struct cpu *cpu, const struct op *op, unsigned dir)
{
	struct op_exit *x = exit_of(op);
	uint64_t rip = cpu->page_va + x->target[dir];
	bool same = (uint64_t)x->target[dir] < GMEM_PAGE_SIZE;
	const struct tlb_entry *e;
	const struct op *head;

	if (same && x->link[dir]) {
		head = x->link[dir];
		OP_ENTER(head);
	}
	if (!same) {
		if (unlikely(cpu->mode != CPU_LONG64))
			rip = (uint32_t)rip;
		e = tlb_slot(cpu, rip);
		if (likely((rip & ~(GMEM_PAGE_SIZE - 1)) == e->tag_x &&
			   rip + e->addend == x->xhost[dir])) {
			x->xfrom[dir] = cpu->page_va;
			x->xgen[dir] = keep_gen(cpu, rip);
			cpu->page_va = rip & ~(GMEM_PAGE_SIZE - 1);
			head = x->xlink[dir];
			OP_ENTER(head);
		}
	}
	head = follow_slow(cpu, op, dir, rip, same);
	if (unlikely(!head))
		return NULL;
	OP_ENTER(head);
}

/* ---- leaving ---- */

const struct op *op_stop(struct cpu *cpu, const struct op *head)
{
	cpu->rip = cpu->page_va + head->off;
	return NULL;
}

/* The op has not happened: leave at its instruction. */
static const struct op *leave_before(struct cpu *cpu, const struct op *op)
{
	cpu->rip = cpu->page_va + op->off;
	cpu->budget += op->left + 1;
	return NULL;
}

/* Where a killed block was, its successor is: remember that. */
static const struct op *op_forward(struct cpu *cpu, const struct op *op)
{
	const struct op *head = (const struct op *)(uintptr_t)op->imm;

	cpu->budget += op->left + 1;
	if (head[1].fn == op_forward)
		((struct op *)(uintptr_t)op)->imm = head[1].imm;
	OP_ENTER(head);
}

const struct op *op_dead(struct cpu *cpu, const struct op *op)
{
	uint32_t flushes = cpu->code->flushes;
	const struct op *head;

	leave_before(cpu, op);
	head = find_target(cpu, cpu->rip);
	if (!head)
		return NULL;
	if (cpu->code->flushes == flushes && head != op - 1) {
		((struct op *)(uintptr_t)op)->imm = (int64_t)(uintptr_t)head;
		((struct op *)(uintptr_t)op)->fn = op_forward;
	}
	OP_ENTER(head);
}

const struct op *op_fallthrough(struct cpu *cpu, const struct op *op)
{
	OP_BRANCH(op, 0);
}

/*
 * Where the code at @va is now. Out of line: a local whose address escapes would keep the caller's
 * frame alive over its tail call, one more each time round a loop.
 */
static __attribute__((noinline)) const uint8_t *fetch_only(struct cpu *cpu, uint64_t va)
{
	gpa_t gpa;

	return mmu_fetch(cpu, va, &gpa);
}

/* First op of a block whose only instruction goes on in another page: is it the same one still? */
const struct op *op_check_cross(struct cpu *cpu, const struct op *op)
{
	const struct insn *in = op[1].insn;
	uint64_t va = cpu->page_va + GMEM_PAGE_SIZE;
	const uint8_t *host = fetch_only(cpu, cpu->mode == CPU_LONG64 ? va : (uint32_t)va);
	unsigned room = GMEM_PAGE_SIZE - op->off;

	if (!host)
		return leave_before(cpu, op);
	if (memcmp(host, in->bytes + room, op->len)) {
		block_kill(cpu->code, op[-1].block);
		return leave_before(cpu, op);
	}
	OP_GO(op + 1);
}

/* After a branch by the general way (SYSCALL, IRET): 64-bit code as before, and nothing to look at.
 */
static inline bool nothing_special(const struct cpu *cpu)
{
	return cpu->mode == CPU_LONG64 && cpu->code_key == CODE_KEY_LONG &&
	       !(cpu->rflags & (FL_TF | FL_RF)) && !cpu->shadow && !cpu->smc_hit &&
	       !cpu->db_pending && !cpu->exc.pending && !cpu->halted && !(cpu->dr7 & 0xff) &&
	       !cpu->step;
}

static inline const struct op *run_insn(struct cpu *cpu, const struct op *op, const struct insn *in)
{
	if (cpu->cc.op != CC_EXPLICIT)
		flags_sync(cpu);
	cpu->rip = cpu->page_va + op->off;
	cpu->next_rip = cpu->rip + in->len;
	switch (in->exec(cpu, in)) {
	case INSN_DONE:
		if (likely(!cpu->smc_hit && !cpu->db_pending &&
			   !atomic_load_explicit(&cpu->stop_at, memory_order_relaxed)))
			OP_GO(op + 1);
		cpu->rip = cpu->next_rip;
		break;
	case INSN_STOP:
		/* nobody waits: blocks look at events between one another only, which is shadow
		 * enough */
		if (in->exec == exec_sti && op->left &&
		    !atomic_load_explicit(&cpu->stop_at, memory_order_relaxed)) {
			cpu->shadow = 0;
			OP_GO(op + 1);
		}
		cpu->rip = cpu->next_rip;
		break;
	case INSN_FAULT: cpu->budget++; break;
	case INSN_BRANCH:
		if (likely(nothing_special(cpu))) {
			cpu->budget += op->left;
			return op_jump(cpu, cpu->rip);
		}
		break;
	case INSN_REPEAT: break;
	}
	cpu->smc_hit = false;
	cpu->budget += op->left;
	return NULL;
}

const struct op *op_general(struct cpu *cpu, const struct op *op)
{
	return run_insn(cpu, op, op->insn);
}

/* An instruction that leaves flags alone: they may stay lazy. */
const struct op *op_vector(struct cpu *cpu, const struct op *op)
{
	const struct insn *in = op->insn;
	enum insn_result res;

	cpu->rip = cpu->page_va + op->off;
	cpu->next_rip = cpu->rip + in->len;
	res = in->exec(cpu, in);
	if (likely(res == INSN_DONE && !cpu->smc_hit && !cpu->db_pending))
		OP_GO(op + 1);
	if (res == INSN_DONE)
		cpu->rip = cpu->next_rip;
	else
		cpu->budget++;
	cpu->smc_hit = false;
	cpu->budget += op->left;
	return NULL;
}

/* The decoded instruction of an op that has a handler: decoded again, and kept for a while. */
static const struct insn *slow_insn(struct cpu *cpu, const struct op *op)
{
	struct slow_entry *s =
		&cpu->code->slow[((uintptr_t)op / sizeof(*op)) & ((1U << SLOW_CACHE_BITS) - 1)];

	if (s->op == op)
		return &s->in;
	s->op = NULL;
	if (!block_decode_one(cpu, cpu->page_va + op->off, &s->in))
		return NULL;
	if (s->in.len != op->len) /* changed under us; the block is about to be killed */
		return NULL;
	s->op = op;
	return &s->in;
}

const struct op *op_slow(struct cpu *cpu, const struct op *op)
{
	const struct insn *in;

	cpu->rip = cpu->page_va + op->off;
	in = slow_insn(cpu, op);
	if (unlikely(!in))
		return leave_before(cpu, op);
	return run_insn(cpu, op, in);
}

/* ---- invalidation ---- */

bool block_depend(struct block_cpu *code, struct block *b, struct block *user)
{
	struct block_dep *dep;

	for (dep = block_at(code, b->deps); dep; dep = block_at(code, dep->next))
		if (dep->user == user)
			return true;
	dep = block_alloc(code, sizeof(*dep));
	if (!dep)
		return false;
	*dep = (struct block_dep){ user, b->deps };
	b->deps = block_ref_of(code, dep);
	return true;
}

static void forget(struct block_cpu *code, struct block *b)
{
	block_ref *p = &code->hash[hash_slot(b->key)];
	struct jump_entry *j = &code->jumps[jump_slot(b->key & BLOCK_KEY_HOST)];

	if (b->dead)
		return;
	while (*p && block_at(code, *p) != b)
		p = &((struct block *)block_at(code, *p))->hash_next;
	if (*p)
		*p = b->hash_next;
	if (j->head == b->ops)
		*j = (struct jump_entry){ 0, NULL };
	b->dead = true;
	b->ops[1].fn = op_dead;
}

/* Those that use it have its code in theirs, but not in their bytes: theirs need not go on. */
void block_kill(struct block_cpu *code, struct block *b)
{
	for (struct block_dep *d = block_at(code, b->deps); d; d = block_at(code, d->next))
		forget(code, d->user);
	forget(code, b);
}

static bool overlaps(gpa_t a, uint64_t a_len, gpa_t b, uint64_t b_len)
{
	return a < b + b_len && b < a + a_len;
}

/* One queued range: it lies in one page. */
static void invalidate(struct block_cpu *code, gpa_t gpa, uint64_t len)
{
	block_ref *p = &code->pages[page_slot(gpa)];

	while (*p) {
		struct block *b = block_at(code, *p);

		if (overlaps(gpa, len, b->gpa, b->n_bytes))
			block_kill(code, b);
		if (b->dead)
			*p = b->page_next;
		else
			p = &b->page_next;
	}
}

__attribute__((noinline)) void block_take_queue(struct block_cpu *code)
{
	struct inval q[INVAL_QUEUE];
	unsigned n;

	pthread_mutex_lock(&code->lock);
	n = code->n_queue;
	if (code->enough)
		code->save_end = code->arena_used;
	code->enough = false;
	memcpy(q, code->queue, sizeof(q));
	code->n_queue = 0;
	atomic_store(&code->pending, false);
	pthread_mutex_unlock(&code->lock);
	if (n > INVAL_QUEUE) {
		forget_all(code);
		return;
	}
	memset(code->slow, 0, sizeof(code->slow));
	for (unsigned i = 0; i < n; i++)
		invalidate(code, q[i].gpa, q[i].len);
}

/* ---- one instruction at a time ---- */

/* Instruction breakpoints of DR7 at the instruction about to run. */
static bool breakpoint_hit(struct cpu *cpu)
{
	uint64_t lin = cpu->rip + (cpu->mode == CPU_LONG64 ? 0 : cpu->seg[HV_CS].base);
	uint64_t bits = 0;

	for (unsigned i = 0; i < 4; i++)
		if ((cpu->dr7 >> (2 * i) & 3) && (cpu->dr7 >> (16 + 4 * i) & 15) == 0 &&
		    cpu->dr[i] == lin)
			bits |= 1U << i;
	if (!bits)
		return false;
	cpu_raise(cpu, VEC_DB);
	cpu->exc.dr6 = bits;
	return true;
}

static bool insn_breakpoints(const struct cpu *cpu)
{
	if (likely(!(cpu->dr7 & 0xff)))
		return false;
	for (unsigned i = 0; i < 4; i++)
		if ((cpu->dr7 >> (2 * i) & 3) && (cpu->dr7 >> (16 + 4 * i) & 3) == 0)
			return true;
	return false;
}

/* Linear address of the next instruction, within CS's limit. */
static bool code_address(struct cpu *cpu, uint64_t *ret_va)
{
	*ret_va = cpu->rip;
	if (cpu->mode == CPU_LONG64)
		return true;
	if (cpu->rip > cpu->seg[HV_CS].limit) {
		cpu_raise_err(cpu, VEC_GP, 0);
		return false;
	}
	*ret_va = (uint32_t)(cpu->seg[HV_CS].base + cpu->rip);
	return true;
}

static void exec_one(struct cpu *cpu)
{
	struct insn in;
	uint64_t va;

	flags_sync(cpu);
	if (!code_address(cpu, &va) || !block_decode_one(cpu, va, &in))
		return;
	cpu->next_rip = cpu->rip + in.len;
	if (cpu->mode != CPU_LONG64)
		cpu->next_rip &= cpu->seg[HV_CS].attr & HV_SEG_DB ? 0xffffffff : 0xffff;
	cpu->budget--;
	switch (in.exec(cpu, &in)) {
	case INSN_DONE:
	case INSN_STOP: cpu->rip = cpu->next_rip; break;
	case INSN_FAULT: cpu->budget++; break;
	case INSN_BRANCH:
	case INSN_REPEAT: break;
	}
	cpu->smc_hit = false;
}

/* With everything that can happen around one instruction: breakpoints, RF, shadow, trap flag. */
static void exec_single(struct cpu *cpu)
{
	bool trap = cpu->rflags & FL_TF, resume = cpu->rflags & FL_RF;

	flags_sync(cpu);
	cpu->rflags &= ~FL_RF; /* a fault pushes it as set whatever it was */
	if (!resume && insn_breakpoints(cpu) && breakpoint_hit(cpu))
		return;
	cpu->shadow = 0;
	cpu->task_switched = false;
	exec_one(cpu);
	if (cpu->exc.pending)
		return;
	if (trap && cpu->shadow != 2 && !cpu->task_switched)
		cpu->db_pending |= 1U << 14;
}

static bool flat_data(const struct hv_segment *s)
{
	return s->base == 0 && s->limit == 0xffffffff &&
	       (s->attr & (HV_SEG_UNUSABLE | HV_SEG_S | 0x0e)) == (HV_SEG_S | 2);
}

/* cpu->code_key for the present mode and segments. */
static uint64_t code_key(const struct cpu *cpu)
{
	if (likely(cpu->mode == CPU_LONG64))
		return CODE_KEY_LONG;
	if (cpu->mode != CPU_PROT32 && cpu->mode != CPU_COMPAT32)
		return CODE_KEY_NONE;
	if (cpu->seg[HV_CS].base || cpu->seg[HV_CS].limit != 0xffffffff)
		return CODE_KEY_NONE;
	if (flat_data(&cpu->seg[HV_DS]) && flat_data(&cpu->seg[HV_ES]) &&
	    flat_data(&cpu->seg[HV_SS]) && (cpu->seg[HV_SS].attr & HV_SEG_DB))
		return CODE_KEY_FLAT;
	return CODE_KEY_CS32;
}

/* op->fn(cpu, op), for translated code that leaves no register as it was. */
__attribute__((naked, noinline)) static const struct op *run_op(struct cpu *cpu,
								const struct op *op)
{
	__asm__("push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15\n\t"
		"sub $8, %rsp\n\t"
		"call *(%rsi)\n\t"
		"add $8, %rsp\n\t"
		"pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx\n\t"
		"ret");
}

static const struct op *op_start(struct cpu *cpu, const struct op *op)
{
	return op_jump(cpu, cpu->rip);
}

static void run_blocks(struct cpu *cpu)
{
	static const struct op start = { .fn = op_start };
	const struct op *op = &start;

	while (op)
		op = run_op(cpu, op);
}

static void raise_trap(struct cpu *cpu)
{
	uint32_t bits = cpu->db_pending;

	cpu->db_pending = 0;
	if (cpu->exc.pending)
		return;
	cpu_raise(cpu, VEC_DB);
	cpu->exc.dr6 = bits;
}

void cpu_exec(struct cpu *cpu)
{
	int64_t start = cpu->budget;
	bool one = cpu->shadow;

	for (;;) {
		if (unlikely(atomic_load_explicit(&cpu->code->pending, memory_order_acquire)))
			block_take_queue(cpu->code);
		if (unlikely(cpu->db_pending))
			raise_trap(cpu);
		if (cpu->exc.pending || cpu->halted ||
		    cpu->budget <= atomic_load_explicit(&cpu->stop_at, memory_order_acquire))
			break;
		cpu->code_key = code_key(cpu);
		if (unlikely(cpu->step || cpu->shadow || (cpu->rflags & FL_TF) ||
			     cpu->code_key == CODE_KEY_NONE || insn_breakpoints(cpu))) {
			exec_single(cpu);
			if (one)
				break;
			continue;
		}
		cpu->rflags &= ~FL_RF;
		run_blocks(cpu);
	}
	if (unlikely(cpu->db_pending))
		raise_trap(cpu);
	flags_sync(cpu);
	cpu->stats.n_insns += start - cpu->budget;
}

/* ---- set-up ---- */

#define HUGE_PAGE (2 * MIB)

/*
 * Blocks and their tables in one mapping that asks for huge pages: a branch touches three or four
 * of these lines, each on a page of its own otherwise.
 */
static void *arena_map(bool huge)
{
	const size_t size = CODE_ARENA_BYTES + JIT_ARENA_BYTES;
	uint8_t *p = mmap(NULL, size + HUGE_PAGE, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	size_t skip;

	if (p == MAP_FAILED)
		return NULL;
	skip = ALIGN_UP((uintptr_t)p, HUGE_PAGE) - (uintptr_t)p;
	if (skip)
		munmap(p, skip);
	if (skip != HUGE_PAGE)
		munmap(p + skip + size, HUGE_PAGE - skip);
	if (huge)
		madvise(p + skip, CODE_ARENA_BYTES, MADV_HUGEPAGE);
	return p + skip;
}

struct block_cpu *block_arena_new(bool runs)
{
	struct block_cpu *code = arena_map(runs);

	if (!code)
		return NULL;
	code->arena_used = ARENA_START;
	code->exe_base = exe_base();
	pthread_mutex_init(&code->lock, NULL);
	return code;
}

void block_arena_free(struct block_cpu *code)
{
	pthread_mutex_destroy(&code->lock);
	munmap(code, CODE_ARENA_BYTES + JIT_ARENA_BYTES);
}

int block_cpu_new(struct cpu *cpu, struct err *err)
{
	struct block_cpu *code = block_arena_new(true);

	if (!code)
		return err_set(err, -ENOMEM, "memory for decoded code");
	code->features = decode_features(cpu->vm->config.cpuid);
	cpu->code = code;
	return cpu->vm->config.soft_mode == HV_SOFT_FAST ? jit_cpu_new(cpu, err) : 0;
}

void block_cpu_free(struct cpu *cpu)
{
	struct block_cpu *code = cpu->code;

	if (!code)
		return;
	jit_cpu_free(cpu);
	block_arena_free(code);
	cpu->code = NULL;
}
