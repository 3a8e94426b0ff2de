/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The decoder proper: prefixes, ModRM, immediates and the rules on what is legal.
 * Ref: Intel SDM 2 chapters 2 and A; AMD APM 3 appendix A.
 */
#include "soft/decode.h"

#include <stddef.h>
#include <string.h>

#include "base/checked.h"
#include "soft/cpu.h"
#include "soft/decode_table.h"
#include "soft/stub.h"

struct dec {
	const struct decode_env *env;
	const uint8_t *p;
	unsigned end, pos; /* bytes there are, as far as an instruction may go; bytes consumed */
	enum decode_result res;
	struct insn *in;
	bool long64, code16, prot;
	uint8_t seg_override; /* enum hv_seg or 0xff */
};

static __attribute__((noinline, cold)) uint8_t get_none(struct dec *d)
{
	if (d->pos >= INSN_MAX_LEN)
		d->res = DECODE_GP;
	else if (d->res == DECODE_OK)
		d->res = DECODE_MORE;
	return 0;
}

static inline uint8_t get8(struct dec *d)
{
	return likely(d->pos < d->end) ? d->p[d->pos++] : get_none(d);
}

static uint64_t get_le(struct dec *d, unsigned bytes)
{
	uint64_t v = 0;

	if (unlikely(bytes > d->end - d->pos)) {
		while (d->res == DECODE_OK)
			get8(d);
		return 0;
	}
	switch (bytes) {
	case 1: v = d->p[d->pos]; break;
	case 2: memcpy(&v, d->p + d->pos, 2); break;
	case 4: memcpy(&v, d->p + d->pos, 4); break;
	default: memcpy(&v, d->p + d->pos, 8); break;
	}
	d->pos += bytes;
	return v;
}

static int64_t sext(uint64_t v, unsigned bytes)
{
	unsigned sh = 64 - 8 * bytes;

	return (int64_t)(v << sh) >> sh;
}

static const bool is_legacy_prefix[256] = {
	[0x26] = true, [0x2e] = true, [0x36] = true, [0x3e] = true, [0x64] = true, [0x65] = true,
	[0x66] = true, [0x67] = true, [0xf0] = true, [0xf2] = true, [0xf3] = true,
};

/* Legacy prefixes and REX; returns the first byte that is neither, or 0 with res set. */
static uint8_t decode_prefixes(struct dec *d)
{
	struct insn *in = d->in;

	for (;;) {
		uint8_t b = get8(d);

		if (d->long64 && (b & 0xf0) == 0x40) {
			in->rex = b; /* counts only right before the opcode */
			continue;
		}
		if (likely(!is_legacy_prefix[b]))
			return b;
		switch (b) {
		case 0x26: d->seg_override = HV_ES; break;
		case 0x2e: d->seg_override = HV_CS; break;
		case 0x36: d->seg_override = HV_SS; break;
		case 0x3e: d->seg_override = HV_DS; break;
		case 0x64: d->seg_override = HV_FS; break;
		case 0x65: d->seg_override = HV_GS; break;
		case 0x66: in->prefixes |= INSN_PFX_66; break;
		case 0x67: in->prefixes |= INSN_PFX_67; break;
		case 0xf0: in->prefixes |= INSN_PFX_LOCK; break;
		case 0xf2: in->prefixes = (in->prefixes & ~INSN_PFX_F3) | INSN_PFX_F2; break;
		default: in->prefixes = (in->prefixes & ~INSN_PFX_F2) | INSN_PFX_F3; break;
		}
		in->rex = 0;
	}
}

/* 64-bit mode knows only FS and GS overrides. */
static uint8_t pick_seg(const struct dec *d, uint8_t dflt)
{
	if (d->seg_override == 0xff || (d->long64 && d->seg_override < HV_FS))
		return dflt;
	return d->seg_override;
}

static void decode_mem16(struct dec *d)
{
	static const uint8_t bases[8] = { HV_RBX, HV_RBX, HV_RBP, HV_RBP,
					  HV_RSI, HV_RDI, HV_RBP, HV_RBX };
	static const uint8_t indices[8] = { HV_RSI,	   HV_RDI,	  HV_RSI,
					    HV_RDI,	   INSN_REG_NONE, INSN_REG_NONE,
					    INSN_REG_NONE, INSN_REG_NONE };
	struct insn *in = d->in;
	unsigned rm = in->modrm & 7;

	in->base = bases[rm];
	in->index = indices[rm];
	in->scale = 0;
	if (in->mod == 0 && rm == 6) {
		in->base = INSN_REG_NONE;
		in->disp = sext(get_le(d, 2), 2);
	} else if (in->mod == 1) {
		in->disp = sext(get8(d), 1);
	} else if (in->mod == 2) {
		in->disp = sext(get_le(d, 2), 2);
	}
	in->seg = pick_seg(d, in->base == HV_RBP ? HV_SS : HV_DS);
}

static void decode_mem(struct dec *d)
{
	struct insn *in = d->in;
	unsigned rm = in->modrm & 7;
	bool disp32_only = false;

	in->scale = 0;
	in->index = INSN_REG_NONE;
	if (rm == 4) {
		uint8_t sib = get8(d);
		unsigned idx = ((sib >> 3) & 7) | (in->rex & 2 ? 8 : 0);

		in->scale = sib >> 6;
		in->index = idx == 4 ? INSN_REG_NONE : idx;
		in->base = (sib & 7) | (in->rex & 1 ? 8 : 0);
		disp32_only = in->mod == 0 && (sib & 7) == 5;
		if (disp32_only)
			in->base = INSN_REG_NONE;
		if (in->index == INSN_REG_NONE)
			in->scale = 0;
	} else if (in->mod == 0 && rm == 5) {
		in->base = d->long64 ? INSN_REG_RIP : INSN_REG_NONE;
		disp32_only = true;
	} else {
		in->base = rm | (in->rex & 1 ? 8 : 0);
	}
	if (in->mod == 1)
		in->disp = sext(get8(d), 1);
	else if (in->mod == 2 || disp32_only)
		in->disp = sext(get_le(d, 4), 4);
	in->seg = pick_seg(d, in->base == HV_RSP || in->base == HV_RBP ? HV_SS : HV_DS);
}

static inline void decode_modrm_byte(struct dec *d)
{
	struct insn *in = d->in;

	if (in->has_modrm)
		return;
	in->modrm = get8(d);
	in->has_modrm = true;
	in->mod = in->modrm >> 6;
	in->reg = ((in->modrm >> 3) & 7) | (in->rex & 4 ? 8 : 0);
	in->rm = (in->modrm & 7) | (in->rex & 1 ? 8 : 0);
}

static unsigned mandatory_prefix(const struct insn *in)
{
	if (in->prefixes & INSN_PFX_F3)
		return 2;
	if (in->prefixes & INSN_PFX_F2)
		return 3;
	return in->prefixes & INSN_PFX_66 ? 1 : 0;
}

static bool has_feature(const struct dec *d, unsigned feat)
{
	return feat == FEAT_NONE || (d->env->features >> feat & 1);
}

/* Follow group and prefix tables to the final entry; NULL: illegal. */
static const struct opdef *resolve(struct dec *d, const struct opdef *def)
{
	struct insn *in = d->in;

	for (unsigned depth = 0; depth < 4 && def->sub; depth++) {
		if (def->flags & D_PFX) {
			def = &def->sub[mandatory_prefix(in)];
			continue;
		}
		decode_modrm_byte(d);
		if (d->res != DECODE_OK)
			return NULL;
		if (def->flags & D_GRP)
			def = &def->sub[in->modrm >> 3 & 7];
		else
			def = &def->sub[in->mod == 3];
	}
	return def->exec && !def->sub ? def : NULL;
}

/* F3 0F BC/BD are other instructions only when the CPU says so; else the prefix is ignored. */
static const struct opdef *lookup_0f(struct dec *d, unsigned opcode)
{
	struct insn *in = d->in;
	const struct opdef *def = &decode_map_0f[opcode];

	if (opcode == 0x01) {
		decode_modrm_byte(d);
		if (d->res == DECODE_OK && in->mod == 3 && decode_0f01_reg[in->modrm & 63].exec)
			return &decode_0f01_reg[in->modrm & 63];
	}
	if ((opcode == 0xbc || opcode == 0xbd) && (in->prefixes & INSN_PFX_F3) &&
	    !has_feature(d, opcode == 0xbc ? FEAT_BMI1 : FEAT_LZCNT))
		return &def->sub[0];
	if (!def->exec && !def->sub)
		def = &decode_sse_0f[opcode];
	return def;
}

static const struct opdef *lookup_vex(struct dec *d, bool three)
{
	struct insn *in = d->in;
	uint8_t b = get8(d), c;
	unsigned map = 1;

	if (in->rex || (in->prefixes & (INSN_PFX_66 | INSN_PFX_F2 | INSN_PFX_F3 | INSN_PFX_LOCK)))
		return NULL;
	in->prefixes |= INSN_PFX_VEX;
	in->rex = 0x40 | (b & 0x80 ? 0 : 4);
	c = b;
	if (three) {
		in->rex |= (b & 0x40 ? 0 : 2) | (b & 0x20 ? 0 : 1);
		map = b & 31;
		c = get8(d);
		in->rex |= c & 0x80 ? 8 : 0;
	}
	if (!d->long64)
		in->rex = 0x40; /* W too is ignored by the instructions there are */
	in->vvvv = (c >> 3 & 15) ^ 15;
	if (!d->long64)
		in->vvvv &= 7;
	in->vex_l = c & 4;
	in->opcode_off = d->pos;
	in->opcode = get8(d);
	decode_modrm_byte(d);
	if (d->res != DECODE_OK || in->vex_l || map < 2 || map > 3)
		return NULL;
	in->map = map == 2 ? INSN_MAP_0F38 : INSN_MAP_0F3A;
	/* pp: 0 none, 1 66, 2 F3, 3 F2 */
	return decode_vex(map, in->opcode, c & 3, in->modrm >> 3 & 7);
}

static const struct opdef *lookup_2byte(struct dec *d)
{
	struct insn *in = d->in;
	uint8_t b = get8(d);

	in->map = INSN_MAP_0F;
	if (b == 0x38 || b == 0x3a) {
		in->map = b == 0x38 ? INSN_MAP_0F38 : INSN_MAP_0F3A;
		b = get8(d);
	}
	in->opcode_off = d->pos - 1;
	in->opcode = b;
	if (d->res != DECODE_OK)
		return NULL;
	if (in->map == INSN_MAP_0F)
		return lookup_0f(d, b);
	if (in->map == INSN_MAP_0F38)
		return decode_map_0f38[b].exec || decode_map_0f38[b].sub ? &decode_map_0f38[b]
									 : &decode_sse_0f38[b];
	return &decode_sse_0f3a[b];
}

static const struct opdef *lookup(struct dec *d, uint8_t b)
{
	struct insn *in = d->in;

	if (b == 0x0f)
		return lookup_2byte(d);
	in->opcode_off = d->pos - 1;
	in->opcode = b;
	if ((b == 0xc4 || b == 0xc5) && d->prot) {
		if (d->long64)
			return lookup_vex(d, b == 0xc4);
		if (d->pos >= d->end) {
			get8(d);
			return NULL;
		}
		if (d->p[d->pos] >= 0xc0)
			return lookup_vex(d, b == 0xc4);
	}
	if (b == 0x63 && d->long64) {
		static const struct opdef movsxd = { .exec = exec_movx,
						     .flags = D_M | D_RD,
						     .op = OP_MOVSX,
						     .form = FORM_R_RM,
						     .mem_size = 4 };
		return &movsxd;
	}
	if (b == 0x90 && !(in->rex & 1)) {
		static const struct opdef nop = { .exec = exec_nop, .op = OP_NOP };
		static const struct opdef pause = { .exec = exec_pause };

		return in->prefixes & INSN_PFX_F3 ? &pause : &nop;
	}
	return &decode_map_1[b];
}

/* With 66 near branches are 16-bit ones even in 64-bit code: AMD's processors have them. */
static bool is_near_branch(const struct opdef *def)
{
	return def->op == OP_JCC || def->op == OP_JMP || def->op == OP_CALL || def->op == OP_RET ||
	       def->op == OP_LOOP;
}

static void set_sizes(struct dec *d, const struct opdef *def)
{
	struct insn *in = d->in;
	bool p66 = in->prefixes & INSN_PFX_66, p67 = in->prefixes & INSN_PFX_67;

	if (d->long64) {
		in->addr_size = p67 ? 4 : 8;
		if (def->flags & D_F64)
			in->op_size = p66 && !(in->rex & 8) && is_near_branch(def) ? 2 : 8;
		else if ((in->rex & 8) && !(def->flags & D_MAX4))
			in->op_size = 8;
		else if (def->flags & D_D64)
			in->op_size = p66 ? 2 : 8;
		else
			in->op_size = p66 && !(in->rex & 8) ? 2 : 4;
	} else {
		in->addr_size = d->code16 != p67 ? 2 : 4;
		in->op_size = d->code16 != p66 ? 2 : 4;
		if ((in->prefixes & INSN_PFX_VEX))
			in->op_size = 4;
	}
	if (def->flags & D_B)
		in->op_size = 1;
}

static void decode_imm(struct dec *d, const struct opdef *def)
{
	struct insn *in = d->in;
	unsigned z = in->op_size == 8 ? 4 : in->op_size;

	if (def->flags & D_I8)
		in->imm = sext(get8(d), 1);
	else if (def->flags & D_I8U)
		in->imm = get8(d);
	else if (def->flags & D_IZ)
		in->imm = sext(get_le(d, z), z);
	else if (def->flags & D_IV)
		in->imm = get_le(d, in->op_size);
	else if (def->flags & D_I16)
		in->imm = get_le(d, 2);
	else if (def->flags & D_FAR) {
		bool enter = in->opcode == 0xc8;

		in->imm = get_le(d, enter ? 2 : z);
		in->imm2 = enter ? get8(d) : get_le(d, 2);
	}
}

static void x87_sizes(struct insn *in)
{
	/* clang-format off */
	static const uint8_t sizes[8][8] = {
		{ 4, 4, 4, 4, 4, 4, 4, 4 }, { 4, 0, 4, 4, 28, 2, 28, 2 },
		{ 4, 4, 4, 4, 4, 4, 4, 4 }, { 4, 4, 4, 4, 0, 10, 0, 10 },
		{ 8, 8, 8, 8, 8, 8, 8, 8 }, { 8, 8, 8, 8, 108, 0, 108, 2 },
		{ 2, 2, 2, 2, 2, 2, 2, 2 }, { 2, 2, 2, 2, 10, 8, 10, 8 },
	};
	static const uint8_t writes[8] = { 0, 0xcc, 0, 0x8e, 0, 0xce, 0, 0xce };
	/* clang-format on */
	unsigned esc = in->opcode & 7, reg = in->modrm >> 3 & 7;

	if (in->mod == 3)
		return;
	in->mem_size = sizes[esc][reg];
	if (in->op_size == 2 && in->mem_size > 16)
		in->mem_size -= 14;
	in->mem_rw = writes[esc] >> reg & 1 ? INSN_MEM_W : INSN_MEM_R;
}

/* Register forms and holes of the x87 map that are illegal. */
static bool x87_legal(const struct insn *in)
{
	unsigned esc = in->opcode & 7, reg = in->modrm >> 3 & 7, rm = in->modrm & 7;

	if (in->mod != 3)
		return in->mem_size != 0;
	switch (esc << 3 | reg) {
	case 1 << 3 | 2: return rm == 0;
	case 1 << 3 | 4: return rm != 2 && rm != 3 && rm < 6;
	case 1 << 3 | 5: return rm != 7;
	case 2 << 3 | 4:
	case 2 << 3 | 6:
	case 2 << 3 | 7: return false;
	case 2 << 3 | 5: return rm == 1;
	case 3 << 3 | 4: return rm < 5;
	case 3 << 3 | 7:
	case 5 << 3 | 6:
	case 5 << 3 | 7: return false;
	case 6 << 3 | 3: return rm == 1;
	case 7 << 3 | 4: return rm == 0;
	case 7 << 3 | 7: return false;
	default: return true;
	}
}

static void set_operands(struct dec *d, const struct opdef *def)
{
	struct insn *in = d->in;

	in->exec = def->exec;
	in->op = def->op;
	in->form = def->form;
	in->reg_class = def->reg_class;
	in->rm_class = def->rm_class;
	if (def->flags & D_OPR)
		in->rm = (in->opcode & 7) | (in->rex & 1 ? 8 : 0);
	if (in->mod != 3) {
		in->mem_size = def->mem_size ? def->mem_size : in->op_size;
		if (def->flags & D_GMEM)
			in->mem_size = in->rex & 8 ? 8 : 4;
	}
	in->mem_rw = (def->flags & D_RD ? INSN_MEM_R : 0) | (def->flags & D_WR ? INSN_MEM_W : 0) |
		     (def->flags & D_ALGN ? INSN_MEM_ALIGNED : 0) |
		     (def->flags & D_REGW ? INSN_REG_W : 0) | (def->flags & D_RMW ? INSN_RM_W : 0);
	if (def->exec == exec_x87)
		x87_sizes(in);
	if (def->exec == exec_sse)
		in->exec = sse_pick(in);
}

static bool legal(const struct dec *d, const struct opdef *def)
{
	const struct insn *in = d->in;
	bool mem = in->mod != 3;

	if ((def->flags & D_I64 && d->long64) || (def->flags & D_O64 && !d->long64) ||
	    (def->flags & D_PROT && !d->prot))
		return false;
	if ((def->flags & D_MEM && !mem) || (def->flags & D_REG && mem))
		return false;
	if ((in->prefixes & INSN_PFX_LOCK) && !(def->flags & D_LOCK && mem))
		return false;
	if ((def->flags & D_NO66) && mandatory_prefix(in))
		return false;
	if (def->exec == exec_cmpxchg8b && (in->rex & 8) && !has_feature(d, FEAT_CX16))
		return false;
	if (def->exec == exec_x87 && !x87_legal(in))
		return false;
	/* MOV to a segment register: CS never, six exist. */
	if (def->exec == exec_mov_to_seg &&
	    ((in->modrm >> 3 & 7) == HV_CS || (in->modrm >> 3 & 7) > HV_GS))
		return false;
	if (def->exec == exec_mov_from_seg && (in->modrm >> 3 & 7) > HV_GS)
		return false;
	return has_feature(d, def->feat);
}

static void decode_body(struct dec *d)
{
	struct insn *in = d->in;
	uint8_t b = decode_prefixes(d);
	const struct opdef *def;

	if (d->res != DECODE_OK)
		return;
	def = lookup(d, b);
	if (def && d->res == DECODE_OK)
		def = resolve(d, def);
	if (d->res != DECODE_OK)
		return;
	if (!def) {
		d->res = DECODE_UD;
		return;
	}
	if (def->flags & D_M)
		decode_modrm_byte(d);
	set_sizes(d, def);
	if (def->flags & D_FREG) {
		in->mod = 3;
	} else if (def->flags & D_MOFF) {
		in->mod = 0;
		in->base = in->index = INSN_REG_NONE;
		in->disp = get_le(d, in->addr_size);
		in->seg = pick_seg(d, HV_DS);
	} else if (in->mod != 3) {
		if (in->addr_size == 2)
			decode_mem16(d);
		else
			decode_mem(d);
	} else {
		in->seg = pick_seg(d, HV_DS);
	}
	decode_imm(d, def);
	if (d->res != DECODE_OK)
		return;
	set_operands(d, def);
	if (!legal(d, def))
		d->res = DECODE_UD;
}

enum decode_result decode_insn(const struct decode_env *env, const uint8_t *bytes, unsigned n_bytes,
			       struct insn *ret)
{
	struct dec d = { .env = env,
			 .p = bytes,
			 .end = MIN(n_bytes, INSN_MAX_LEN),
			 .in = ret,
			 .seg_override = 0xff };

	memset(ret, 0, sizeof(*ret));
	ret->mod = 3;
	ret->base = ret->index = INSN_REG_NONE;
	d.long64 = env->mode == CPU_LONG64;
	d.prot = env->mode != CPU_REAL16 && env->mode != CPU_VM86;
	d.code16 = env->mode == CPU_REAL16 || env->mode == CPU_VM86 || env->mode == CPU_PROT16 ||
		   env->mode == CPU_COMPAT16;
	decode_body(&d);
	if (d.res != DECODE_OK)
		return d.res;
	ret->len = d.pos;
	if (likely(n_bytes >= INSN_MAX_LEN))
		memcpy(ret->bytes, bytes, INSN_MAX_LEN); /* of a size the compiler knows */
	else
		memcpy(ret->bytes, bytes, d.pos);
	return DECODE_OK;
}

/* Leaf, register and bit of each feature. */
static const struct {
	uint32_t leaf;
	uint8_t reg, bit; /* reg: 0 eax, 1 ebx, 2 ecx, 3 edx */
} feature_bits[FEAT_MAX_] = {
	/* clang-format off */
	[FEAT_MMX] = { 1, 3, 23 }, [FEAT_SSE] = { 1, 3, 25 }, [FEAT_SSE2] = { 1, 3, 26 },
	[FEAT_SSE3] = { 1, 2, 0 }, [FEAT_SSSE3] = { 1, 2, 9 }, [FEAT_SSE41] = { 1, 2, 19 },
	[FEAT_SSE42] = { 1, 2, 20 }, [FEAT_AES] = { 1, 2, 25 }, [FEAT_PCLMUL] = { 1, 2, 1 },
	[FEAT_POPCNT] = { 1, 2, 23 }, [FEAT_MOVBE] = { 1, 2, 22 }, [FEAT_LZCNT] = { 0x80000001, 2, 5 },
	[FEAT_BMI1] = { 7, 1, 3 }, [FEAT_BMI2] = { 7, 1, 8 }, [FEAT_ADX] = { 7, 1, 19 },
	[FEAT_CX16] = { 1, 2, 13 }, [FEAT_RDRAND] = { 1, 2, 30 }, [FEAT_RDSEED] = { 7, 1, 18 },
	[FEAT_FSGSBASE] = { 7, 1, 0 }, [FEAT_INVPCID] = { 7, 1, 10 }, [FEAT_SMAP] = { 7, 1, 20 },
	[FEAT_RDTSCP] = { 0x80000001, 3, 27 }, [FEAT_RDPID] = { 7, 2, 22 }, [FEAT_XSAVE] = { 1, 2, 26 },
	[FEAT_MONITOR] = { 1, 2, 3 }, [FEAT_CLFLUSH] = { 1, 3, 19 }, [FEAT_CLFLUSHOPT] = { 7, 1, 23 },
	[FEAT_CLWB] = { 7, 1, 24 }, [FEAT_FXSR] = { 1, 3, 24 }, [FEAT_CMOV] = { 1, 3, 15 },
	[FEAT_CX8] = { 1, 3, 8 }, [FEAT_SEP] = { 1, 3, 11 },
	/* clang-format on */
};

uint64_t decode_features(const struct hv_cpuid_table *table)
{
	uint64_t mask = 0;

	for (unsigned f = 1; f < FEAT_MAX_; f++) {
		for (unsigned i = 0; i < table->n && i < HV_MAX_CPUID; i++) {
			const struct hv_cpuid *e = &table->entries[i];
			const uint32_t regs[4] = { e->eax, e->ebx, e->ecx, e->edx };

			if (e->leaf == feature_bits[f].leaf && e->subleaf == 0 &&
			    (regs[feature_bits[f].reg] >> feature_bits[f].bit & 1))
				mask |= 1ULL << f;
		}
	}
	return mask;
}
