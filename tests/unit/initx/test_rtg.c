/* SPDX-License-Identifier: Apache-2.0 */
/* The compiler as a library: options, limits, hostile sources, hostile IR. */
#include "test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "initx/rtg.h"

static int compile(const struct rtg_options *opt, const char *text, struct rtg_output *out,
		   struct err *err)
{
	struct rtg_source src = { "t.rtg", text, strlen(text) };

	return rtg_compile(opt, &src, 1, out, err);
}

static void knows_its_targets(void **state)
{
	enum rtg_arch a;

	assert_int_equal(rtg_arch_parse("riscv64", &a), 0);
	assert_int_equal(a, RTG_RISCV64);
	assert_string_equal(rtg_arch_name(RTG_ARM64), "arm64");
	assert_null(rtg_arch_name(RTG_ARCH_MAX_));
	assert_int_equal(rtg_arch_parse("x86", &a), -EINVAL);
}

static void joins_several_sources(void **state)
{
	static const char one[] = "package main\nfunc main() int64 { return f() }\n";
	static const char two[] = "package main\nfunc f() int64 { return bad }\n";
	struct rtg_source src[] = { { "one.rtg", one, sizeof(one) - 1 },
				    { "two.rtg", two, sizeof(two) - 1 } };
	struct rtg_options opt = { .emit = RTG_EMIT_PAYLOAD };
	struct rtg_const c = { "bad", 7 };
	struct rtg_output out;

	assert_int_equal(rtg_compile(&opt, src, 2, &out, NULL), -EINVAL);
	assert_int_equal(out.n_errors, 1);
	assert_non_null(strstr(out.diagnostics, "two.rtg:2:25: error: 'bad' is not declared"));
	rtg_output_done(&out);
	opt.consts = &c;
	opt.n_consts = 1;
	assert_int_equal(rtg_compile(&opt, src, 2, &out, NULL), 0);
	rtg_output_done(&out);
}

static void relocates_absolute_words(void **state)
{
	static const char text[] =
		"package main\nfunc main() int64 {\n"
		"return int64(LinkAddress(main) - LinkAddress(f)) }\nfunc f() {\n}\n";
	struct rtg_options opt = { .emit = RTG_EMIT_PAYLOAD };

	for (unsigned a = 0; a < RTG_ARCH_MAX_; a++) {
		struct rtg_output out;

		opt.arch = (enum rtg_arch)a;
		assert_int_equal(compile(&opt, text, &out, NULL), 0);
		assert_int_equal(out.n_relocs, 2);
		for (size_t i = 0; i < 2; i++) {
			assert_true(out.relocs[i] % 8 == 0 && out.relocs[i] + 8 <= out.len);
			assert_true(le64_load(out.data + out.relocs[i]) < out.code_bytes);
		}
		rtg_output_done(&out);
	}
}

static void refuses_bad_options(void **state)
{
	struct rtg_options opt = { .arch = RTG_ARCH_MAX_ };
	struct rtg_output out;

	assert_int_equal(compile(&opt, "package main\n", &out, NULL), -EINVAL);
	rtg_output_done(&out);
	opt = (struct rtg_options){ .emit = RTG_EMIT_MAX_ };
	assert_int_equal(compile(&opt, "package main\n", &out, NULL), -EINVAL);
	rtg_output_done(&out);
	assert_int_equal(rtg_compile(&(struct rtg_options){ 0 }, NULL, 0, &out, NULL), -EINVAL);
}

static void bounds_its_input(void **state)
{
	struct rtg_options opt = { .emit = RTG_EMIT_IR };
	size_t len = 9 << 20;
	char *text = malloc(len + 1);
	struct rtg_output out;

	memset(text, ' ', len);
	text[len] = '\0';
	assert_int_equal(compile(&opt, text, &out, NULL), -E2BIG);
	rtg_output_done(&out);
	free(text);
}

/* A function that is too large for a branch to cross it is refused, not miscompiled. */
static void bounds_functions(void **state)
{
	struct rtg_options opt = { .emit = RTG_EMIT_PAYLOAD };
	size_t n = 60000, at;
	char *text = malloc(n * 40 + 200);
	struct rtg_output out;

	at = (size_t)sprintf(text, "package main\nfunc main() int64 {\nx := Syscall(1)\n");
	for (size_t i = 0; i < n; i++)
		at += (size_t)sprintf(text + at, "x = x * 1234567890123 + %zu\n", i);
	sprintf(text + at, "return x\n}\n");
	assert_int_equal(compile(&opt, text, &out, NULL), -E2BIG);
	rtg_output_done(&out);
	free(text);
}

static void survives_every_cut(void **state)
{
	static const char text[] =
		"package main\nconst A = 5 << 2\nvar g [8]byte\nfunc f(a, b int64) int64 {\n"
		"\tif a < b && !(a == 1) || Ifdef(\"x\") {\n\t\treturn g[1] * 2\n\t} else if b > 0 "
		"{\n"
		"\t}\nl:\n\tfor a != 0 {\n\t\ta--\n\t\tgoto l\n\t}\n\treturn Syscall(1, \"s\\n\", "
		"'c')\n}\n"
		"func main() int64 { Printf(\"%d\", f(1, 2)); return 0 }\n";
	struct rtg_options opt = { .emit = RTG_EMIT_PAYLOAD };
	char copy[sizeof(text)];

	for (size_t cut = 0; cut < sizeof(text); cut++) {
		struct rtg_output out;

		memcpy(copy, text, cut);
		copy[cut] = '\0';
		(void)compile(&opt, copy, &out, NULL);
		rtg_output_done(&out);
	}
	for (size_t at = 0; at < sizeof(text) - 1; at++) {
		for (const char *p = "({[\"'`\\\n;:=&*/0a\xff"; *p; p++) {
			struct rtg_output out;

			memcpy(copy, text, sizeof(text));
			copy[at] = *p;
			(void)compile(&opt, copy, &out, NULL);
			rtg_output_done(&out);
		}
	}
}

static void refuses_bad_ir(void **state)
{
	static const char *const bad[] = {
		"",
		"entry @f\n",
		"entry @f\nfunc @f() {\n}\n",
		"entry @f\nfunc @f() {\nb0:\n}\n",
		"entry @f\nfunc @f() {\nb0:\n\tret %99999999\n}\n",
		"entry @f\nfunc @f() {\nb0:\n\tjmp b7\n}\n",
		"entry @f\nfunc @f() {\nb0:\n\tret 1\n\tret 2\n}\n",
		"entry @f\nfunc @f() {\nb0:\n\t%1 = add 1\n\tret 2\n}\n",
		"entry @f\nfunc @f() {\nb0:\n\tcall @f(1)\n\tret 2\n}\n",
		"entry @f\nfunc @f() {\nb0:\n\tret $0\n}\n",
		"entry @f\nfunc @f() {\nb0:\n\t%0 = load8 [$0]\n\tret 0\n}\n",
		"entry @f\nfunc @f() {\nb0:\n\t%0 = set.zz 1, 2\n\tret 0\n}\n",
		"entry @f\nfunc @f() {\nb1:\n\tret 0\n}\n",
		"entry @f\nfunc @f(%1) {\nb0:\n\tret 0\n}\n",
		"entry @f\nfunc @f() {\n\t$0 = 7\nb0:\n\tret 0\n}\n",
		"entry @f\nfunc @f() {\nb0:\n\tret 99999999999999999999\n}\n",
		"entry @g\nfunc @f() {\nb0:\n\tret 0\n}\n",
		"entry @f\nfunc @f() {\nb0:\n\tret 0\n}\nfunc @f() {\nb0:\n\tret 0\n}\n",
		"entry @d\ndata @d align 1 = \"x\"\n",
		"entry @f\nfunc @f() {\nb0:\n\tret 0\n}\ndata @d align 3 = \"x\"\n",
		"entry @f\nfunc @f() {\nb0:\n\tret 0\n}\ndata @d align 1 = \"\\zz\"\n",
		"entry @f\nfunc @f() {\nb0:\n\tstore8 [%0], 1, 2\n\tret 0\n}\n",
		"entry @f\nfunc @f() {\nb0:\n\t%0 = store8 [%0], 1\n\tret 0\n}\n",
	};
	struct rtg_options opt = { .emit = RTG_EMIT_PAYLOAD, .input_is_ir = true };

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct rtg_output out;
		struct err err = { 0 };

		if (compile(&opt, bad[i], &out, &err) != -EINVAL)
			fail_msg("taken: %s", bad[i]);
		assert_true(err.msg[0]);
		rtg_output_done(&out);
	}
}

static void interpreter_stops_what_runs_wild(void **state)
{
	static const struct {
		const char *text, *trap;
	} cases[] = {
		{ "package main\nfunc main() int64 { for { } }\n", "too many steps" },
		{ "package main\nfunc f() int64 { return f() }\nfunc main() int64 { return f() }\n",
		  "stack overflow" },
		{ "package main\nfunc main() int64 { return Load8(5, 0) }\n",
		  "access outside memory" },
		{ "package main\nfunc main() int64 { return Call(5) }\n",
		  "call of something that is no function" },
	};
	struct rtg_options opt = { 0 };

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct rtg_source src = { "t", cases[i].text, strlen(cases[i].text) };
		struct rtg_run_result run;
		struct rtg_output out;

		assert_int_equal(rtg_interpret(&opt, &src, 1, 1000000, &run, &out, NULL), 0);
		assert_string_equal(run.trap, cases[i].trap);
		free(run.out);
		rtg_output_done(&out);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(knows_its_targets),
		cmocka_unit_test(joins_several_sources),
		cmocka_unit_test(relocates_absolute_words),
		cmocka_unit_test(refuses_bad_options),
		cmocka_unit_test(bounds_its_input),
		cmocka_unit_test(bounds_functions),
		cmocka_unit_test(survives_every_cut),
		cmocka_unit_test(refuses_bad_ir),
		cmocka_unit_test(interpreter_stops_what_runs_wild),
	};

	return cmocka_run_group_tests_name("initx/rtg", tests, NULL, NULL);
}
