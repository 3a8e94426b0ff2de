/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The restore step: from exec of a program to the first instruction of a machine that it restores,
 * for a small and a large guest. usage: restore KERNEL WORD [ROUNDS]
 *
 * The parent boots KERNEL until WORD is on its serial console, saves it with the code that has run
 * to a store in a temporary directory and then starts itself again and again to go on with it. A
 * kernel of Linux without a root file system has run about twice as much code as a container's
 * start does when it says "panic".
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/clock.h"
#include "base/fd.h"
#include "snapimage.h"
#include "snapshots/memory.h"

#define ROUNDS_MAX 1000
#define NAME	   "bench"
#define SELF	   "/proc/self/exe"

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
				   .cmdline = "console=ttyS0 quiet panic=0",
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
	saved.code_fd = s.code_fd;
	saved.has_code = s.code_fd >= 0;
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

/* Until the guest has said it. */
static int wait_for(int fd, const char *word, struct err *err)
{
	char buf[65536];
	size_t len = 0;
	ssize_t n = 1;

	alarm(60);
	while (n > 0 && len < sizeof(buf) - 1) {
		n = read(fd, buf + len, sizeof(buf) - 1 - len);
		len += n > 0 ? (size_t)n : 0;
		buf[len] = '\0';
		if (strstr(buf, word)) {
			alarm(0);
			return 0;
		}
	}
	return err_set(err, -EIO, "the guest did not say '%s'", word);
}

/* @console: what the guest writes comes out there. */
static int make(int store_fd, struct vm_config *config, int console, const char *word,
		uint64_t *ret_code_bytes, struct err *err)
{
	CLEANUP(snap_buf_done) struct snap_buf state = { 0 };
	struct snap_new s = SNAP_NEW_NONE;
	struct snap_manifest m = { 0 };
	struct vm_identity id;
	struct stat st = { 0 };
	struct vm *vm = NULL;
	int r = vm_new(config, &vm, err);

	if (r == 0)
		r = vm_start(vm, err);
	if (r == 0)
		r = vm_identify(config, &id, err);
	if (r == 0)
		r = snap_begin(store_fd, NAME, &s, err);
	if (r == 0)
		r = wait_for(console, word, err);
	if (r < 0)
		return r;
	vm_quiesce(vm);
	snapimage_describe("soft", &id, config->ram_bytes, 1, &m);
	memset(m.key, '0', SHA256_HEX);
	r = snapimage_machine(vm, &state, err);
	if (r == 0)
		r = snapimage_write_state(s.state_fd, &state, err);
	if (r == 0)
		r = snapimage_memory(vm, s.memory_fd, -1, NULL, err);
	if (r == 0)
		r = vm_code_save(vm, s.code_fd, err);
	if (r == 0 && fstat(s.code_fd, &st) == 0)
		*ret_code_bytes = (uint64_t)st.st_size;
	if (r == 0)
		r = snap_publish(&s, &m, true, err);
	vm_resume(vm);
	vm_free(vm);
	snap_manifest_done(&m);
	return r;
}

static uint64_t one(const char *store, uint64_t ram_bytes)
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
		execl(SELF, SELF, "--child", store, ram, now, (char *)NULL);
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

static int measure(const char *kernel, unsigned ram_mib, unsigned rounds, const char *word,
		   double *ret_ms)
{
	char store[] = "/tmp/husk-bench-restore.XXXXXX";
	struct vm_config config = config_of(ram_mib * MIB);
	struct console_backend serial = { .in_fd = -1 };
	static uint64_t ns[ROUNDS_MAX];
	uint64_t code_bytes = 0;
	struct err err = { 0 };
	int fd, r, out[2];

	if (!mkdtemp(store) || pipe2(out, O_CLOEXEC) < 0)
		return 1;
	serial.out_fd = out[1];
	config.serial = &serial;
	config.kernel = (struct vm_file){ open(kernel, O_RDONLY | O_CLOEXEC), kernel };
	fd = snap_store_open(store, false, &err);
	r = fd < 0 ? fd : make(fd, &config, out[0], word, &code_bytes, &err);
	for (unsigned i = 0; r == 0 && i < rounds; i++)
		ns[i] = one(store, config.ram_bytes);
	if (fd >= 0)
		(void)snap_remove(fd, NAME, NULL);
	rmdir(store);
	fd_close(fd);
	fd_close(config.kernel.fd);
	fd_close(out[0]);
	fd_close(out[1]);
	if (r < 0)
		return die(kernel, &err);
	qsort(ns, rounds, sizeof(ns[0]), by_value);
	*ret_ms = (double)ns[rounds / 2] / 1e6;
	printf("bench restore/%uMiB ours=%.3fms p99=%.3fms rounds=%u code=%.1fMiB\n", ram_mib,
	       *ret_ms, (double)ns[rounds - 1 - rounds / 100] / 1e6, rounds,
	       (double)code_bytes / MIB);
	return 0;
}

int main(int argc, char **argv)
{
	unsigned rounds = argc > 3 ? (unsigned)atoi(argv[3]) : 51;
	double small = 0, large = 0;

	if (argc == 5 && !strcmp(argv[1], "--child"))
		return child(argv[2], strtoull(argv[3], NULL, 10), strtoull(argv[4], NULL, 10));
	if (argc < 3 || rounds == 0 || rounds > ROUNDS_MAX) {
		fprintf(stderr, "usage: restore KERNEL WORD [ROUNDS]\n");
		return 2;
	}
	if (measure(argv[1], 128, rounds, argv[2], &small) ||
	    measure(argv[1], 8192, rounds, argv[2], &large))
		return 1;
	printf("bench restore/ratio large/small=%.2f\n", large / small);
	return 0;
}
