/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The IR interpreter. Guest addresses are offsets into one block of memory placed at MEM_BASE:
 * data, then globals, then a stack that grows down from the end. Function addresses are numbers no
 * access can reach.
 */
#include "ir/interp.h"

#include <string.h>

#include "base/checked.h"

#define MEM_BASE    0x10000000ULL
#define STACK_BYTES ((uint64_t)1 << 20)
#define MAP_BYTES   ((uint64_t)16 << 20) /* for rtg_machine_map(), with a kernel of the caller's */
#define FUNC_BASE   0x7000000000ULL
#define MAX_CALLS   10000

struct frame {
	struct frame *up;
	const struct ir_func *f;
	uint64_t *regs;
	uint64_t *slots; /* addresses */
	uint32_t block, pc;
	uint32_t dst; /* of the call that made the next frame */
	uint64_t sp_above;
};

struct rtg_machine {
	struct ir_prog *p;
	const struct interp_sys *sys;
	struct interp_result *ret;
	uint8_t *mem;
	uint64_t mem_len, sp, stack_low;
	uint64_t map_next;
	uint64_t *sym_addr;
	struct frame *top;
	uint32_t n_calls;
	bool stopped;
};

static void trap(struct rtg_machine *m, const char *why)
{
	m->ret->trap = why;
	m->stopped = true;
}

static void layout(struct rtg_machine *m)
{
	struct ir_prog *p = m->p;
	uint64_t off = 16;

	m->sym_addr = arena_alloc(p->arena, p->syms.n * sizeof(*m->sym_addr));
	for (uint32_t i = 0; i < p->syms.n; i++) {
		const struct ir_sym *s = &p->syms.v[i];

		if (s->kind == IR_SYM_FUNC) {
			m->sym_addr[i] = FUNC_BASE + 16 * (uint64_t)i;
			continue;
		}
		off = ALIGN_UP(off, (uint64_t)16);
		m->sym_addr[i] = MEM_BASE + off;
		off += s->size;
	}
	m->stack_low = MEM_BASE + ALIGN_UP(off, (uint64_t)16);
	m->mem_len = m->stack_low - MEM_BASE + STACK_BYTES;
	m->sp = MEM_BASE + m->mem_len - 64;
	m->map_next = MEM_BASE + m->mem_len;
	if (m->sys->call)
		m->mem_len += MAP_BYTES;
	m->mem = arena_alloc(p->arena, m->mem_len);
	for (uint32_t i = 0; i < p->syms.n; i++) {
		const struct ir_sym *s = &p->syms.v[i];

		if (s->kind != IR_SYM_DATA)
			continue;
		memcpy(m->mem + (m->sym_addr[i] - MEM_BASE), s->bytes, s->size);
		if (s->pointer_to != IR_NONE)
			le64_store(m->mem + (m->sym_addr[i] - MEM_BASE),
				   m->sym_addr[s->pointer_to]);
	}
}

static uint8_t *memory(struct rtg_machine *m, uint64_t addr, uint64_t len)
{
	uint8_t *p = rtg_machine_ptr(m, addr, len);

	if (!p)
		trap(m, "access outside memory");
	return p;
}

static uint64_t value(const struct rtg_machine *m, struct ir_val v)
{
	if (v.kind == IRV_REG)
		return m->top->regs[v.reg];
	if (v.kind == IRV_SLOT)
		return m->top->slots[v.reg];
	return (uint64_t)v.imm;
}

static void enter(struct rtg_machine *m, const struct ir_func *f, const uint64_t *args, unsigned n)
{
	struct frame *fr;
	uint64_t bytes = 0, sp;

	for (uint32_t i = 0; i < f->slots.n; i++)
		bytes += f->slots.v[i].size;
	if (++m->n_calls > MAX_CALLS || bytes > m->sp - MEM_BASE || m->sp - bytes < m->stack_low) {
		trap(m, "stack overflow");
		return;
	}
	fr = arena_alloc(m->p->arena, sizeof(*fr));
	*fr = (struct frame){ .up = m->top, .f = f, .sp_above = m->sp };
	fr->regs = arena_alloc(m->p->arena, (f->n_regs + 1) * sizeof(*fr->regs));
	fr->slots = arena_alloc(m->p->arena, (f->slots.n + 1) * sizeof(*fr->slots));
	sp = m->sp - bytes;
	m->sp = sp;
	for (uint32_t i = 0; i < f->slots.n; i++) {
		fr->slots[i] = sp;
		sp += f->slots.v[i].size;
	}
	for (unsigned i = 0; i < n && i < f->n_params; i++)
		fr->regs[i] = args[i];
	m->top = fr;
}

static void leave(struct rtg_machine *m, uint64_t v)
{
	m->sp = m->top->sp_above;
	m->top = m->top->up;
	m->n_calls--;
	if (!m->top) {
		m->ret->value = (int64_t)v;
		m->stopped = true;
	} else if (m->top->dst != IR_NONE) {
		m->top->regs[m->top->dst] = v;
	}
}

void *rtg_machine_ptr(struct rtg_machine *m, uint64_t addr, uint64_t len)
{
	if (addr < MEM_BASE || addr - MEM_BASE > m->mem_len || len > m->mem_len - (addr - MEM_BASE))
		return NULL;
	return m->mem + (addr - MEM_BASE);
}

uint64_t rtg_machine_map(struct rtg_machine *m, uint64_t len)
{
	uint64_t at = ALIGN_UP(m->map_next, (uint64_t)4096);
	uint64_t end = MEM_BASE + m->mem_len;

	if (!m->sys->call || at > end || len > end - at)
		return 0;
	m->map_next = at + len;
	return at;
}

static uint64_t system_call(struct rtg_machine *m, int64_t nr, const uint64_t *a)
{
	uint8_t *p;

	if (m->sys->call) {
		int64_t v = 0;

		if (!m->sys->call(m->sys->opaque, m, nr, a, &v)) {
			m->ret->value = v;
			m->stopped = true;
		}
		return (uint64_t)v;
	}
	if (nr == m->sys->exit || nr == m->sys->exit_group) {
		m->ret->value = (int64_t)a[0];
		m->stopped = true;
		return 0;
	}
	if (nr != m->sys->write || (a[0] != 1 && a[0] != 2))
		return (uint64_t)-38; /* ENOSYS */
	p = memory(m, a[1], a[2]);
	if (p)
		strbuf_put(&m->ret->out, p, a[2]);
	return a[2];
}

static void call(struct rtg_machine *m, const struct ir_ins *ins)
{
	uint64_t args[IR_MAX_ARGS] = { 0 }, target = ins->sym;

	for (unsigned i = 0; i < ins->n_args; i++)
		args[i] = value(m, ins->args[i]);
	if (ins->op == IR_SYSCALL) {
		uint64_t v = system_call(m, (int64_t)value(m, ins->a), args);

		if (ins->dst != IR_NONE)
			m->top->regs[ins->dst] = v;
		return;
	}
	if (ins->op == IR_CALLR) {
		target = value(m, ins->a) - FUNC_BASE;
		if (target % 16 || target / 16 >= m->p->syms.n ||
		    m->p->syms.v[target / 16].kind != IR_SYM_FUNC) {
			trap(m, "call of something that is no function");
			return;
		}
		target /= 16;
	}
	m->top->dst = ins->dst;
	enter(m, m->p->syms.v[target].func, args, ins->n_args);
}

static uint64_t load(struct rtg_machine *m, const struct ir_ins *ins)
{
	uint8_t *p = memory(m, value(m, ins->a) + (uint64_t)ins->disp, ir_mem_width(ins->op));

	if (!p)
		return 0;
	switch (ir_mem_width(ins->op)) {
	case 1: return *p;
	case 2: return le16_load(p);
	case 4: return le32_load(p);
	default: return le64_load(p);
	}
}

static void store(struct rtg_machine *m, const struct ir_ins *ins)
{
	uint8_t *p = memory(m, value(m, ins->a) + (uint64_t)ins->disp, ir_mem_width(ins->op));
	uint64_t v = value(m, ins->b);

	if (!p)
		return;
	switch (ir_mem_width(ins->op)) {
	case 1: *p = (uint8_t)v; break;
	case 2: le16_store(p, (uint16_t)v); break;
	case 4: le32_store(p, (uint32_t)v); break;
	default: le64_store(p, v); break;
	}
}

static void go(struct rtg_machine *m, uint32_t block)
{
	m->top->block = block;
	m->top->pc = 0;
}

static void step(struct rtg_machine *m)
{
	struct frame *fr = m->top;
	const struct ir_ins *ins = &fr->f->blocks.v[fr->block].ins.v[fr->pc++];
	uint64_t v = 0;

	switch (ir_ops[ins->op].shape) {
	case IRS_UN: v = ir_eval_unary(ins->op, value(m, ins->a)); break;
	case IRS_BIN: v = ir_eval_binary(ins->op, value(m, ins->a), value(m, ins->b)); break;
	case IRS_CMP:
		v = ir_cc_eval((enum ir_cc)ins->cc, value(m, ins->a), value(m, ins->b));
		break;
	case IRS_LD: v = load(m, ins); break;
	case IRS_ST: store(m, ins); return;
	case IRS_SLOT: v = fr->slots[ins->a.reg] + (uint64_t)ins->disp; break;
	case IRS_SYM: v = m->sym_addr[ins->sym] + (uint64_t)ins->disp; break;
	case IRS_CALL:
	case IRS_CALLR:
	case IRS_SYSC: call(m, ins); return;
	case IRS_NONE: return;
	case IRS_JMP: go(m, ins->t); return;
	case IRS_BR:
		go(m, ir_cc_eval((enum ir_cc)ins->cc, value(m, ins->a), value(m, ins->b)) ? ins->t
											  : ins->f);
		return;
	case IRS_RET: leave(m, value(m, ins->a)); return;
	}
	fr->regs[ins->dst] = v;
}

bool ir_interpret(struct ir_prog *p, const struct interp_sys *sys, uint64_t max_steps,
		  struct interp_result *ret)
{
	struct rtg_machine m = { .p = p, .sys = sys, .ret = ret };
	uint64_t args[IR_MAX_ARGS] = { 0 };

	*ret = (struct interp_result){ .out = { .arena = p->arena } };
	layout(&m);
	args[0] = m.sp;
	enter(&m, p->syms.v[p->entry].func, args, 1);
	while (!m.stopped) {
		if (ret->n_steps++ >= max_steps)
			trap(&m, "too many steps");
		else
			step(&m);
	}
	return !ret->trap;
}
