/* SPDX-License-Identifier: Apache-2.0 */
/* x86-64 instruction encoding, in the forms GNU as picks. */
#include "target/amd64/encode.h"

#include <inttypes.h>
#include <stdio.h>

static const char *const names64[] = { "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
				       "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15" };
static const char *const names32[] = {
	"eax", "ecx", "edx",  "ebx",  "esp",  "ebp",  "esi",  "edi",
	"r8d", "r9d", "r10d", "r11d", "r12d", "r13d", "r14d", "r15d"
};
static const char *const names16[] = {
	"ax",  "cx",  "dx",   "bx",   "sp",   "bp",   "si",   "di",
	"r8w", "r9w", "r10w", "r11w", "r12w", "r13w", "r14w", "r15w"
};
static const char *const names8[] = {
	"al",  "cl",  "dl",   "bl",   "spl",  "bpl",  "sil",  "dil",
	"r8b", "r9b", "r10b", "r11b", "r12b", "r13b", "r14b", "r15b"
};
const char *const amd64_cc_names[16] = { "o", "no", "b", "ae", "e", "ne", "be", "a",
					 "s", "ns", "p", "np", "l", "ge", "le", "g" };
static const char *const alu_names[] = { "add", "or", "adc", "sbb", "and", "sub", "xor", "cmp" };

static const char *reg_name(unsigned r, unsigned width)
{
	switch (width) {
	case 1: return names8[r];
	case 2: return names16[r];
	case 4: return names32[r];
	default: return names64[r];
	}
}

static const char *mem_name(unsigned width)
{
	switch (width) {
	case 1: return "byte";
	case 2: return "word";
	case 4: return "dword";
	default: return "qword";
	}
}

/* REX prefix; left out when it would be 0x40 and @force is not set. */
static void rex(struct code *c, bool w, unsigned reg, unsigned index, unsigned rm, bool force)
{
	unsigned v = 0x40 | (unsigned)w << 3 | (reg >> 3) << 2 | (index >> 3) << 1 | rm >> 3;

	if (v != 0x40 || force)
		code_u8(c, (uint8_t)v);
}

static void modrm_reg(struct code *c, unsigned reg, unsigned rm)
{
	code_u8(c, (uint8_t)(0xc0 | (reg & 7) << 3 | (rm & 7)));
}

/* [base + disp] */
static void modrm_mem(struct code *c, unsigned reg, unsigned base, int32_t disp)
{
	unsigned mod = disp == 0 && (base & 7) != RBP ? 0 : disp == (int8_t)disp ? 1 : 2;

	code_u8(c, (uint8_t)(mod << 6 | (reg & 7) << 3 | (base & 7)));
	if ((base & 7) == RSP)
		code_u8(c, 0x24);
	if (mod == 1)
		code_u8(c, (uint8_t)disp);
	else if (mod == 2)
		code_u32(c, (uint32_t)disp);
}

void a64x_mov_rr(struct code *c, unsigned d, unsigned s)
{
	rex(c, true, s, 0, d, false);
	code_u8(c, 0x89);
	modrm_reg(c, s, d);
	code_text(c, "mov %s, %s", names64[d], names64[s]);
}

void a64x_mov_ri(struct code *c, unsigned d, int64_t imm)
{
	if (!imm) {
		a64x_alu32_rr(c, ALU_XOR, d, d);
	} else if (imm == (int64_t)(uint32_t)imm) {
		rex(c, false, 0, 0, d, false);
		code_u8(c, (uint8_t)(0xb8 | (d & 7)));
		code_u32(c, (uint32_t)imm);
		code_text(c, "mov %s, 0x%" PRIx32, names32[d], (uint32_t)imm);
	} else if (imm == (int32_t)imm) {
		rex(c, true, 0, 0, d, false);
		code_u8(c, 0xc7);
		modrm_reg(c, 0, d);
		code_u32(c, (uint32_t)imm);
		code_text(c, "mov %s, %" PRId64, names64[d], imm);
	} else {
		rex(c, true, 0, 0, d, false);
		code_u8(c, (uint8_t)(0xb8 | (d & 7)));
		code_u64(c, (uint64_t)imm);
		code_text(c, "movabs %s, 0x%" PRIx64, names64[d], (uint64_t)imm);
	}
}

void a64x_alu_rr(struct code *c, enum amd64_alu op, unsigned d, unsigned s)
{
	rex(c, true, s, 0, d, false);
	code_u8(c, (uint8_t)(op << 3 | 1));
	modrm_reg(c, s, d);
	code_text(c, "%s %s, %s", alu_names[op], names64[d], names64[s]);
}

void a64x_alu32_rr(struct code *c, enum amd64_alu op, unsigned d, unsigned s)
{
	rex(c, false, s, 0, d, false);
	code_u8(c, (uint8_t)(op << 3 | 1));
	modrm_reg(c, s, d);
	code_text(c, "%s %s, %s", alu_names[op], names32[d], names32[s]);
}

void a64x_alu_ri(struct code *c, enum amd64_alu op, unsigned d, int32_t imm)
{
	rex(c, true, 0, 0, d, false);
	if (imm == (int8_t)imm) {
		code_u8(c, 0x83);
		modrm_reg(c, op, d);
		code_u8(c, (uint8_t)imm);
	} else {
		if (d == RAX) {
			code_u8(c, (uint8_t)(op << 3 | 5));
		} else {
			code_u8(c, 0x81);
			modrm_reg(c, op, d);
		}
		code_u32(c, (uint32_t)imm);
	}
	code_text(c, "%s %s, %" PRId32, alu_names[op], names64[d], imm);
}

void a64x_test_rr(struct code *c, unsigned a, unsigned b)
{
	rex(c, true, b, 0, a, false);
	code_u8(c, 0x85);
	modrm_reg(c, b, a);
	code_text(c, "test %s, %s", names64[a], names64[b]);
}

void a64x_imul_rr(struct code *c, unsigned d, unsigned s)
{
	rex(c, true, d, 0, s, false);
	code_u8(c, 0x0f);
	code_u8(c, 0xaf);
	modrm_reg(c, d, s);
	code_text(c, "imul %s, %s", names64[d], names64[s]);
}

void a64x_imul_rri(struct code *c, unsigned d, unsigned s, int32_t imm)
{
	bool small = imm == (int8_t)imm;

	rex(c, true, d, 0, s, false);
	code_u8(c, small ? 0x6b : 0x69);
	modrm_reg(c, d, s);
	if (small)
		code_u8(c, (uint8_t)imm);
	else
		code_u32(c, (uint32_t)imm);
	code_text(c, "imul %s, %s, %" PRId32, names64[d], names64[s], imm);
}

static const char *shift_name(enum amd64_shift op)
{
	return op == SH_SHL ? "shl" : op == SH_SHR ? "shr" : "sar";
}

void a64x_shift_ri(struct code *c, enum amd64_shift op, unsigned d, unsigned n)
{
	rex(c, true, 0, 0, d, false);
	code_u8(c, n == 1 ? 0xd1 : 0xc1);
	modrm_reg(c, op, d);
	if (n != 1)
		code_u8(c, (uint8_t)n);
	code_text(c, "%s %s, %u", shift_name(op), names64[d], n);
}

void a64x_shift_cl(struct code *c, enum amd64_shift op, unsigned d)
{
	rex(c, true, 0, 0, d, false);
	code_u8(c, 0xd3);
	modrm_reg(c, op, d);
	code_text(c, "%s %s, cl", shift_name(op), names64[d]);
}

void a64x_f7(struct code *c, enum amd64_f7 op, unsigned r)
{
	static const char *const names[] = { "", "", "not", "neg", "", "", "div", "idiv" };

	rex(c, true, 0, 0, r, false);
	code_u8(c, 0xf7);
	modrm_reg(c, op, r);
	code_text(c, "%s %s", names[op], names64[r]);
}

void a64x_cqo(struct code *c)
{
	code_u8(c, 0x48);
	code_u8(c, 0x99);
	code_text(c, "cqo");
}

void a64x_extend(struct code *c, enum ir_op op, unsigned d, unsigned s)
{
	switch ((int)op) {
	case IR_SEXT8:
	case IR_SEXT16:
		rex(c, true, d, 0, s, false);
		code_u8(c, 0x0f);
		code_u8(c, op == IR_SEXT8 ? 0xbe : 0xbf);
		code_text(c, "movsx %s, %s", names64[d], reg_name(s, op == IR_SEXT8 ? 1 : 2));
		break;
	case IR_SEXT32:
		rex(c, true, d, 0, s, false);
		code_u8(c, 0x63);
		code_text(c, "movsxd %s, %s", names64[d], names32[s]);
		break;
	case IR_ZEXT8:
	case IR_ZEXT16:
		rex(c, false, d, 0, s, op == IR_ZEXT8 && s >= 4);
		code_u8(c, 0x0f);
		code_u8(c, op == IR_ZEXT8 ? 0xb6 : 0xb7);
		code_text(c, "movzx %s, %s", names32[d], reg_name(s, op == IR_ZEXT8 ? 1 : 2));
		break;
	default:
		rex(c, false, s, 0, d, false);
		code_u8(c, 0x89);
		modrm_reg(c, s, d);
		code_text(c, "mov %s, %s", names32[d], names32[s]);
		return;
	}
	modrm_reg(c, d, s);
}

#define MEM_TEXT_MAX 40

static const char *mem_text(char buf[static MEM_TEXT_MAX], unsigned base, int32_t disp)
{
	if (disp)
		snprintf(buf, MEM_TEXT_MAX, "[%s%+" PRId32 "]", names64[base], disp);
	else
		snprintf(buf, MEM_TEXT_MAX, "[%s]", names64[base]);
	return buf;
}

void a64x_lea(struct code *c, unsigned d, unsigned base, int32_t disp)
{
	char m[MEM_TEXT_MAX];

	rex(c, true, d, 0, base, false);
	code_u8(c, 0x8d);
	modrm_mem(c, d, base, disp);
	code_text(c, "lea %s, %s", names64[d], mem_text(m, base, disp));
}

void a64x_lea_rr(struct code *c, unsigned d, unsigned base, unsigned index)
{
	rex(c, true, d, index, base, false);
	code_u8(c, 0x8d);
	if ((base & 7) == RBP) {
		code_u8(c, (uint8_t)(0x44 | (d & 7) << 3));
		code_u8(c, (uint8_t)((index & 7) << 3 | (base & 7)));
		code_u8(c, 0);
	} else {
		code_u8(c, (uint8_t)(0x04 | (d & 7) << 3));
		code_u8(c, (uint8_t)((index & 7) << 3 | (base & 7)));
	}
	code_text(c, "lea %s, [%s+%s]", names64[d], names64[base], names64[index]);
}

void a64x_lea_sym(struct code *c, unsigned d, uint32_t sym, const char *name, int64_t addend)
{
	rex(c, true, d, 0, 0, false);
	code_u8(c, 0x8d);
	code_u8(c, (uint8_t)(0x05 | (d & 7) << 3));
	code_fix(c, FIX_AMD64_PC32, sym, addend);
	code_u32(c, 0);
	code_text(c, "lea %s, [rip+\"%s\"%+" PRId64 "]", names64[d], name, addend);
}

void a64x_load(struct code *c, unsigned width, unsigned d, unsigned base, int32_t disp)
{
	char m[MEM_TEXT_MAX];

	rex(c, width == 8, d, 0, base, false);
	if (width < 4) {
		code_u8(c, 0x0f);
		code_u8(c, width == 1 ? 0xb6 : 0xb7);
	} else {
		code_u8(c, 0x8b);
	}
	modrm_mem(c, d, base, disp);
	code_text(c, "%s %s, %s ptr %s", width < 4 ? "movzx" : "mov",
		  reg_name(d, width == 8 ? 8 : 4), mem_name(width), mem_text(m, base, disp));
}

void a64x_store(struct code *c, unsigned width, unsigned base, int32_t disp, unsigned s)
{
	char m[MEM_TEXT_MAX];

	if (width == 2)
		code_u8(c, 0x66);
	rex(c, width == 8, s, 0, base, width == 1 && s >= 4);
	code_u8(c, width == 1 ? 0x88 : 0x89);
	modrm_mem(c, s, base, disp);
	code_text(c, "mov %s ptr %s, %s", mem_name(width), mem_text(m, base, disp),
		  reg_name(s, width));
}

void a64x_store_imm(struct code *c, unsigned width, unsigned base, int32_t disp, int32_t imm)
{
	char m[MEM_TEXT_MAX];

	if (width == 2)
		code_u8(c, 0x66);
	rex(c, width == 8, 0, 0, base, false);
	code_u8(c, width == 1 ? 0xc6 : 0xc7);
	modrm_mem(c, 0, base, disp);
	code_u8(c, (uint8_t)imm);
	if (width > 1)
		code_u8(c, (uint8_t)(imm >> 8));
	if (width > 2) {
		code_u8(c, (uint8_t)(imm >> 16));
		code_u8(c, (uint8_t)(imm >> 24));
	}
	if (width == 1)
		imm = (uint8_t)imm;
	else if (width == 2)
		imm = (uint16_t)imm;
	code_text(c, "mov %s ptr %s, %" PRId32, mem_name(width), mem_text(m, base, disp), imm);
}

void a64x_setcc(struct code *c, unsigned cc, unsigned r)
{
	rex(c, false, 0, 0, r, r >= 4);
	code_u8(c, 0x0f);
	code_u8(c, (uint8_t)(0x90 | cc));
	modrm_reg(c, 0, r);
	code_text(c, "set%s %s", amd64_cc_names[cc], names8[r]);
}

void a64x_cmov(struct code *c, unsigned cc, unsigned d, unsigned s)
{
	rex(c, true, d, 0, s, false);
	code_u8(c, 0x0f);
	code_u8(c, (uint8_t)(0x40 | cc));
	modrm_reg(c, d, s);
	code_text(c, "cmov%s %s, %s", amd64_cc_names[cc], names64[d], names64[s]);
}

void a64x_push(struct code *c, unsigned r)
{
	rex(c, false, 0, 0, r, false);
	code_u8(c, (uint8_t)(0x50 | (r & 7)));
	code_text(c, "push %s", names64[r]);
}

void a64x_pop(struct code *c, unsigned r)
{
	rex(c, false, 0, 0, r, false);
	code_u8(c, (uint8_t)(0x58 | (r & 7)));
	code_text(c, "pop %s", names64[r]);
}

void a64x_ret(struct code *c)
{
	code_u8(c, 0xc3);
	code_text(c, "ret");
}

void a64x_syscall(struct code *c)
{
	code_u8(c, 0x0f);
	code_u8(c, 0x05);
	code_text(c, "syscall");
}

void a64x_call_sym(struct code *c, uint32_t sym, const char *name)
{
	code_u8(c, 0xe8);
	code_fix(c, FIX_AMD64_PC32, sym, 0);
	code_u32(c, 0);
	code_text(c, "call \"%s\"", name);
}

void a64x_call_reg(struct code *c, unsigned r)
{
	rex(c, false, 0, 0, r, false);
	code_u8(c, 0xff);
	modrm_reg(c, 2, r);
	code_text(c, "call %s", names64[r]);
}

size_t a64x_jcc_local(struct code *c, unsigned cc, unsigned label)
{
	code_u8(c, (uint8_t)(0x70 | cc));
	code_u8(c, 0);
	code_text(c, "j%s %uf", amd64_cc_names[cc], label);
	return c->bytes.len;
}

size_t a64x_jmp_local(struct code *c, unsigned label)
{
	code_u8(c, 0xeb);
	code_u8(c, 0);
	code_text(c, "jmp %uf", label);
	return c->bytes.len;
}

void a64x_local_here(struct code *c, size_t at, unsigned label)
{
	c->bytes.s[at - 1] = (char)(c->bytes.len - at);
	if (c->text)
		strbuf_printf(c->text, "%u:\n", label);
}
