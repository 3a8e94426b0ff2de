/* SPDX-License-Identifier: Apache-2.0 */
/* The textual form of IR; read.c reads it back. */
#include "ir/ir.h"

#include <inttypes.h>

static void print_val(struct strbuf *sb, struct ir_val v)
{
	switch (v.kind) {
	case IRV_REG: strbuf_printf(sb, "%%%" PRIu32, v.reg); break;
	case IRV_IMM: strbuf_printf(sb, "%" PRId64, v.imm); break;
	case IRV_SLOT: strbuf_printf(sb, "$%" PRIu32, v.reg); break;
	case IRV_NONE: strbuf_puts(sb, "none"); break;
	}
}

static void print_args(struct strbuf *sb, const struct ir_ins *ins)
{
	strbuf_putc(sb, '(');
	for (unsigned i = 0; i < ins->n_args; i++) {
		if (i)
			strbuf_puts(sb, ", ");
		print_val(sb, ins->args[i]);
	}
	strbuf_putc(sb, ')');
}

static void print_disp(struct strbuf *sb, int64_t disp)
{
	if (disp)
		strbuf_printf(sb, "%+" PRId64, disp);
}

static void print_mem(struct strbuf *sb, const struct ir_ins *ins)
{
	strbuf_putc(sb, '[');
	print_val(sb, ins->a);
	print_disp(sb, ins->disp);
	strbuf_putc(sb, ']');
}

static void print_operands(struct strbuf *sb, const struct ir_prog *p, const struct ir_ins *ins)
{
	switch (ir_ops[ins->op].shape) {
	case IRS_UN:
	case IRS_RET: print_val(sb, ins->a); break;
	case IRS_BIN:
	case IRS_CMP:
		print_val(sb, ins->a);
		strbuf_puts(sb, ", ");
		print_val(sb, ins->b);
		break;
	case IRS_LD: print_mem(sb, ins); break;
	case IRS_ST:
		print_mem(sb, ins);
		strbuf_puts(sb, ", ");
		print_val(sb, ins->b);
		break;
	case IRS_SLOT:
		strbuf_printf(sb, "$%" PRIu32, ins->a.reg);
		print_disp(sb, ins->disp);
		break;
	case IRS_SYM:
		strbuf_printf(sb, "@%s", p->syms.v[ins->sym].name);
		print_disp(sb, ins->disp);
		break;
	case IRS_CALL:
		strbuf_printf(sb, "@%s", p->syms.v[ins->sym].name);
		print_args(sb, ins);
		break;
	case IRS_CALLR:
	case IRS_SYSC:
		print_val(sb, ins->a);
		print_args(sb, ins);
		break;
	case IRS_JMP: strbuf_printf(sb, "b%" PRIu32, ins->t); break;
	case IRS_BR:
		print_val(sb, ins->a);
		strbuf_puts(sb, ", ");
		print_val(sb, ins->b);
		strbuf_printf(sb, ", b%" PRIu32 ", b%" PRIu32, ins->t, ins->f);
		break;
	case IRS_NONE: break;
	}
}

static void print_ins(struct strbuf *sb, const struct ir_prog *p, const struct ir_ins *ins)
{
	const struct ir_op_info *info = &ir_ops[ins->op];

	strbuf_putc(sb, '\t');
	if (ins->dst != IR_NONE)
		strbuf_printf(sb, "%%%" PRIu32 " = ", ins->dst);
	strbuf_puts(sb, info->text);
	if (info->shape == IRS_CMP || info->shape == IRS_BR)
		strbuf_printf(sb, ".%s", ir_cc_names[ins->cc]);
	if (info->shape != IRS_NONE)
		strbuf_putc(sb, ' ');
	print_operands(sb, p, ins);
	strbuf_putc(sb, '\n');
}

static void print_func(struct strbuf *sb, const struct ir_prog *p, const struct ir_sym *sym)
{
	const struct ir_func *f = sym->func;

	strbuf_printf(sb, "func @%s(", sym->name);
	for (uint32_t i = 0; i < f->n_params; i++)
		strbuf_printf(sb, "%s%%%" PRIu32, i ? ", " : "", i);
	strbuf_puts(sb, ") {\n");
	for (uint32_t i = 0; i < f->slots.n; i++)
		strbuf_printf(sb, "\t$%" PRIu32 " = %" PRIu32 "\n", i, f->slots.v[i].size);
	for (uint32_t b = 0; b < f->blocks.n; b++) {
		strbuf_printf(sb, "b%" PRIu32 ":\n", b);
		for (uint32_t i = 0; i < f->blocks.v[b].ins.n; i++)
			print_ins(sb, p, &f->blocks.v[b].ins.v[i]);
	}
	strbuf_puts(sb, "}\n");
}

static void print_data(struct strbuf *sb, const struct ir_prog *p, const struct ir_sym *sym)
{
	strbuf_printf(sb, "data @%s align %" PRIu32 " = ", sym->name, sym->align);
	if (sym->pointer_to != IR_NONE) {
		strbuf_printf(sb, "@%s\n", p->syms.v[sym->pointer_to].name);
		return;
	}
	strbuf_putc(sb, '"');
	for (uint64_t i = 0; i < sym->size; i++) {
		uint8_t c = sym->bytes[i];

		if (c >= ' ' && c < 127 && c != '"' && c != '\\')
			strbuf_putc(sb, (char)c);
		else
			strbuf_printf(sb, "\\%02x", c);
	}
	strbuf_puts(sb, "\"\n");
}

void ir_print(const struct ir_prog *p, struct strbuf *sb)
{
	strbuf_printf(sb, "entry @%s\n", p->syms.v[p->entry].name);
	for (uint32_t i = 0; i < p->syms.n; i++) {
		const struct ir_sym *sym = &p->syms.v[i];

		if (!sym->used)
			continue;
		if (sym->kind == IR_SYM_FUNC)
			print_func(sb, p, sym);
		else if (sym->kind == IR_SYM_DATA)
			print_data(sb, p, sym);
		else
			strbuf_printf(sb, "global @%s %" PRIu64 "\n", sym->name, sym->size);
	}
}
