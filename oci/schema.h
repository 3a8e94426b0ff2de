/* SPDX-License-Identifier: Apache-2.0 */
/* Tables that describe JSON objects, and the decoder that fills structures by them. */
#ifndef OCI_SCHEMA_H
#define OCI_SCHEMA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "json.h"
#include "oci/config.h"
#include "oci/fields.h"

#define OCI_PATH_MAX 320

enum oci_field_flags {
	OCI_REQUIRED = 1,
	OCI_ABSPATH = 2,  /* a string, or each of the strings, starts with '/' */
	OCI_NONEMPTY = 4, /* "" or [] is an error */
};

struct oci_type;

struct oci_field {
	const char *name;
	enum oci_kind kind;
	enum oci_effect effect;
	unsigned flags;
	size_t offset;
	int64_t min;
	uint64_t max;
	const char *const *words; /* what a string may be; NULL-terminated */
	const struct oci_type *sub;
	const char *note;
};

struct oci_type {
	size_t size;
	const struct oci_field *fields; /* ends with a NULL name */
};

extern const struct oci_type oci_type_config, oci_type_process, oci_type_resources, oci_type_linux,
	oci_type_id_map, oci_type_seccomp;

/* ---- memory ---- */

/* From the configuration's arena, zeroed; NULL when there is none. */
void *oci_alloc(struct oci_config *config, size_t n, size_t size);
char *oci_strdup(struct oci_config *config, const char *text);
int oci_config_new(struct oci_config **ret, struct err *err);

/* Keep a warning; those over OCI_WARNINGS_MAX are left out. */
void oci_warn(struct oci_config *config, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* ---- decoding ---- */

/**
 * oci_decode() - Fill @obj from a parsed object
 * @path:	Prefix of the field names in messages: "" or "process"
 */
int oci_decode(struct oci_config *config, const struct json_doc *doc, const char *name,
	       const char *path, const struct oci_type *type, void *obj, struct err *err);

/* ---- validation ---- */

struct oci_check {
	struct oci_config *config;
	const char *name; /* of the file */
	struct err *err;
};

/* "config.json: FIELD: ..." Return: -EINVAL. */
int oci_bad(const struct oci_check *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

int oci_check_process(const struct oci_check *c, const char *path, struct oci_process *p);
int oci_check_resources(const struct oci_check *c, const char *path, struct oci_resources *r);
int oci_check_mounts(const struct oci_check *c);
int oci_check_linux(const struct oci_check *c, struct oci_linux *l);
int oci_check_seccomp(const struct oci_check *c, const struct oci_seccomp *s);
int oci_check_id_maps(const struct oci_check *c, const char *path, const struct oci_id_map *maps,
		      size_t n);
int oci_check_config(const struct oci_check *c);

/* All words of mount options, sorted, ended by NULL. Return: the array from malloc, or NULL. */
const char **oci_mount_words(void);

/* Whether @path has a ".." component. */
bool oci_path_climbs(const char *path);

#endif
