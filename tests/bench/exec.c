/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A command's round trip in a running guest: block in the slot, bell, exit status out, for a
 * program that does nothing.
 *
 * usage: bench-exec [--quick], with HUSK_TEST_KERNEL and HUSK_TEST_MODULES as the guest test.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/clock.h"
#include "guest_vm.h"

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static bool once(struct guest_vm *g, uint32_t id, double *ret_ms)
{
	CLEANUP(command_freep) struct command *c = NULL;
	struct guest_done d;
	uint64_t start = clock_monotonic_ns();

	if (command_new("/bin/true", NULL, NULL, &c, NULL) < 0 || command_record(c, id, NULL) < 0 ||
	    guest_vm_send(g, c) < 0 || !guest_vm_wait(g, id, 30000, &d) || d.result != 0)
		return false;
	*ret_ms = (double)(clock_monotonic_ns() - start) / 1e6;
	return true;
}

int main(int argc, char **argv)
{
	unsigned rounds = argc > 1 && !strcmp(argv[1], "--quick") ? 20 : 200;
	struct guest_vm_options opt = { .kernel = getenv("HUSK_TEST_KERNEL"),
					.modules = getenv("HUSK_TEST_MODULES"),
					.busybox = "/bin/busybox" };
	struct guest_vm *g;
	struct guest_vm_cost before, after;
	double *ms = calloc(rounds, sizeof(*ms));

	if (!opt.kernel || !opt.modules || !ms) {
		printf("SKIP: HUSK_TEST_KERNEL and HUSK_TEST_MODULES are not set\n");
		return 77;
	}
	g = guest_vm_start(&opt);
	if (!g)
		return 1;
	printf("# soft back end, 1 vCPU, 512 MiB, busybox true from the RAM disk\n");
	printf("bench exec/boot ours=%.1fms rounds=1\n", (double)guest_vm_boot_ns(g) / 1e6);
	for (unsigned i = 0; i < 10; i++) /* caches and translations */
		once(g, 1 + i, &ms[0]);
	guest_vm_cost(g, &before);
	for (unsigned i = 0; i < rounds; i++)
		if (!once(g, 100 + i, &ms[i]))
			return 1;
	guest_vm_cost(g, &after);
	qsort(ms, rounds, sizeof(*ms), compare);
	printf("bench exec/round-trip ours=%.3fms p99=%.3fms rounds=%u\n", ms[rounds / 2],
	       ms[rounds * 99 / 100], rounds);
	printf("bench exec/instructions ours=%.0f rounds=%u\n",
	       (double)(after.instructions - before.instructions) / rounds, rounds);
	printf("bench exec/exits ours=%.1f rounds=%u\n",
	       (double)(after.exits - before.exits) / rounds, rounds);
	guest_vm_free(g);
	free(ms);
	return 0;
}
