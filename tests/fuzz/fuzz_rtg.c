/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as RTG source, as IR text and as a command block. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "initx/command.h"
#include "initx/rtg.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void compile(const uint8_t *data, size_t size, bool is_ir)
{
	static const char *const flags[] = { "x" };
	static const struct rtg_config configs[] = { { "n", "5" }, { "s", "text" } };
	struct rtg_options opt = { .emit = RTG_EMIT_PAYLOAD,
				   .flags = flags,
				   .n_flags = 1,
				   .configs = configs,
				   .n_configs = 2,
				   .input_is_ir = is_ir };
	struct rtg_source src = { "fuzz", (const char *)data, size };
	struct rtg_run_result run;
	struct rtg_output out;
	struct err err = { 0 };

	for (unsigned a = 0; a < RTG_ARCH_MAX_; a++) {
		int r;

		opt.arch = (enum rtg_arch)a;
		opt.max_regs = a;
		r = rtg_compile(&opt, &src, 1, &out, &err);
		if (r < 0 && !err.msg[0])
			abort();
		rtg_output_done(&out);
		if (r < 0)
			return;
	}
	if (rtg_interpret(&opt, &src, 1, 10000, &run, &out, NULL) == 0)
		free(run.out);
	rtg_output_done(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct command_view v;
	const uint8_t *payload;
	size_t at = 0;
	uint16_t type;
	uint32_t len;

	compile(data, size, false);
	compile(data, size, true);
	if (command_parse(data, size, &v, NULL) == 0) {
		while (command_next_item(&v, &at, &type, &payload, &len))
			if (payload + len > data + size)
				abort();
	}
	return 0;
}
