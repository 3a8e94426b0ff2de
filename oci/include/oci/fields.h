/* SPDX-License-Identifier: Apache-2.0 */
/* What husk does with each field of a config.json, as a list (docs/oci.md has the same one). */
#ifndef OCI_FIELDS_H
#define OCI_FIELDS_H

enum oci_effect {
	OCI_APPLIED,
	OCI_REFUSED, /* an error when it is set */
	OCI_WARNED,  /* checked, then ignored with a warning */
	OCI_EFFECT_MAX_,
};

enum oci_kind {
	OCI_STR,
	OCI_FLAG, /* bool, false when absent */
	OCI_BOOL, /* bool that knows whether it was there */
	OCI_I64,
	OCI_U64,
	OCI_STRS,
	OCI_I64S,
	OCI_MAP,    /* object of strings */
	OCI_OBJ,    /* one object */
	OCI_OBJS,   /* array of objects */
	OCI_OBJMAP, /* object of objects */
	OCI_ANY,    /* not looked into */
	OCI_KIND_MAX_,
};

struct oci_field_info {
	const char *path; /* "linux.devices[].major" */
	enum oci_effect effect;
	enum oci_kind kind;
	int required;
	const char *note; /* what becomes of it */
};

/**
 * oci_fields_each() - Call @fn for every field, in the order of the tables
 *
 * Return: the first non-zero result of @fn, else 0.
 */
int oci_fields_each(int (*fn)(void *opaque, const struct oci_field_info *info), void *opaque);

/* "applied", "refused", "ignored with a warning" */
const char *oci_effect_str(enum oci_effect effect);

#endif
