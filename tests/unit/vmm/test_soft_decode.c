/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include <string.h>

#include "base/checked.h"
#include "soft/cpu.h"
#include "soft/decode.h"
#include "soft/exec.h"

#define ALL (~0ULL)

static enum decode_result decode(unsigned mode, uint64_t features, const char *bytes, unsigned n,
				 struct insn *in)
{
	struct decode_env env = { .features = features, .mode = (uint8_t)mode };

	return decode_insn(&env, (const uint8_t *)bytes, n, in);
}

/* A string literal's bytes without its end. */
#define DECODE(mode, features, s, in) decode(mode, features, s, sizeof(s) - 1, in)

static void decodes_operands_of_64_bit_code(void **state)
{
	struct insn in;

	/* add rax, [r12 + rcx*4 - 8] */
	assert_int_equal(DECODE(CPU_LONG64, ALL, "\x49\x03\x44\x8c\xf8", &in), DECODE_OK);
	assert_int_equal(in.len, 5);
	assert_int_equal(in.op, OP_ADD);
	assert_int_equal(in.form, FORM_R_RM);
	assert_int_equal(in.op_size, 8);
	assert_int_equal(in.base, HV_R12);
	assert_int_equal(in.index, HV_RCX);
	assert_int_equal(in.scale, 2);
	assert_int_equal(in.disp, -8);
	assert_int_equal(in.seg, HV_DS);
	assert_int_equal(in.mem_rw, INSN_MEM_R);
	/* mov qword gs:[rip + 0x10], -1 */
	assert_int_equal(DECODE(CPU_LONG64, ALL, "\x65\x48\xc7\x05\x10\0\0\0\xff\xff\xff\xff", &in),
			 DECODE_OK);
	assert_int_equal(in.len, 12);
	assert_int_equal(in.base, INSN_REG_RIP);
	assert_int_equal(in.seg, HV_GS);
	assert_true(in.imm == ~0ULL);
	/* movabs r9, imm64 */
	assert_int_equal(DECODE(CPU_LONG64, ALL, "\x49\xb9\1\2\3\4\5\6\7\x88", &in), DECODE_OK);
	assert_int_equal(in.rm, HV_R9);
	assert_true(in.imm == 0x8807060504030201ULL);
	/* push [rbp]: 64 bits without REX.W, through SS */
	assert_int_equal(DECODE(CPU_LONG64, ALL, "\xff\x75\x00", &in), DECODE_OK);
	assert_int_equal(in.op_size, 8);
	assert_int_equal(in.seg, HV_SS);
	/* an ES override means nothing here */
	assert_int_equal(DECODE(CPU_LONG64, ALL, "\x26\x8b\x00", &in), DECODE_OK);
	assert_int_equal(in.seg, HV_DS);
}

static void a_rex_prefix_counts_only_before_the_opcode(void **state)
{
	struct insn in;

	assert_int_equal(DECODE(CPU_LONG64, ALL, "\x48\x66\x01\xc8", &in), DECODE_OK);
	assert_int_equal(in.rex, 0);
	assert_int_equal(in.op_size, 2);
	assert_int_equal(DECODE(CPU_LONG64, ALL, "\x66\x48\x01\xc8", &in), DECODE_OK);
	assert_int_equal(in.op_size, 8);
}

static void near_branches_can_be_16_bit_as_amd_has_them(void **state)
{
	struct insn in;

	assert_int_equal(DECODE(CPU_LONG64, ALL, "\x66\xe8\x34\x12\0\0", &in), DECODE_OK);
	assert_int_equal(in.len, 4);
	assert_int_equal(in.op_size, 2);
	/* REX.W has the last word: what compilers put before calls to pad them */
	assert_int_equal(DECODE(CPU_LONG64, ALL, "\x66\x66\x48\xe8\x34\x12\0\0", &in), DECODE_OK);
	assert_int_equal(in.len, 8);
	assert_int_equal(in.op_size, 8);
}

static void decodes_16_and_32_bit_code(void **state)
{
	struct insn in;

	/* mov [bx+si+0x1234], ax */
	assert_int_equal(DECODE(CPU_REAL16, ALL, "\x89\x80\x34\x12", &in), DECODE_OK);
	assert_int_equal(in.op_size, 2);
	assert_int_equal(in.addr_size, 2);
	assert_int_equal(in.base, HV_RBX);
	assert_int_equal(in.index, HV_RSI);
	assert_int_equal(in.disp, 0x1234);
	/* inc eax, not REX */
	assert_int_equal(DECODE(CPU_COMPAT32, ALL, "\x40", &in), DECODE_OK);
	assert_int_equal(in.op, OP_INC);
	assert_int_equal(in.op_size, 4);
	/* jmp far 0x10:0x12345678 */
	assert_int_equal(DECODE(CPU_PROT32, ALL, "\xea\x78\x56\x34\x12\x10\0", &in), DECODE_OK);
	assert_true(in.exec == exec_far_jmp);
	assert_true(in.imm == 0x12345678);
	assert_int_equal(in.imm2, 0x10);
	/* C4 with a memory operand is LES, with a register VEX */
	assert_int_equal(DECODE(CPU_PROT32, ALL, "\xc4\x00", &in), DECODE_OK);
	assert_true(in.exec == exec_load_far);
	assert_int_equal(DECODE(CPU_PROT32, ALL, "\xc4\xe2\x78\xf2\xc1", &in), DECODE_OK);
	assert_true(in.exec == exec_bmi);
}

struct illegal {
	unsigned mode, n;
	const char *bytes;
};

#define ILLEGAL(mode, s)               \
	{                              \
		mode, sizeof(s) - 1, s \
	}

static void refuses_illegal_encodings(void **state)
{
	static const struct illegal list[] = {
		ILLEGAL(CPU_LONG64, "\xf0\x01\xc8"),		 /* LOCK with a register */
		ILLEGAL(CPU_LONG64, "\xf0\x39\x08"),		 /* LOCK CMP */
		ILLEGAL(CPU_LONG64, "\xf0\x90"),		 /* LOCK NOP */
		ILLEGAL(CPU_LONG64, "\x06"),			 /* PUSH ES */
		ILLEGAL(CPU_LONG64, "\x9a\0\0\0\0\0\0"),	 /* CALL far */
		ILLEGAL(CPU_LONG64, "\x82\xc0\x01"),		 /* alias of 80 */
		ILLEGAL(CPU_LONG64, "\xfe\xd0"),		 /* FE /2 */
		ILLEGAL(CPU_LONG64, "\xff\xf8"),		 /* FF /7 */
		ILLEGAL(CPU_LONG64, "\xff\xd8"),		 /* far call through a register */
		ILLEGAL(CPU_LONG64, "\x8d\xc0"),		 /* LEA of a register */
		ILLEGAL(CPU_LONG64, "\x8e\xc8"),		 /* MOV CS */
		ILLEGAL(CPU_LONG64, "\xc6\x08\0"),		 /* C6 /1 */
		ILLEGAL(CPU_LONG64, "\x0f\xba\xc0\x01"),	 /* BT group /0 */
		ILLEGAL(CPU_LONG64, "\x0f\x04"),		 /* hole */
		ILLEGAL(CPU_LONG64, "\xd9\xd1"),		 /* x87 hole */
		ILLEGAL(CPU_LONG64, "\x66\xc4\xe2\x78\xf2\xc1"), /* 66 before VEX */
		ILLEGAL(CPU_LONG64, "\xc4\xe2\x7c\xf2\xc1"),	 /* VEX.L */
		ILLEGAL(CPU_REAL16, "\x0f\x00\xd8"),		 /* LTR in real mode */
		ILLEGAL(CPU_REAL16, "\x63\xc0"),		 /* ARPL in real mode */
		ILLEGAL(CPU_PROT32, "\x0f\x01\xf8"),		 /* SWAPGS */
	};
	struct insn in;

	for (unsigned i = 0; i < ARRAY_LEN(list); i++)
		assert_int_equal(decode(list[i].mode, ALL, list[i].bytes, list[i].n, &in),
				 DECODE_UD);
}

static void features_gate_encodings(void **state)
{
	static const struct {
		unsigned feat, n;
		const char *bytes;
	} list[] = {
		{ FEAT_POPCNT, 4, "\xf3\x0f\xb8\xc1" },
		{ FEAT_MOVBE, 4, "\x0f\x38\xf0\x00" },
		{ FEAT_CX16, 4, "\x48\x0f\xc7\x08" },
		{ FEAT_RDRAND, 3, "\x0f\xc7\xf0" },
		{ FEAT_FSGSBASE, 5, "\xf3\x48\x0f\xae\xc0" },
		{ FEAT_SSE42, 5, "\xf2\x0f\x38\xf1\xc1" },
		{ FEAT_BMI1, 5, "\xc4\xe2\x78\xf2\xc1" },
		{ FEAT_SMAP, 3, "\x0f\x01\xca" },
		{ FEAT_SSSE3, 5, "\x66\x0f\x38\x00\xc1" },
		{ FEAT_AES, 5, "\x66\x0f\x38\xdc\xc1" },
	};
	struct insn in;

	for (unsigned i = 0; i < ARRAY_LEN(list); i++) {
		uint64_t bit = 1ULL << list[i].feat;

		assert_int_equal(decode(CPU_LONG64, ALL, list[i].bytes, list[i].n, &in), DECODE_OK);
		assert_int_equal(decode(CPU_LONG64, ALL & ~bit, list[i].bytes, list[i].n, &in),
				 DECODE_UD);
	}
	/* without BMI1 and LZCNT the prefix is ignored */
	assert_int_equal(DECODE(CPU_LONG64, ALL & ~(1ULL << FEAT_BMI1), "\xf3\x0f\xbc\xc1", &in),
			 DECODE_OK);
	assert_int_equal(in.op, OP_BSF);
	assert_int_equal(DECODE(CPU_LONG64, ALL, "\xf3\x0f\xbc\xc1", &in), DECODE_OK);
	assert_int_equal(in.op, OP_TZCNT);
	assert_int_equal(DECODE(CPU_LONG64, ALL & ~(1ULL << FEAT_LZCNT), "\xf3\x0f\xbd\xc1", &in),
			 DECODE_OK);
	assert_int_equal(in.op, OP_BSR);
}

static void asks_for_more_bytes_and_limits_the_length(void **state)
{
	static const char insn[] = "\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x01\xc8";
	static const char too_long[] =
		"\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x01\xc8";
	struct insn in;

	for (unsigned n = 0; n < 15; n++)
		assert_int_equal(decode(CPU_LONG64, ALL, insn, n, &in), DECODE_MORE);
	assert_int_equal(decode(CPU_LONG64, ALL, insn, 15, &in), DECODE_OK);
	assert_int_equal(in.len, 15);
	assert_int_equal(decode(CPU_LONG64, ALL, too_long, 16, &in), DECODE_GP);
}

static void tells_stubs_what_the_operands_are(void **state)
{
	struct insn in;

	/* movaps xmm1, [rax] */
	assert_int_equal(DECODE(CPU_LONG64, ALL, "\x0f\x28\x08", &in), DECODE_OK);
	assert_int_equal(in.reg_class, INSN_CLASS_XMM);
	assert_int_equal(in.mem_size, 16);
	assert_int_equal(in.mem_rw, INSN_MEM_R | INSN_MEM_ALIGNED);
	/* movq rax, xmm0: rm is written */
	assert_int_equal(DECODE(CPU_LONG64, ALL, "\x66\x48\x0f\x7e\xc0", &in), DECODE_OK);
	assert_int_equal(in.rm_class, INSN_CLASS_GPR);
	assert_true(in.mem_rw & INSN_RM_W);
	/* pextrb [rax], xmm0, 3 */
	assert_int_equal(DECODE(CPU_LONG64, ALL, "\x66\x0f\x3a\x14\x00\x03", &in), DECODE_OK);
	assert_int_equal(in.mem_size, 1);
	assert_true(in.mem_rw & INSN_MEM_W);
	/* fnsave [rax]; fstp tbyte [rax] */
	assert_int_equal(DECODE(CPU_LONG64, ALL, "\xdd\x30", &in), DECODE_OK);
	assert_int_equal(in.mem_size, 108);
	assert_int_equal(DECODE(CPU_LONG64, ALL, "\xdb\x38", &in), DECODE_OK);
	assert_int_equal(in.mem_size, 10);
	assert_int_equal(in.mem_rw, INSN_MEM_W);
}

/* Whatever the bytes: a length within what was given, and an implementation. */
static void survives_random_bytes(void **state)
{
	uint64_t s = 1;

	for (unsigned i = 0; i < 300000; i++) {
		uint8_t bytes[16];
		struct insn in;
		struct decode_env env = { .features = ALL, .mode = (uint8_t)(i % 7) };
		enum decode_result r;

		for (unsigned k = 0; k < 16; k++) {
			s = s * 6364136223846793005ULL + 1442695040888963407ULL;
			bytes[k] = (uint8_t)(s >> 56);
		}
		r = decode_insn(&env, bytes, 1 + i % 16, &in);
		if (r != DECODE_OK)
			continue;
		assert_non_null(in.exec);
		assert_true(in.len >= 1 && in.len <= 15 && in.len <= 1 + i % 16);
		assert_true(in.base <= INSN_REG_RIP && in.index <= INSN_REG_NONE);
		assert_memory_equal(in.bytes, bytes, in.len);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(decodes_operands_of_64_bit_code),
		cmocka_unit_test(a_rex_prefix_counts_only_before_the_opcode),
		cmocka_unit_test(near_branches_can_be_16_bit_as_amd_has_them),
		cmocka_unit_test(decodes_16_and_32_bit_code),
		cmocka_unit_test(refuses_illegal_encodings),
		cmocka_unit_test(features_gate_encodings),
		cmocka_unit_test(asks_for_more_bytes_and_limits_the_length),
		cmocka_unit_test(tells_stubs_what_the_operands_are),
		cmocka_unit_test(survives_random_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
