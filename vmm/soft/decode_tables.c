/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opcode maps of integer, system and x87 instructions.
 * Ref: Intel SDM 2 appendix A, AMD APM 3 appendix A.
 */
#include <stddef.h>

#include "soft/decode_table.h"

/* clang-format off */

#define E(o, ex, fo, fl) { .exec = exec_##ex, .op = OP_##o, .form = FORM_##fo, .flags = (fl) }
#define EF(o, ex, fo, fl, ft) \
	{ .exec = exec_##ex, .op = OP_##o, .form = FORM_##fo, .flags = (fl), .feat = FEAT_##ft }
#define X(ex, fl)	  { .exec = exec_##ex, .flags = (fl) }
#define XF(ex, fl, ft)	  { .exec = exec_##ex, .flags = (fl), .feat = FEAT_##ft }
#define XS(ex, fl, sz)	  { .exec = exec_##ex, .flags = (fl), .mem_size = (sz) }
#define GRP(fl, ...)	  { .flags = D_GRP | (fl), .sub = (const struct opdef[8]){ __VA_ARGS__ } }
#define PFX(...)	  { .flags = D_PFX, .sub = (const struct opdef[4]){ __VA_ARGS__ } }
#define MODSEL(...)	  { .flags = D_MODSEL, .sub = (const struct opdef[2]){ __VA_ARGS__ } }
#define NONE		  { 0 }

#define RMW (D_RD | D_WR | D_LOCK)

#define ALU(base, o) \
	[base + 0] = E(o, alu, RM_R, D_M | D_B | RMW), [base + 1] = E(o, alu, RM_R, D_M | RMW), \
	[base + 2] = E(o, alu, R_RM, D_M | D_B | D_RD), [base + 3] = E(o, alu, R_RM, D_M | D_RD), \
	[base + 4] = E(o, alu, RM_I, D_B | D_I8), [base + 5] = E(o, alu, RM_I, D_IZ)

/* CMP only reads: no LOCK. */
#define ALU_CMP(base) \
	[base + 0] = E(CMP, alu, RM_R, D_M | D_B | D_RD), [base + 1] = E(CMP, alu, RM_R, D_M | D_RD), \
	[base + 2] = E(CMP, alu, R_RM, D_M | D_B | D_RD), [base + 3] = E(CMP, alu, R_RM, D_M | D_RD), \
	[base + 4] = E(CMP, alu, RM_I, D_B | D_I8), [base + 5] = E(CMP, alu, RM_I, D_IZ)

#define GROUP1(fl) \
	GRP(0, E(ADD, alu, RM_I, D_M | RMW | (fl)), E(OR, alu, RM_I, D_M | RMW | (fl)), \
	    E(ADC, alu, RM_I, D_M | RMW | (fl)), E(SBB, alu, RM_I, D_M | RMW | (fl)), \
	    E(AND, alu, RM_I, D_M | RMW | (fl)), E(SUB, alu, RM_I, D_M | RMW | (fl)), \
	    E(XOR, alu, RM_I, D_M | RMW | (fl)), E(CMP, alu, RM_I, D_M | D_RD | (fl)))

#define GROUP2(fo, fl) \
	GRP(0, E(ROL, shift, fo, D_M | D_RD | D_WR | (fl)), E(ROR, shift, fo, D_M | D_RD | D_WR | (fl)), \
	    E(RCL, shift, fo, D_M | D_RD | D_WR | (fl)), E(RCR, shift, fo, D_M | D_RD | D_WR | (fl)), \
	    E(SHL, shift, fo, D_M | D_RD | D_WR | (fl)), E(SHR, shift, fo, D_M | D_RD | D_WR | (fl)), \
	    E(SAL, shift, fo, D_M | D_RD | D_WR | (fl)), E(SAR, shift, fo, D_M | D_RD | D_WR | (fl)))

#define GROUP3(fl, imm) \
	GRP(0, E(TEST, test, RM_I, D_M | D_RD | (fl) | (imm)), E(TEST, test, RM_I, D_M | D_RD | (fl) | (imm)), \
	    E(NOT, notneg, RM, D_M | RMW | (fl)), E(NEG, notneg, RM, D_M | RMW | (fl)), \
	    E(MUL, mul, RM, D_M | D_RD | (fl)), E(IMUL1, mul, RM, D_M | D_RD | (fl)), \
	    E(DIV, div, RM, D_M | D_RD | (fl)), E(IDIV, div, RM, D_M | D_RD | (fl)))

#define ROW8(base, ...)  [base ... (base) + 7] = __VA_ARGS__
#define ROW16(base, ...) [base ... (base) + 15] = __VA_ARGS__

const struct opdef decode_map_1[256] = {
	ALU(0x00, ADD), ALU(0x08, OR), ALU(0x10, ADC), ALU(0x18, SBB),
	ALU(0x20, AND), ALU(0x28, SUB), ALU(0x30, XOR), ALU_CMP(0x38),
	[0x06] = X(push_seg, D_I64), [0x07] = X(pop_seg, D_I64), [0x0e] = X(push_seg, D_I64),
	[0x16] = X(push_seg, D_I64), [0x17] = X(pop_seg, D_I64),
	[0x1e] = X(push_seg, D_I64), [0x1f] = X(pop_seg, D_I64),
	[0x27] = X(bcd, D_I64), [0x2f] = X(bcd, D_I64), [0x37] = X(bcd, D_I64), [0x3f] = X(bcd, D_I64),
	ROW8(0x40, E(INC, incdec, RM, D_OPR | D_I64)), ROW8(0x48, E(DEC, incdec, RM, D_OPR | D_I64)),
	ROW8(0x50, E(PUSH, push, RM, D_OPR | D_D64)), ROW8(0x58, E(POP, pop, RM, D_OPR | D_D64)),
	[0x60] = X(pusha, D_I64), [0x61] = X(popa, D_I64), [0x62] = X(bound, D_M | D_I64 | D_MEM | D_RD),
	[0x63] = XS(arpl, D_M | D_RD | D_WR | D_PROT, 2),
	[0x68] = E(PUSH, push, I, D_D64 | D_IZ), [0x6a] = E(PUSH, push, I, D_D64 | D_I8),
	[0x69] = E(IMUL, imul, R_RM_I, D_M | D_RD | D_IZ), [0x6b] = E(IMUL, imul, R_RM_I, D_M | D_RD | D_I8),
	[0x6c] = X(ins, D_B), [0x6d] = X(ins, D_MAX4), [0x6e] = X(outs, D_B), [0x6f] = X(outs, D_MAX4),
	ROW16(0x70, E(JCC, jcc, REL, D_F64 | D_I8)),
	[0x80] = GROUP1(D_B | D_I8), [0x81] = GROUP1(D_IZ), [0x82] = GROUP1(D_B | D_I8 | D_I64),
	[0x83] = GROUP1(D_I8),
	[0x84] = E(TEST, test, RM_R, D_M | D_B | D_RD), [0x85] = E(TEST, test, RM_R, D_M | D_RD),
	[0x86] = E(XCHG, xchg, RM_R, D_M | D_B | RMW), [0x87] = E(XCHG, xchg, RM_R, D_M | RMW),
	[0x88] = E(MOV, mov, RM_R, D_M | D_B | D_WR), [0x89] = E(MOV, mov, RM_R, D_M | D_WR),
	[0x8a] = E(MOV, mov, R_RM, D_M | D_B | D_RD), [0x8b] = E(MOV, mov, R_RM, D_M | D_RD),
	[0x8c] = XS(mov_from_seg, D_M | D_WR, 2), [0x8d] = E(LEA, lea, R_RM, D_M | D_MEM),
	[0x8e] = XS(mov_to_seg, D_M | D_RD, 2),
	[0x8f] = GRP(0, E(POP, pop, RM, D_M | D_D64 | D_WR)),
	ROW8(0x90, E(XCHG, xchg, RM_R, D_OPR)),
	[0x98] = E(CBW, cbw, NONE, 0), [0x99] = E(CWD, cwd, NONE, 0),
	[0x9a] = X(far_call, D_I64 | D_FAR), [0x9b] = X(fwait, 0),
	[0x9c] = X(pushf, D_D64), [0x9d] = X(popf, D_D64), [0x9e] = X(flagop, 0), [0x9f] = X(flagop, 0),
	[0xa0] = E(MOV, mov, R_RM, D_B | D_MOFF | D_RD), [0xa1] = E(MOV, mov, R_RM, D_MOFF | D_RD),
	[0xa2] = E(MOV, mov, RM_R, D_B | D_MOFF | D_WR), [0xa3] = E(MOV, mov, RM_R, D_MOFF | D_WR),
	[0xa4] = X(movs, D_B), [0xa5] = X(movs, 0), [0xa6] = X(cmps, D_B), [0xa7] = X(cmps, 0),
	[0xa8] = E(TEST, test, RM_I, D_B | D_I8), [0xa9] = E(TEST, test, RM_I, D_IZ),
	[0xaa] = X(stos, D_B), [0xab] = X(stos, 0), [0xac] = X(lods, D_B), [0xad] = X(lods, 0),
	[0xae] = X(scas, D_B), [0xaf] = X(scas, 0),
	ROW8(0xb0, E(MOV, mov, RM_I, D_OPR | D_B | D_I8U)), ROW8(0xb8, E(MOV, mov, RM_I, D_OPR | D_IV)),
	[0xc0] = GROUP2(RM_I, D_B | D_I8U), [0xc1] = GROUP2(RM_I, D_I8U),
	[0xc2] = E(RET, ret, I, D_F64 | D_I16), [0xc3] = E(RET, ret, NONE, D_F64),
	[0xc4] = X(load_far, D_M | D_MEM | D_I64 | D_RD), [0xc5] = X(load_far, D_M | D_MEM | D_I64 | D_RD),
	[0xc6] = GRP(0, E(MOV, mov, RM_I, D_M | D_B | D_I8 | D_WR)),
	[0xc7] = GRP(0, E(MOV, mov, RM_I, D_M | D_IZ | D_WR)),
	[0xc8] = X(enter, D_D64 | D_FAR), [0xc9] = E(LEAVE, leave, NONE, D_D64),
	[0xca] = X(far_ret, D_I16), [0xcb] = X(far_ret, 0), [0xcc] = X(int3, 0), [0xcd] = X(int, D_I8U),
	[0xce] = X(into, D_I64), [0xcf] = X(iret, 0),
	[0xd0] = GROUP2(RM, D_B), [0xd1] = GROUP2(RM, 0),
	[0xd2] = GROUP2(RM_CL, D_B), [0xd3] = GROUP2(RM_CL, 0),
	[0xd4] = X(bcd, D_I64 | D_I8U), [0xd5] = X(bcd, D_I64 | D_I8U), [0xd6] = X(flagop, D_I64),
	[0xd7] = X(xlat, D_B),
	ROW8(0xd8, X(x87, D_M)),
	[0xe0] = E(LOOP, loop, REL, D_F64 | D_I8), [0xe1] = E(LOOP, loop, REL, D_F64 | D_I8),
	[0xe2] = E(LOOP, loop, REL, D_F64 | D_I8), [0xe3] = E(LOOP, loop, REL, D_F64 | D_I8),
	[0xe4] = X(in, D_B | D_I8U), [0xe5] = X(in, D_MAX4 | D_I8U),
	[0xe6] = X(out, D_B | D_I8U), [0xe7] = X(out, D_MAX4 | D_I8U),
	[0xe8] = E(CALL, call, REL, D_F64 | D_IZ), [0xe9] = E(JMP, jmp, REL, D_F64 | D_IZ),
	[0xea] = X(far_jmp, D_I64 | D_FAR), [0xeb] = E(JMP, jmp, REL, D_F64 | D_I8),
	[0xec] = X(in, D_B), [0xed] = X(in, D_MAX4), [0xee] = X(out, D_B), [0xef] = X(out, D_MAX4),
	[0xf1] = X(int1, 0), [0xf4] = X(hlt, 0), [0xf5] = X(flagop, 0),
	[0xf6] = GROUP3(D_B, D_I8), [0xf7] = GROUP3(0, D_IZ),
	[0xf8] = X(flagop, 0), [0xf9] = X(flagop, 0), [0xfa] = X(cli, 0), [0xfb] = X(sti, 0),
	[0xfc] = X(flagop, 0), [0xfd] = X(flagop, 0),
	[0xfe] = GRP(0, E(INC, incdec, RM, D_M | D_B | RMW), E(DEC, incdec, RM, D_M | D_B | RMW)),
	[0xff] = GRP(0, E(INC, incdec, RM, D_M | RMW), E(DEC, incdec, RM, D_M | RMW),
		     E(CALL, call, RM, D_M | D_F64 | D_RD), X(far_call, D_M | D_MEM | D_RD),
		     E(JMP, jmp, RM, D_M | D_F64 | D_RD), X(far_jmp, D_M | D_MEM | D_RD),
		     E(PUSH, push, RM, D_M | D_D64 | D_RD)),
};

#define NOPM E(NOP, nop, NONE, D_M)
#define PREFETCH E(NOP, nop, NONE, D_M | D_MEM)

#define BT(o, lock) E(o, bt, RM_R, D_M | D_RD | (lock))
#define BTI(o, lock) E(o, bt, RM_I, D_M | D_I8U | D_RD | (lock))

const struct opdef decode_map_0f[256] = {
	[0x00] = GRP(0, XS(sldt, D_M | D_PROT | D_WR, 2), XS(str, D_M | D_PROT | D_WR, 2),
		     XS(lldt, D_M | D_PROT | D_RD, 2), XS(ltr, D_M | D_PROT | D_RD, 2),
		     XS(verr, D_M | D_PROT | D_RD, 2), XS(verw, D_M | D_PROT | D_RD, 2)),
	[0x01] = GRP(0, X(sgdt, D_M | D_MEM | D_F64), X(sidt, D_M | D_MEM | D_F64),
		     X(lgdt, D_M | D_MEM | D_F64), X(lidt, D_M | D_MEM | D_F64),
		     XS(smsw, D_M | D_WR, 2), NONE, XS(lmsw, D_M | D_RD, 2), X(invlpg, D_M | D_MEM)),
	[0x02] = XS(lar, D_M | D_RD | D_PROT, 2), [0x03] = XS(lsl, D_M | D_RD | D_PROT, 2),
	[0x05] = X(syscall, 0), [0x06] = X(clts, 0), [0x07] = X(sysret, 0),
	[0x08] = X(invd, 0), [0x09] = X(wbinvd, 0), [0x0b] = X(ud, 0),
	[0x0d] = PREFETCH, [0x18] = NOPM, [0x19] = NOPM, [0x1a] = NOPM, [0x1b] = NOPM,
	[0x1c] = NOPM, [0x1d] = NOPM, [0x1e] = NOPM, [0x1f] = NOPM,
	[0x20] = X(mov_cr, D_M | D_FREG), [0x21] = X(mov_dr, D_M | D_FREG),
	[0x22] = X(mov_cr, D_M | D_FREG), [0x23] = X(mov_dr, D_M | D_FREG),
	[0x30] = X(wrmsr, 0), [0x31] = X(rdtsc, 0), [0x32] = X(rdmsr, 0), [0x33] = X(rdpmc, 0),
	[0x34] = XF(sysenter, 0, SEP), [0x35] = XF(sysexit, 0, SEP),
	ROW16(0x40, EF(CMOV, cmov, R_RM, D_M | D_RD, CMOV)),
	ROW16(0x80, E(JCC, jcc, REL, D_F64 | D_IZ)),
	ROW16(0x90, E(SETCC, setcc, RM, D_M | D_B | D_WR)),
	[0xa0] = X(push_seg, D_D64), [0xa1] = X(pop_seg, D_D64), [0xa8] = X(push_seg, D_D64),
	[0xa9] = X(pop_seg, D_D64), [0xa2] = X(cpuid, 0),
	[0xa3] = BT(BT, 0), [0xab] = BT(BTS, D_WR | D_LOCK), [0xb3] = BT(BTR, D_WR | D_LOCK),
	[0xbb] = BT(BTC, D_WR | D_LOCK),
	[0xba] = GRP(0, NONE, NONE, NONE, NONE, BTI(BT, 0), BTI(BTS, D_WR | D_LOCK),
		     BTI(BTR, D_WR | D_LOCK), BTI(BTC, D_WR | D_LOCK)),
	[0xa4] = E(SHLD, shd, RM_R_I, D_M | D_I8U | D_RD | D_WR),
	[0xa5] = E(SHLD, shd, RM_R_CL, D_M | D_RD | D_WR),
	[0xac] = E(SHRD, shd, RM_R_I, D_M | D_I8U | D_RD | D_WR),
	[0xad] = E(SHRD, shd, RM_R_CL, D_M | D_RD | D_WR),
	[0xae] = MODSEL(
		PFX(GRP(0, { .exec = exec_fxsave, .flags = D_M | D_WR, .feat = FEAT_FXSR },
			   { .exec = exec_fxrstor, .flags = D_M | D_RD, .feat = FEAT_FXSR },
			   { .exec = exec_ldmxcsr, .flags = D_M | D_RD, .feat = FEAT_SSE, .mem_size = 4 },
			   { .exec = exec_stmxcsr, .flags = D_M | D_WR, .feat = FEAT_SSE, .mem_size = 4 },
			   NONE, NONE, NONE, XF(clflush, D_M | D_RD | D_B, CLFLUSH)),
		    GRP(0, NONE, NONE, NONE, NONE, NONE, NONE, XF(clflush, D_M | D_RD | D_B, CLWB),
			XF(clflush, D_M | D_RD | D_B, CLFLUSHOPT)),
		    NONE, NONE),
		PFX(GRP(0, NONE, NONE, NONE, NONE, NONE, E(NOP, nop, NONE, D_M), E(NOP, nop, NONE, D_M),
			E(NOP, nop, NONE, D_M)),
		    NONE,
		    GRP(0, XF(fsgsbase, D_M | D_O64 | D_RMW, FSGSBASE), XF(fsgsbase, D_M | D_O64 | D_RMW, FSGSBASE),
			XF(fsgsbase, D_M | D_O64, FSGSBASE), XF(fsgsbase, D_M | D_O64, FSGSBASE)),
		    NONE)),
	[0xaf] = E(IMUL, imul, R_RM, D_M | D_RD),
	[0xb0] = E(CMPXCHG, cmpxchg, RM_R, D_M | D_B | RMW), [0xb1] = E(CMPXCHG, cmpxchg, RM_R, D_M | RMW),
	[0xb2] = X(load_far, D_M | D_MEM | D_RD), [0xb4] = X(load_far, D_M | D_MEM | D_RD),
	[0xb5] = X(load_far, D_M | D_MEM | D_RD),
	[0xb6] = { .exec = exec_movx, .op = OP_MOVZX, .form = FORM_R_RM, .flags = D_M | D_RD, .mem_size = 1 },
	[0xb7] = { .exec = exec_movx, .op = OP_MOVZX, .form = FORM_R_RM, .flags = D_M | D_RD, .mem_size = 2 },
	[0xbe] = { .exec = exec_movx, .op = OP_MOVSX, .form = FORM_R_RM, .flags = D_M | D_RD, .mem_size = 1 },
	[0xbf] = { .exec = exec_movx, .op = OP_MOVSX, .form = FORM_R_RM, .flags = D_M | D_RD, .mem_size = 2 },
	[0xb8] = PFX(NONE, NONE, EF(POPCNT, bitscan, R_RM, D_M | D_RD, POPCNT), NONE),
	[0xb9] = X(ud, D_M), [0xff] = X(ud, D_M),
	/* F3: only when the feature is there, lookup_0f() sees to that */
	[0xbc] = PFX(E(BSF, bitscan, R_RM, D_M | D_RD), E(BSF, bitscan, R_RM, D_M | D_RD),
		     E(TZCNT, bitscan, R_RM, D_M | D_RD), E(BSF, bitscan, R_RM, D_M | D_RD)),
	[0xbd] = PFX(E(BSR, bitscan, R_RM, D_M | D_RD), E(BSR, bitscan, R_RM, D_M | D_RD),
		     E(LZCNT, bitscan, R_RM, D_M | D_RD), E(BSR, bitscan, R_RM, D_M | D_RD)),
	[0xc0] = E(XADD, xadd, RM_R, D_M | D_B | RMW), [0xc1] = E(XADD, xadd, RM_R, D_M | RMW),
	[0xc3] = E(MOV, mov, RM_R, D_M | D_MEM | D_WR | D_NO66),
	[0xc7] = MODSEL(
		GRP(0, NONE, XF(cmpxchg8b, D_M | D_RD | D_WR | D_LOCK, CX8)),
		GRP(0, NONE, NONE, NONE, NONE, NONE, NONE,
		    PFX(XF(rdrand, D_M | D_RMW, RDRAND), XF(rdrand, D_M | D_RMW, RDRAND), NONE, NONE),
		    PFX(XF(rdseed, D_M | D_RMW, RDSEED), XF(rdseed, D_M | D_RMW, RDSEED),
			XF(rdpid, D_M | D_F64 | D_RMW, RDPID), NONE))),
	ROW8(0xc8, E(BSWAP, bswap, RM, D_OPR)),
};

const struct opdef decode_0f01_reg[64] = {
	[0xc1 & 63] = X(vmcall, D_M), [0xd9 & 63] = X(vmcall, D_M),
	[0xc8 & 63] = XF(monitor, D_M, MONITOR), [0xc9 & 63] = XF(mwait, D_M, MONITOR),
	[0xca & 63] = XF(clac, D_M | D_NO66, SMAP), [0xcb & 63] = XF(stac, D_M | D_NO66, SMAP),
	[0xd0 & 63] = XF(xgetbv, D_M | D_NO66, XSAVE), [0xd1 & 63] = XF(xsetbv, D_M | D_NO66, XSAVE),
	[0xf8 & 63] = X(swapgs, D_M | D_O64), [0xf9 & 63] = XF(rdtscp, D_M, RDTSCP),
	/* the register forms of /4 and /6 */
	ROW8(0x20, X(smsw, D_M)), ROW8(0x30, X(lmsw, D_M)),
};

const struct opdef decode_map_0f38[256] = {
	[0x82] = PFX(NONE, { .exec = exec_invpcid, .flags = D_M | D_MEM | D_F64 | D_RD,
			     .feat = FEAT_INVPCID, .mem_size = 16 }, NONE, NONE),
	[0xf0] = PFX(EF(MOVBE, movbe, R_RM, D_M | D_MEM | D_RD, MOVBE),
		     EF(MOVBE, movbe, R_RM, D_M | D_MEM | D_RD, MOVBE), NONE,
		     { .exec = exec_crc32, .flags = D_M | D_RD, .feat = FEAT_SSE42, .mem_size = 1 }),
	[0xf1] = PFX(EF(MOVBE, movbe, RM_R, D_M | D_MEM | D_WR, MOVBE),
		     EF(MOVBE, movbe, RM_R, D_M | D_MEM | D_WR, MOVBE), NONE,
		     XF(crc32, D_M | D_RD, SSE42)),
	[0xf6] = PFX(NONE, XF(adx, D_M | D_RD, ADX), XF(adx, D_M | D_RD, ADX), NONE),
};

#define BMI(ft) { .exec = exec_bmi, .flags = D_M | D_RD, .feat = FEAT_##ft }
#define BMI_I(ft) { .exec = exec_bmi, .flags = D_M | D_RD | D_I8U, .feat = FEAT_##ft }

const struct opdef *decode_vex(unsigned map, unsigned opcode, unsigned pp, unsigned reg)
{
	static const struct opdef bmi1 = BMI(BMI1), bmi2 = BMI(BMI2), rorx = BMI_I(BMI2);

	if (map == 3)
		return opcode == 0xf0 && pp == 3 ? &rorx : NULL;
	switch (opcode) {
	case 0xf2: /* ANDN */
		return pp == 0 ? &bmi1 : NULL;
	case 0xf3: /* BLSR, BLSMSK, BLSI */
		return pp == 0 && reg >= 1 && reg <= 3 ? &bmi1 : NULL;
	case 0xf5: /* BZHI, PEXT, PDEP */
		return pp != 1 ? &bmi2 : NULL;
	case 0xf6: /* MULX */
		return pp == 3 ? &bmi2 : NULL;
	case 0xf7: /* BEXTR, SHLX, SARX, SHRX */
		return pp == 0 ? &bmi1 : &bmi2;
	default:
		return NULL;
	}
}

/* clang-format on */
