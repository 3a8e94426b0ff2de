/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opcode maps of MMX and SSE to SSE4.2, AES and PCLMUL: classes of operands and sizes of memory operands;
 * exec_sse() runs them all.
 * Ref: Intel SDM 2 appendix A.
 */
#include <stddef.h>

#include "soft/decode_table.h"

/* clang-format off */

#define SE(rc, mc, sz, fl, ft) \
	{ .exec = exec_sse, .flags = D_M | (fl), .feat = FEAT_##ft, .mem_size = (sz), \
	  .reg_class = INSN_CLASS_##rc, .rm_class = INSN_CLASS_##mc }
#define NONE { 0 }
#define PFX(...) { .flags = D_PFX, .sub = (const struct opdef[4]){ __VA_ARGS__ } }
#define GRP(...) { .flags = D_GRP, .sub = (const struct opdef[8]){ __VA_ARGS__ } }

/* Loads: XMM with a memory operand of so many bytes, 16-byte ones aligned. */
#define X16(ft) SE(XMM, XMM, 16, D_RD | D_ALGN, ft)
#define X16U(ft) SE(XMM, XMM, 16, D_RD, ft)
#define XM(sz, ft) SE(XMM, XMM, sz, D_RD, ft)
#define X16I(ft) SE(XMM, XMM, 16, D_RD | D_ALGN | D_I8U, ft)
#define XMI(sz, ft) SE(XMM, XMM, sz, D_RD | D_I8U, ft)
#define MM8(ft) SE(MMX, MMX, 8, D_RD, ft)
/* Stores */
#define XST(sz, fl, ft) SE(XMM, XMM, sz, D_WR | (fl), ft)
#define GRI(c, fl) SE(NONE, c, 0, D_REG | D_I8U | (fl), SSE2)

/* Four kinds of one operation: ps, pd, ss, sd. */
#define PS4 PFX(X16(SSE), X16(SSE2), XM(4, SSE), XM(8, SSE2))
#define PS2 PFX(X16(SSE), X16(SSE2), NONE, NONE)
#define PS_SS PFX(X16(SSE), NONE, XM(4, SSE), NONE)
/* MMX and its XMM form. */
#define MX PFX(MM8(MMX), X16(SSE2), NONE, NONE)
#define MX1 PFX(MM8(SSE), X16(SSE2), NONE, NONE) /* MMX form came with SSE */
#define MX2 PFX(MM8(SSE2), X16(SSE2), NONE, NONE)
#define MX4 PFX(SE(MMX, MMX, 4, D_RD, MMX), X16(SSE2), NONE, NONE)
#define XONLY PFX(NONE, X16(SSE2), NONE, NONE)

const struct opdef decode_sse_0f[256] = {
	[0x10] = PFX(X16U(SSE), X16U(SSE2), XM(4, SSE), XM(8, SSE2)),
	[0x11] = PFX(XST(16, 0, SSE), XST(16, 0, SSE2), XST(4, 0, SSE), XST(8, 0, SSE2)),
	[0x12] = PFX(XM(8, SSE), SE(XMM, XMM, 8, D_RD | D_MEM, SSE2), X16(SSE3), XM(8, SSE3)),
	[0x13] = PFX(XST(8, D_MEM, SSE), XST(8, D_MEM, SSE2), NONE, NONE),
	[0x14] = PS2, [0x15] = PS2,
	[0x16] = PFX(XM(8, SSE), SE(XMM, XMM, 8, D_RD | D_MEM, SSE2), X16(SSE3), NONE),
	[0x17] = PFX(XST(8, D_MEM, SSE), XST(8, D_MEM, SSE2), NONE, NONE),
	[0x28] = PS2, [0x29] = PFX(XST(16, D_ALGN, SSE), XST(16, D_ALGN, SSE2), NONE, NONE),
	[0x2a] = PFX(SE(XMM, MMX, 8, D_RD, SSE), SE(XMM, MMX, 8, D_RD, SSE2),
		     SE(XMM, GPR, 0, D_RD | D_GMEM, SSE), SE(XMM, GPR, 0, D_RD | D_GMEM, SSE2)),
	[0x2b] = PFX(XST(16, D_MEM | D_ALGN, SSE), XST(16, D_MEM | D_ALGN, SSE2), NONE, NONE),
	[0x2c] = PFX(SE(MMX, XMM, 8, D_RD, SSE), SE(MMX, XMM, 16, D_RD | D_ALGN, SSE2),
		     SE(GPR, XMM, 4, D_RD | D_REGW, SSE), SE(GPR, XMM, 8, D_RD | D_REGW, SSE2)),
	[0x2d] = PFX(SE(MMX, XMM, 8, D_RD, SSE), SE(MMX, XMM, 16, D_RD | D_ALGN, SSE2),
		     SE(GPR, XMM, 4, D_RD | D_REGW, SSE), SE(GPR, XMM, 8, D_RD | D_REGW, SSE2)),
	[0x2e] = PFX(XM(4, SSE), XM(8, SSE2), NONE, NONE), [0x2f] = PFX(XM(4, SSE), XM(8, SSE2), NONE, NONE),
	[0x50] = PFX(SE(GPR, XMM, 0, D_REG | D_REGW, SSE), SE(GPR, XMM, 0, D_REG | D_REGW, SSE2), NONE, NONE),
	[0x51] = PS4, [0x52] = PS_SS, [0x53] = PS_SS,
	[0x54] = PS2, [0x55] = PS2, [0x56] = PS2, [0x57] = PS2, [0x58] = PS4, [0x59] = PS4,
	[0x5a] = PFX(XM(8, SSE2), X16(SSE2), XM(4, SSE2), XM(8, SSE2)),
	[0x5b] = PFX(X16(SSE2), X16(SSE2), X16(SSE2), NONE),
	[0x5c] = PS4, [0x5d] = PS4, [0x5e] = PS4, [0x5f] = PS4,
	[0x60] = MX4, [0x61] = MX4, [0x62] = MX4, [0x63] = MX, [0x64] = MX, [0x65] = MX, [0x66] = MX,
	[0x67] = MX, [0x68] = MX, [0x69] = MX, [0x6a] = MX, [0x6b] = MX, [0x6c] = XONLY, [0x6d] = XONLY,
	[0x6e] = PFX(SE(MMX, GPR, 0, D_RD | D_GMEM, MMX), SE(XMM, GPR, 0, D_RD | D_GMEM, SSE2), NONE, NONE),
	[0x6f] = PFX(MM8(MMX), X16(SSE2), X16U(SSE2), NONE),
	[0x70] = PFX(SE(MMX, MMX, 8, D_RD | D_I8U, SSE), X16I(SSE2), X16I(SSE2), X16I(SSE2)),
	[0x71] = PFX(GRP(NONE, NONE, GRI(MMX, 0), NONE, GRI(MMX, 0), NONE, GRI(MMX, 0)),
		     GRP(NONE, NONE, GRI(XMM, 0), NONE, GRI(XMM, 0), NONE, GRI(XMM, 0)), NONE, NONE),
	[0x72] = PFX(GRP(NONE, NONE, GRI(MMX, 0), NONE, GRI(MMX, 0), NONE, GRI(MMX, 0)),
		     GRP(NONE, NONE, GRI(XMM, 0), NONE, GRI(XMM, 0), NONE, GRI(XMM, 0)), NONE, NONE),
	[0x73] = PFX(GRP(NONE, NONE, GRI(MMX, 0), NONE, NONE, NONE, GRI(MMX, 0)),
		     GRP(NONE, NONE, GRI(XMM, 0), GRI(XMM, 0), NONE, NONE, GRI(XMM, 0), GRI(XMM, 0)),
		     NONE, NONE),
	[0x74] = MX, [0x75] = MX, [0x76] = MX,
	[0x77] = { .flags = D_PFX, .sub = (const struct opdef[4]){
			{ .exec = exec_sse, .feat = FEAT_MMX, .rm_class = INSN_CLASS_MMX } } },
	[0x7c] = PFX(NONE, X16(SSE3), NONE, X16(SSE3)), [0x7d] = PFX(NONE, X16(SSE3), NONE, X16(SSE3)),
	[0x7e] = PFX(SE(MMX, GPR, 0, D_WR | D_RMW | D_GMEM, MMX), SE(XMM, GPR, 0, D_WR | D_RMW | D_GMEM, SSE2),
		     XM(8, SSE2), NONE),
	[0x7f] = PFX(SE(MMX, MMX, 8, D_WR, MMX), XST(16, D_ALGN, SSE2), XST(16, 0, SSE2), NONE),
	[0xc2] = PFX(X16I(SSE), X16I(SSE2), XMI(4, SSE), XMI(8, SSE2)),
	[0xc4] = PFX(SE(MMX, GPR, 2, D_RD | D_I8U, SSE), SE(XMM, GPR, 2, D_RD | D_I8U, SSE2), NONE, NONE),
	[0xc5] = PFX(SE(GPR, MMX, 0, D_REG | D_I8U | D_REGW, SSE),
		     SE(GPR, XMM, 0, D_REG | D_I8U | D_REGW, SSE2), NONE, NONE),
	[0xc6] = PFX(X16I(SSE), X16I(SSE2), NONE, NONE),
	[0xd0] = PFX(NONE, X16(SSE3), NONE, X16(SSE3)),
	[0xd1] = MX, [0xd2] = MX, [0xd3] = MX, [0xd4] = MX2, [0xd5] = MX,
	[0xd6] = PFX(NONE, XST(8, 0, SSE2), SE(XMM, MMX, 0, D_REG, SSE2), SE(MMX, XMM, 0, D_REG, SSE2)),
	[0xd7] = PFX(SE(GPR, MMX, 0, D_REG | D_REGW, SSE), SE(GPR, XMM, 0, D_REG | D_REGW, SSE2), NONE, NONE),
	[0xd8] = MX, [0xd9] = MX, [0xda] = MX1, [0xdb] = MX, [0xdc] = MX, [0xdd] = MX, [0xde] = MX1,
	[0xdf] = MX, [0xe0] = MX1, [0xe1] = MX, [0xe2] = MX, [0xe3] = MX1, [0xe4] = MX1, [0xe5] = MX,
	[0xe6] = PFX(NONE, X16(SSE2), XM(8, SSE2), X16(SSE2)),
	[0xe7] = PFX(SE(MMX, MMX, 8, D_WR | D_MEM, SSE), XST(16, D_MEM | D_ALGN, SSE2), NONE, NONE),
	[0xe8] = MX, [0xe9] = MX, [0xea] = MX1, [0xeb] = MX, [0xec] = MX, [0xed] = MX, [0xee] = MX1,
	[0xef] = MX,
	[0xf0] = PFX(NONE, NONE, NONE, SE(XMM, XMM, 16, D_RD | D_MEM, SSE3)),
	[0xf1] = MX, [0xf2] = MX, [0xf3] = MX, [0xf4] = MX2, [0xf5] = MX, [0xf6] = MX1,
	/* MASKMOVQ, MASKMOVDQU: memory at seg:rDI by the mask */
	[0xf7] = PFX(SE(MMX, MMX, 0, D_REG, SSE), SE(XMM, XMM, 0, D_REG, SSE2), NONE, NONE),
	[0xf8] = MX, [0xf9] = MX, [0xfa] = MX, [0xfb] = MX2, [0xfc] = MX, [0xfd] = MX, [0xfe] = MX,
};

#define SS3 PFX(MM8(SSSE3), X16(SSSE3), NONE, NONE)
#define S41 PFX(NONE, X16(SSE41), NONE, NONE)
#define PMOVX(sz) PFX(NONE, XM(sz, SSE41), NONE, NONE)
#define AESX PFX(NONE, X16(AES), NONE, NONE)

const struct opdef decode_sse_0f38[256] = {
	[0x00] = SS3, [0x01] = SS3, [0x02] = SS3, [0x03] = SS3, [0x04] = SS3, [0x05] = SS3, [0x06] = SS3,
	[0x07] = SS3, [0x08] = SS3, [0x09] = SS3, [0x0a] = SS3, [0x0b] = SS3,
	[0x10] = S41, [0x14] = S41, [0x15] = S41, [0x17] = S41, /* the first three use XMM0 too */
	[0x1c] = SS3, [0x1d] = SS3, [0x1e] = SS3,
	[0x20] = PMOVX(8), [0x21] = PMOVX(4), [0x22] = PMOVX(2), [0x23] = PMOVX(8), [0x24] = PMOVX(4),
	[0x25] = PMOVX(8), [0x28] = S41, [0x29] = S41,
	[0x2a] = PFX(NONE, SE(XMM, XMM, 16, D_RD | D_MEM | D_ALGN, SSE41), NONE, NONE), [0x2b] = S41,
	[0x30] = PMOVX(8), [0x31] = PMOVX(4), [0x32] = PMOVX(2), [0x33] = PMOVX(8), [0x34] = PMOVX(4),
	[0x35] = PMOVX(8), [0x37] = PFX(NONE, X16(SSE42), NONE, NONE),
	[0x38] = S41, [0x39] = S41, [0x3a] = S41, [0x3b] = S41, [0x3c] = S41, [0x3d] = S41, [0x3e] = S41,
	[0x3f] = S41, [0x40] = S41, [0x41] = S41,
	[0xdb] = AESX, [0xdc] = AESX, [0xdd] = AESX, [0xde] = AESX, [0xdf] = AESX,
};

#define S41I PFX(NONE, X16I(SSE41), NONE, NONE)
#define STRI PFX(NONE, XMI(16, SSE42), NONE, NONE)
#define XGST(sz, fl) PFX(NONE, SE(XMM, GPR, sz, D_WR | D_RMW | D_I8U | (fl), SSE41), NONE, NONE)
#define XGLD(sz, fl) PFX(NONE, SE(XMM, GPR, sz, D_RD | D_I8U | (fl), SSE41), NONE, NONE)

const struct opdef decode_sse_0f3a[256] = {
	[0x08] = S41I, [0x09] = S41I, [0x0a] = PFX(NONE, XMI(4, SSE41), NONE, NONE),
	[0x0b] = PFX(NONE, XMI(8, SSE41), NONE, NONE), [0x0c] = S41I, [0x0d] = S41I, [0x0e] = S41I,
	[0x0f] = PFX(SE(MMX, MMX, 8, D_RD | D_I8U, SSSE3), X16I(SSSE3), NONE, NONE),
	[0x14] = XGST(1, 0), [0x15] = XGST(2, 0), [0x16] = XGST(0, D_GMEM), [0x17] = XGST(4, 0),
	[0x20] = XGLD(1, 0), [0x21] = PFX(NONE, XMI(4, SSE41), NONE, NONE), [0x22] = XGLD(0, D_GMEM),
	[0x40] = S41I, [0x41] = S41I, [0x42] = S41I, [0x44] = PFX(NONE, X16I(PCLMUL), NONE, NONE),
	/* strings take unaligned memory; 60 to 63 write XMM0 or ECX, and flags */
	[0x60] = STRI, [0x61] = STRI, [0x62] = STRI, [0x63] = STRI,
	[0xdf] = PFX(NONE, X16I(AES), NONE, NONE),
};

/* clang-format on */
