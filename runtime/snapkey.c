/* SPDX-License-Identifier: Apache-2.0 */
/* Names of snapshots. */
#include "snapkey.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "snapshots/manifest.h"

/* Changes when what is done up to the snapshot's point changes in a way nothing else tells. */
#define KEY_FORMAT 1

/* One line; what may contain anything is put in by add_text(). */
__attribute__((format(printf, 2, 3))) static void add(struct sha256 *s, const char *fmt, ...)
{
	char line[512];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	sha256_update(s, line, n < 0 || (size_t)n >= sizeof(line) ? sizeof(line) - 1 : (size_t)n);
	sha256_update(s, "\n", 1);
}

static void add_text(struct sha256 *s, const char *name, const char *text)
{
	size_t len = text ? strlen(text) : 0;

	add(s, "%s %zu", name, len);
	sha256_update(s, text ? text : "", len);
}

/* A regular file's content has not changed if none of this has. */
static int add_file(struct sha256 *s, const char *name, int dir_fd, const char *path,
		    struct err *err)
{
	struct statx st;

	if (statx(dir_fd, path, path[0] ? 0 : AT_EMPTY_PATH, STATX_BASIC_STATS | STATX_BTIME, &st) <
	    0)
		return err_errno(err, errno, "look at '%s'", path[0] ? path : name);
	add(s, "%s %u:%u %" PRIu64 " %" PRIu64 " %lld.%u %lld.%u", name, st.stx_dev_major,
	    st.stx_dev_minor, (uint64_t)st.stx_ino, (uint64_t)st.stx_size,
	    (long long)st.stx_mtime.tv_sec, st.stx_mtime.tv_nsec, (long long)st.stx_ctime.tv_sec,
	    st.stx_ctime.tv_nsec);
	return 0;
}

/* Which directory or file it is; what is in it may change. */
static void add_place(struct sha256 *s, const char *name, const char *path)
{
	struct statx st = { 0 };

	if (statx(AT_FDCWD, path, 0, STATX_INO | STATX_BTIME, &st) < 0) {
		add(s, "%s missing", name);
		return;
	}
	add(s, "%s %u:%u %" PRIu64 " %lld.%u", name, st.stx_dev_major, st.stx_dev_minor,
	    (uint64_t)st.stx_ino, (long long)st.stx_btime.tv_sec, st.stx_btime.tv_nsec);
}

static void finish(struct sha256 *s, char ret[SHA256_HEX + 1])
{
	uint8_t hash[SHA256_BYTES];

	sha256_final(s, hash);
	sha256_hex(hash, ret);
}

/* The index of the modules says which there are; each is as old as its directory. */
static void add_modules(struct sha256 *s, const char *kernel_path)
{
	const char *slash = strrchr(kernel_path, '/');
	char path[PATH_MAX];

	if (snprintf(path, sizeof(path), "%.*s/modules/modules.dep",
		     slash ? (int)(slash - kernel_path) : 1,
		     slash ? kernel_path : ".") >= (int)sizeof(path) ||
	    add_file(s, "modules", AT_FDCWD, path, NULL) < 0)
		add(s, "modules none");
}

static void add_machine(struct sha256 *s, const struct snapkey_machine *m)
{
	const struct vm_config *vc = m->vc;

	add(s, "arch %s cpu %s %s tsc %u", m->id->arch, m->id->cpu_model, m->id->cpuid,
	    m->id->tsc_khz);
	add(s, "ram %" PRIu64 " vcpus %u", vc->ram_bytes, vc->n_vcpus);
	add(s, "devices rng %d serial %d vsock %d guest %d net %u", vc->virtio_rng,
	    vc->serial != NULL, vc->vsock != NULL, vc->guest != NULL, vc->n_net);
	/* The guest is told of addresses, also MACs, when it is there. */
	for (unsigned i = 0; i < vc->n_net; i++)
		add(s, "net mtu %u", vc->net[i].mtu);
	for (unsigned i = 0; i < vc->n_fs; i++) {
		add(s, "fs %u", vc->fs[i].n_queues);
		add_text(s, "tag", vc->fs[i].tag);
	}
}

int snapkey_early(const struct snapkey_machine *m, char ret[SHA256_HEX + 1], struct err *err)
{
	struct sha256 s;
	int r;

	sha256_init(&s);
	add(&s, "husk snapshot key %d format %d early", KEY_FORMAT, SNAP_FORMAT);
	/* Init and what it is told are inside the program. */
	r = add_file(&s, "husk", AT_FDCWD, "/proc/self/exe", err);
	if (r == 0)
		r = add_file(&s, "kernel", m->vc->kernel.fd, "", err);
	if (r < 0)
		return r;
	add(&s, "linux64 %d", m->vc->linux64);
	add_modules(&s, m->kernel_path);
	add_text(&s, "cmdline", m->vc->cmdline);
	add_machine(&s, m);
	finish(&s, ret);
	return 0;
}

int snapkey_late(const char *early, const struct guest_config *gc, char ret[SHA256_HEX + 1],
		 struct err *err)
{
	struct sha256 s;

	(void)err;
	sha256_init(&s);
	add(&s, "husk snapshot key %d late on %s", KEY_FORMAT, early);
	add(&s, "user %u", geteuid());
	add_place(&s, "rootfs", gc->rootfs);
	for (size_t i = 0; i < gc->config->mounts.n; i++) {
		const struct oci_mount *m = &gc->config->mounts.v[i];

		if (!m->flags.bind)
			continue;
		add_text(&s, "mount", m->destination);
		add_text(&s, "from", m->source);
		add(&s, "flags %llx %llx %llx %llx", (unsigned long long)m->flags.set,
		    (unsigned long long)m->flags.clear, (unsigned long long)m->flags.rec_set,
		    (unsigned long long)m->flags.rec_clear);
		if (m->source && m->source[0] == '/')
			add_place(&s, "source", m->source);
	}
	finish(&s, ret);
	return 0;
}
