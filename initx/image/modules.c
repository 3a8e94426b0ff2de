/* SPDX-License-Identifier: Apache-2.0 */
/* Closure and order of kernel modules. */
#include "initx/modules.h"

#include <dirent.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "image/unpack.h"

#define NAME_BYTES     128
#define PATH_BYTES     4096
#define INDEX_MAX      65536
#define WALK_MAX_DEPTH 16
#define TEXT_MAX       ((size_t)16 << 20)
#define NEED_MAX_DEPTH 64

const char *const modules_default[] = {
	"virtio_mmio", "virtio_console", "virtio_rng",	"?vmw_vsock_virtio_transport",
	"?virtiofs",   "?virtio_net",	 "?virtio_blk", "?af_packet",
	"?overlay",    "?binfmt_misc",
};
const size_t n_modules_default = ARRAY_LEN(modules_default);

enum module_state { MODULE_TODO, MODULE_BUSY, MODULE_DONE };

struct module {
	char name[NAME_BYTES]; /* with '_' only */
	char *path;	       /* below the tree */
	enum module_state state;
	uint8_t *data;
	size_t len;
};

struct closure {
	const char *dir;
	struct module *index; /* sorted by name after the walk */
	size_t n, cap;
	char *builtin, *dep; /* texts of modules.builtin and modules.dep, or NULL */
	struct module *order[MODULES_MAX];
	size_t n_order, total;
	struct err *err;
};

static void closure_done(struct closure *c)
{
	for (size_t i = 0; i < c->n; i++) {
		free(c->index[i].path);
		free(c->index[i].data);
	}
	free(c->index);
	free(c->builtin);
	free(c->dep);
}

/* "kernel/fs/foo-bar.ko.xz" gives "foo_bar"; false when it is no module. */
static bool module_name(const char *path, char ret[NAME_BYTES])
{
	const char *base = strrchr(path, '/');
	const char *end;
	size_t n;

	base = base ? base + 1 : path;
	end = strstr(base, ".ko");
	if (!end || (end[3] && end[3] != '.'))
		return false;
	n = (size_t)(end - base);
	if (!n || n >= NAME_BYTES)
		return false;
	for (size_t i = 0; i < n; i++)
		ret[i] = base[i] == '-' ? '_' : base[i];
	ret[n] = '\0';
	return true;
}

static int index_add(struct closure *c, const char *path)
{
	char name[NAME_BYTES];
	struct module *m;

	if (!module_name(path, name))
		return 0;
	if (c->n == INDEX_MAX)
		return err_set(c->err, -E2BIG, "more than %d modules in '%s'", INDEX_MAX, c->dir);
	if (c->n == c->cap) {
		size_t cap = c->cap ? c->cap * 2 : 1024;
		struct module *p = realloc(c->index, cap * sizeof(*p));

		if (!p)
			return err_set(c->err, -ENOMEM, "module index");
		c->index = p;
		c->cap = cap;
	}
	m = &c->index[c->n];
	*m = (struct module){ .path = strdup(path) };
	if (!m->path)
		return err_set(c->err, -ENOMEM, "module index");
	memcpy(m->name, name, sizeof(name));
	c->n++;
	return 0;
}

static void dir_close(DIR **d)
{
	if (*d)
		closedir(*d);
}

/* All modules below @rel. Symbolic links are not followed: build and source point elsewhere. */
static int walk(struct closure *c, const char *rel, unsigned depth)
{
	char path[PATH_BYTES];
	CLEANUP(dir_close) DIR *d = NULL;
	struct dirent *e;
	int r = 0;

	if (depth > WALK_MAX_DEPTH)
		return err_set(c->err, -E2BIG, "'%s/%s' is nested too deeply", c->dir, rel);
	if ((size_t)snprintf(path, sizeof(path), "%s/%s", c->dir, rel) >= sizeof(path))
		return err_set(c->err, -ENAMETOOLONG, "'%s'", c->dir);
	d = opendir(path);
	if (!d)
		return err_errno(c->err, errno, "open '%s'", path);
	while (r >= 0 && (e = readdir(d))) {
		struct stat st;

		if (e->d_name[0] == '.')
			continue;
		if ((size_t)snprintf(path, sizeof(path), "%s%s%s", rel, *rel ? "/" : "",
				     e->d_name) >= sizeof(path) ||
		    fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		if (S_ISDIR(st.st_mode))
			r = walk(c, path, depth + 1);
		else if (S_ISREG(st.st_mode))
			r = index_add(c, path);
	}
	return r;
}

static int compare(const void *a, const void *b)
{
	return strcmp(((const struct module *)a)->name, ((const struct module *)b)->name);
}

static struct module *find(struct closure *c, const char *name)
{
	struct module key = { 0 };

	if (strlen(name) >= NAME_BYTES)
		return NULL;
	for (size_t i = 0; name[i]; i++)
		key.name[i] = name[i] == '-' ? '_' : name[i];
	return c->n ? bsearch(&key, c->index, c->n, sizeof(key), compare) : NULL;
}

/* An optional text file of the tree. */
static int read_text(struct closure *c, const char *name, char **ret)
{
	char path[PATH_BYTES];
	uint8_t *text;
	size_t len;
	char *s;
	int r;

	if ((size_t)snprintf(path, sizeof(path), "%s/%s", c->dir, name) >= sizeof(path))
		return err_set(c->err, -ENAMETOOLONG, "'%s'", c->dir);
	r = unpack_file(path, TEXT_MAX, &text, &len, NULL);
	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return err_errno(c->err, -r, "read '%s'", path);
	s = realloc(text, len + 1);
	if (!s) {
		free(text);
		return err_set(c->err, -ENOMEM, "'%s'", path);
	}
	s[len] = '\0';
	*ret = s;
	return 0;
}

/* Calls @fn for each line; stops when it returns non-zero, and returns that. */
static int each_line(const char *text, int (*fn)(void *opaque, const char *line), void *opaque)
{
	char line[PATH_BYTES];
	int r = 0;

	while (text && *text && r == 0) {
		size_t n = strcspn(text, "\n");

		if (n < sizeof(line)) {
			memcpy(line, text, n);
			line[n] = '\0';
			r = fn(opaque, line);
		}
		text += n + (text[n] == '\n');
	}
	return r;
}

static int match_builtin(void *opaque, const char *line)
{
	char name[NAME_BYTES];

	return module_name(line, name) && !strcmp(name, opaque);
}

static bool is_builtin(const struct closure *c, const char *wanted)
{
	char name[NAME_BYTES];
	size_t i = 0;

	for (; wanted[i] && i < NAME_BYTES - 1; i++)
		name[i] = wanted[i] == '-' ? '_' : wanted[i];
	name[i] = '\0';
	return each_line(c->builtin, match_builtin, name) != 0;
}

/* The module's ELF section .modinfo: NUL-terminated key=value strings. */
static int modinfo(const struct module *m, const char **ret, size_t *ret_len)
{
	Elf64_Ehdr eh;
	Elf64_Shdr sh, names;
	uint64_t off;

	if (m->len < sizeof(eh))
		return -EBADMSG;
	memcpy(&eh, m->data, sizeof(eh));
	if (memcmp(eh.e_ident, ELFMAG, SELFMAG) != 0 || eh.e_ident[EI_CLASS] != ELFCLASS64 ||
	    eh.e_shentsize != sizeof(sh) || eh.e_shstrndx >= eh.e_shnum ||
	    ckd_add(&off, eh.e_shoff, (uint64_t)eh.e_shnum * sizeof(sh)) || off > m->len)
		return -EBADMSG;
	memcpy(&names, m->data + eh.e_shoff + (size_t)eh.e_shstrndx * sizeof(sh), sizeof(names));
	if (ckd_add(&off, names.sh_offset, names.sh_size) || off > m->len)
		return -EBADMSG;
	for (unsigned i = 0; i < eh.e_shnum; i++) {
		memcpy(&sh, m->data + eh.e_shoff + (size_t)i * sizeof(sh), sizeof(sh));
		if (sh.sh_name >= names.sh_size ||
		    names.sh_size - sh.sh_name < sizeof(".modinfo") ||
		    memcmp(m->data + names.sh_offset + sh.sh_name, ".modinfo",
			   sizeof(".modinfo")) != 0)
			continue;
		if (ckd_add(&off, sh.sh_offset, sh.sh_size) || off > m->len)
			return -EBADMSG;
		*ret = (const char *)m->data + sh.sh_offset;
		*ret_len = sh.sh_size;
		return 0;
	}
	return -EBADMSG;
}

static int load(struct closure *c, const char *name, bool optional, unsigned depth);

/* Load the names in @list, separated by @seps. @hard: they have to exist. */
static int load_list(struct closure *c, const char *list, size_t len, const char *seps, bool hard,
		     unsigned depth)
{
	char name[NAME_BYTES];
	size_t i = 0;
	int r = 0;

	while (i < len && r == 0) {
		size_t n = 0;

		while (i + n < len && !strchr(seps, list[i + n]))
			n++;
		if (n && n < sizeof(name)) {
			memcpy(name, list + i, n);
			name[n] = '\0';
			r = load(c, name, !hard, depth);
		}
		i += n + 1;
	}
	return r;
}

/* "softdep=pre: a b post: c" */
static int load_softdep(struct closure *c, const char *s, size_t len, unsigned depth)
{
	const char *pre = memmem(s, len, "pre:", 4);
	const char *end = s + len, *post;

	if (!pre)
		return 0;
	pre += 4;
	post = memmem(pre, (size_t)(end - pre), "post:", 5);
	return load_list(c, pre, (size_t)((post ? post : end) - pre), " ", false, depth);
}

static int load_modinfo_needs(struct closure *c, struct module *m, bool only_soft, unsigned depth)
{
	const char *info;
	size_t len;
	int r = modinfo(m, &info, &len);

	if (r < 0)
		return err_set(c->err, r, "module '%s' is no module", m->path);
	while (len && r == 0) {
		size_t n = strnlen(info, len);

		if (!only_soft && n > 8 && !memcmp(info, "depends=", 8))
			r = load_list(c, info + 8, n - 8, ",", true, depth);
		else if (n > 8 && !memcmp(info, "softdep=", 8))
			r = load_softdep(c, info + 8, n - 8, depth);
		info += n < len ? n + 1 : n;
		len -= n < len ? n + 1 : n;
	}
	return r;
}

struct dep_search {
	struct closure *c;
	const struct module *m;
	unsigned depth;
	bool found;
};

/* "kernel/a.ko: kernel/b.ko kernel/c.ko": what a needs, nearest first. */
static int match_dep(void *opaque, const char *line)
{
	struct dep_search *s = opaque;
	size_t n = strcspn(line, ":");
	char name[NAME_BYTES];
	int r = 0;

	if (!line[n] || strlen(s->m->path) != n || memcmp(s->m->path, line, n) != 0)
		return 0;
	s->found = true;
	for (const char *p = line + n + 1; *p && r == 0;) {
		size_t len = strcspn(p, " ");
		char path[PATH_BYTES];

		memcpy(path, p, len);
		path[len] = '\0';
		if (module_name(path, name))
			r = load(s->c, name, false, s->depth);
		p += len + (p[len] == ' ');
	}
	return r ? r : 1;
}

static int load_needs(struct closure *c, struct module *m, unsigned depth)
{
	struct dep_search s = { .c = c, .m = m, .depth = depth };
	int r = each_line(c->dep, match_dep, &s);

	if (r < 0)
		return r;
	return load_modinfo_needs(c, m, s.found, depth);
}

static int read_module(struct closure *c, struct module *m)
{
	char path[PATH_BYTES];
	int r;

	if ((size_t)snprintf(path, sizeof(path), "%s/%s", c->dir, m->path) >= sizeof(path))
		return err_set(c->err, -ENAMETOOLONG, "'%s'", c->dir);
	r = unpack_file(path, MODULES_MAX_FILE, &m->data, &m->len, c->err);
	if (r < 0)
		return r;
	c->total += m->len;
	if (c->total > MODULES_MAX_TOTAL)
		return err_set(c->err, -E2BIG, "modules of more than %u bytes", MODULES_MAX_TOTAL);
	return 0;
}

static int load(struct closure *c, const char *name, bool optional, unsigned depth)
{
	struct module *m = find(c, name);
	int r;

	if (!m) {
		if (optional || is_builtin(c, name))
			return 0;
		return err_set(c->err, -ENOENT, "kernel module '%s' is not in '%s'", name, c->dir);
	}
	if (m->state == MODULE_DONE)
		return 0;
	if (m->state == MODULE_BUSY || depth > NEED_MAX_DEPTH)
		return err_set(c->err, -ELOOP, "kernel module '%s' needs itself", name);
	m->state = MODULE_BUSY;
	r = read_module(c, m);
	if (r == 0)
		r = load_needs(c, m, depth + 1);
	if (r < 0)
		return r;
	m->state = MODULE_DONE;
	if (c->n_order == MODULES_MAX)
		return err_set(c->err, -E2BIG, "more than %d kernel modules needed", MODULES_MAX);
	c->order[c->n_order++] = m;
	return 0;
}

static int write_blob(const struct closure *c, uint8_t **ret, size_t *ret_len, struct err *err)
{
	size_t len = 16, at = 16;
	uint8_t *blob;

	for (size_t i = 0; i < c->n_order; i++)
		len = ALIGN_UP(ALIGN_UP(len + 8 + strlen(c->order[i]->name) + 1, (size_t)16) +
				       c->order[i]->len,
			       (size_t)16);
	blob = calloc(1, len);
	if (!blob)
		return err_set(err, -ENOMEM, "modules of %zu bytes", len);
	le32_store(blob, (uint32_t)c->n_order);
	for (size_t i = 0; i < c->n_order; i++) {
		const struct module *m = c->order[i];
		size_t name_len = strlen(m->name) + 1;

		le32_store(blob + at, (uint32_t)name_len);
		le32_store(blob + at + 4, (uint32_t)m->len);
		memcpy(blob + at + 8, m->name, name_len);
		at = ALIGN_UP(at + 8 + name_len, (size_t)16);
		memcpy(blob + at, m->data, m->len);
		at = ALIGN_UP(at + m->len, (size_t)16);
	}
	*ret = blob;
	*ret_len = len;
	return 0;
}

int modules_blob(const char *dir, const char *const *wanted, size_t n_wanted, uint8_t **ret,
		 size_t *ret_len, struct err *err)
{
	CLEANUP(closure_done) struct closure c = { .dir = dir, .err = err };
	int r = walk(&c, "", 0);

	if (r == 0)
		r = read_text(&c, "modules.builtin", &c.builtin);
	if (r == 0)
		r = read_text(&c, "modules.dep", &c.dep);
	if (r < 0)
		return r;
	if (c.n)
		qsort(c.index, c.n, sizeof(*c.index), compare);
	for (size_t i = 0; i < n_wanted && r == 0; i++) {
		bool optional = wanted[i][0] == MODULES_OPTIONAL;

		r = load(&c, wanted[i] + optional, optional, 0);
	}
	return r < 0 ? r : write_blob(&c, ret, ret_len, err);
}
