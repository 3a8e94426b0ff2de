/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the first process of a container brings with it into the guest.
 *
 * Theory of operation. The guest's init has made /dev, /dev/pts, /dev/mqueue and /sys before; their
 * mounts of the configuration change those. /proc and everything else is mounted anew, in the order
 * of the configuration, in the container's own mount namespace. Binds are assembled on the host and
 * come with the root; those below /dev, /proc and /sys are then under the guest's file systems, so
 * the root alone, without what is mounted in it, is bound to a second place for a moment, and they
 * are bound from there.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/auxv.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "guestcmd_priv.h"
#include "initx/proto.h"

#define SECOND_ROOT "/dev/.husk-root"
#define MAP_LINE    40 /* bytes of text, at most */

/* ---- users ---- */

/* Without rights on the host there is no other id than the caller's: those of the files are the
 * guest's. */
bool guestcmd_has_users(const struct oci_config *config)
{
	/* Not geteuid(): the sandbox has closed by now. */
	return getauxval(AT_EUID) == 0 && oci_namespace_find(config, CLONE_NEWUSER);
}

/* What is not mapped stays what it is. */
static uint32_t map_id(const oci_id_maps_t *maps, uint32_t id)
{
	for (size_t i = 0; i < maps->n; i++) {
		int64_t off = (int64_t)id - maps->v[i].container_id.v;

		if (off >= 0 && off < maps->v[i].size.v)
			return (uint32_t)(maps->v[i].host_id.v + off);
	}
	return id;
}

uint32_t guestcmd_uid(const struct oci_config *config, uint32_t uid)
{
	return guestcmd_has_users(config) ? map_id(&config->lnx->uid_mappings, uid) : uid;
}

static uint32_t guest_gid(const struct oci_config *config, uint32_t gid)
{
	return guestcmd_has_users(config) ? map_id(&config->lnx->gid_mappings, gid) : gid;
}

static void add_map(struct guestcmd_build *b, uint16_t item, const oci_id_maps_t *maps)
{
	AUTO_FREE char *text = malloc(maps->n * MAP_LINE + 1);
	size_t len = 0;

	if (!text) {
		b->r = err_set(b->err, -ENOMEM, "user namespace: no memory");
		return;
	}
	for (size_t i = 0; i < maps->n; i++)
		len += (size_t)snprintf(text + len, MAP_LINE, "%u %u %u\n",
					(uint32_t)maps->v[i].container_id.v,
					(uint32_t)maps->v[i].host_id.v,
					(uint32_t)maps->v[i].size.v);
	guestcmd_add(b, item, text, len);
}

/*
 * The data of a mount with the ids that it names as the guest's: it is made outside of the user
 * namespace. Its own root directory belongs to the namespace's root. NULL: no memory.
 */
static char *map_data(const struct oci_config *config, const char *type, const char *data)
{
	bool tmpfs = !strcmp(type, "tmpfs"), uid = false, gid = false;
	AUTO_FREE char *words = strdup(data);
	char *text = NULL, *save = NULL;
	size_t len;
	FILE *out;

	if (!guestcmd_has_users(config) || (!tmpfs && strcmp(type, "devpts") != 0))
		return STEAL_PTR(words);
	out = words ? open_memstream(&text, &len) : NULL;
	if (!out)
		return NULL;
	for (char *w = strtok_r(words, ",", &save); w; w = strtok_r(NULL, ",", &save)) {
		bool is_uid = !strncmp(w, "uid=", 4), is_gid = !strncmp(w, "gid=", 4);
		uint32_t id = is_uid || is_gid ? (uint32_t)strtoul(w + 4, NULL, 10) : 0;

		if (is_uid || is_gid)
			fprintf(out, "%.4s%u,", w,
				is_uid ? guestcmd_uid(config, id) : guest_gid(config, id));
		else
			fprintf(out, "%s,", w);
		uid |= is_uid;
		gid |= is_gid;
	}
	if (tmpfs && !uid)
		fprintf(out, "uid=%u,", guestcmd_uid(config, 0));
	if (tmpfs && !gid)
		fprintf(out, "gid=%u,", guest_gid(config, 0));
	if (fclose(out) != 0 || !text) {
		free(text);
		return NULL;
	}
	if (len)
		text[len - 1] = '\0';
	return text;
}

/* ---- mounts ---- */

bool guestcmd_is_below_own(const char *dest)
{
	static const char *const tops[] = { "/dev", "/proc", "/sys" };

	for (unsigned i = 0; i < ARRAY_LEN(tops); i++) {
		size_t n = strlen(tops[i]);

		if (!strncmp(dest, tops[i], n) && (dest[n] == '/' || !dest[n]))
			return true;
	}
	return false;
}

bool guestcmd_replaces_own(const struct oci_mount *m)
{
	return m->flags.bind && guestcmd_is_below_own(m->destination) &&
	       !strchr(m->destination + 1, '/');
}

static void add_mount(struct guestcmd_build *b, uint16_t item, const char *source,
		      const char *target, const char *type, uint64_t flags, const char *data)
{
	const char *strings[] = { source, target, type, data };
	uint32_t words[2] = { (uint32_t)flags, (uint32_t)(flags >> 32) };

	guestcmd_add_strings(b, item, words, 2, strings, 4);
}

static void change_mount(struct guestcmd_build *b, const char *target, uint64_t flags,
			 const char *data)
{
	add_mount(b, INITX_ITEM_MOUNT, "", target, "", flags, data);
}

/* Whether init has made it: then the mount changes it, since a second one would hide what it holds.
 */
static bool is_given(const char *type, const char *target)
{
	static const char *const given[][2] = { { "tmpfs", "/dev" },
						{ "devpts", "/dev/pts" },
						{ "mqueue", "/dev/mqueue" } };

	for (unsigned i = 0; i < ARRAY_LEN(given); i++) {
		if (!strcmp(type, given[i][0]) && !strcmp(target, given[i][1]))
			return true;
	}
	return false;
}

static void add_new_mount(struct guestcmd_build *b, const struct oci_mount *m, const char *type,
			  const char *target, uint64_t flags, const char *data)
{
	const char *source = m->source && m->source[0] ? m->source : type;
	uint64_t own = 0;

	if (!m->flags.tmpcopyup || strcmp(type, "tmpfs") != 0) {
		add_mount(b, INITX_ITEM_MOUNT, source, target, type, flags,
			  strcmp(type, "cgroup2") ? data : "");
		return;
	}
	if (!strstr(m->flags.data, "mode="))
		own = (uint64_t)INITX_COPY_UP_OWNER << 32;
	add_mount(b, INITX_ITEM_COPY_UP, source, target, type, own | (flags & ~(uint64_t)MS_RDONLY),
		  data);
	if (flags & MS_RDONLY)
		change_mount(b, target, flags | MS_REMOUNT | MS_BIND, "");
}

static void add_guest_mount(struct guestcmd_build *b, const struct oci_config *config,
			    const struct oci_mount *m, const char *target)
{
	/* Nothing is mounted below a new mount: for the whole tree is for itself. */
	uint64_t flags = (m->flags.set | m->flags.rec_set) & ~m->flags.rec_clear;
	const char *type = m->type;
	AUTO_FREE char *data = map_data(config, type, m->flags.data);

	if (!data) {
		b->r = err_set(b->err, -ENOMEM, "mounts: no memory");
		return;
	}
	/* A guest has one hierarchy, and shows it whole. */
	if (!strcmp(type, "cgroup"))
		type = "cgroup2";
	/* It is there already; a second one on top of itself is refused by the kernel. */
	if (!strcmp(type, "sysfs") && !strcmp(target, "/sys"))
		change_mount(b, target, flags | MS_REMOUNT | MS_BIND, "");
	else if (is_given(type, target))
		change_mount(b, target, flags | MS_REMOUNT, data);
	else
		add_new_mount(b, m, type, target, flags, data);
	/* The kernel takes these one at a time, and new mounts are private. */
	if (m->flags.propagation & ~(uint64_t)(MS_REC | MS_PRIVATE))
		change_mount(b, target, m->flags.propagation, "");
}

static void add_bind(struct guestcmd_build *b, const struct oci_mount *m, const char *target,
		     bool *second_root)
{
	uint64_t flags = (m->flags.set | MS_BIND) & ~(uint64_t)MS_REC;
	char source[4200 + sizeof(SECOND_ROOT)];

	if (guestcmd_replaces_own(m))
		return;
	if (!guestcmd_is_below_own(target)) {
		/* On itself: it gets an entry of its own, and flags that the guest's kernel heeds.
		 */
		add_mount(b, INITX_ITEM_MOUNT, target, target, "", flags, "");
		return;
	}
	if (!*second_root)
		add_mount(b, INITX_ITEM_MOUNT, "/", SECOND_ROOT, "", MS_BIND, "");
	*second_root = true;
	snprintf(source, sizeof(source), SECOND_ROOT "%s", target);
	add_mount(b, INITX_ITEM_MOUNT, source, target, "", flags, "");
}

static void add_mounts(struct guestcmd_build *b, const struct oci_config *config)
{
	bool second_root = false;

	for (size_t i = 0; i < config->mounts.n; i++) {
		const struct oci_mount *m = &config->mounts.v[i];
		char target[4200];

		snprintf(target, sizeof(target), "%s%s", m->destination[0] == '/' ? "" : "/",
			 m->destination);
		if (m->flags.bind)
			add_bind(b, m, target, &second_root);
		else
			add_guest_mount(b, config, m, target);
	}
	if (second_root) {
		const char *path = SECOND_ROOT;

		guestcmd_add_strings(b, INITX_ITEM_UNMOUNT, NULL, 0, &path, 1);
	}
}

static void add_root_propagation(struct guestcmd_build *b, const char *word)
{
	static const struct {
		const char *word;
		uint64_t flags;
	} words[] = {
		{ "shared", MS_SHARED },	 { "rshared", MS_SHARED | MS_REC },
		{ "slave", MS_SLAVE },		 { "rslave", MS_SLAVE | MS_REC },
		{ "unbindable", MS_UNBINDABLE }, { "runbindable", MS_UNBINDABLE | MS_REC },
	};

	for (unsigned i = 0; word && i < ARRAY_LEN(words); i++) {
		if (!strcmp(word, words[i].word))
			change_mount(b, "/", words[i].flags, "");
	}
}

/* ---- the rest ---- */

static void add_device(struct guestcmd_build *b, const struct oci_config *config,
		       const struct oci_device *d)
{
	uint32_t type = d->type[0] == 'b' ? S_IFBLK : d->type[0] == 'p' ? S_IFIFO : S_IFCHR;
	uint32_t mode = d->file_mode.set ? (uint32_t)d->file_mode.v : 0666;
	uint32_t words[6] = { type | mode,
			      (uint32_t)d->major.v,
			      (uint32_t)d->minor.v,
			      guestcmd_uid(config, (uint32_t)d->uid.v),
			      guest_gid(config, (uint32_t)d->gid.v),
			      0 };

	guestcmd_add_strings(b, INITX_ITEM_DEVICE, words, 6, &d->path, 1);
}

static void add_devices(struct guestcmd_build *b, const struct oci_config *config)
{
	/* A directory that is there already: it gets this owner. */
	static const struct oci_device dev = { .path = "/dev",
					       .type = "c",
					       .file_mode = { .set = true, .v = 0755 } };

	for (size_t i = 0; config->lnx && i < config->lnx->devices.n; i++)
		add_device(b, config, &config->lnx->devices.v[i]);
	if (guestcmd_has_users(config))
		add_device(b, config, &dev);
}

static void add_paths(struct guestcmd_build *b, uint16_t item, const struct oci_strs *paths)
{
	for (size_t i = 0; i < paths->n; i++)
		guestcmd_add_strings(b, item, NULL, 0, (const char *const *)&paths->v[i], 1);
}

static void add_hooks(struct guestcmd_build *b, const struct oci_config *config, const char *state)
{
	const oci_hook_list_t *hooks =
		config->hooks ? &config->hooks->of[OCI_HOOK_START_CONTAINER] : NULL;

	if (!hooks || !hooks->n)
		return;
	guestcmd_add(b, INITX_ITEM_HOOK_STATE, state, strlen(state));
	for (size_t i = 0; i < hooks->n; i++) {
		const struct oci_hook *h = &hooks->v[i];
		size_t n = 1, args = h->args.n ? h->args.n : 1;
		uint32_t words[4] = { (uint32_t)h->timeout.v, (uint32_t)args, (uint32_t)h->env.n };
		AUTO_FREE const char **strings = calloc(1 + args + h->env.n, sizeof(*strings));

		if (!strings) {
			b->r = err_set(b->err, -ENOMEM, "hooks: no memory");
			return;
		}
		strings[0] = strings[1] = h->path;
		for (size_t k = 0; k < h->args.n; k++)
			strings[1 + k] = h->args.v[k];
		n += args;
		for (size_t k = 0; k < h->env.n; k++)
			strings[n++] = h->env.v[k];
		guestcmd_add_strings(b, INITX_ITEM_HOOK, words, 4, strings, n);
	}
}

void guestcmd_add_cgroup(struct guestcmd_build *b, const struct oci_config *config, bool first)
{
	const struct oci_resources *res = config->lnx ? config->lnx->resources : NULL;
	const char *file[] = { "", "" };
	char limit[24] = "max";

	if (first && res && res->pids) {
		if (res->pids->limit.v > 0 && res->pids->limit.v <= GUESTCMD_PIDS_MAX)
			snprintf(limit, sizeof(limit), "%lld", (long long)res->pids->limit.v);
		file[0] = "pids.max";
		file[1] = limit;
	}
	guestcmd_add_strings(b, INITX_ITEM_CGROUP, NULL, 0, file, 2);
}

/* A copy of what a mount covers would be as old as the snapshot. */
static bool has_copies(const struct oci_config *config)
{
	for (size_t i = 0; i < config->mounts.n; i++) {
		if (config->mounts.v[i].flags.tmpcopyup)
			return true;
	}
	return false;
}

void guestcmd_add_place(struct guestcmd_build *b, const struct oci_config *config, bool limits,
			bool ahead)
{
	const struct oci_linux *l = config->lnx;
	uint32_t flags = GUESTCMD_NAMESPACES;

	if (oci_namespace_find(config, CLONE_NEWCGROUP))
		flags |= CLONE_NEWCGROUP;
	if (guestcmd_has_users(config))
		flags |= CLONE_NEWUSER;
	guestcmd_add_u32(b, INITX_ITEM_UNSHARE, &flags, 1);
	guestcmd_add_cgroup(b, config, limits);
	/* The process ids that /proc shows are those of the namespace it is mounted in. */
	add_mounts(b, config);
	add_devices(b, config);
	for (size_t i = 0; l && i < l->sysctl.n; i++) {
		const char *pair[] = { l->sysctl.v[i].key, l->sysctl.v[i].value };

		guestcmd_add_strings(b, INITX_ITEM_SYSCTL, NULL, 0, pair, 2);
	}
	if (l) {
		add_paths(b, INITX_ITEM_MASKED, &l->masked_paths);
		add_paths(b, INITX_ITEM_READONLY, &l->readonly_paths);
		add_root_propagation(b, l->rootfs_propagation);
	}
	if (config->root->readonly)
		change_mount(b, "/", MS_REMOUNT | MS_BIND | MS_RDONLY, "");
	if (ahead && !has_copies(config))
		guestcmd_add(b, INITX_ITEM_AHEAD, "", 0);
}

void guestcmd_add_container(struct guestcmd_build *b, const struct oci_config *config,
			    const char *hook_state)
{
	if (guestcmd_has_users(config)) {
		add_map(b, INITX_ITEM_UIDMAP, &config->lnx->uid_mappings);
		add_map(b, INITX_ITEM_GIDMAP, &config->lnx->gid_mappings);
	}
	if (config->hostname && config->hostname[0])
		guestcmd_add(b, INITX_ITEM_HOSTNAME, config->hostname, strlen(config->hostname));
	if (config->domainname && config->domainname[0])
		guestcmd_add(b, INITX_ITEM_DOMAINNAME, config->domainname,
			     strlen(config->domainname));
	add_hooks(b, config, hook_state);
}

/* ---- what of it is not done ---- */

static bool has_odd_mode(const struct oci_mount *m)
{
	const char *mode = strstr(m->flags.data, "mode=");

	return mode && strtoul(mode + strlen("mode="), NULL, 8) != 0755;
}

/* Those of other containers are in other machines. */
static void warn_of_shared(const struct oci_config *config)
{
	for (size_t i = 0; config->lnx && i < config->lnx->namespaces.n; i++) {
		const struct oci_namespace *ns = &config->lnx->namespaces.v[i];

		if (ns->path && ns->flag != CLONE_NEWNET && ns->flag != CLONE_NEWUTS)
			log_warn("config.json: linux.namespaces[%zu].path: ignored: a machine "
				 "shares none of this type with '%s'",
				 i, ns->path);
	}
}

void guestcmd_warn(const struct oci_config *config)
{
	warn_of_shared(config);
	for (size_t i = 0; i < config->mounts.n; i++) {
		const struct oci_mount *m = &config->mounts.v[i];

		if (guestcmd_replaces_own(m))
			log_warn("config.json: mounts[%zu]: ignored: %s is a file system of the "
				 "guest's own",
				 i, m->destination);
		else if (m->flags.bind)
			continue;
		else if (!strncmp(m->type, "cgroup", 6) && m->flags.data[0])
			log_warn("config.json: mounts[%zu].options: ignored: '%s': the guest's "
				 "cgroups are version 2, and whole",
				 i, m->flags.data);
		else if (is_given(m->type, m->destination) && !strcmp(m->type, "tmpfs") &&
			 has_odd_mode(m))
			log_warn("config.json: mounts[%zu].options: ignored: the mode of /dev is "
				 "0755",
				 i);
	}
}
