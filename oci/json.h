/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON from outside, made safe for cJSON.
 *
 * Theory of operation. cJSON holds numbers as doubles, takes control characters for white space
 * and cuts strings at \u0000. So a first pass over the text checks numbers, strings, depth and
 * count, and puts aside every number that is not a plain integer of at most 15 digits: in the text
 * given to cJSON it becomes "INDEX.5". No other number there has a fraction, so a fraction says
 * where the number's own digits are.
 */
#ifndef OCI_JSON_H
#define OCI_JSON_H

#include <cjson/cJSON.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/err.h"

#define JSON_DEPTH_MAX	64
#define JSON_VALUES_MAX 200000U
#define JSON_ASIDE_MAX	65536U

struct json_doc {
	cJSON *root;
	char **aside; /* numbers put aside, as written */
	size_t n_aside;
};

void json_doc_free(struct json_doc *doc);
CLEANUP_DEFINE(struct json_doc, json_doc_free);

/**
 * json_parse() - Parse untrusted text
 * @name:	Of the file, in messages
 *
 * Return: 0; -EINVAL not JSON (with the line); -E2BIG too deep or too many values; -ENOMEM.
 */
int json_parse(const char *text, size_t len, const char *name, struct json_doc **ret,
	       struct err *err);

/* Whole numbers. Return: 0; -EINVAL not whole; -ERANGE does not fit. */
int json_i64(const struct json_doc *doc, const cJSON *item, int64_t *ret);
int json_u64(const struct json_doc *doc, const cJSON *item, uint64_t *ret);

/* "a string", "an object", ... */
const char *json_type_str(const cJSON *item);

#endif
