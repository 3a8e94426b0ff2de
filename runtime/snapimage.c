/* SPDX-License-Identifier: Apache-2.0 */
/* What a snapshot is made of here. */
#include "snapimage.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "snapshots/memory.h"

#define SECTION_SHARE "rootfs"

/* ---- the machine ---- */

static bool find(void *opaque, const char *name, uint32_t instance, const void **ret,
		 size_t *ret_len)
{
	struct snapshot *s = opaque;
	const struct snap_section *found = snap_sections_find(&s->sections, name, instance);

	if (!found)
		return false;
	*ret = found->data;
	*ret_len = found->len;
	return true;
}

/* What this program takes by itself is taken when the machine has all that is its. */
static int check(void *opaque, struct err *err)
{
	struct snapshot *s = opaque;

	(void)snap_sections_find(&s->sections, SECTION_SHARE, 0);
	return snap_sections_check_taken(&s->sections, err);
}

struct vm_saved snapimage_view(struct snapshot *s)
{
	return (struct vm_saved){
		.opaque = s, .find = find, .check = check, .memory_fd = s->memory_fd
	};
}

void snapimage_describe(const char *backend, const struct vm_identity *id, uint64_t ram_bytes,
			unsigned n_vcpus, struct snap_manifest *m)
{
	snprintf(m->husk, sizeof(m->husk), "%s", HUSK_VERSION);
	snprintf(m->arch, sizeof(m->arch), "%s", id->arch);
	snprintf(m->backend, sizeof(m->backend), "%s", backend);
	snprintf(m->cpu, sizeof(m->cpu), "%s", id->cpu_model);
	snprintf(m->cpuid, sizeof(m->cpuid), "%s", id->cpuid);
	m->created_ns = clock_realtime_ns();
	m->tsc_khz = id->tsc_khz;
	m->ram_bytes = ram_bytes;
	m->n_vcpus = n_vcpus;
	/* Known when the files are read back. */
	m->memory_bytes = ram_bytes;
	memset(m->state_hash, '0', SHA256_HEX);
}

/* ---- taking ---- */

static unsigned memory_of(struct vm *vm, struct snap_range ranges[VM_MEMORY_PARTS])
{
	struct vm_memory_part parts[VM_MEMORY_PARTS];
	unsigned n = vm_memory(vm, parts);

	for (unsigned i = 0; i < n; i++)
		ranges[i] = (struct snap_range){ parts[i].p, parts[i].len, parts[i].off };
	return n;
}

int snapimage_memory(struct vm *vm, int fd, int pagemap_fd, const struct snap_manifest *base,
		     struct err *err)
{
	struct snap_range ranges[VM_MEMORY_PARTS];
	unsigned n = memory_of(vm, ranges);

	return snap_memory_write(fd, ranges, n, pagemap_fd, base, err);
}

static int put(void *opaque, const char *name, uint32_t instance, const void *data, size_t len,
	       struct err *err)
{
	return snap_sections_add(opaque, name, instance, true, data, len, err);
}

int snapimage_machine(struct vm *vm, struct snap_buf *state, struct err *err)
{
	return vm_save(vm, put, state, err);
}

static int write_unlinked(void *opaque, const void *p, size_t len, struct err *err)
{
	int r = fd_write_full(*(const int *)opaque, p, len);

	return r < 0 ? err_errno(err, -r, "write unlinked files to the checkpoint") : 0;
}

int snapimage_share(struct share *share, int unlinked_fd, uint64_t unlinked_max,
		    struct snap_buf *state, struct err *err)
{
	const struct fuse_sink sink = { .write = write_unlinked,
					.opaque = &unlinked_fd,
					.max = unlinked_max };
	AUTO_FREE void *p = NULL;
	uint32_t n_lost = 0;
	size_t len = 0;
	int r = share_save(share, unlinked_fd < 0 ? NULL : &sink, &p, &len, &n_lost, err);

	if (r < 0)
		return r;
	if (n_lost)
		log_warn("%u files that no known name leads to will be stale after a restore",
			 n_lost);
	return put(state, SECTION_SHARE, 0, p, len, err);
}

int snapimage_write_state(int fd, struct snap_buf *state, struct err *err)
{
	int r = snap_sections_finish(state, err);

	if (r < 0)
		return r;
	r = fd_write_full(fd, state->p, state->len);
	return r < 0 ? err_errno(err, -r, "write the snapshot's state") : 0;
}

/* ---- working sets ---- */

void snapimage_workset_record(struct vm *vm, int fd, int pagemap_fd)
{
	struct snap_range ranges[VM_MEMORY_PARTS];
	struct err err = { 0 };

	if (snap_workset_record(fd, ranges, memory_of(vm, ranges), pagemap_fd, &err) < 0)
		log_warn("%s, ignoring", err.msg);
}

bool snapimage_workset_map(struct vm *vm, struct snap_workset *w)
{
	struct snap_range ranges[VM_MEMORY_PARTS];

	return snap_workset_map(w, ranges, memory_of(vm, ranges));
}

/* ---- restoring ---- */

int snapimage_restore_share(struct snapshot *s, struct share *share,
			    struct fuse_restore_result *ret, struct err *err)
{
	const struct snap_section *section = snap_sections_find(&s->sections, SECTION_SHARE, 0);

	struct fuse_saved saved = { .verify = FUSE_VERIFY_SAME };
	struct stat st = { 0 };
	void *map = NULL;
	int r;

	if (!section)
		return err_set(err, -ESTALE, "the snapshot has no state of the file server");
	if (s->unlinked_fd >= 0 && fstat(s->unlinked_fd, &st) < 0)
		return err_errno(err, errno, "look at the checkpoint's unlinked files");
	if (st.st_size) {
		map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, s->unlinked_fd, 0);
		if (map == MAP_FAILED)
			return err_errno(err, errno, "map the checkpoint's unlinked files");
	}
	saved.tables = section->data;
	saved.tables_len = section->len;
	saved.content = map;
	saved.content_len = (size_t)st.st_size;
	r = share_restore(share, &saved, ret, err);
	if (map)
		munmap(map, (size_t)st.st_size);
	return r;
}
