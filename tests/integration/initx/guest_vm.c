/* SPDX-License-Identifier: Apache-2.0 */
/* A VM with husk's init, for tests. */
#include "guest_vm.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/clock.h"
#include "base/fd.h"
#include "initx/cpio.h"
#include "initx/guest.h"
#include "initx/modules.h"
#include "initx/timeline.h"
#include "share.h"
#include "vmm/vm.h"

#define MAX_PORTS    4096
#define BOOT_TIMEOUT 300
#define FIRST_PORT   5000

struct guest_vm {
	struct vm *vm;
	struct console_backend console;
	struct guest_backend guest;
	struct vsock_backend vsock;
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool ready; /* guarded by lock, as all below */
	unsigned n_accepted;
	bool passed[INITX_TS_MAX_];
	struct guest_done done[GUEST_MAX_DONE]; /* ring */
	uint64_t n_done;
	int port_fd[MAX_PORTS]; /* what a connection to FIRST_PORT + i gets; -1 nothing */
	unsigned next_port;
	struct sandbox *sandbox;
	struct share *share;
	struct timeline *timeline;
	uint64_t start_ns, ready_ns;
	bool running;
	/* what the writer program is fed, while it stands in its store */
	const uint8_t *chunks;
	size_t chunks_len;
	uint32_t chunk_at; /* of the data region in the config region */
};

#define CHUNK_BYTES 5000u

static void put_chunk(struct guest_vm *g)
{
	uint8_t *data = vm_config_region(g->vm) + g->chunk_at;
	size_t n = MIN(g->chunks_len, (size_t)CHUNK_BYTES);

	if (!g->chunk_at)
		return;
	le16_store(data, (uint16_t)n);
	memcpy(data + 2, g->chunks, n);
	vm_config_written(g->vm, g->chunk_at, 2 + CHUNK_BYTES);
	g->chunks += n;
	g->chunks_len -= n;
}

static void on_signal(void *opaque, uint32_t value, const uint32_t words[GUEST_MAILBOX_WORDS])
{
	struct guest_vm *g = opaque;

	pthread_mutex_lock(&g->lock);
	if (value == INITX_SIG_READY) {
		g->ready = true;
		g->ready_ns = clock_monotonic_ns();
	} else if (value == INITX_SIG_ACCEPTED) {
		g->n_accepted++;
	} else if (value == INITX_SIG_USER) {
		put_chunk(g);
	} else if (value == INITX_SIG_DONE) {
		g->done[g->n_done++ % GUEST_MAX_DONE] = (struct guest_done){
			.id = words[INITX_MB_COMMAND_ID / 4],
			.result = (int32_t)words[INITX_MB_RESULT / 4],
			.stage = words[INITX_MB_STAGE / 4],
			.term_signal = words[INITX_MB_TERM_SIGNAL / 4],
			.sent = { words[INITX_MB_OUT / 4], words[INITX_MB_ERR / 4] },
		};
	}
	pthread_cond_broadcast(&g->cond);
	pthread_mutex_unlock(&g->lock);
}

static void on_timeslice(void *opaque, uint32_t id)
{
	struct guest_vm *g = opaque;

	timeline_guest(g->timeline, id, clock_monotonic_ns());
	pthread_mutex_lock(&g->lock);
	if (id < INITX_TS_MAX_)
		g->passed[id] = true;
	pthread_mutex_unlock(&g->lock);
}

bool guest_vm_passed(struct guest_vm *g, uint32_t id)
{
	bool passed;

	pthread_mutex_lock(&g->lock);
	passed = id < INITX_TS_MAX_ && g->passed[id];
	pthread_mutex_unlock(&g->lock);
	return passed;
}

/* HUSK_TEST_TRACE names a file for the timeline. */
static void write_trace(struct guest_vm *g)
{
	const char *path = getenv("HUSK_TEST_TRACE");
	int AUTO_FD fd = path ? open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644) : -1;

	if (fd >= 0)
		timeline_write(g->timeline, fd, NULL);
}

static int on_connect(void *opaque, uint32_t port)
{
	struct guest_vm *g = opaque;
	int fd = -ECONNREFUSED;

	pthread_mutex_lock(&g->lock);
	if (port >= FIRST_PORT && port - FIRST_PORT < MAX_PORTS &&
	    g->port_fd[port - FIRST_PORT] >= 0) {
		fd = g->port_fd[port - FIRST_PORT];
		g->port_fd[port - FIRST_PORT] = -1;
	}
	pthread_mutex_unlock(&g->lock);
	return fd;
}

static int file_into(struct cpio *c, const char *path, const char *name, struct err *err)
{
	int AUTO_FD fd = open(path, O_RDONLY | O_CLOEXEC);
	AUTO_FREE uint8_t *buf = NULL;
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return err_errno(err, errno, "open '%s'", path);
	buf = malloc((size_t)st.st_size + 1);
	if (!buf || fd_read_full(fd, buf, (size_t)st.st_size) != st.st_size)
		return err_set(err, -EIO, "read '%s'", path);
	return cpio_add(c, name, S_IFREG | 0755, 0, buf, (size_t)st.st_size, err);
}

/* The initial RAM disk in a temporary file: init, busybox as the container's only program. */
static int make_initrd(const struct guest_vm_options *opt, int *ret_fd, struct err *err)
{
	static const char *const dirs[] = { "dev", "proc", "sys", "bin", "tmp", "etc", "root" };
	static const char *const flags[] = { "modules" };
	CLEANUP(cpio_freep) struct cpio *c = NULL;
	AUTO_FREE uint8_t *modules = NULL, *archive = NULL;
	struct rtg_blob blob = { .key = "modules" };
	struct guest_values values = { .flags = flags, .n_flags = 1, .blobs = &blob, .n_blobs = 1 };
	struct rtg_output elf;
	size_t len;
	int r = modules_blob(opt->modules, modules_default, n_modules_default, &modules, &blob.len,
			     err);

	blob.data = modules;
	if (r == 0)
		r = guest_compile(GUEST_INIT, RTG_AMD64, &values, &elf, err);
	if (r < 0)
		return r;
	printf("init: %zu bytes, modules %zu bytes\n", elf.len, blob.len);
	r = cpio_new(&c, err);
	for (size_t i = 0; r == 0 && i < ARRAY_LEN(dirs); i++)
		r = cpio_add(c, dirs[i], S_IFDIR | 0755, 0, NULL, 0, err);
	if (r == 0)
		r = cpio_add(c, "dev/console", S_IFCHR | 0600, makedev(5, 1), NULL, 0, err);
	if (r == 0)
		r = cpio_add(c, "init", S_IFREG | 0755, 0, elf.data, elf.len, err);
	if (r == 0)
		r = file_into(c, opt->busybox, "bin/busybox", err);
	if (r == 0)
		r = cpio_add(c, "bin/sh", S_IFLNK | 0777, 0, "busybox", 7, err);
	if (r == 0)
		r = cpio_add(c, "bin/true", S_IFLNK | 0777, 0, "busybox", 7, err);
	if (r == 0)
		r = cpio_add(c, "etc/plain", S_IFREG | 0644, 0, "text\n", 5, err);
	if (r == 0)
		r = cpio_finish(c, &archive, &len, err);
	rtg_output_done(&elf);
	if (r < 0)
		return r;
	*ret_fd = memfd_create("initrd", MFD_CLOEXEC);
	if (*ret_fd < 0 || fd_write_full(*ret_fd, archive, len) < 0)
		return err_errno(err, errno, "write the initial RAM disk");
	return 0;
}

/* @chunk: room for one chunk of data, too. */
static int place_program(struct guest_vm *g, enum guest_program which,
			 const struct guest_values *values, bool chunk, struct err *err)
{
	struct rtg_output payload;
	int r = guest_compile(which, RTG_AMD64, values, &payload, err);

	if (r < 0)
		return r;
	printf("program: code %zu bytes\n", payload.code_bytes);
	r = guest_place_program(vm_config_region(g->vm), &payload, chunk ? INITX_CHUNK_REGION : 0,
				&g->chunk_at, err);
	vm_config_written(g->vm, 0, (uint32_t)MIN(payload.len + 4096, (size_t)VM_CONFIG_BYTES));
	rtg_output_done(&payload);
	return r;
}

static int place_container_init(struct guest_vm *g, const struct guest_values *values,
				struct err *err)
{
	static const struct rtg_config configs[] = { { "hostname", "guest-test" } };
	struct guest_values v = { .configs = configs, .n_configs = 1 };
	const char *flags[16];
	size_t n = 0;

	if (values)
		v = *values;
	for (; values && n < values->n_flags && n < ARRAY_LEN(flags) - 1; n++)
		flags[n] = values->flags[n];
	if (!values)
		flags[n++] = "hostname";
	if (g->share)
		flags[n++] = "rootfs";
	v.flags = flags;
	v.n_flags = n;
	return place_program(g, GUEST_CONTAINER, &v, false, err);
}

/* The next news, or a second without: as many as @left, which a frozen host does not use up. */
static bool news_locked(struct guest_vm *g, unsigned *left)
{
	struct timespec until;

	if (!*left)
		return false;
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec++;
	if (pthread_cond_clockwait(&g->cond, &g->lock, CLOCK_MONOTONIC, &until) != 0)
		--*left;
	return true;
}

static bool wait_ready(struct guest_vm *g)
{
	unsigned left = BOOT_TIMEOUT;
	bool ready;

	pthread_mutex_lock(&g->lock);
	while (!g->ready && news_locked(g, &left))
		;
	ready = g->ready;
	pthread_mutex_unlock(&g->lock);
	return ready;
}

static int make_share(struct guest_vm *g, const char *root, struct err *err)
{
	const struct fuse_options options = { 0 };
	int r = sandbox_new(SANDBOX_ENFORCE, &g->sandbox, err);
	int tree = r < 0 ? r : sandbox_tree_open(root, err);

	return tree < 0 ? tree : share_new(tree, g->sandbox, &options, 0, &g->share, err);
}

static int start(struct guest_vm *g, const struct guest_vm_options *opt, struct err *err)
{
	int AUTO_FD initrd = -1;
	int AUTO_FD kernel = -1;
	struct vm_config config = { .hv = &hv_soft_ops, .ram_bytes = 512 * MIB, .n_vcpus = 1 };
	int r = make_initrd(opt, &initrd, err);

	if (r < 0)
		return r;
	kernel = open(opt->kernel, O_RDONLY | O_CLOEXEC);
	if (kernel < 0)
		return err_errno(err, errno, "open '%s'", opt->kernel);
	g->console = (struct console_backend){ .in_fd = -1,
					       .out_fd = opt->verbose ? STDERR_FILENO : -1 };
	g->guest = (struct guest_backend){ .opaque = g,
					   .signal = on_signal,
					   .timeslice = on_timeslice };
	g->vsock = (struct vsock_backend){ .opaque = g, .connect = on_connect };
	config.kernel = (struct vm_file){ kernel, opt->kernel };
	config.initrd = (struct vm_file){ initrd, "initrd" };
	config.cmdline =
		"console=ttyS0 reboot=k panic=-1 loglevel=4 cryptomgr.notests no_timer_check "
		"tsc_early_khz=1000000 lpj=4000000";
	config.serial = &g->console;
	config.virtio_rng = true;
	config.guest = &g->guest;
	config.vsock = &g->vsock;
	if (opt->root) {
		r = make_share(g, opt->root, err);
		if (r < 0)
			return r;
		config.fs[config.n_fs++] = share_device(g->share, "rootfs", 0);
	}
	r = vm_new(&config, &g->vm, err);
	if (r == 0 && !opt->payloads)
		r = place_container_init(g, opt->container, err);
	if (r == 0 && g->share)
		r = share_start(g->share, err);
	g->start_ns = clock_monotonic_ns();
	if (r == 0)
		r = vm_start(g->vm, err);
	if (r < 0)
		return r;
	g->running = true;
	return wait_ready(g) ? 0 : err_set(err, -ETIMEDOUT, "the guest did not start");
}

struct guest_vm *guest_vm_start(const struct guest_vm_options *opt)
{
	struct guest_vm *g = calloc(1, sizeof(*g));
	struct err err = { 0 };

	if (!g)
		return NULL;
	pthread_mutex_init(&g->lock, NULL);
	pthread_cond_init(&g->cond, NULL);
	for (unsigned i = 0; i < MAX_PORTS; i++)
		g->port_fd[i] = -1;
	if (timeline_new(&g->timeline, &err) < 0 || start(g, opt, &err) < 0) {
		printf("guest: %s\n", err.msg);
		guest_vm_free(g);
		return NULL;
	}
	return g;
}

void guest_vm_free(struct guest_vm *g)
{
	struct vm_exit ex;

	if (!g)
		return;
	if (g->running) {
		vm_stop(g->vm);
		vm_wait(g->vm, &ex);
	}
	vm_free(g->vm);
	share_free(g->share);
	sandbox_free(g->sandbox);
	if (g->timeline)
		write_trace(g);
	timeline_free(g->timeline);
	for (unsigned i = 0; i < MAX_PORTS; i++)
		fd_close(g->port_fd[i]);
	free(g);
}

uint64_t guest_vm_boot_ns(const struct guest_vm *g)
{
	return g->ready_ns - g->start_ns;
}

void guest_vm_cost(struct guest_vm *g, struct guest_vm_cost *ret)
{
	struct hv_stats s;

	vm_stats(g->vm, &s);
	*ret = (struct guest_vm_cost){ s.n_insns, s.n_io + s.n_mmio + s.n_hlt };
}

uint8_t *guest_vm_config(struct guest_vm *g)
{
	return vm_config_region(g->vm);
}

uint32_t guest_vm_port(struct guest_vm *g, int *ret_fd)
{
	int pair[2];
	unsigned i;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return 0;
	pthread_mutex_lock(&g->lock);
	i = g->next_port++ % MAX_PORTS;
	fd_close(g->port_fd[i]);
	g->port_fd[i] = pair[0];
	pthread_mutex_unlock(&g->lock);
	*ret_fd = pair[1];
	return FIRST_PORT + i;
}

int guest_vm_ask(struct guest_vm *g, const uint32_t *words, size_t n_words, const void *more,
		 size_t more_len, void *reply, size_t reply_len)
{
	int AUTO_FD fd = -1;
	uint8_t buf[128];
	struct timeval limit = { .tv_sec = 30 };
	int pair[2];
	int r;

	if (n_words * 4 > sizeof(buf) ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	fd = pair[1];
	r = vm_vsock_connect(g->vm, INITX_DOORBELL_PORT, pair[0], NULL);
	if (r < 0)
		return r;
	for (size_t i = 0; i < n_words; i++)
		le32_store(buf + 4 * i, words[i]);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	if (fd_write_full(fd, buf, 4 * n_words) < 0 ||
	    (more_len && fd_write_full(fd, more, more_len) < 0) ||
	    fd_read_full(fd, reply, reply_len) != (ssize_t)reply_len)
		return -EIO;
	return 0;
}

int guest_vm_bell(struct guest_vm *g, const uint32_t *words, size_t n_words)
{
	uint8_t answer[4];
	int r = guest_vm_ask(g, words, n_words, NULL, 0, answer, sizeof(answer));

	return r < 0 ? r : (int)le32_load(answer);
}

int guest_vm_program(struct guest_vm *g, enum guest_program which,
		     const struct guest_values *values, const void *chunks, size_t chunks_len)
{
	struct err err = { 0 };
	unsigned left = BOOT_TIMEOUT;
	uint64_t n_done;
	int r;

	if (!wait_ready(g)) /* it says so again behind each program */
		return -ETIMEDOUT;
	pthread_mutex_lock(&g->lock);
	g->ready = false;
	g->chunks = chunks;
	g->chunks_len = chunks_len;
	n_done = g->n_done;
	pthread_mutex_unlock(&g->lock);
	r = which == GUEST_CONTAINER ? place_container_init(g, values, &err)
				     : place_program(g, which, values, chunks != NULL, &err);
	if (r < 0) {
		printf("guest: %s\n", err.msg);
		return r;
	}
	if (which == GUEST_CONTAINER)
		return wait_ready(g) ? 0 : -ETIMEDOUT;
	pthread_mutex_lock(&g->lock);
	while (g->n_done == n_done && news_locked(g, &left))
		;
	r = g->n_done == n_done ? -ETIMEDOUT : g->done[n_done % GUEST_MAX_DONE].result;
	pthread_mutex_unlock(&g->lock);
	return r;
}

int guest_vm_send(struct guest_vm *g, struct command *c)
{
	static const uint32_t bell[] = { INITX_BELL_BELL };
	int r = command_place(c, vm_config_region(g->vm), NULL);
	size_t len;

	if (r < 0)
		return r;
	command_bytes(c, &len);
	vm_config_written(g->vm, INITX_COMMAND_OFFSET, (uint32_t)len);
	return guest_vm_bell(g, bell, 1);
}

static struct guest_done *find_done_locked(struct guest_vm *g, uint32_t id)
{
	uint64_t first = g->n_done > GUEST_MAX_DONE ? g->n_done - GUEST_MAX_DONE : 0;

	for (uint64_t i = first; i < g->n_done; i++) {
		if (g->done[i % GUEST_MAX_DONE].id == id)
			return &g->done[i % GUEST_MAX_DONE];
	}
	return NULL;
}

bool guest_vm_forget(struct guest_vm *g, uint32_t id)
{
	struct guest_done *d;

	pthread_mutex_lock(&g->lock);
	d = find_done_locked(g, id);
	if (d)
		d->id = 0;
	pthread_mutex_unlock(&g->lock);
	return d != NULL;
}

bool guest_vm_wait(struct guest_vm *g, uint32_t id, unsigned timeout_ms, struct guest_done *ret)
{
	const struct guest_done *found;
	unsigned left = timeout_ms / 1000;

	pthread_mutex_lock(&g->lock);
	while (!(found = find_done_locked(g, id)) && news_locked(g, &left))
		;
	if (found)
		*ret = *found;
	pthread_mutex_unlock(&g->lock);
	return found != NULL;
}

bool guest_vm_shell(struct guest_vm *g, const char *script, char *out, size_t out_size,
		    struct guest_done *ret)
{
	static uint32_t next_id = 1000000;
	const char *argv[] = { "sh", "-c", script, NULL };
	const char *envp[] = { "PATH=/bin", NULL };
	CLEANUP(command_freep) struct command *c = NULL;
	uint32_t id = next_id++;
	int AUTO_FD fd = -1;
	uint32_t stdio[6] = { INITX_STDIO_NULL, 0, INITX_STDIO_PIPE, 0, INITX_STDIO_STDOUT, 0 };
	ssize_t n;

	stdio[3] = guest_vm_port(g, &fd);
	if (command_new("/bin/sh", argv, envp, &c, NULL) < 0 || command_record(c, id, NULL) < 0 ||
	    command_item_u32(c, INITX_ITEM_STDIO, stdio, 6, NULL) < 0 || guest_vm_send(g, c) < 0)
		return false;
	n = fd_read_full(fd, out, out_size - 1);
	out[n > 0 ? n : 0] = '\0';
	return guest_vm_wait(g, id, GUEST_WAIT_MS, ret);
}
