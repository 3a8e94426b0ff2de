/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a back end is, and what the three share: code with branches that shrink, symbol references
 * that are patched when addresses are known, parallel moves, frames.
 *
 * Theory of operation. codegen_prog() takes each function through register allocation, emits it
 * block by block with every branch in its long form, then lets the branches shrink: all start
 * short, those that do not reach grow, until nothing changes. Branch forms are therefore the ones
 * GNU as would choose, and with a text buffer the same calls also write assembly: assembling that
 * text has to give the same bytes, which is how the encoders are tested.
 */
#ifndef INITX_TARGET_TARGET_H
#define INITX_TARGET_TARGET_H

#include "base/checked.h"
#include "initx/rtg.h"
#include "ir/ir.h"
#include "ir/regalloc.h"

enum fix_kind {
	FIX_AMD64_PC32,	 /* 32-bit distance from the end of the field */
	FIX_ARM64_CALL,	 /* bl */
	FIX_ARM64_ADRP,	 /* adrp + add */
	FIX_RISCV_PCREL, /* auipc + addi */
	FIX_RISCV_CALL,	 /* auipc + jalr */
};

struct code_fix {
	uint32_t off;
	enum fix_kind kind;
	uint32_t sym;
	int64_t addend;
};

#define BRANCH_ALWAYS 255

struct code_branch {
	uint32_t off;	/* of its long form in the first encoding */
	uint32_t block; /* target */
	uint8_t cond;	/* target's own number, or BRANCH_ALWAYS */
	uint8_t r1, r2; /* compared registers, where branches compare */
	uint8_t short_len, long_len;
	bool is_long;
};

struct code {
	struct arena *a;
	struct strbuf bytes;
	struct strbuf *text; /* NULL: no assembly wanted */
	VEC(struct code_fix) fixes;
	VEC(struct code_branch) branches; /* of the function being emitted */
};

struct codegen;

struct target {
	const char *name;
	enum rtg_arch arch;
	uint16_t elf_machine;
	uint32_t elf_flags;
	uint32_t page; /* segment alignment */
	struct regset_info regs;
	uint32_t func_align;
	uint8_t pad_byte;
	const char *asm_head;
	/* Reach of a short branch: from its start, low and high, inclusive. */
	void (*branch_reach)(const struct code_branch *b, int64_t *ret_lo, int64_t *ret_hi);
	/* Write the chosen form; @disp from the branch's start. */
	void (*branch_put)(uint8_t *p, const struct code_branch *b, int64_t disp);
	void (*prologue)(struct codegen *g);
	void (*ins)(struct codegen *g, struct ir_ins *ins);
	/* Process entry of an ELF: call main with the initial stack pointer, exit with its result.
	 */
	void (*start)(struct code *c, uint32_t main_sym, const char *main_name);
	/* Resolve one fix: @p the field, @pc its address, @to the symbol's plus addend. */
	bool (*patch)(uint8_t *p, enum fix_kind kind, uint64_t pc, uint64_t to);
	/* Parallel-move pieces. */
	void (*move_rr)(struct codegen *g, unsigned dst, unsigned src);
	void (*move_ri)(struct codegen *g, unsigned dst, int64_t imm);
	void (*load_frame)(struct codegen *g, unsigned dst, uint32_t off);
	void (*store_frame)(struct codegen *g, uint32_t off, unsigned src);
};

extern const struct target target_amd64, target_arm64, target_riscv64;

const struct target *target_get(enum rtg_arch arch);

struct codegen {
	const struct target *t;
	struct code *c;
	struct ir_prog *p;
	struct ir_func *f;
	const char *name;
	uint32_t func_no;
	struct allocation al;
	struct regset_info regs; /* perhaps fewer than the target's */
	uint32_t *slot_off;	 /* of each stack slot in the frame */
	uint32_t spill_off;	 /* of the first spill cell */
	uint32_t frame;		 /* bytes below the saved registers */
	uint32_t saved;		 /* mask of callee-saved registers in use */
	bool has_calls;
	uint32_t *block_off;
	uint32_t *block_branch; /* how many branches of the function stand before it */
	uint32_t block;		/* being emitted */
};

/* A value's place. */
static inline bool cg_in_reg(const struct codegen *g, struct ir_val v)
{
	return v.kind == IRV_REG && g->al.reg[v.reg] >= 0;
}

static inline uint32_t cg_spill_off(const struct codegen *g, uint32_t reg)
{
	return g->spill_off + 8 * g->al.spill[reg];
}

/* Frame offset of stack slot @s plus @disp: as a full number, the guest chose @disp. */
static inline int64_t cg_slot_off(const struct codegen *g, uint32_t s, int64_t disp)
{
	return (int64_t)g->slot_off[s] + disp;
}

/* Append an instruction of 1 to 4 bytes, and its text when wanted. */
static inline void code_u8(struct code *c, uint8_t v)
{
	strbuf_putc(&c->bytes, (char)v);
}
static inline void code_u32(struct code *c, uint32_t v)
{
	le32_store((uint8_t *)strbuf_add(&c->bytes, 4), v);
}
static inline void code_u64(struct code *c, uint64_t v)
{
	le64_store((uint8_t *)strbuf_add(&c->bytes, 8), v);
}
void code_text_put(struct code *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Its arguments are looked at only when text is wanted. */
#define code_text(c, ...)                              \
	do {                                           \
		if ((c)->text)                         \
			code_text_put(c, __VA_ARGS__); \
	} while (0)
void code_fix(struct code *c, enum fix_kind kind, uint32_t sym, int64_t addend);
/* Reserve a branch to @block of the current function. */
void code_branch(struct code *c, struct code_branch b);

/* Registers in memory order from a value: which one holds it (loading or making it in @scratch). */
unsigned cg_use(struct codegen *g, struct ir_val v, unsigned scratch);
/* Register to compute a result in: its own, or @scratch. */
unsigned cg_def(const struct codegen *g, uint32_t dst, unsigned scratch);
/* After computing @dst in @r: store it when it lives in memory. */
void cg_done(struct codegen *g, uint32_t dst, unsigned r);

struct cg_move {
	unsigned dst;
	struct ir_val src;
};

/* Move values into physical registers at once; @scratch breaks cycles. */
void cg_moves_in(struct codegen *g, const struct cg_move *m, unsigned n, unsigned scratch);
/* Move the incoming parameters to where they live. */
void cg_params_in(struct codegen *g, unsigned scratch);

/* Name of the local label of @block. */
const char *cg_label(const struct codegen *g, uint32_t block, char buf[static 32]);

struct image_sym {
	uint32_t off; /* in its section */
};

struct image {
	struct code code;
	uint32_t *sym_off; /* functions: in code; data: in rodata; globals: in bss */
	struct strbuf ro;
	VEC(uint32_t) abs; /* offsets in ro of absolute addresses */
	VEC(uint32_t) abs_sym;
	uint64_t bss_size;
	uint32_t entry_off; /* in code */
};

/**
 * codegen_prog() - Machine code and data of a program
 * @with_start:	Put process start-up in front; else the entry function comes first
 * @max_regs:	Limit for tests, 0 none
 * @text:	Assembly is written here too, or NULL
 */
void codegen_prog(struct ir_prog *p, const struct target *t, bool with_start, unsigned max_regs,
		  struct strbuf *text, struct image *ret);

/**
 * image_patch() - Resolve all symbol references
 * @code, @ro, @bss:	Addresses of the three parts
 *
 * Return: NULL, or what does not reach.
 */
const char *image_patch(struct image *im, const struct ir_prog *p, const struct target *t,
			uint64_t code, uint64_t ro, uint64_t bss);

/* Address of symbol @sym once the parts are placed. */
uint64_t image_addr(const struct image *im, const struct ir_prog *p, uint32_t sym, uint64_t code,
		    uint64_t ro, uint64_t bss);

#endif
