/* SPDX-License-Identifier: Apache-2.0 */
/* JSON from outside, made safe for cJSON. */
#include "json.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"

#define PLAIN_DIGITS_MAX 15
#define NUMBER_TEXT_MAX	 64

void json_doc_free(struct json_doc *doc)
{
	if (!doc)
		return;
	cJSON_Delete(doc->root);
	for (size_t i = 0; i < doc->n_aside; i++)
		free(doc->aside[i]);
	free(doc->aside);
	free(doc);
}

struct scan {
	const char *name;
	const char *at, *end;
	char *out;
	size_t out_len;
	unsigned line, depth;
	size_t n_values;
	struct json_doc *doc;
	struct err *err;
};

static int bad(struct scan *s, const char *what)
{
	return err_set(s->err, -EINVAL, "%s: line %u: %s", s->name, s->line, what);
}

static void put(struct scan *s, const char *bytes, size_t n)
{
	memcpy(s->out + s->out_len, bytes, n);
	s->out_len += n;
}

/* At the opening quote; leaves behind the closing one. */
static int scan_string(struct scan *s)
{
	const char *start = s->at++;

	while (s->at < s->end && *s->at != '"') {
		if ((unsigned char)*s->at < 0x20)
			return bad(s, "control character in a string");
		if (*s->at == '\\') {
			if (s->end - s->at >= 6 && !memcmp(s->at, "\\u0000", 6))
				return bad(s, "\\u0000 in a string");
			s->at++;
		}
		s->at++;
	}
	if (s->at >= s->end)
		return bad(s, "string without an end");
	s->at++;
	put(s, start, (size_t)(s->at - start));
	return 0;
}

static size_t skip_digits(const char *p, size_t n)
{
	size_t i = 0;

	while (i < n && isdigit((unsigned char)p[i]))
		i++;
	return i;
}

/*
 * Length of the JSON number at @p, 0 when there is none.
 * Ref: RFC 8259 section 6.
 */
static size_t number_len(const char *p, size_t n, bool *ret_plain)
{
	size_t i = n && p[0] == '-', digits = skip_digits(p + i, n - i), k;

	if (!digits || (digits > 1 && p[i] == '0'))
		return 0;
	*ret_plain = digits <= PLAIN_DIGITS_MAX;
	i += digits;
	if (i < n && p[i] == '.') {
		*ret_plain = false;
		k = skip_digits(p + i + 1, n - i - 1);
		if (!k)
			return 0;
		i += 1 + k;
	}
	if (i < n && (p[i] == 'e' || p[i] == 'E')) {
		*ret_plain = false;
		i++;
		if (i < n && (p[i] == '+' || p[i] == '-'))
			i++;
		k = skip_digits(p + i, n - i);
		if (!k)
			return 0;
		i += k;
	}
	return i;
}

static int put_aside(struct scan *s, const char *p, size_t n)
{
	struct json_doc *doc = s->doc;
	char index[24];
	char **grown;

	if (n > NUMBER_TEXT_MAX)
		return bad(s, "number of too many digits");
	if (doc->n_aside == JSON_ASIDE_MAX)
		return err_set(s->err, -E2BIG, "%s: too many large numbers", s->name);
	if ((doc->n_aside & (doc->n_aside - 1)) == 0) {
		size_t room = doc->n_aside ? 2 * doc->n_aside : 1;

		grown = realloc(doc->aside, room * sizeof(*grown));
		if (!grown)
			return err_set(s->err, -ENOMEM, "%s: no memory", s->name);
		doc->aside = grown;
	}
	doc->aside[doc->n_aside] = strndup(p, n);
	if (!doc->aside[doc->n_aside])
		return err_set(s->err, -ENOMEM, "%s: no memory", s->name);
	put(s, index, (size_t)snprintf(index, sizeof(index), "%zu.5", doc->n_aside));
	doc->n_aside++;
	return 0;
}

static int scan_number(struct scan *s)
{
	bool plain = false;
	size_t n = number_len(s->at, (size_t)(s->end - s->at), &plain);
	int r = 0;

	if (!n)
		return bad(s, "not a number");
	if (plain)
		put(s, s->at, n);
	else
		r = put_aside(s, s->at, n);
	s->at += n;
	return r;
}

static int scan_other(struct scan *s)
{
	unsigned char c = (unsigned char)*s->at;

	if (c == '\n')
		s->line++;
	else if (c < 0x20 && c != '\t' && c != '\r')
		return bad(s, c ? "control character" : "NUL byte");
	if (c == '{' || c == '[') {
		if (++s->depth > JSON_DEPTH_MAX)
			return err_set(s->err, -E2BIG, "%s: line %u: nested more than %u deep",
				       s->name, s->line, JSON_DEPTH_MAX);
	} else if ((c == '}' || c == ']') && s->depth > 0) {
		s->depth--;
	}
	if ((c == '{' || c == '[' || c == ',') && ++s->n_values > JSON_VALUES_MAX)
		return err_set(s->err, -E2BIG, "%s: more than %u values", s->name, JSON_VALUES_MAX);
	put(s, s->at++, 1);
	return 0;
}

static int scan_all(struct scan *s)
{
	int r = 0;

	while (r == 0 && s->at < s->end) {
		if (*s->at == '"')
			r = scan_string(s);
		else if (*s->at == '-' || isdigit((unsigned char)*s->at))
			r = scan_number(s);
		else
			r = scan_other(s);
	}
	return r;
}

static unsigned line_of(const char *text, const char *at)
{
	unsigned line = 1;

	for (; text < at; text++)
		line += *text == '\n';
	return line;
}

int json_parse(const char *text, size_t len, const char *name, struct json_doc **ret,
	       struct err *err)
{
	CLEANUP(json_doc_freep) struct json_doc *doc = calloc(1, sizeof(*doc));
	/* A number of three characters may become one of eight. */
	AUTO_FREE char *out = malloc(len * 3 + 16);
	struct scan s = { .name = name,
			  .at = text,
			  .end = text + len,
			  .out = out,
			  .line = 1,
			  .doc = doc,
			  .err = err };
	const char *stop = NULL;
	int r;

	if (!doc || !out)
		return err_set(err, -ENOMEM, "%s: no memory", name);
	r = scan_all(&s);
	if (r < 0)
		return r;
	if (s.out_len == 0)
		return err_set(err, -EINVAL, "%s: the file is empty", name);
	out[s.out_len] = '\0';
	doc->root = cJSON_ParseWithLengthOpts(out, s.out_len + 1, &stop, 1);
	if (!doc->root)
		return err_set(err, -EINVAL, "%s: line %u: not JSON", name,
			       line_of(out, stop ? stop : out));
	*ret = STEAL_PTR(doc);
	return 0;
}

/* Digits of a number that was put aside, or NULL. */
static const char *aside_of(const struct json_doc *doc, const cJSON *item)
{
	double v = item->valuedouble;

	/* Only what fits is converted: the rest would be undefined. */
	if (v >= -0x1p63 && v < 0x1p63 && v == (double)(int64_t)v)
		return NULL;
	return v >= 0 && v < (double)doc->n_aside ? doc->aside[(size_t)v] : "?";
}

int json_i64(const struct json_doc *doc, const cJSON *item, int64_t *ret)
{
	const char *text = aside_of(doc, item);
	char *end;

	if (!text) {
		*ret = (int64_t)item->valuedouble;
		return 0;
	}
	errno = 0;
	*ret = strtoll(text, &end, 10);
	if (*end)
		return -EINVAL;
	return errno ? -ERANGE : 0;
}

int json_u64(const struct json_doc *doc, const cJSON *item, uint64_t *ret)
{
	const char *text = aside_of(doc, item);
	char *end;

	if (!text) {
		if (item->valuedouble < 0)
			return -ERANGE;
		*ret = (uint64_t)item->valuedouble;
		return 0;
	}
	if (text[0] == '-')
		return -ERANGE;
	errno = 0;
	*ret = strtoull(text, &end, 10);
	if (*end)
		return -EINVAL;
	return errno ? -ERANGE : 0;
}

const char *json_type_str(const cJSON *item)
{
	if (cJSON_IsString(item))
		return "a string";
	if (cJSON_IsNumber(item))
		return "a number";
	if (cJSON_IsBool(item))
		return "a boolean";
	if (cJSON_IsArray(item))
		return "an array";
	if (cJSON_IsObject(item))
		return "an object";
	return "null";
}
