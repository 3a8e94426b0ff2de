/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each field of a config.json with a value of a wrong type, out of its range, and absent: what the
 * parser says is compared with tests/golden/oci/verdicts.txt. The list of fields is compared with
 * docs/oci.md. With UPDATE_GOLDEN=1 both are printed instead: "test_fields verdicts", "... table".
 */
#include "test.h"

#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "oci/config.h"
#include "oci/fields.h"

static const char *source_root;

static char *read_all(const char *name)
{
	char path[4096];
	char *text = NULL;
	size_t len = 0;
	struct err err = { 0 };

	snprintf(path, sizeof(path), "%s/%s", source_root, name);
	if (oci_file_read(-100, path, &text, &len, &err) < 0)
		fail_msg("%s", err.msg);
	return text;
}

/* ---- finding a field ---- */

/* The object that holds @path, and the last name of it. Arrays and maps: their first element. */
static cJSON *find_parent(cJSON *root, const char *path, char *ret_name, size_t len)
{
	char copy[320];
	char *save = NULL, *part, *next;
	cJSON *at = root;

	snprintf(copy, sizeof(copy), "%s", path);
	for (part = strtok_r(copy, ".", &save); part && at; part = next) {
		char *bracket = strstr(part, "[]");

		next = strtok_r(NULL, ".", &save);
		if (!next) {
			snprintf(ret_name, len, "%s", part);
			return at;
		}
		if (bracket)
			*bracket = '\0';
		at = strcmp(part, "*") ? cJSON_GetObjectItemCaseSensitive(at, part) : at->child;
		if (bracket && at)
			at = at->child;
	}
	return NULL;
}

static void verdict(FILE *out, const char *path, const char *what, const cJSON *root)
{
	AUTO_FREE char *text = cJSON_PrintUnformatted(root);
	CLEANUP(oci_config_freep) struct oci_config *config = NULL;
	struct err err = { 0 };
	int r = oci_config_parse(text, strlen(text), "config.json", &config, &err);

	fprintf(out, "%s %s: %s\n", path, what, r == 0 ? "accepted" : err.msg);
}

struct walk {
	FILE *out;
	const char *full;
};

static void try_value(struct walk *w, const char *path, const char *what, cJSON *value)
{
	cJSON *root = cJSON_Parse(w->full);
	char name[64];
	cJSON *parent = find_parent(root, path, name, sizeof(name));

	/* Not in the file: an object that would be refused. */
	if (!parent) {
		cJSON_Delete(value);
		cJSON_Delete(root);
		return;
	}
	cJSON_DeleteItemFromObjectCaseSensitive(parent, name);
	if (value)
		cJSON_AddItemToObject(parent, name, value);
	verdict(w->out, path, what, root);
	cJSON_Delete(root);
}

static cJSON *array_of(cJSON *item)
{
	cJSON *array = cJSON_CreateArray();

	cJSON_AddItemToArray(array, item);
	return array;
}

static int try_field(void *opaque, const struct oci_field_info *f)
{
	struct walk *w = opaque;
	bool is_text = f->kind == OCI_STR;
	bool is_number = f->kind == OCI_I64 || f->kind == OCI_U64;

	if (f->kind == OCI_ANY)
		return 0;
	try_value(w, f->path, "wrong-type",
		  is_text ? cJSON_CreateNumber(7) : cJSON_CreateString("text"));
	if (f->required)
		try_value(w, f->path, "absent", NULL);
	if (is_number) {
		try_value(w, f->path, "too-small", cJSON_CreateRaw("-9223372036854775809"));
		try_value(w, f->path, "too-large", cJSON_CreateRaw("18446744073709551616"));
		try_value(w, f->path, "fraction", cJSON_CreateRaw("1.5"));
	}
	if (is_text) {
		try_value(w, f->path, "empty", cJSON_CreateString(""));
		try_value(w, f->path, "odd-word", cJSON_CreateString("odd word"));
	}
	if (f->kind == OCI_STRS) {
		try_value(w, f->path, "empty", cJSON_CreateArray());
		try_value(w, f->path, "element", array_of(cJSON_CreateNumber(7)));
		try_value(w, f->path, "odd-word", array_of(cJSON_CreateString("odd word")));
	}
	if (f->kind == OCI_I64S)
		try_value(w, f->path, "element", array_of(cJSON_CreateNumber(-7)));
	if (f->kind == OCI_OBJS || f->kind == OCI_OBJ)
		try_value(w, f->path, "null", cJSON_CreateNull());
	return 0;
}

/* cJSON prints what a double cannot hold with an exponent: cut such numbers. */
static void cut_large_numbers(char *text)
{
	size_t digits = 0;

	for (; *text; text++) {
		digits = *text >= '0' && *text <= '9' ? digits + 1 : 0;
		if (digits > 15)
			*text = ' ';
	}
}

static char *all_verdicts(void)
{
	AUTO_FREE char *full = read_all("tests/golden/oci/full.json");
	char *text = NULL;
	size_t len = 0;
	struct walk w = { .out = open_memstream(&text, &len), .full = full };

	cut_large_numbers(full);
	oci_fields_each(try_field, &w);
	fclose(w.out);
	return text;
}

static int table_row(void *opaque, const struct oci_field_info *f)
{
	fprintf(opaque, "| `%s` | %s%s | %s |\n", f->path, oci_effect_str(f->effect),
		f->required ? ", required" : "", f->note);
	return 0;
}

static char *table(void)
{
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);

	oci_fields_each(table_row, out);
	fclose(out);
	return text;
}

/* ---- tests ---- */

static void accepts_every_field_and_keeps_large_numbers(void **state)
{
	AUTO_FREE char *full = read_all("tests/golden/oci/full.json");
	CLEANUP(oci_config_freep) struct oci_config *c = NULL;
	struct err err = { 0 };

	if (oci_config_parse(full, strlen(full), "config.json", &c, &err) < 0)
		fail_msg("%s", err.msg);
	assert_true(c->process->rlimits.v[0].hard.v == UINT64_MAX);
	assert_true(c->lnx->seccomp->syscalls.v[0].args.v[0].value.v == UINT64_MAX);
	assert_true(c->lnx->seccomp->syscalls.v[0].args.v[0].value_two.v == 9007199254740993ULL);
	assert_true(c->lnx->resources->hugepage_limits.v[0].limit.v == 9223372036854772000ULL);
	for (size_t i = 0; i < c->warnings.n; i++)
		assert_null(strstr(c->warnings.v[i], "unknown field"));
}

static void every_verdict_is_as_recorded(void **state)
{
	AUTO_FREE char *want = read_all("tests/golden/oci/verdicts.txt");
	AUTO_FREE char *got = all_verdicts();

	assert_string_equal(got, want);
}

static void document_has_the_same_table(void **state)
{
	AUTO_FREE char *doc = read_all("docs/oci.md");
	AUTO_FREE char *rows = table();

	if (!strstr(doc, rows))
		fail_msg("docs/oci.md: its table differs from the one in oci/fields_*.c");
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(accepts_every_field_and_keeps_large_numbers),
		cmocka_unit_test(every_verdict_is_as_recorded),
		cmocka_unit_test(document_has_the_same_table),
	};

	source_root = getenv("SOURCE_ROOT");
	if (!source_root)
		return test_skip("SOURCE_ROOT is not set");
	if (argc > 1) {
		AUTO_FREE char *text = strcmp(argv[1], "table") ? all_verdicts() : table();

		fputs(text, stdout);
		return 0;
	}
	return cmocka_run_group_tests_name("oci/fields", tests, NULL, NULL);
}
