/* SPDX-License-Identifier: Apache-2.0 */
/* The words of mounts[].options. Ref: runtime-spec v1.2 config.md#linux-mount-options */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>

#include "base/checked.h"
#include "schema.h"

#ifndef MS_LAZYTIME
#define MS_LAZYTIME (1 << 25)
#endif
#ifndef MS_NOSYMFOLLOW
#define MS_NOSYMFOLLOW 256
#endif

#define MOUNTS_MAX 4096

enum word_kind { WORD_SET, WORD_CLEAR, WORD_REC_SET, WORD_REC_CLEAR, WORD_PROPAGATION };

struct word {
	const char *text;
	enum word_kind kind;
	uint64_t flags;
};

static const struct word words[] = {
	{ "async", WORD_CLEAR, MS_SYNCHRONOUS },
	{ "atime", WORD_CLEAR, MS_NOATIME },
	{ "bind", WORD_SET, MS_BIND },
	{ "defaults", WORD_SET, 0 },
	{ "dev", WORD_CLEAR, MS_NODEV },
	{ "diratime", WORD_CLEAR, MS_NODIRATIME },
	{ "dirsync", WORD_SET, MS_DIRSYNC },
	{ "exec", WORD_CLEAR, MS_NOEXEC },
	{ "iversion", WORD_SET, MS_I_VERSION },
	{ "lazytime", WORD_SET, MS_LAZYTIME },
	{ "loud", WORD_CLEAR, MS_SILENT },
	{ "mand", WORD_SET, MS_MANDLOCK },
	{ "noatime", WORD_SET, MS_NOATIME },
	{ "nodev", WORD_SET, MS_NODEV },
	{ "nodiratime", WORD_SET, MS_NODIRATIME },
	{ "noexec", WORD_SET, MS_NOEXEC },
	{ "noiversion", WORD_CLEAR, MS_I_VERSION },
	{ "nolazytime", WORD_CLEAR, MS_LAZYTIME },
	{ "nomand", WORD_CLEAR, MS_MANDLOCK },
	{ "norelatime", WORD_CLEAR, MS_RELATIME },
	{ "nostrictatime", WORD_CLEAR, MS_STRICTATIME },
	{ "nosuid", WORD_SET, MS_NOSUID },
	{ "nosymfollow", WORD_SET, MS_NOSYMFOLLOW },
	{ "rbind", WORD_SET, MS_BIND | MS_REC },
	{ "relatime", WORD_SET, MS_RELATIME },
	{ "remount", WORD_SET, MS_REMOUNT },
	{ "ro", WORD_SET, MS_RDONLY },
	{ "rw", WORD_CLEAR, MS_RDONLY },
	{ "silent", WORD_SET, MS_SILENT },
	{ "strictatime", WORD_SET, MS_STRICTATIME },
	{ "suid", WORD_CLEAR, MS_NOSUID },
	{ "symfollow", WORD_CLEAR, MS_NOSYMFOLLOW },
	{ "sync", WORD_SET, MS_SYNCHRONOUS },
	{ "private", WORD_PROPAGATION, MS_PRIVATE },
	{ "rprivate", WORD_PROPAGATION, MS_PRIVATE | MS_REC },
	{ "rshared", WORD_PROPAGATION, MS_SHARED | MS_REC },
	{ "rslave", WORD_PROPAGATION, MS_SLAVE | MS_REC },
	{ "runbindable", WORD_PROPAGATION, MS_UNBINDABLE | MS_REC },
	{ "shared", WORD_PROPAGATION, MS_SHARED },
	{ "slave", WORD_PROPAGATION, MS_SLAVE },
	{ "unbindable", WORD_PROPAGATION, MS_UNBINDABLE },
	{ "ratime", WORD_REC_CLEAR, MS_NOATIME },
	{ "rdev", WORD_REC_CLEAR, MS_NODEV },
	{ "rdiratime", WORD_REC_CLEAR, MS_NODIRATIME },
	{ "rexec", WORD_REC_CLEAR, MS_NOEXEC },
	{ "rnoatime", WORD_REC_SET, MS_NOATIME },
	{ "rnodev", WORD_REC_SET, MS_NODEV },
	{ "rnodiratime", WORD_REC_SET, MS_NODIRATIME },
	{ "rnoexec", WORD_REC_SET, MS_NOEXEC },
	{ "rnorelatime", WORD_REC_CLEAR, MS_RELATIME },
	{ "rnostrictatime", WORD_REC_CLEAR, MS_STRICTATIME },
	{ "rnosuid", WORD_REC_SET, MS_NOSUID },
	{ "rnosymfollow", WORD_REC_SET, MS_NOSYMFOLLOW },
	{ "rrelatime", WORD_REC_SET, MS_RELATIME },
	{ "rro", WORD_REC_SET, MS_RDONLY },
	{ "rrw", WORD_REC_CLEAR, MS_RDONLY },
	{ "rstrictatime", WORD_REC_SET, MS_STRICTATIME },
	{ "rsuid", WORD_REC_CLEAR, MS_NOSUID },
	{ "rsymfollow", WORD_REC_CLEAR, MS_NOSYMFOLLOW },
};

static bool apply_word(struct oci_mount_flags *f, const char *text)
{
	for (unsigned i = 0; i < ARRAY_LEN(words); i++) {
		const struct word *w = &words[i];

		if (strcmp(w->text, text) != 0)
			continue;
		switch (w->kind) {
		case WORD_SET:
			f->set |= w->flags;
			f->clear &= ~w->flags;
			break;
		case WORD_CLEAR:
			f->clear |= w->flags;
			f->set &= ~w->flags;
			break;
		case WORD_REC_SET:
			f->rec_set |= w->flags;
			f->rec_clear &= ~w->flags;
			break;
		case WORD_REC_CLEAR:
			f->rec_clear |= w->flags;
			f->rec_set &= ~w->flags;
			break;
		case WORD_PROPAGATION: f->propagation = w->flags; break;
		}
		return true;
	}
	return false;
}

static bool apply_extension(struct oci_mount_flags *f, const char *text)
{
	bool *flag = !strcmp(text, "idmap")	     ? &f->idmap
		     : !strcmp(text, "ridmap")	     ? &f->ridmap
		     : !strcmp(text, "tmpcopyup")    ? &f->tmpcopyup
		     : !strcmp(text, "copy-symlink") ? &f->copy_symlink
						     : NULL;

	if (flag)
		*flag = true;
	return flag != NULL;
}

/* The words that are for the file system, joined by commas. */
static int join_data(const struct oci_check *c, const struct oci_mount *m, const bool *is_data)
{
	size_t len = 1;
	char *data, *at;

	for (size_t i = 0; i < m->options.n; i++)
		len += is_data[i] ? strlen(m->options.v[i]) + 1 : 0;
	data = oci_alloc(c->config, len, 1);
	if (!data)
		return err_set(c->err, -ENOMEM, "%s: mounts: no memory", c->name);
	at = data;
	for (size_t i = 0; i < m->options.n; i++) {
		if (is_data[i])
			at += sprintf(at, "%s%s", at == data ? "" : ",", m->options.v[i]);
	}
	((struct oci_mount *)(uintptr_t)m)->flags.data = data;
	return 0;
}

static int parse_options(const struct oci_check *c, size_t index, struct oci_mount *m)
{
	bool *is_data = oci_alloc(c->config, m->options.n + 1, sizeof(*is_data));

	if (!is_data)
		return err_set(c->err, -ENOMEM, "%s: mounts: no memory", c->name);
	for (size_t i = 0; i < m->options.n; i++) {
		const char *text = m->options.v[i];

		if (apply_word(&m->flags, text) || apply_extension(&m->flags, text))
			continue;
		if (strchr(text, ','))
			return oci_bad(c, "mounts[%zu].options[%zu]: '%.60s' has a comma in it",
				       index, i, text);
		is_data[i] = text[0] != '\0';
	}
	m->flags.bind = (m->flags.set & MS_BIND) || (m->type && !strcmp(m->type, "bind"));
	m->flags.rbind = m->flags.bind && (m->flags.set & MS_REC);
	for (size_t i = 0; i < m->options.n; i++) {
		if (is_data[i] && m->flags.bind) {
			oci_warn(c->config,
				 "%s: mounts[%zu].options[%zu]: ignored: '%.60s' is no option of "
				 "a bind mount",
				 c->name, index, i, m->options.v[i]);
			is_data[i] = false;
		}
	}
	return join_data(c, m, is_data);
}

static int check_idmap(const struct oci_check *c, size_t index, const struct oci_mount *m)
{
	char path[64];
	int r;

	if (!m->uid_mappings.n != !m->gid_mappings.n)
		return oci_bad(c, "mounts[%zu].%s: uidMappings and gidMappings go together", index,
			       m->uid_mappings.n ? "gidMappings" : "uidMappings");
	if (m->uid_mappings.n && !m->flags.bind)
		return oci_bad(c, "mounts[%zu].uidMappings: only bind mounts have mappings", index);
	snprintf(path, sizeof(path), "mounts[%zu].uidMappings", index);
	r = oci_check_id_maps(c, path, m->uid_mappings.v, m->uid_mappings.n);
	if (r < 0)
		return r;
	snprintf(path, sizeof(path), "mounts[%zu].gidMappings", index);
	return oci_check_id_maps(c, path, m->gid_mappings.v, m->gid_mappings.n);
}

static int check_mount(const struct oci_check *c, size_t index, struct oci_mount *m)
{
	int r = parse_options(c, index, m);

	if (r < 0)
		return r;
	if (oci_path_climbs(m->destination))
		return oci_bad(c, "mounts[%zu].destination: has a '..' in it", index);
	if (strlen(m->destination) >= PATH_MAX)
		return oci_bad(c, "mounts[%zu].destination: longer than a path can be", index);
	if (m->destination[0] != '/')
		oci_warn(c->config, "%s: mounts[%zu].destination: '%.60s' is taken as below /",
			 c->name, index, m->destination);
	if (m->flags.bind && (!m->source || !m->source[0]))
		return oci_bad(c, "mounts[%zu].source: is required for a bind mount", index);
	if (!m->flags.bind && (!m->type || !m->type[0]))
		return oci_bad(c, "mounts[%zu].type: is required", index);
	if (m->flags.tmpcopyup && (m->flags.bind || strcmp(m->type, "tmpfs") != 0))
		oci_warn(c->config, "%s: mounts[%zu].options: ignored: 'tmpcopyup' is for tmpfs",
			 c->name, index);
	if (m->flags.copy_symlink)
		oci_warn(c->config, "%s: mounts[%zu].options: ignored: 'copy-symlink' is not built",
			 c->name, index);
	return check_idmap(c, index, m);
}

int oci_check_mounts(const struct oci_check *c)
{
	int r = 0;

	if (c->config->mounts.n > MOUNTS_MAX)
		return oci_bad(c, "mounts: more than %u", MOUNTS_MAX);
	for (size_t i = 0; r == 0 && i < c->config->mounts.n; i++)
		r = check_mount(c, i, &c->config->mounts.v[i]);
	return r;
}

static int compare_words(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

const char **oci_mount_words(void)
{
	static const char *const more[] = { "idmap", "ridmap", "tmpcopyup" };
	const char **ret = calloc(ARRAY_LEN(words) + ARRAY_LEN(more) + 1, sizeof(*ret));

	if (!ret)
		return NULL;
	for (unsigned i = 0; i < ARRAY_LEN(words); i++)
		ret[i] = words[i].text;
	memcpy(ret + ARRAY_LEN(words), more, sizeof(more));
	qsort(ret, ARRAY_LEN(words) + ARRAY_LEN(more), sizeof(*ret), compare_words);
	return ret;
}
