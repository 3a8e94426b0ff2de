/* SPDX-License-Identifier: Apache-2.0 */
/* Makes test cases from the decoder's tables: every form it accepts, with random operands. */
#ifndef TESTS_DIFF_GEN_H
#define TESTS_DIFF_GEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "soft/decode.h"

#define GEN_MAX_SEQ 4

/* One encoding the decoder takes, without its operands. */
struct form {
	uint8_t prefix; /* 0, 0x66, 0xf3, 0xf2; VEX: pp */
	bool rexw, lock, vex, has_modrm, mem;
	uint8_t map, opcode, reg;
	uint8_t kind; /* what gen_accept_fn said, not 0 */
};

struct form_list {
	struct form *forms;
	size_t n;
	struct decode_env env;
};

/* A few instructions in a row and the state they start from. */
struct test_case {
	bool code32;
	unsigned n; /* instructions */
	uint64_t rip;
	uint8_t bytes[GEN_MAX_SEQ * INSN_MAX_LEN];
	unsigned len;
	struct insn in[GEN_MAX_SEQ];
	uint64_t gpr[16];
	uint64_t rflags;
	uint32_t
		undefined[GEN_MAX_SEQ + 1]; /* flags that mean nothing after so many instructions */
	unsigned pattern;		    /* of memory */
	uint8_t fx[512];		    /* FXSAVE image, for the vector instructions */
};

struct rng {
	uint64_t s;
};

uint64_t rnd(struct rng *r);
static inline unsigned rnd_below(struct rng *r, unsigned n)
{
	return (unsigned)((rnd(r) >> 32) * n >> 32);
}

/* Which decoded instructions take part: 0 for none, else a kind of the caller's. */
typedef uint8_t (*gen_accept_fn)(const struct insn *in);

/* All forms in the mode of @env that @accept takes. Ends the program when memory runs out. */
void gen_forms(struct form_list *list, const struct decode_env *env, gen_accept_fn accept);

/* MOVS and the like. */
bool gen_is_string(const struct insn *in);

/* The integer instructions of interp/; those of stub.c. */
uint8_t gen_accept_integer(const struct insn *in);
uint8_t gen_accept_vector(const struct insn *in);

/**
 * gen_case() - Make a case at @rip
 * @max:	Up to so many instructions; those that would read undefined flags are left out
 */
void gen_case(struct rng *r, const struct form_list *list, uint64_t rip, unsigned max,
	      struct test_case *ret);

/* Initial contents of the writable pages; called by gen_case() for CMPXCHG and the like. */
#define GEN_PATTERNS 16
const uint8_t *gen_pattern(unsigned i);
void gen_init_patterns(struct rng *r);

#endif
