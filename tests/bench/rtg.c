/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long the guest programs take to compile, and how large they are.
 *
 * usage: bench-rtg [--quick]
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/clock.h"
#include "initx/guest.h"

/* What another system says its compiler needs for its container init. */
#define CLAIM_MS 10.0

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static int measure(enum guest_program which, const char *name, enum rtg_arch arch, unsigned rounds)
{
	static const char *const flags[] = { "rootfs", "hostname", "network" };
	static const struct rtg_config configs[] = { { "hostname", "box" } };
	static const struct rtg_blob blobs[] = { { "network", "\0", 1 } };
	struct guest_values v = { .flags = flags,
				  .n_flags = ARRAY_LEN(flags),
				  .configs = configs,
				  .n_configs = ARRAY_LEN(configs),
				  .blobs = blobs,
				  .n_blobs = ARRAY_LEN(blobs) };
	double *ms = calloc(rounds, sizeof(*ms));
	size_t code = 0, image = 0;

	if (!ms)
		return 1;
	for (unsigned i = 0; i < rounds; i++) {
		struct rtg_output out;
		struct err err = { 0 };
		uint64_t start = clock_ns(CLOCK_THREAD_CPUTIME_ID);

		if (guest_compile(which, arch, &v, &out, &err) < 0) {
			fprintf(stderr, "bench: %s\n", err.msg);
			free(ms);
			return 1;
		}
		ms[i] = (double)(clock_ns(CLOCK_THREAD_CPUTIME_ID) - start) / 1e6;
		code = out.code_bytes;
		image = out.len;
		rtg_output_done(&out);
	}
	qsort(ms, rounds, sizeof(*ms), compare);
	printf("bench rtg/compile-%s-%s ours=%.3fms peer=claim:%.1fms ratio=%.2f rounds=%u\n", name,
	       rtg_arch_name(arch), ms[rounds / 2], CLAIM_MS, CLAIM_MS / ms[rounds / 2], rounds);
	printf("bench rtg/code-%s-%s ours=%zuB image=%zuB bar=65536B ratio=%.2f rounds=1\n", name,
	       rtg_arch_name(arch), code, image, 65536.0 / (double)code);
	free(ms);
	return 0;
}

int main(int argc, char **argv)
{
	unsigned rounds = argc > 1 && !strcmp(argv[1], "--quick") ? 20 : 200;
	int status = 0;

	printf("# compile in process, CPU time, median; the peer's figure is its own statement, "
	       "not measured\n");
	for (unsigned a = 0; a < RTG_ARCH_MAX_; a++) {
		status |= measure(GUEST_CONTAINER, "container", (enum rtg_arch)a, rounds);
		status |= measure(GUEST_INIT, "init", (enum rtg_arch)a, rounds);
	}
	return status;
}
