/* SPDX-License-Identifier: Apache-2.0 */
/* The decoder: fills structures from parsed JSON by tables. */
#include "schema.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"

#define SEEN_MAX 64 /* fields of one object */

struct decode {
	struct oci_config *config;
	const struct json_doc *doc;
	const char *name;
	struct err *err;
	size_t path_len;
	char path[OCI_PATH_MAX];
};

static int decode_object(struct decode *d, const struct oci_type *type, const cJSON *item,
			 void *obj);

/* ---- where we are ---- */

static size_t path_push(struct decode *d, const char *name)
{
	size_t old = d->path_len;
	int n = snprintf(d->path + old, sizeof(d->path) - old, "%s%s", old ? "." : "", name);

	d->path_len = MIN(old + (size_t)MAX(n, 0), sizeof(d->path) - 1);
	return old;
}

static size_t path_push_index(struct decode *d, size_t index)
{
	size_t old = d->path_len;
	int n = snprintf(d->path + old, sizeof(d->path) - old, "[%zu]", index);

	d->path_len = MIN(old + (size_t)MAX(n, 0), sizeof(d->path) - 1);
	return old;
}

static void path_pop(struct decode *d, size_t old)
{
	d->path_len = old;
	d->path[old] = '\0';
}

static int refuse(struct decode *d, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

static int refuse(struct decode *d, int code, const char *fmt, ...)
{
	char text[ERR_MSG_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return err_set(d->err, code, "%s%s%s: %s", d->name, d->path_len ? ": " : "", d->path, text);
}

static int wants(struct decode *d, const char *what, const cJSON *item)
{
	return refuse(d, -EINVAL, "wants %s, got %s", what, json_type_str(item));
}

static int no_memory(struct decode *d)
{
	return refuse(d, -ENOMEM, "no memory");
}

/* ---- values ---- */

static int decode_text(struct decode *d, const struct oci_field *f, const cJSON *item,
		       const char **ret)
{
	char *copy;

	if (!cJSON_IsString(item))
		return wants(d, "a string", item);
	if ((f->flags & OCI_NONEMPTY) && !item->valuestring[0])
		return refuse(d, -EINVAL, "is empty");
	if ((f->flags & OCI_ABSPATH) && item->valuestring[0] != '/' && item->valuestring[0])
		return refuse(d, -EINVAL, "wants an absolute path, got '%.80s'", item->valuestring);
	if (f->words) {
		const char *const *w = f->words;

		while (*w && strcmp(*w, item->valuestring) != 0)
			w++;
		if (!*w)
			return refuse(d, -EINVAL, "'%.80s' is not one of its values",
				      item->valuestring);
	}
	copy = oci_strdup(d->config, item->valuestring);
	if (!copy)
		return no_memory(d);
	*ret = copy;
	return 0;
}

static int decode_i64(struct decode *d, const struct oci_field *f, const cJSON *item,
		      struct oci_i64 *ret)
{
	int64_t v, max = (int64_t)MIN(f->max, (uint64_t)INT64_MAX);
	int r;

	if (!cJSON_IsNumber(item))
		return wants(d, "a number", item);
	r = json_i64(d->doc, item, &v);
	if (r == -EINVAL)
		return refuse(d, -EINVAL, "wants a whole number");
	if (r < 0 || v < f->min || v > max)
		return refuse(d, -EINVAL, "wants a number from %lld to %lld", (long long)f->min,
			      (long long)max);
	*ret = (struct oci_i64){ .set = true, .v = v };
	return 0;
}

static int decode_u64(struct decode *d, const struct oci_field *f, const cJSON *item,
		      struct oci_u64 *ret)
{
	uint64_t v;
	int r;

	if (!cJSON_IsNumber(item))
		return wants(d, "a number", item);
	r = json_u64(d->doc, item, &v);
	if (r == -EINVAL)
		return refuse(d, -EINVAL, "wants a whole number");
	if (r < 0 || v < (uint64_t)f->min || v > f->max)
		return refuse(d, -EINVAL, "wants a number from %lld to %llu", (long long)f->min,
			      (unsigned long long)f->max);
	*ret = (struct oci_u64){ .set = true, .v = v };
	return 0;
}

/* ---- arrays and objects ---- */

static int decode_strs(struct decode *d, const struct oci_field *f, const cJSON *item,
		       struct oci_strs *ret)
{
	size_t n, i = 0;
	const cJSON *child;

	if (!cJSON_IsArray(item))
		return wants(d, "an array", item);
	n = (size_t)cJSON_GetArraySize(item);
	if (n == 0 && (f->flags & OCI_NONEMPTY))
		return refuse(d, -EINVAL, "is empty");
	ret->v = oci_alloc(d->config, n + 1, sizeof(*ret->v));
	if (!ret->v)
		return no_memory(d);
	cJSON_ArrayForEach(child, item)
	{
		size_t old = path_push_index(d, i);
		/* Empty elements are a matter of the field's meaning. */
		struct oci_field elem = *f;
		const char *text = NULL;
		int r;

		elem.flags &= ~(unsigned)OCI_NONEMPTY;
		r = decode_text(d, &elem, child, &text);
		if (r < 0)
			return r;
		ret->v[i++] = (char *)(uintptr_t)text;
		path_pop(d, old);
	}
	ret->n = n;
	return 0;
}

static int decode_i64s(struct decode *d, const struct oci_field *f, const cJSON *item,
		       struct oci_i64s *ret)
{
	const cJSON *child;
	size_t i = 0;

	if (!cJSON_IsArray(item))
		return wants(d, "an array", item);
	ret->v = oci_alloc(d->config, (size_t)cJSON_GetArraySize(item) + 1, sizeof(*ret->v));
	if (!ret->v)
		return no_memory(d);
	cJSON_ArrayForEach(child, item)
	{
		size_t old = path_push_index(d, i);
		int r = decode_i64(d, f, child, &ret->v[i++]);

		if (r < 0)
			return r;
		path_pop(d, old);
	}
	ret->n = i;
	return 0;
}

static int decode_map(struct decode *d, const struct oci_field *f, const cJSON *item,
		      struct oci_map *ret)
{
	const cJSON *child;
	size_t i = 0;

	if (!cJSON_IsObject(item))
		return wants(d, "an object", item);
	ret->v = oci_alloc(d->config, (size_t)cJSON_GetArraySize(item) + 1, sizeof(*ret->v));
	if (!ret->v)
		return no_memory(d);
	cJSON_ArrayForEach(child, item)
	{
		size_t old = path_push(d, child->string);
		int r = decode_text(d, f, child, &ret->v[i].value);

		if (r < 0)
			return r;
		if (!child->string[0])
			return refuse(d, -EINVAL, "has an empty key");
		ret->v[i].key = oci_strdup(d->config, child->string);
		if (!ret->v[i++].key)
			return no_memory(d);
		path_pop(d, old);
	}
	ret->n = i;
	return 0;
}

struct any_array {
	void *v;
	size_t n;
};

/* An array of objects, or an object of them, whose structure then begins with the key. */
static int decode_objs(struct decode *d, const struct oci_field *f, const cJSON *item,
		       struct any_array *ret)
{
	bool keyed = f->kind == OCI_OBJMAP;
	const cJSON *child;
	size_t i = 0;
	char *v;

	if (keyed ? !cJSON_IsObject(item) : !cJSON_IsArray(item))
		return wants(d, keyed ? "an object" : "an array", item);
	v = oci_alloc(d->config, (size_t)cJSON_GetArraySize(item) + 1, f->sub->size);
	if (!v)
		return no_memory(d);
	cJSON_ArrayForEach(child, item)
	{
		size_t old = keyed ? path_push(d, child->string) : path_push_index(d, i);
		void *obj = v + f->sub->size * i++;
		int r = decode_object(d, f->sub, child, obj);

		if (r < 0)
			return r;
		if (keyed) {
			*(const char **)obj = oci_strdup(d->config, child->string);
			if (!*(const char **)obj)
				return no_memory(d);
		}
		path_pop(d, old);
	}
	*ret = (struct any_array){ .v = v, .n = i };
	return 0;
}

static int decode_obj(struct decode *d, const struct oci_field *f, const cJSON *item, void **ret)
{
	void *obj;
	int r;

	if (!cJSON_IsObject(item))
		return wants(d, "an object", item);
	obj = oci_alloc(d->config, 1, f->sub->size);
	if (!obj)
		return no_memory(d);
	r = decode_object(d, f->sub, item, obj);
	if (r == 0)
		*ret = obj;
	return r;
}

static int decode_bool(struct decode *d, const cJSON *item, bool *ret)
{
	if (!cJSON_IsBool(item))
		return wants(d, "true or false", item);
	*ret = cJSON_IsTrue(item);
	return 0;
}

static int decode_value(struct decode *d, const struct oci_field *f, const cJSON *item, void *at)
{
	struct oci_bool *b = at;

	switch (f->kind) {
	case OCI_STR: return decode_text(d, f, item, at);
	case OCI_FLAG: return decode_bool(d, item, at);
	case OCI_BOOL: b->set = true; return decode_bool(d, item, &b->v);
	case OCI_I64: return decode_i64(d, f, item, at);
	case OCI_U64: return decode_u64(d, f, item, at);
	case OCI_STRS: return decode_strs(d, f, item, at);
	case OCI_I64S: return decode_i64s(d, f, item, at);
	case OCI_MAP: return decode_map(d, f, item, at);
	case OCI_OBJ: return decode_obj(d, f, item, at);
	case OCI_OBJS:
	case OCI_OBJMAP: return decode_objs(d, f, item, at);
	case OCI_ANY:
	case OCI_KIND_MAX_: break;
	}
	return 0;
}

/* Whether a value asks for nothing: false, "", [], {}. */
static bool says_nothing(const cJSON *item)
{
	if (cJSON_IsString(item))
		return !item->valuestring[0];
	if (cJSON_IsArray(item) || cJSON_IsObject(item))
		return !item->child;
	return cJSON_IsFalse(item);
}

static int decode_field(struct decode *d, const struct oci_field *f, const cJSON *item, char *obj)
{
	size_t old = path_push(d, f->name);
	int r = decode_value(d, f, item, obj + f->offset);

	if (r < 0)
		return r;
	if (f->effect == OCI_REFUSED && !says_nothing(item))
		return refuse(d, -EOPNOTSUPP, "is not supported: %s", f->note);
	if (f->effect == OCI_WARNED && !says_nothing(item))
		oci_warn(d->config, "%s: %s: ignored: %s", d->name, d->path, f->note);
	path_pop(d, old);
	return 0;
}

static int find_field(const struct oci_type *type, const char *name)
{
	for (int i = 0; type->fields[i].name; i++) {
		if (!strcmp(type->fields[i].name, name))
			return i;
	}
	return -1;
}

static int check_required(struct decode *d, const struct oci_type *type, uint64_t seen)
{
	for (unsigned i = 0; type->fields[i].name; i++) {
		if (!(type->fields[i].flags & OCI_REQUIRED) || (seen & 1ULL << i))
			continue;
		path_push(d, type->fields[i].name);
		return refuse(d, -EINVAL, "is required");
	}
	return 0;
}

static int decode_object(struct decode *d, const struct oci_type *type, const cJSON *item,
			 void *obj)
{
	const cJSON *child;
	uint64_t seen = 0;

	if (!cJSON_IsObject(item))
		return wants(d, "an object", item);
	cJSON_ArrayForEach(child, item)
	{
		int r, index = find_field(type, child->string);

		if (index < 0) {
			size_t old = path_push(d, child->string);

			oci_warn(d->config, "%s: %s: ignored: unknown field", d->name, d->path);
			path_pop(d, old);
			continue;
		}
		if (cJSON_IsNull(child))
			continue;
		if (seen & 1ULL << index) {
			path_push(d, child->string);
			return refuse(d, -EINVAL, "appears twice");
		}
		seen |= 1ULL << index;
		r = decode_field(d, &type->fields[index], child, obj);
		if (r < 0)
			return r;
	}
	return check_required(d, type, seen);
}

int oci_decode(struct oci_config *config, const struct json_doc *doc, const char *name,
	       const char *path, const struct oci_type *type, void *obj, struct err *err)
{
	struct decode d = { .config = config, .doc = doc, .name = name, .err = err };

	if (path[0])
		path_push(&d, path);
	return decode_object(&d, type, doc->root, obj);
}
