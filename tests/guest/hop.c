/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs a guest program as `husk vm` does, but in many machines: at moments that a seeded generator
 * chooses it is stopped, saved, thrown away and restored, and must not notice. With two back ends
 * they take turns. usage: hop KERNEL MEMORY_MIB VCPUS CMDLINE SEED [BACKEND...]
 * The exit status is the value of the test-exit port, as of `husk vm`.
 */
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/clock.h"
#include "base/fd.h"
#include "snapshots/memory.h"
#include "snapshots/sections.h"
#include "vmm/vm.h"

#define MAX_HOPS 40

/* What is left of a machine. */
struct image {
	struct snap_buf state;
	struct snap_sections sections;
	int memory_fd, code_fd;
	struct snap_manifest runs; /* of the memory */
};

static int put(void *opaque, const char *name, uint32_t instance, const void *data, size_t len,
	       struct err *err)
{
	return snap_sections_add(opaque, name, instance, true, data, len, err);
}

static bool find(void *opaque, const char *name, uint32_t instance, const void **ret,
		 size_t *ret_len)
{
	const struct snap_section *s = snap_sections_find(opaque, name, instance);

	if (s) {
		*ret = s->data;
		*ret_len = s->len;
	}
	return s;
}

static int check(void *opaque, struct err *err)
{
	return snap_sections_check_taken(opaque, err);
}

static void image_done(struct image *im)
{
	snap_sections_done(&im->sections);
	snap_buf_done(&im->state);
	snap_manifest_done(&im->runs);
	fd_close(im->memory_fd);
	fd_close(im->code_fd);
	im->memory_fd = im->code_fd = -1;
}

/* @base: what the machine itself was restored from; no memory, if it was not. */
static int image_take(struct vm *vm, const struct image *base, struct image *im, struct err *err)
{
	AUTO_FD int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	struct vm_memory_part parts[VM_MEMORY_PARTS];
	struct snap_range ranges[VM_MEMORY_PARTS];
	unsigned n = vm_memory(vm, parts);
	int r = vm_save(vm, put, &im->state, err);

	for (unsigned i = 0; i < n; i++)
		ranges[i] = (struct snap_range){ parts[i].p, parts[i].len, parts[i].off };
	if (r == 0)
		r = snap_sections_finish(&im->state, err);
	if (r == 0)
		r = snap_sections_parse(im->state.p, im->state.len, &im->sections, err);
	im->memory_fd = memfd_create("memory", MFD_CLOEXEC);
	im->code_fd = memfd_create("code", MFD_CLOEXEC);
	if (r == 0)
		r = snap_memory_write(im->memory_fd, ranges, n, pagemap,
				      base->memory_fd < 0 ? NULL : &base->runs, err);
	if (r == 0)
		r = vm_code_save(vm, im->code_fd, err);
	return r < 0 ? r : snap_memory_runs(im->memory_fd, &im->runs, err);
}

static bool ended(struct vm *vm, uint64_t wait_ns)
{
	struct pollfd p = { .fd = vm_exit_fd(vm), .events = POLLIN };
	struct timespec t = { .tv_nsec = (long)wait_ns };

	return ppoll(&p, 1, &t, NULL) > 0;
}

static int finish(struct vm *vm, unsigned hops)
{
	struct vm_exit end;

	vm_wait(vm, &end);
	vm_free(vm);
	if (end.reason == VM_EXIT_TEST)
		return (int)(end.value & 0xff);
	fprintf(stderr, "hop: %s %s after %u hops\n", vm_exit_reason_str(end.reason), end.err.msg,
		hops);
	return end.reason == VM_EXIT_POWER_OFF || end.reason == VM_EXIT_RESET ? 0 : 1;
}

/* From one machine to the next. Returns NULL when something failed. */
static struct vm *hop(struct vm *vm, struct vm_config *config, struct image *im, struct err *err)
{
	struct vm_saved saved = { .find = find, .check = check };
	struct image next_im = { .memory_fd = -1, .code_fd = -1 };
	struct vm *next = NULL;
	int r;

	vm_quiesce(vm);
	/* It may have ended just now: that is no state to go on with. */
	if (ended(vm, 0)) {
		vm_resume(vm);
		return vm;
	}
	r = image_take(vm, im, &next_im, err);
	vm_resume(vm);
	vm_free(vm);
	image_done(im);
	*im = next_im;
	saved.opaque = &im->sections;
	saved.memory_fd = im->memory_fd;
	saved.code_fd = im->code_fd;
	saved.has_code = true;
	config->saved = &saved;
	/* One that is never started leaves nothing behind. */
	if (r == 0)
		r = vm_new(config, &next, err);
	if (r == 0) {
		vm_free(STEAL_PTR(next));
		r = vm_new(config, &next, err);
	}
	if (r == 0)
		r = vm_start(next, err);
	config->saved = NULL;
	if (r == 0)
		return next;
	vm_free(next);
	return NULL;
}

static const struct hv_ops *backend(const char *name)
{
	return !strcmp(name, "kvm") ? &hv_kvm_ops : &hv_soft_ops;
}

int main(int argc, char **argv)
{
	const struct hv_ops *ops[8] = { &hv_soft_ops };
	struct image im = { .memory_fd = -1, .code_fd = -1 };
	struct vm_config config = { .has_debug_fd = true, .debug_fd = STDOUT_FILENO };
	struct err err = { 0 };
	unsigned n_ops = 1, hops = 0;
	uint64_t seed;
	struct vm *vm = NULL;

	if (argc < 6 || argc > 6 + 8)
		return 2;
	for (int i = 6; i < argc; i++)
		ops[i - 6] = backend(argv[i]);
	n_ops = argc > 6 ? (unsigned)argc - 6 : 1;
	config.kernel = (struct vm_file){ open(argv[1], O_RDONLY | O_CLOEXEC), argv[1] };
	config.initrd.fd = -1;
	config.ram_bytes = strtoull(argv[2], NULL, 10) * MIB;
	config.n_vcpus = (unsigned)atoi(argv[3]);
	config.cmdline = argv[4];
	seed = strtoull(argv[5], NULL, 10) * 2 + 1;
	config.virtio_rng = true;
	config.hv = ops[0];
	if (vm_new(&config, &vm, &err) < 0 || vm_start(vm, &err) < 0) {
		fprintf(stderr, "hop: %s\n", err.msg);
		return 1;
	}
	for (; hops < MAX_HOPS; hops++) {
		seed = seed * 6364136223846793005u + 1442695040888963407u;
		/* from microseconds to milliseconds */
		if (ended(vm, (seed >> 33) % (4096ULL << (seed >> 60) % 11)))
			break;
		config.hv = ops[(hops + 1) % n_ops];
		vm = hop(vm, &config, &im, &err);
		if (!vm) {
			fprintf(stderr, "hop %u: %s\n", hops, err.msg);
			return 1;
		}
	}
	if (getenv("HOP_VERBOSE"))
		fprintf(stderr, "hop: %u hops\n", hops);
	image_done(&im);
	return finish(vm, hops);
}
