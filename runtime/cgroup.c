/* SPDX-License-Identifier: Apache-2.0 */
/* The cgroup on the host around all processes of a container. */
#include "cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/fd.h"
#include "base/log.h"
#include "storepath.h"
#include "vmm/hv.h"

#define CGROUP_ROOT	   "/sys/fs/cgroup"
#define CGROUP2_MAGIC	   0x63677270
#define MADE_MODE	   01755 /* the sticky bit says that this program made it */
#define MAKE_TRIES	   100
#define REMOVE_TRIES	   500 /* killed ones need time on a CPU to end */
#define REMOVE_WAIT_NS	   20000000

#define OVERHEAD_BASE	   (96 * MIB)
#define OVERHEAD_MAX_VCPUS 32

static const char *const v1_controllers[] = { "cpu",	 "cpuacct", "cpuset",	"memory",
					      "devices", "freezer", "blkio",	"pids",
					      "hugetlb", "net_cls", "net_prio", "perf_event",
					      "systemd" };

enum layout { LAYOUT_NONE, LAYOUT_V1, LAYOUT_V2 };

static enum layout find_layout(void)
{
	struct statfs fs;
	struct stat st;

	if (statfs(CGROUP_ROOT, &fs) == 0 && (unsigned long)fs.f_type == CGROUP2_MAGIC)
		return LAYOUT_V2;
	if (stat(CGROUP_ROOT "/memory", &st) == 0 || stat(CGROUP_ROOT "/cpu", &st) == 0)
		return LAYOUT_V1;
	return LAYOUT_NONE;
}

static int dir_of(char *buf, const char *controller, const char *path)
{
	int n = snprintf(buf, PATH_MAX, "%s%s%s%s", CGROUP_ROOT, controller ? "/" : "",
			 controller ? controller : "", path);

	return n < PATH_MAX ? 0 : -ENAMETOOLONG;
}

static int write_at(int dir_fd, const char *file, const char *text)
{
	int AUTO_FD fd = openat(dir_fd, file, O_WRONLY | O_CLOEXEC);

	return fd < 0 ? -errno : fd_write_full(fd, text, strlen(text));
}

static int read_at(int dir_fd, const char *file, char *buf, size_t len)
{
	int AUTO_FD fd = openat(dir_fd, file, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -errno : fd_read_full(fd, buf, len - 1);

	if (n < 0)
		return (int)n;
	buf[n] = '\0';
	return 0;
}

static int write_text(const char *dir, const char *file, const char *text)
{
	char name[PATH_MAX + 80];

	snprintf(name, sizeof(name), "%s/%s", dir, file);
	return write_at(AT_FDCWD, name, text);
}

static int read_text(const char *dir, const char *file, char *buf, size_t len)
{
	char name[PATH_MAX + 80];

	snprintf(name, sizeof(name), "%s/%s", dir, file);
	return read_at(AT_FDCWD, name, buf, len);
}

/* ---- directories ---- */

/* A new v1 cpuset has no CPUs, and takes no process until it has. */
static void inherit_cpuset(int parent, int dir)
{
	static const char *const files[] = { "cpuset.cpus", "cpuset.mems" };
	char text[4096];

	for (unsigned i = 0; i < ARRAY_LEN(files); i++) {
		if (read_at(dir, files[i], text, sizeof(text)) == 0 && text[0] > ' ')
			continue;
		if (read_at(parent, files[i], text, sizeof(text)) == 0)
			write_at(dir, files[i], text);
	}
}

/* On v2 a parent hands controllers down by name. */
static void enable_controllers(int dir)
{
	static const char *const names[] = { "+cpu", "+cpuset", "+memory",
					     "+io",  "+pids",	"+hugetlb" };

	for (unsigned i = 0; i < ARRAY_LEN(names); i++)
		write_at(dir, "cgroup.subtree_control", names[i]);
}

/* One directory in @parent. Return: it, open; -ENOENT when the parent is gone meanwhile. */
static int make_dir(int parent, const char *name, const char *controller)
{
	int fd;

	if (!controller)
		enable_controllers(parent);
	if (mkdirat(parent, name, MADE_MODE) < 0 && errno != EEXIST)
		return -errno;
	fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (controller && !strcmp(controller, "cpuset"))
		inherit_cpuset(parent, fd);
	return fd;
}

static int make_dirs_once(const char *controller, const char *path)
{
	char dir[PATH_MAX], *name, *rest;
	int r = dir_of(dir, controller, "");

	if (r < 0)
		return r;
	int AUTO_FD at = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (at < 0)
		return -errno;
	snprintf(dir, sizeof(dir), "%s", path);
	for (name = strtok_r(dir, "/", &rest); name; name = strtok_r(NULL, "/", &rest)) {
		r = make_dir(at, name, controller);
		if (r < 0)
			return r;
		fd_close(at);
		at = r;
	}
	return 0;
}

/* Another container's end may remove a directory above between our steps. */
static int make_dirs(const char *controller, const char *path)
{
	int r;

	for (int i = 0; (r = make_dirs_once(controller, path)) == -ENOENT && i < MAKE_TRIES; i++)
		;
	return r;
}

/* "cpu" and "cpuacct" may be links to one hierarchy: what is done twice there does no harm. */
static bool is_mounted(const char *controller)
{
	char dir[PATH_MAX];
	struct stat st, root;

	return dir_of(dir, controller, "") == 0 && stat(dir, &st) == 0 && S_ISDIR(st.st_mode) &&
	       stat(CGROUP_ROOT, &root) == 0 && st.st_dev != root.st_dev;
}

/* Moves the calling thread. On v1 "tasks" with 0 spares the kernel a wait for all CPUs. */
static int move_in(const char *controller, const char *path)
{
	char dir[PATH_MAX];

	if (dir_of(dir, controller, path) < 0)
		return -ENAMETOOLONG;
	return write_text(dir, controller ? "tasks" : "cgroup.procs", "0");
}

/* ---- limits ---- */

struct limits {
	enum layout layout;
	const char *path;
	struct err *err;
	int result;
};

/* One file; the first failure is kept. */
static void set(struct limits *l, const char *controller, const char *file, const char *text)
{
	char dir[PATH_MAX];
	int r;

	if (l->result < 0)
		return;
	if (l->layout == LAYOUT_NONE) {
		l->result = err_set(l->err, -EOPNOTSUPP,
				    "the container has no cgroup of its own: %s cannot be '%s'",
				    file, text);
		return;
	}
	r = dir_of(dir, l->layout == LAYOUT_V1 ? controller : NULL, l->path);
	if (r == 0)
		r = write_text(dir, file, text);
	if (r < 0)
		l->result =
			err_errno(l->err, -r, "cgroup '%s': set %s to '%s'", l->path, file, text);
}

/* A limit that the host's kind of cgroups does not have. */
static void gone(struct limits *l, bool asked, enum layout where, const char *field)
{
	if (asked && l->layout != where && l->layout != LAYOUT_NONE)
		log_warn("linux.resources.%s: ignored: cgroup v%d has no such limit", field,
			 l->layout == LAYOUT_V2 ? 2 : 1);
}

static void set_i64(struct limits *l, const char *controller, const char *file, int64_t value)
{
	char text[32];

	snprintf(text, sizeof(text), "%lld", (long long)value);
	set(l, controller, file, text);
}

/* v2 says "max" where v1 says -1. */
static void set_max(struct limits *l, const char *file, int64_t value)
{
	if (value < 0)
		set(l, NULL, file, "max");
	else
		set_i64(l, NULL, file, value);
}

uint64_t cgroup_overhead(void)
{
	long n = sysconf(_SC_NPROCESSORS_ONLN);

	/* Which back end it will be is not known, and update may come to another. */
	return OVERHEAD_BASE +
	       (uint64_t)MAX(1, MIN(n, OVERHEAD_MAX_VCPUS)) * hv_soft_ops.vcpu_bytes;
}

static int64_t with_overhead(int64_t limit)
{
	return limit > 0 ? (int64_t)MIN((uint64_t)limit + cgroup_overhead(), (uint64_t)INT64_MAX)
			 : -1;
}

/* Whether the limit with swap rises: the one without may never be above it. */
static bool swap_rises(const struct limits *l, int64_t swap)
{
	char dir[PATH_MAX], text[32];

	return swap < 0 || dir_of(dir, "memory", l->path) < 0 ||
	       read_text(dir, "memory.memsw.limit_in_bytes", text, sizeof(text)) < 0 ||
	       with_overhead(swap) > strtoll(text, NULL, 10);
}

static void set_memory_v1(struct limits *l, const struct oci_memory *m)
{
	bool rises =
		m->swap.v && m->limit.v && l->layout != LAYOUT_NONE && swap_rises(l, m->swap.v);

	if (rises)
		set_i64(l, "memory", "memory.memsw.limit_in_bytes", with_overhead(m->swap.v));
	if (m->limit.v)
		set_i64(l, "memory", "memory.limit_in_bytes", with_overhead(m->limit.v));
	if (m->reservation.v)
		set_i64(l, "memory", "memory.soft_limit_in_bytes", m->reservation.v);
	if (m->swap.v && !rises)
		set_i64(l, "memory", "memory.memsw.limit_in_bytes", with_overhead(m->swap.v));
	if (m->kernel_tcp.v)
		set_i64(l, "memory", "memory.kmem.tcp.limit_in_bytes", m->kernel_tcp.v);
	if (m->swappiness.set)
		set_i64(l, "memory", "memory.swappiness", (int64_t)m->swappiness.v);
	if (m->disable_oom_killer.v)
		set(l, "memory", "memory.oom_control", "1");
}

static void warn_memory_v1(struct limits *l, const struct oci_memory *m)
{
	gone(l, m->kernel_tcp.v, LAYOUT_V1, "memory.kernelTCP");
	gone(l, m->swappiness.set, LAYOUT_V1, "memory.swappiness");
	gone(l, m->disable_oom_killer.v, LAYOUT_V1, "memory.disableOOMKiller");
}

static void set_memory_v2(struct limits *l, const struct oci_memory *m)
{
	if (m->limit.v)
		set_max(l, "memory.max", with_overhead(m->limit.v));
	if (m->reservation.v)
		set_max(l, "memory.low", m->reservation.v);
	if (m->swap.v < 0)
		set(l, NULL, "memory.swap.max", "max");
	else if (m->swap.v && m->limit.v > 0)
		set_i64(l, NULL, "memory.swap.max", m->swap.v - m->limit.v);
	warn_memory_v1(l, m);
}

static void set_cpu_v1(struct limits *l, const struct oci_cpu *c)
{
	if (c->shares.v)
		set_i64(l, "cpu", "cpu.shares", (int64_t)c->shares.v);
	if (c->period.v)
		set_i64(l, "cpu", "cpu.cfs_period_us", (int64_t)c->period.v);
	if (c->quota.v)
		set_i64(l, "cpu", "cpu.cfs_quota_us", c->quota.v);
	if (c->burst.v)
		set_i64(l, "cpu", "cpu.cfs_burst_us", (int64_t)c->burst.v);
	if (c->realtime_period.v)
		set_i64(l, "cpu", "cpu.rt_period_us", (int64_t)c->realtime_period.v);
	if (c->realtime_runtime.v)
		set_i64(l, "cpu", "cpu.rt_runtime_us", c->realtime_runtime.v);
	if (c->idle.v)
		set_i64(l, "cpu", "cpu.idle", c->idle.v);
	if (c->cpus && c->cpus[0])
		set(l, "cpuset", "cpuset.cpus", c->cpus);
	if (c->mems && c->mems[0])
		set(l, "cpuset", "cpuset.mems", c->mems);
}

static void set_cpu_v2(struct limits *l, const struct oci_cpu *c)
{
	char text[64];

	/* The kernel's own mapping of [2..262144] onto [1..10000]. */
	if (c->shares.v)
		set_i64(l, NULL, "cpu.weight", (int64_t)(1 + (c->shares.v - 2) * 9999 / 262142));
	if (c->quota.v || c->period.v) {
		int n = c->quota.v > 0 ? snprintf(text, sizeof(text), "%lld", (long long)c->quota.v)
				       : snprintf(text, sizeof(text), "max");

		snprintf(text + n, sizeof(text) - (size_t)n, " %llu",
			 (unsigned long long)(c->period.v ? c->period.v : 100000));
		set(l, NULL, "cpu.max", text);
	}
	if (c->burst.v)
		set_i64(l, NULL, "cpu.max.burst", (int64_t)c->burst.v);
	if (c->idle.v)
		set_i64(l, NULL, "cpu.idle", c->idle.v);
	if (c->cpus && c->cpus[0])
		set(l, NULL, "cpuset.cpus", c->cpus);
	if (c->mems && c->mems[0])
		set(l, NULL, "cpuset.mems", c->mems);
	gone(l, c->realtime_period.v, LAYOUT_V1, "cpu.realtimePeriod");
	gone(l, c->realtime_runtime.v, LAYOUT_V1, "cpu.realtimeRuntime");
}

static void set_throttles(struct limits *l, const oci_throttles_t *t, const char *v1_file,
			  const char *v2_key)
{
	for (size_t i = 0; i < t->n; i++) {
		char text[96];

		snprintf(text, sizeof(text), "%lld:%lld %s%llu", (long long)t->v[i].major.v,
			 (long long)t->v[i].minor.v, l->layout == LAYOUT_V2 ? v2_key : "",
			 (unsigned long long)t->v[i].rate.v);
		set(l, "blkio", l->layout == LAYOUT_V2 ? "io.max" : v1_file, text);
	}
}

static void set_block_io(struct limits *l, const struct oci_block_io *b)
{
	bool v2 = l->layout == LAYOUT_V2;

	/* Ref: linux Documentation/admin-guide/cgroup-v2.rst: 1 to 10000, from 10 to 1000. */
	if (b->weight.v && v2)
		set_i64(l, NULL, "io.weight", (int64_t)(1 + (b->weight.v - 10) * 9999 / 990));
	else if (b->weight.v)
		set_i64(l, "blkio", "blkio.bfq.weight", (int64_t)b->weight.v);
	for (size_t i = 0; i < b->weight_devices.n; i++) {
		const struct oci_weight_device *w = &b->weight_devices.v[i];
		char text[96];

		snprintf(text, sizeof(text), "%lld:%lld %llu", (long long)w->major.v,
			 (long long)w->minor.v, (unsigned long long)w->weight.v);
		set(l, "blkio", v2 ? "io.bfq.weight" : "blkio.bfq.weight_device", text);
	}
	set_throttles(l, &b->read_bps, "blkio.throttle.read_bps_device", "rbps=");
	set_throttles(l, &b->write_bps, "blkio.throttle.write_bps_device", "wbps=");
	set_throttles(l, &b->read_iops, "blkio.throttle.read_iops_device", "riops=");
	set_throttles(l, &b->write_iops, "blkio.throttle.write_iops_device", "wiops=");
}

static void set_rest(struct limits *l, const struct oci_resources *res)
{
	char file[128];

	for (size_t i = 0; i < res->hugepage_limits.n; i++) {
		const struct oci_hugepage_limit *h = &res->hugepage_limits.v[i];

		snprintf(file, sizeof(file), "hugetlb.%.40s.%s", h->page_size,
			 l->layout == LAYOUT_V2 ? "max" : "limit_in_bytes");
		set_i64(l, "hugetlb", file, (int64_t)MIN(h->limit.v, (uint64_t)INT64_MAX));
	}
	if (res->network && l->layout == LAYOUT_V1) {
		if (res->network->class_id.set)
			set_i64(l, "net_cls", "net_cls.classid", (int64_t)res->network->class_id.v);
		for (size_t i = 0; i < res->network->priorities.n; i++) {
			char text[96];

			snprintf(text, sizeof(text), "%.64s %llu",
				 res->network->priorities.v[i].name,
				 (unsigned long long)res->network->priorities.v[i].priority.v);
			set(l, "net_prio", "net_prio.ifpriomap", text);
		}
	}
	gone(l, res->network, LAYOUT_V1, "network");
	gone(l, res->unified.n, LAYOUT_V2, "unified");
	for (size_t i = 0; l->layout == LAYOUT_V2 && i < res->unified.n; i++)
		set(l, NULL, res->unified.v[i].key, res->unified.v[i].value);
}

static int set_limits(const char *path, const struct oci_resources *res, struct err *err)
{
	struct limits l = { .layout = path ? find_layout() : LAYOUT_NONE,
			    .path = path,
			    .err = err };

	if (!res)
		return 0;
	if (res->memory)
		(l.layout == LAYOUT_V2 ? set_memory_v2 : set_memory_v1)(&l, res->memory);
	if (res->cpu)
		(l.layout == LAYOUT_V2 ? set_cpu_v2 : set_cpu_v1)(&l, res->cpu);
	if (res->block_io)
		set_block_io(&l, res->block_io);
	set_rest(&l, res);
	return l.result;
}

/* ---- the whole ---- */

/* Containers of another root directory may have the same ids: its number tells theirs apart. */
static int default_path(const struct statedir *dir, char *buf, size_t len)
{
	char usual[PATH_MAX];
	struct stat root, st;

	if (fstatat(dir->fd, "..", &root, 0) < 0)
		return -1;
	if (statedir_root(NULL, usual, sizeof(usual), NULL) == 0 && stat(usual, &st) == 0 &&
	    st.st_dev == root.st_dev && st.st_ino == root.st_ino)
		return snprintf(buf, len, "/husk/%s", dir->id);
	return snprintf(buf, len, "/husk/%s@%llx.%llx", dir->id, (unsigned long long)root.st_dev,
			(unsigned long long)root.st_ino);
}

/* "/a/b", "a/b" and systemd's "slice:prefix:name" to one absolute path. */
static int name_path(const struct oci_config *config, const struct statedir *dir, char *buf,
		     size_t len)
{
	const char *wish = config->lnx ? config->lnx->cgroups_path : NULL;
	int n;

	if (!wish || !wish[0])
		n = default_path(dir, buf, len);
	else if (wish[0] == '/')
		n = snprintf(buf, len, "%s", wish);
	else
		n = snprintf(buf, len, "/%s", wish);
	if (n < 0 || n >= (int)len)
		return -ENAMETOOLONG;
	for (char *p = buf; *p; p++)
		*p = *p == ':' ? '/' : *p;
	while (n > 1 && buf[n - 1] == '/')
		buf[--n] = '\0';
	return 0;
}

/* Does something for each hierarchy; on v2 there is one, and no controller to name it by. */
static int for_each(int (*fn)(const char *controller, const char *path), const char *path,
		    struct err *err)
{
	enum layout layout = find_layout();
	int r = layout == LAYOUT_V2 ? fn(NULL, path) : 0;

	if (r < 0)
		return err_errno(err, -r, "cgroup '%s'", path);
	for (unsigned i = 0; layout == LAYOUT_V1 && i < ARRAY_LEN(v1_controllers); i++) {
		if (!is_mounted(v1_controllers[i]))
			continue;
		r = fn(v1_controllers[i], path);
		if (r < 0)
			return err_errno(err, -r, "cgroup '%s' in hierarchy '%s'", path,
					 v1_controllers[i]);
	}
	return 0;
}

/* After a failure: what this user may not do is gone without (0), unless limits depend on it. */
static int without(int r, const struct err *why, struct err *err)
{
	bool denied = r == -EACCES || r == -EPERM || r == -EROFS;

	if (denied && !store_is_root()) {
		log_warn("%s, running without a cgroup of its own", why->msg);
		return 0;
	}
	err_set(err, r, "%s", why->msg);
	return denied ? err_advise(err, r,
				   "mount it writable, or do without by --cgroup-manager disabled")
		      : r;
}

/* Who removes a cgroup ends whoever is in it: nobody else's may be in a container's. */
static int check_free(const char *controller, const char *path)
{
	char dir[PATH_MAX], name[PATH_MAX + 80], text[16];

	if (dir_of(dir, controller, path) < 0)
		return -ENAMETOOLONG;
	if (read_text(dir, "cgroup.procs", text, sizeof(text)) < 0 || !text[0])
		return 0;
	/* A user who may not enter it goes without one. */
	snprintf(name, sizeof(name), "%s/cgroup.procs", dir);
	return access(name, W_OK) < 0 ? 0 : -EBUSY;
}

static int check_all_free(const char *path, struct err *err)
{
	int r = for_each(check_free, path, err);

	return r == -EBUSY ? err_advise(err, r,
					"others' processes are in it: name another by "
					"linux.cgroupsPath")
			   : r;
}

/* ---- whose it is while nobody is in it ---- */

/* The directory whose lock stands for all of them. */
static int first_dir(char *buf, const char *path)
{
	enum layout layout = find_layout();

	if (layout == LAYOUT_V2)
		return dir_of(buf, NULL, path);
	for (unsigned i = 0; layout == LAYOUT_V1 && i < ARRAY_LEN(v1_controllers); i++) {
		if (is_mounted(v1_controllers[i]))
			return dir_of(buf, v1_controllers[i], path);
	}
	return -ENOENT;
}

/* Return: the locked directory; -EBUSY another has the lock; -ENOENT it is not there. */
static int lock_dir(const char *path)
{
	char dir[PATH_MAX];
	struct stat st, now;
	int r = first_dir(dir, path);
	int AUTO_FD fd = r < 0 ? -1 : open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (r < 0 || fd < 0)
		return r < 0 ? r : -errno;
	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		return errno == EWOULDBLOCK ? -EBUSY : -errno;
	/* It may have been removed meanwhile, and made anew. */
	if (fstat(fd, &st) < 0 || stat(dir, &now) < 0 || st.st_ino != now.st_ino)
		return -ENOENT;
	return fd_steal(&fd);
}

void cgroup_unclaim(int claim)
{
	if (claim < 0)
		return;
	/* A process that was forked meanwhile has the descriptor too. */
	flock(claim, LOCK_UN);
	fd_close(claim);
}

/* Make it, and be the one who did. Return: 0; -EBUSY; negative errno. */
static int make_and_claim(const char *path, int *ret_claim, struct err *err)
{
	int r = for_each(make_dirs, path, err), claim = -ENOENT;

	for (int i = 0; r == 0 && (claim = lock_dir(path)) == -ENOENT && i < MAKE_TRIES; i++)
		r = for_each(make_dirs, path, err);
	if (r < 0)
		return r;
	if (claim == -EBUSY)
		return err_advise(err,
				  err_set(err, -EBUSY,
					  "cgroup '%s': another container is being made in it", path),
				  "name another by linux.cgroupsPath");
	if (claim < 0)
		return err_errno(err, -claim, "lock cgroup '%s'", path);
	r = check_all_free(path, err);
	if (r < 0)
		cgroup_unclaim(claim);
	else
		*ret_claim = claim;
	return r;
}

int cgroup_name(const struct oci_config *config, const struct statedir *dir, char **ret,
		struct err *err)
{
	char path[PATH_MAX];
	int r;

	*ret = NULL;
	if (find_layout() == LAYOUT_NONE)
		return 0;
	if (name_path(config, dir, path, sizeof(path)) < 0)
		return err_set(err, -ENAMETOOLONG, "linux.cgroupsPath is too long");
	r = check_all_free(path, err);
	if (r < 0)
		return r;
	*ret = strdup(path);
	return *ret ? 0 : err_set(err, -ENOMEM, "cgroup: no memory");
}

int cgroup_create(const struct oci_config *config, const char *path, int *ret_claim,
		  struct err *err)
{
	const struct oci_resources *res = config->lnx ? config->lnx->resources : NULL;
	struct err why = { 0 };
	int claim = -1, r = make_and_claim(path, &claim, &why);

	if (r == -EBUSY)
		return err_set(err, r, "%s", why.msg);
	if (r == 0)
		r = set_limits(path, res, &why);
	if (r == 0) {
		*ret_claim = claim;
		return 1;
	}
	if (claim >= 0)
		cgroup_remove(path, NULL);
	else
		cgroup_remove_unused(path);
	cgroup_unclaim(claim);
	return without(r, &why, err);
}

int cgroup_open(const char *path)
{
	char dir[PATH_MAX];

	if (!path || find_layout() != LAYOUT_V2 || dir_of(dir, NULL, path) < 0)
		return -1;
	return open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

int cgroup_enter(const char *path, struct err *err)
{
	struct err why = { 0 };
	int r = for_each(move_in, path, &why);

	return r == 0 ? 1 : without(r, &why, err);
}

int cgroup_update(const char *path, const struct oci_resources *res, struct err *err)
{
	return set_limits(path, res, err);
}

/* Whoever is left in a cgroup that goes away was the container's. */
static void kill_members(const char *dir)
{
	char text[4096], *at = text, *end;

	if (read_text(dir, "cgroup.procs", text, sizeof(text)) < 0)
		return;
	for (;;) {
		long pid = strtol(at, &end, 10);

		if (end == at)
			return;
		if (pid > 1 && pid != getpid())
			kill((pid_t)pid, SIGKILL);
		at = end;
	}
}

/* A cgroup is busy until its last process is gone for good. */
static int remove_dir(const char *dir)
{
	struct timespec wait = { .tv_nsec = REMOVE_WAIT_NS };

	for (int i = 0; rmdir(dir) < 0; i++) {
		if (errno == ENOENT)
			return 0;
		if (errno != EBUSY || i == REMOVE_TRIES)
			return -errno;
		kill_members(dir);
		nanosleep(&wait, NULL);
	}
	return 0;
}

/* The empty ones above that this program made. One that another just filled stays. */
static void remove_parents(char *dir, size_t top)
{
	char *slash;

	while ((slash = strrchr(dir, '/')) && (size_t)(slash - dir) > top) {
		struct stat st;

		*slash = '\0';
		if (stat(dir, &st) < 0 || !(st.st_mode & S_ISVTX) || rmdir(dir) < 0)
			return;
	}
}

static int remove_dirs(const char *controller, const char *path)
{
	char dir[PATH_MAX];
	int r = dir_of(dir, controller, path);

	if (r == 0)
		r = remove_dir(dir);
	if (r == 0)
		remove_parents(dir, strlen(dir) - strlen(path));
	return r;
}

int cgroup_remove(const char *path, struct err *err)
{
	struct err why = { 0 };
	int r = path && path[0] ? for_each(remove_dirs, path, &why) : 0;

	return r < 0 ? err_set(err, r, "remove %s", why.msg) : 0;
}

void cgroup_remove_unused(const char *path)
{
	const struct timespec wait = { .tv_nsec = REMOVE_WAIT_NS };

	for (int i = 0; path && path[0] && i < REMOVE_TRIES; i++) {
		int claim = lock_dir(path), r = claim;

		if (claim >= 0) {
			r = for_each(check_free, path, NULL);
			if (r == 0)
				cgroup_remove(path, NULL);
			cgroup_unclaim(claim);
		}
		if (r != -EBUSY)
			return;
		nanosleep(&wait, NULL);
	}
}

int cgroup_read_u64(const char *path, const char *controller, const char *v1_file,
		    const char *v2_file, uint64_t *ret)
{
	enum layout layout = path ? find_layout() : LAYOUT_NONE;
	char dir[PATH_MAX], text[64];
	const char *file = layout == LAYOUT_V2 ? v2_file : v1_file;
	int r;

	if (layout == LAYOUT_NONE || !file)
		return -ENOENT;
	r = dir_of(dir, layout == LAYOUT_V1 ? controller : NULL, path);
	if (r == 0)
		r = read_text(dir, file, text, sizeof(text));
	if (r == 0)
		*ret = strtoull(text, NULL, 10);
	return r;
}
