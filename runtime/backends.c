/* SPDX-License-Identifier: Apache-2.0 */
/* Which back end runs a VM, and the memory of what the probe has found. */
#include "backends.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "storepath.h"

#define BOOT_ID_PATH "/proc/sys/kernel/random/boot_id"
#define BOOT_ID_LEN  36
#define CACHE_FORMAT "husk-kvm-probe 1" /* first word of the file; changes with the probe */
#define CACHE_MAX    512

/* ---- the cache: format, boot id, verdict, ps, reason; one line ---- */

static int cache_dir(char *buf, size_t len)
{
	const char *run = getenv("XDG_RUNTIME_DIR");
	int n;

	if (store_is_root())
		n = snprintf(buf, len, "/run/husk");
	else if (run && run[0] == '/')
		n = snprintf(buf, len, "%s/husk", run);
	else
		return -ENOENT;
	return n < 0 || (size_t)n >= len ? -ENAMETOOLONG : 0;
}

static int read_text(const char *path, char *buf, size_t len)
{
	int AUTO_FD fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	ssize_t n = fd < 0 ? -errno : fd_read_full(fd, buf, len - 1);

	if (n < 0)
		return (int)n;
	buf[n] = '\0';
	return 0;
}

static int boot_id(char buf[BOOT_ID_LEN + 1])
{
	char text[BOOT_ID_LEN + 8];
	int r = read_text(BOOT_ID_PATH, text, sizeof(text));

	if (r < 0)
		return r;
	text[strcspn(text, "\n")] = '\0';
	if (strlen(text) != BOOT_ID_LEN)
		return -EBADMSG;
	memcpy(buf, text, BOOT_ID_LEN + 1);
	return 0;
}

static int cache_load(const char *path, const char *id, struct probe_result *ret)
{
	char text[CACHE_MAX], found[BOOT_ID_LEN + 1];
	unsigned verdict;
	unsigned long long ps;
	int at = 0, r = read_text(path, text, sizeof(text));

	if (r < 0)
		return r;
	text[strcspn(text, "\n")] = '\0';
	if (sscanf(text, CACHE_FORMAT " %36s %u %llu %n", found, &verdict, &ps, &at) != 3 || !at ||
	    strcmp(found, id) != 0 || verdict >= PROBE_UNUSABLE)
		return -ESTALE;
	*ret = (struct probe_result){ .verdict = (enum probe_verdict)verdict, .insn_ps = ps };
	snprintf(ret->reason, sizeof(ret->reason), "%.*s", (int)sizeof(ret->reason) - 1, text + at);
	return 0;
}

/* Failing to remember costs the next call a few milliseconds, no more. */
static void cache_store(const char *dir, const char *path, const char *id,
			const struct probe_result *p)
{
	char text[CACHE_MAX];
	int n = snprintf(text, sizeof(text), CACHE_FORMAT " %s %u %llu %s\n", id,
			 (unsigned)p->verdict, (unsigned long long)p->insn_ps, p->reason);

	if (n < 0 || (size_t)n >= sizeof(text))
		return;
	if (mkdir(dir, 0700) == 0 || errno == EEXIST)
		(void)fd_write_file(path, 0600, text, (size_t)n);
}

void backend_probe(struct probe_result *ret, bool *ret_cached)
{
	char dir[PATH_MAX - 32], path[PATH_MAX], id[BOOT_ID_LEN + 1];
	bool can_cache = cache_dir(dir, sizeof(dir)) == 0 && boot_id(id) == 0;
	bool cached = false;

	if (can_cache) {
		snprintf(path, sizeof(path), "%s/kvm-probe", dir);
		/* What another caller found says nothing about our own rights. */
		cached = access("/dev/kvm", R_OK | W_OK) == 0 && cache_load(path, id, ret) == 0;
	}
	if (!cached) {
		probe_kvm(ret);
		if (can_cache && ret->verdict != PROBE_UNUSABLE)
			cache_store(dir, path, id, ret);
	}
	if (ret_cached)
		*ret_cached = cached;
}

/* ---- choosing ---- */

int backend_find(const char *name, const struct hv_ops **ret, struct err *err)
{
	struct probe_result probe;

	if (!strcmp(name, "auto")) {
		backend_probe(&probe, NULL);
		*ret = probe.verdict == PROBE_NATIVE ? &hv_kvm_ops : &hv_soft_ops;
		return 0;
	}
	if (!strcmp(name, "soft"))
		*ret = &hv_soft_ops;
	else if (!strcmp(name, "kvm") && access("/dev/kvm", F_OK) < 0)
		return err_set(
			err, -ENODEV,
			"this host has no KVM ('/dev/kvm': %s): load its module, or use the back "
			"end 'soft'",
			err_str(errno));
	else if (!strcmp(name, "kvm"))
		*ret = &hv_kvm_ops;
	else
		return err_set(err, -EINVAL, "unknown back end '%s' (there are: auto, kvm, soft)",
			       name);
	return 0;
}
