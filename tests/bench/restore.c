/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The restore step: from exec of a program to the first instruction of a machine that it restores,
 * for a small and a large guest. usage: restore KERNEL [ROUNDS]
 *
 * The parent boots KERNEL (any ELF program that keeps running), saves it to a store in a temporary
 * directory and then starts itself again and again to go on with it.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/clock.h"
#include "base/fd.h"
#include "snapimage.h"
#include "snapshots/memory.h"

#define ROUNDS_MAX 1000
#define NAME	   "bench"

static int die(const char *what, const struct err *err)
{
	fprintf(stderr, "restore: %s: %s\n", what, err->msg);
	return 1;
}

static struct vm_config config_of(uint64_t ram_bytes)
{
	return (struct vm_config){ .hv = &hv_soft_ops,
				   .ram_bytes = ram_bytes,
				   .n_vcpus = 1,
				   .initrd = { .fd = -1 },
				   .virtio_rng = true };
}

/* ---- the child ---- */

static int child(const char *store, uint64_t ram_bytes, uint64_t began)
{
	struct vm_config config = config_of(ram_bytes);
	struct snapshot s = SNAPSHOT_NONE;
	struct err err = { 0 };
	struct vm_saved saved;
	struct vm *vm = NULL;
	int fd = snap_store_open(store, false, &err);
	int r = fd < 0 ? fd : snap_open(fd, NAME, &s, &err);

	saved = snapimage_view(&s);
	config.saved = &saved;
	if (r == 0)
		r = vm_new(&config, &vm, &err);
	if (r == 0)
		r = vm_start(vm, &err);
	if (r < 0)
		return die("child", &err);
	printf("%llu\n", (unsigned long long)(clock_monotonic_ns() - began));
	fflush(stdout);
	vm_free(vm);
	snap_close(&s);
	fd_close(fd);
	return 0;
}

/* ---- the parent ---- */

static int make(int store_fd, struct vm_config *config, struct err *err)
{
	CLEANUP(snap_buf_done) struct snap_buf state = { 0 };
	struct snap_new s = SNAP_NEW_NONE;
	struct snap_manifest m = { 0 };
	struct vm_identity id;
	struct vm *vm = NULL;
	int r = vm_new(config, &vm, err);

	if (r == 0)
		r = vm_start(vm, err);
	if (r == 0)
		r = vm_identify(config, &id, err);
	if (r == 0)
		r = snap_begin(store_fd, NAME, &s, err);
	if (r < 0)
		return r;
	usleep(20000);
	vm_quiesce(vm);
	snapimage_describe("soft", &id, config->ram_bytes, 1, &m);
	memset(m.key, '0', SHA256_HEX);
	r = snapimage_machine(vm, &state, err);
	if (r == 0)
		r = snapimage_write_state(s.state_fd, &state, err);
	if (r == 0)
		r = snapimage_memory(vm, s.memory_fd, -1, NULL, err);
	if (r == 0)
		r = snap_publish(&s, &m, true, err);
	vm_resume(vm);
	vm_free(vm);
	snap_manifest_done(&m);
	return r;
}

static uint64_t one(const char *self, const char *store, uint64_t ram_bytes)
{
	char ram[32], now[32];
	int out[2];
	uint64_t ns = 0;
	FILE *f;
	pid_t pid;

	if (pipe(out) < 0)
		return 0;
	pid = fork();
	if (pid == 0) {
		dup2(out[1], STDOUT_FILENO);
		close(out[0]);
		snprintf(ram, sizeof(ram), "%llu", (unsigned long long)ram_bytes);
		snprintf(now, sizeof(now), "%llu", (unsigned long long)clock_monotonic_ns());
		execl(self, self, "--child", store, ram, now, (char *)NULL);
		_exit(1);
	}
	close(out[1]);
	f = fdopen(out[0], "r");
	if (!f || fscanf(f, "%lu", &ns) != 1)
		ns = 0;
	fclose(f);
	waitpid(pid, NULL, 0);
	return ns;
}

static int by_value(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static int measure(const char *self, const char *kernel, unsigned ram_mib, unsigned rounds,
		   double *ret_ms)
{
	char store[] = "/tmp/husk-bench-restore.XXXXXX";
	struct vm_config config = config_of(ram_mib * MIB);
	static uint64_t ns[ROUNDS_MAX];
	struct err err = { 0 };
	int fd, r;

	if (!mkdtemp(store))
		return 1;
	config.kernel = (struct vm_file){ open(kernel, O_RDONLY | O_CLOEXEC), kernel };
	config.cmdline = "test=none cpus=1";
	fd = snap_store_open(store, false, &err);
	r = fd < 0 ? fd : make(fd, &config, &err);
	for (unsigned i = 0; r == 0 && i < rounds; i++)
		ns[i] = one(self, store, config.ram_bytes);
	if (fd >= 0)
		(void)snap_remove(fd, NAME, NULL);
	rmdir(store);
	fd_close(fd);
	fd_close(config.kernel.fd);
	if (r < 0)
		return die(kernel, &err);
	qsort(ns, rounds, sizeof(ns[0]), by_value);
	*ret_ms = (double)ns[rounds / 2] / 1e6;
	printf("bench restore/%uMiB ours=%.3fms p99=%.3fms rounds=%u\n", ram_mib, *ret_ms,
	       (double)ns[rounds - 1 - rounds / 100] / 1e6, rounds);
	return 0;
}

int main(int argc, char **argv)
{
	unsigned rounds = argc > 2 ? (unsigned)atoi(argv[2]) : 51;
	double small = 0, large = 0;

	if (argc == 5 && !strcmp(argv[1], "--child"))
		return child(argv[2], strtoull(argv[3], NULL, 10), strtoull(argv[4], NULL, 10));
	if (argc < 2 || rounds == 0 || rounds > ROUNDS_MAX) {
		fprintf(stderr, "usage: restore KERNEL [ROUNDS]\n");
		return 2;
	}
	if (measure("/proc/self/exe", argv[1], 128, rounds, &small) ||
	    measure("/proc/self/exe", argv[1], 8192, rounds, &large))
		return 1;
	printf("bench restore/ratio large/small=%.2f\n", large / small);
	return 0;
}
