/* SPDX-License-Identifier: Apache-2.0 */
/* The guest in a virtual machine: its kernel, init, files and size. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backends.h"
#include "base/checked.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "cli/cli.h"
#include "guest_priv.h"
#include "guestcmd.h"
#include "initx/cpio.h"
#include "initx/guest.h"
#include "initx/modules.h"
#include "kernelstore.h"
#include "rootfs/assemble.h"

#define DEFAULT_RAM (512 * MIB)
#define LEAST_RAM   (128 * MIB)
#define LINUX_HZ    250
/* Longer than a guest believes what it was told of files (FUSE_CACHE_AUTO). */
#define FILES_FORGOTTEN (1100 * NSEC_PER_MSEC)
#define CMDLINE_MAX 4096
#define CMDLINE                                                                   \
	"console=ttyS0 reboot=k panic=-1 quiet cryptomgr.notests no_timer_check " \
	"tsc_early_khz=%u lpj=%u"

/* ---- kernel and init ---- */

static int open_kernel(const struct oci_config *config, char *path, size_t len, struct err *err)
{
	const struct oci_vm_kernel *k = config->vm ? config->vm->kernel : NULL;
	int fd;

	if (!k)
		return kernelstore_open(oci_annotation(config, "dev.husk.kernel"), path, len, err);
	snprintf(path, len, "%s", k->path);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? err_advise(err, err_errno(err, errno, "vm.kernel.path: open '%s'", path),
				   "name a kernel's file, or leave vm.kernel out for one that "
				   "'husk kernel list' shows")
		      : fd;
}

/* Modules lie beside a kernel of the store. */
static int load_modules(const char *kernel, uint8_t **ret, size_t *ret_len, struct err *err)
{
	const char *slash = strrchr(kernel, '/');
	char dir[PATH_MAX];
	struct stat st;

	*ret = NULL;
	*ret_len = 0;
	if (snprintf(dir, sizeof(dir), "%.*s/modules", slash ? (int)(slash - kernel) : 1,
		     slash ? kernel : ".") >= (int)sizeof(dir))
		return err_set(err, -ENAMETOOLONG, "kernel '%s'", kernel);
	if (stat(dir, &st) < 0)
		return 0;
	return modules_blob(dir, modules_default, n_modules_default, ret, ret_len, err);
}

static int make_initrd(const char *kernel, struct err *err)
{
	static const char *const flags[] = { "modules" };
	AUTO_FREE uint8_t *modules = NULL;
	AUTO_FREE uint8_t *archive = NULL;
	struct rtg_blob blob = { .key = "modules" };
	struct guest_values values = { .flags = flags, .blobs = &blob };
	struct rtg_output elf;
	size_t len = 0;
	int r = load_modules(kernel, &modules, &blob.len, err);

	if (r < 0)
		return r;
	blob.data = modules;
	values.n_flags = values.n_blobs = modules ? 1 : 0;
	r = guest_compile(GUEST_INIT, RTG_AMD64, &values, &elf, err);
	if (r < 0)
		return r;
	r = initramfs_make(elf.data, elf.len, &archive, &len, err);
	rtg_output_done(&elf);
	if (r < 0)
		return r;
	int AUTO_FD fd = memfd_create("initrd", MFD_CLOEXEC);

	if (fd < 0)
		return err_errno(err, errno, "memfd_create");
	r = fd_write_full(fd, archive, len);
	return r < 0 ? err_errno(err, -r, "write the initial RAM disk") : fd_steal(&fd);
}

static int place_container_init(struct guest *g, struct err *err)
{
	static const char *const flags[] = { "rootfs" };
	struct guest_values values = { .flags = flags, .n_flags = 1 };
	struct rtg_output payload;
	/* An early snapshot may become a late one. */
	bool ahead = g->snap.to_take != SNAPSHOT_POINT_NONE;
	int r = guest_compile(ahead ? GUEST_CONTAINER_AHEAD : GUEST_CONTAINER, RTG_AMD64, &values,
			      &payload, err);

	if (r < 0)
		return r;
	r = guest_place_program(vm_config_region(g->vm), &payload, 0, NULL, err);
	vm_config_written(g->vm, 0, (uint32_t)MIN(payload.len + 4096, (size_t)VM_CONFIG_BYTES));
	rtg_output_done(&payload);
	return r;
}

/* ---- files ---- */

static uint64_t mount_attrs(uint64_t flags)
{
	static const struct {
		uint64_t flag, attr;
	} map[] = {
		{ MS_RDONLY, MOUNT_ATTR_RDONLY },	  { MS_NOSUID, MOUNT_ATTR_NOSUID },
		{ MS_NODEV, MOUNT_ATTR_NODEV },		  { MS_NOEXEC, MOUNT_ATTR_NOEXEC },
		{ MS_NODIRATIME, MOUNT_ATTR_NODIRATIME }, { MS_NOATIME, MOUNT_ATTR_NOATIME },
	};
	uint64_t attrs = 0;

	for (unsigned i = 0; i < ARRAY_LEN(map); i++)
		attrs |= flags & map[i].flag ? map[i].attr : 0;
	return attrs;
}

static int fill_bind(const struct guest_config *gc, const struct oci_mount *m,
		     struct rootfs_mount *ret, char **ret_source)
{
	const struct oci_mount_flags *f = &m->flags;

	if (m->source[0] == '/')
		*ret_source = strdup(m->source);
	else if (asprintf(ret_source, "%s/%s", gc->bundle, m->source) < 0)
		*ret_source = NULL;
	*ret = (struct rootfs_mount){
		.source = *ret_source,
		.dest = m->destination,
		.recursive = f->rbind,
		.attr_set = mount_attrs(f->set),
		.attr_clear = mount_attrs(f->clear),
		.rattr_set = mount_attrs(f->rec_set),
		.rattr_clear = mount_attrs(f->rec_clear),
		.propagation = f->propagation & ~(uint64_t)MS_REC,
		.rpropagation = f->propagation & MS_REC,
		.ridmap = f->ridmap,
	};
	return *ret_source ? 0 : -ENOMEM;
}

static int open_idmap(const struct oci_mount *m, struct err *err)
{
	struct rootfs_idmap uids[340], gids[340];
	size_t n = MIN(m->uid_mappings.n, ARRAY_LEN(uids));
	size_t n_gids = MIN(m->gid_mappings.n, ARRAY_LEN(gids));

	for (size_t i = 0; i < n; i++)
		uids[i] = (struct rootfs_idmap){ (uint32_t)m->uid_mappings.v[i].container_id.v,
						 (uint32_t)m->uid_mappings.v[i].host_id.v,
						 (uint32_t)m->uid_mappings.v[i].size.v };
	for (size_t i = 0; i < n_gids; i++)
		gids[i] = (struct rootfs_idmap){ (uint32_t)m->gid_mappings.v[i].container_id.v,
						 (uint32_t)m->gid_mappings.v[i].host_id.v,
						 (uint32_t)m->gid_mappings.v[i].size.v };
	return rootfs_idmap_open(uids, n, gids, n_gids, err);
}

static int collect_binds(const struct guest_config *gc, struct rootfs_mount *binds, char **sources,
			 size_t *ret_n, struct err *err)
{
	size_t n = 0;

	for (size_t i = 0; i < gc->config->mounts.n; i++) {
		const struct oci_mount *m = &gc->config->mounts.v[i];

		if (!m->flags.bind || guestcmd_replaces_own(m))
			continue;
		if (fill_bind(gc, m, &binds[n], &sources[n]) < 0)
			return err_set(err, -ENOMEM, "mounts: no memory");
		*ret_n = ++n;
		if (m->uid_mappings.n) {
			int fd = open_idmap(m, err);

			if (fd < 0)
				return err_wrap(err, fd, "mounts[%zu].uidMappings", i);
			binds[n - 1].userns_fd = fd;
		}
	}
	return 0;
}

static int build_tree(const struct guest_config *gc, const struct rootfs_mount *binds, size_t n,
		      struct err *err)
{
	const struct rootfs_spec spec = {
		.rootfs = gc->rootfs, .readonly = false, .mounts = binds, .n_mounts = n
	};
	CLEANUP(rootfs_plan_freep) struct rootfs_plan *plan = NULL;
	const char *tmp = getenv("TMPDIR");
	char stage[PATH_MAX];
	int r;

	r = rootfs_plan_new(&spec, &plan, err);
	if (r < 0)
		return r;
	r = snprintf(stage, sizeof(stage), "%s/husk-stage.XXXXXX", tmp && tmp[0] == '/' ? tmp : "/tmp");
	if (r >= (int)sizeof(stage))
		return err_set(err, -ENAMETOOLONG, "TMPDIR is too long");
	if (!mkdtemp(stage))
		return err_errno(err, errno, "mkdir '%s'", stage);
	r = rootfs_plan_apply(plan, stage, err);
	rmdir(stage);
	return r;
}

/* An annotation that is a size; *@ret_len stays what it is without it. */
static int annotated_size(const struct oci_config *config, const char *name, uint64_t *ret_len,
			  struct err *err)
{
	const char *text = oci_annotation(config, name);

	if (text && cli_parse_size(text, ret_len) < 0)
		return err_set(err, -EINVAL, "annotation %s: '%s' is no size", name, text);
	return 0;
}

static int make_share(struct guest *g, const struct guest_config *gc, struct err *err)
{
	size_t room = gc->config->mounts.n + 1, n = 0;
	AUTO_FREE struct rootfs_mount *binds = calloc(room, sizeof(*binds));
	AUTO_FREE char **sources = calloc(room, sizeof(*sources));
	struct fuse_options opt = { .owner = geteuid() ? FUSE_OWNER_XATTR : FUSE_OWNER_REAL };
	uint64_t dax_len = 0;
	int tree, r = binds && sources ? collect_binds(gc, binds, sources, &n, err)
				       : err_set(err, -ENOMEM, "mounts: no memory");

	if (r == 0)
		r = annotated_size(gc->config, "dev.husk.rootfs.dax", &dax_len, err);
	g->unlinked_max = UINT64_MAX;
	if (r == 0)
		r = annotated_size(gc->config, "dev.husk.checkpoint.unlinked", &g->unlinked_max,
				   err);
	if (r == 0) {
		tree = n ? build_tree(gc, binds, n, err) : sandbox_tree_open(gc->rootfs, err);
		r = tree < 0 ? tree : share_new(tree, g->sandbox, &opt, dax_len, &g->share, err);
	}
	for (size_t i = 0; i < n && sources; i++) {
		free(sources[i]);
		if (binds[i].userns_fd > 0)
			fd_close(binds[i].userns_fd);
	}
	return r;
}

/* ---- size ---- */

static uint64_t ram_bytes(const struct oci_config *config)
{
	const struct oci_resources *res = config->lnx ? config->lnx->resources : NULL;
	uint64_t ram = DEFAULT_RAM;

	if (config->vm && config->vm->hw_config && config->vm->hw_config->memory.set)
		ram = config->vm->hw_config->memory.v;
	else if (res && res->memory && res->memory->limit.v > 0)
		ram = MIN((uint64_t)res->memory->limit.v, 64 * GIB);
	return ALIGN_UP(MAX(ram, LEAST_RAM), MIB);
}

static unsigned most_vcpus(void)
{
	return (unsigned)MAX(1, MIN((long)HV_MAX_VCPUS, sysconf(_SC_NPROCESSORS_ONLN)));
}

static unsigned n_vcpus(const struct oci_config *config)
{
	const struct oci_resources *res = config->lnx ? config->lnx->resources : NULL;
	int64_t n = 1;

	if (config->vm && config->vm->hw_config && config->vm->hw_config->vcpus.set)
		n = config->vm->hw_config->vcpus.v;
	else if (res && res->cpu && res->cpu->quota.v > 0)
		n = (res->cpu->quota.v +
		     (int64_t)(res->cpu->period.v ? res->cpu->period.v : 100000) - 1) /
		    (int64_t)(res->cpu->period.v ? res->cpu->period.v : 100000);
	return (unsigned)MAX(1, MIN(n, (int64_t)most_vcpus()));
}

static void build_cmdline(const struct oci_config *config, uint32_t tsc_khz, char *buf, size_t len)
{
	const struct oci_vm_kernel *k = config->vm ? config->vm->kernel : NULL;
	size_t n = (size_t)snprintf(buf, len, CMDLINE, tsc_khz, tsc_khz / LINUX_HZ * 1000);

	for (size_t i = 0; k && i < k->parameters.n && n < len; i++)
		n += (size_t)snprintf(buf + n, len - n, " %s", k->parameters.v[i]);
}

/* ---- all together ---- */

/* What boots: not looked at by a machine that begins with a snapshot. */
static int add_initrd(struct vm_config *vc, int *ret_fd, struct err *err)
{
	int r = make_initrd(vc->kernel.name, err);

	if (r < 0)
		return r;
	*ret_fd = r;
	vc->initrd = (struct vm_file){ .fd = r, .name = "initrd" };
	return 0;
}

/* What this host lacks, now or always: no snapshot is to blame. */
static bool is_the_hosts(int r)
{
	return r == -EACCES || r == -EPERM || r == -ENOENT || r == -ENODEV || r == -ENOMEM ||
	       r == -EMFILE || r == -ENFILE || r == -EAGAIN || r == -EBUSY;
}

/* A machine from the snapshot, or one that boots, also when the snapshot turns out not to fit. */
static int make_machine(struct guest *g, struct vm_config *vc, struct err *err)
{
	int AUTO_FD initrd = -1;
	struct err why = { 0 };
	int r;

	if (g->snap.from != SNAPSHOT_POINT_NONE) {
		vc->saved = &g->snap.saved;
		r = vm_new(vc, &g->vm, &why);
		if (r == 0)
			return 0;
		if (g->snap.from == SNAPSHOT_POINT_CHECKPOINT || is_the_hosts(r))
			return err_set(err, r, "%s", why.msg);
		snapshot_forget(&g->snap, why.msg);
		vc->saved = NULL;
	}
	r = add_initrd(vc, &initrd, err);
	if (r == 0)
		r = vm_new(vc, &g->vm, err);
	return r == -EBADMSG ? err_advise(err, r, "get another, by 'husk kernel add' or vm.kernel")
			     : r;
}

/* A machine that boots finds container init when it looks for its first program. */
static int prepare_program(struct guest *g, struct err *err)
{
	if (g->snap.to_take != SNAPSHOT_POINT_NONE)
		atomic_store(&g->hold, g->snap.to_take == SNAPSHOT_POINT_EARLY ? INITX_SIG_ALIKE
									       : INITX_SIG_READY);
	return g->snap.from == SNAPSHOT_POINT_NONE ? place_container_init(g, err) : 0;
}

void guest_snapshot_point(struct guest *g)
{
	struct err err = { 0 };
	int r;

	vm_quiesce(g->vm);
	r = snapshot_take(&g->snap, g->vm, g->share, &err);
	if (r == 0)
		r = guest_renew_ahead(g, &err);
	vm_resume(g->vm);
	vm_release(g->vm);
	if (r < 0)
		g->events.died(g->events.opaque, &err);
}

/* A checkpoint is asked for and must do; other snapshots are only faster. */
static int find_snapshot(struct guest *g, const struct guest_config *gc, const struct vm_config *vc,
			 const char *kernel_path, struct err *err)
{
	int r;

	g->hv_name = vc->hv->name;
	g->ram_bytes = vc->ram_bytes;
	g->n_vcpus = vc->n_vcpus;
	g->most_vcpus = most_vcpus();
	r = vm_identify(vc, &g->identity, err);
	if (r < 0)
		return r;
	if (gc->restore_fd < 0)
		return snapshot_plan(gc, vc, &g->identity, kernel_path, &g->snap, err);
	r = snapshot_checkpoint(gc->restore_fd, vc, &g->identity, &g->snap, err);
	return r < 0 ? r : guest_restore_container(g, err);
}

static struct fuse_program program_of(const struct oci_process *p)
{
	struct fuse_program program = { .name = p->args.v[0], .dir = p->cwd };

	for (size_t i = 0; i < p->env.n; i++) {
		if (strncmp(p->env.v[i], "PATH=", strlen("PATH=")) == 0)
			program.search = p->env.v[i] + strlen("PATH=");
	}
	return program;
}

/* What container init does of the container's start before a late snapshot: it does not run yet. */
static int place_ahead(struct guest *g, struct err *err)
{
	CLEANUP(command_freep) struct command *c = NULL;
	AUTO_FREE char *files = NULL;
	struct fuse_program program;
	size_t len = 0;
	int r;

	if (g->snap.to_take != SNAPSHOT_POINT_LATE || !g->config->process)
		return 0;
	program = program_of(g->config->process);
	r = share_needs(g->share, &program, &files, &len, err);
	if (r == 0)
		r = guestcmd_build_ahead(g->config, files, len, &c, err);
	if (r == 0)
		r = command_place(c, vm_config_region(g->vm), err);
	if (r < 0)
		return r;
	le32_store(vm_config_region(g->vm) + INITX_COMMAND_OFFSET, INITX_AHEAD_MAGIC);
	command_bytes(c, &len);
	vm_config_written(g->vm, INITX_COMMAND_OFFSET, (uint32_t)len);
	return 0;
}

/* The files that the guest knows, as they are now. */
static int restore_files(struct guest *g, struct err *err)
{
	struct fuse_restore_result files;
	int r = snapshot_restore_share(&g->snap, g->share, &files, err);

	if (r < 0 || g->snap.from != SNAPSHOT_POINT_LATE)
		return r;
	g->stale = files.n_stale_nodes + files.n_stale_handles;
	/* What it was told is not so any more, and its clocks decide for how long it takes that for true. */
	if (!files.holds)
		vm_restore_later(g->vm, FILES_FORGOTTEN);
	return 0;
}

static int start_machine(struct guest *g, struct err *err)
{
	struct err why = { 0 };
	int r = share_start(g->share, err);

	if (r == 0)
		r = restore_files(g, err);
	if (r == 0 && g->snap.to_take == SNAPSHOT_POINT_LATE)
		share_note(g->share);
	/* Without it the snapshot is as good as others are. */
	if (r == 0 && place_ahead(g, &why) < 0)
		log_warn("%s, going on without what is done ahead", why.msg);
	if (r == 0 && g->snap.from != SNAPSHOT_POINT_NONE)
		r = guest_renew_ahead(g, err);
	/* The container's processes are there already: they wait for its start. */
	if (r == 0 && g->snap.from == SNAPSHOT_POINT_CHECKPOINT) {
		vm_hold(g->vm);
		bells_hold(&g->bells);
		g->held = true;
	}
	if (r == 0)
		r = sandbox_leave_root(err);
	if (r == 0)
		r = vm_start(g->vm, err);
	g->started = r == 0;
	return r;
}

/* What is open now is all there will be. */
static int enter_thread(void *opaque, enum vm_thread thread, struct err *err)
{
	static const enum sandbox_role roles[] = {
		[VM_THREAD_DEVICES] = SANDBOX_DEVICES,
		[VM_THREAD_VCPU] = SANDBOX_VCPU,
		[VM_THREAD_STARTER] = SANDBOX_CONTROL,
	};
	const struct guest *g = opaque;
	int r = thread == VM_THREAD_STARTER ? sandbox_stop_forks(err) : 0;

	return r < 0 ? r : sandbox_enter(g->sandbox, roles[thread], err);
}

int guest_machine_start(struct guest *g, const struct guest_config *gc, struct err *err)
{
	const char *backend = oci_annotation(gc->config, "dev.husk.backend");
	struct vm_config vc = { .ram_bytes = ram_bytes(gc->config),
				.n_vcpus = n_vcpus(gc->config),
				.initrd = { .fd = -1 } };
	char kernel_path[PATH_MAX] = "", cmdline[CMDLINE_MAX];
	enum sandbox_mode mode;
	int AUTO_FD kernel = -1;
	int r = sandbox_mode_read(&mode, err);

	if (r == 0)
		r = sandbox_new(mode, &g->sandbox, err);
	if (r == 0)
		r = backend_find(backend ? backend : "auto", &vc.hv, err);
	if (r == 0)
		r = kernel = open_kernel(gc->config, kernel_path, sizeof(kernel_path), err);
	if (r >= 0)
		r = network_take(gc->config, &g->net, err);
	if (r >= 0)
		r = make_share(g, gc, err);
	if (r < 0)
		return r;
	build_cmdline(gc->config, vm_tsc_khz(vc.hv), cmdline, sizeof(cmdline));
	vc.kernel = (struct vm_file){ .fd = kernel, .name = kernel_path };
	vc.linux64 = !gc->config->vm || !gc->config->vm->kernel;
	vc.cmdline = cmdline;
	vc.serial = &g->console;
	vc.virtio_rng = true;
	vc.guest = &g->channel;
	vc.vsock = &g->vsock;
	vc.enter_thread = enter_thread;
	vc.thread_opaque = g;
	vc.fs[vc.n_fs++] = share_device(g->share, "rootfs", 0);
	network_devices(g->net, &vc);
	r = find_snapshot(g, gc, &vc, kernel_path, err);
	if (r == 0)
		r = make_machine(g, &vc, err);
	if (r == 0)
		r = prepare_program(g, err);
	if (r < 0)
		snap_abandon(&g->snap.target);
	return r < 0 ? r : start_machine(g, err);
}
