/* SPDX-License-Identifier: Apache-2.0 */
/* Configurations: memory, warnings, and parsing as a whole. */
#include "oci/config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/checked.h"
#include "base/fd.h"
#include "schema.h"

/* ---- the arena ---- */

#define ARENA_CHUNK (16U << 10)

struct chunk {
	struct chunk *next;
	size_t used, size;
	_Alignas(16) char bytes[];
};

struct oci_arena {
	struct chunk *chunks;
};

static void *arena_alloc(struct oci_arena *arena, size_t bytes)
{
	struct chunk *c = arena->chunks;
	void *p;

	bytes = ALIGN_UP(bytes, 16);
	if (!c || c->size - c->used < bytes) {
		size_t size = MAX(bytes, (size_t)ARENA_CHUNK);

		c = calloc(1, sizeof(*c) + size);
		if (!c)
			return NULL;
		c->size = size;
		c->next = arena->chunks;
		arena->chunks = c;
	}
	p = c->bytes + c->used;
	c->used += bytes;
	return p;
}

void *oci_alloc(struct oci_config *config, size_t n, size_t size)
{
	size_t bytes;

	if (ckd_mul(&bytes, n, size) || bytes > SIZE_MAX / 2)
		return NULL;
	return arena_alloc(config->arena, bytes);
}

char *oci_strdup(struct oci_config *config, const char *text)
{
	size_t n = strlen(text) + 1;
	char *copy = oci_alloc(config, n, 1);

	return copy ? memcpy(copy, text, n) : NULL;
}

int oci_config_new(struct oci_config **ret, struct err *err)
{
	CLEANUP(oci_config_freep) struct oci_config *config = calloc(1, sizeof(*config));

	if (config)
		config->arena = calloc(1, sizeof(*config->arena));
	if (!config || !config->arena)
		return err_set(err, -ENOMEM, "no memory for a configuration");
	config->warnings.v = oci_alloc(config, OCI_WARNINGS_MAX + 1, sizeof(char *));
	if (!config->warnings.v)
		return err_set(err, -ENOMEM, "no memory for a configuration");
	*ret = STEAL_PTR(config);
	return 0;
}

void oci_config_free(struct oci_config *config)
{
	if (!config)
		return;
	while (config->arena && config->arena->chunks) {
		struct chunk *next = config->arena->chunks->next;

		free(config->arena->chunks);
		config->arena->chunks = next;
	}
	free(config->arena);
	free(config);
}

void oci_warn(struct oci_config *config, const char *fmt, ...)
{
	char text[ERR_MSG_MAX];
	char *copy;
	va_list ap;

	if (config->warnings.n == OCI_WARNINGS_MAX)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (config->warnings.n == OCI_WARNINGS_MAX - 1)
		snprintf(text, sizeof(text), "more fields are ignored than are named here");
	copy = oci_strdup(config, text);
	if (copy)
		config->warnings.v[config->warnings.n++] = copy;
}

/* ---- parsing ---- */

static int parse_with(const char *text, size_t len, const char *name, const char *path,
		      const struct oci_type *type, void *obj, struct oci_config *config,
		      struct err *err)
{
	CLEANUP(json_doc_freep) struct json_doc *doc = NULL;
	int r;

	if (len > OCI_FILE_MAX)
		return err_set(err, -E2BIG, "%s: larger than %u MiB", name, OCI_FILE_MAX >> 20);
	r = json_parse(text, len, name, &doc, err);
	if (r < 0)
		return r;
	return oci_decode(config, doc, name, path, type, obj, err);
}

int oci_config_parse(const char *text, size_t len, const char *name, struct oci_config **ret,
		     struct err *err)
{
	CLEANUP(oci_config_freep) struct oci_config *config = NULL;
	int r = oci_config_new(&config, err);

	if (r < 0)
		return r;
	r = parse_with(text, len, name, "", &oci_type_config, config, config, err);
	if (r == 0)
		r = oci_check_config(
			&(struct oci_check){ .config = config, .name = name, .err = err });
	if (r == 0)
		*ret = STEAL_PTR(config);
	return r;
}

int oci_process_parse(const char *text, size_t len, const char *name, struct oci_config **ret,
		      struct err *err)
{
	CLEANUP(oci_config_freep) struct oci_config *config = NULL;
	int r = oci_config_new(&config, err);

	if (r < 0)
		return r;
	config->process = oci_alloc(config, 1, sizeof(*config->process));
	if (!config->process)
		return err_set(err, -ENOMEM, "%s: no memory", name);
	r = parse_with(text, len, name, "", &oci_type_process, config->process, config, err);
	if (r == 0)
		r = oci_check_process(&(struct oci_check){ .config = config,
							   .name = name,
							   .err = err },
				      "", config->process);
	if (r == 0)
		*ret = STEAL_PTR(config);
	return r;
}

int oci_resources_parse(const char *text, size_t len, const char *name, struct oci_config **ret,
			struct err *err)
{
	CLEANUP(oci_config_freep) struct oci_config *config = NULL;
	struct oci_resources *res;
	int r = oci_config_new(&config, err);

	if (r < 0)
		return r;
	config->lnx = oci_alloc(config, 1, sizeof(*config->lnx));
	res = oci_alloc(config, 1, sizeof(*res));
	if (!config->lnx || !res)
		return err_set(err, -ENOMEM, "%s: no memory", name);
	config->lnx->resources = res;
	r = parse_with(text, len, name, "", &oci_type_resources, res, config, err);
	if (r == 0)
		r = oci_check_resources(
			&(struct oci_check){ .config = config, .name = name, .err = err }, "", res);
	if (r == 0)
		*ret = STEAL_PTR(config);
	return r;
}

/* ---- files ---- */

int oci_fd_read(int fd, const char *name, char **ret, size_t *ret_len, struct err *err)
{
	AUTO_FREE char *buf = NULL;
	size_t len = 0, room = 0;

	for (;;) {
		ssize_t n;

		if (room - len < 2) {
			char *grown;

			room = room ? 2 * room : 16384;
			grown = realloc(buf, room);
			if (!grown)
				return err_set(err, -ENOMEM, "read '%s': no memory", name);
			buf = grown;
		}
		n = fd_read_full(fd, buf + len, room - len - 1);
		if (n < 0)
			return err_errno(err, (int)-n, "read '%s'", name);
		len += (size_t)n;
		if (len > OCI_FILE_MAX)
			return err_set(err, -E2BIG, "%s: larger than %u MiB", name,
				       OCI_FILE_MAX >> 20);
		if (len < room - 1)
			break;
	}
	buf[len] = '\0';
	*ret = STEAL_PTR(buf);
	*ret_len = len;
	return 0;
}

int oci_file_read(int dir_fd, const char *path, char **ret, size_t *ret_len, struct err *err)
{
	/* A FIFO without a writer is refused below, not waited for. */
	int AUTO_FD fd = openat(dir_fd, path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	struct stat st;

	if (fd < 0)
		return err_errno(err, errno, "open '%s'", path);
	if (fstat(fd, &st) < 0)
		return err_errno(err, errno, "stat '%s'", path);
	if (S_ISDIR(st.st_mode))
		return err_errno(err, EISDIR, "read '%s'", path);
	/* Engines hand over files, and process substitution makes pipes. */
	if (S_ISFIFO(st.st_mode) || S_ISREG(st.st_mode))
		fcntl(fd, F_SETFL, 0);
	else
		return err_set(err, -EINVAL, "'%s' is not a regular file", path);
	if (S_ISREG(st.st_mode) && st.st_size > (off_t)OCI_FILE_MAX)
		return err_set(err, -E2BIG, "%s: larger than %u MiB", path, OCI_FILE_MAX >> 20);
	return oci_fd_read(fd, path, ret, ret_len, err);
}

int oci_config_load(const char *path, struct oci_config **ret, struct err *err)
{
	const char *slash = strrchr(path, '/');
	AUTO_FREE char *text = NULL;
	size_t len = 0;
	int r = oci_file_read(AT_FDCWD, path, &text, &len, err);

	if (r < 0)
		return r;
	return oci_config_parse(text, len, slash ? slash + 1 : path, ret, err);
}

/* ---- questions ---- */

const char *oci_annotation(const struct oci_config *config, const char *key)
{
	for (size_t i = 0; i < config->annotations.n; i++) {
		if (!strcmp(config->annotations.v[i].key, key))
			return config->annotations.v[i].value;
	}
	return NULL;
}

const struct oci_namespace *oci_namespace_find(const struct oci_config *config, int flag)
{
	if (!config->lnx)
		return NULL;
	for (size_t i = 0; i < config->lnx->namespaces.n; i++) {
		if (config->lnx->namespaces.v[i].flag == flag)
			return &config->lnx->namespaces.v[i];
	}
	return NULL;
}

int oci_config_set_env(struct oci_config *config, const char *pair, struct err *err)
{
	struct oci_strs *env = &config->process->env;
	const char *eq = strchr(pair, '=');
	char **grown, *copy;
	size_t i;

	if (!eq || eq == pair)
		return err_set(err, -EINVAL, "environment: wants NAME=VALUE, got '%s'", pair);
	copy = oci_strdup(config, pair);
	if (!copy)
		return err_set(err, -ENOMEM, "environment: no memory");
	for (i = 0; i < env->n; i++) {
		if (!strncmp(env->v[i], pair, (size_t)(eq - pair) + 1)) {
			env->v[i] = copy;
			return 0;
		}
	}
	grown = oci_alloc(config, env->n + 2, sizeof(*grown));
	if (!grown)
		return err_set(err, -ENOMEM, "environment: no memory");
	if (env->n)
		memcpy(grown, env->v, env->n * sizeof(*grown));
	grown[env->n++] = copy;
	env->v = grown;
	return 0;
}
