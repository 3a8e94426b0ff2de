/* SPDX-License-Identifier: Apache-2.0 */
/* The file `manifest.json`: round trip, every damage refused, what must match. */
#include "test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "crc32.h"
#include "snapshots/manifest.h"

struct fixture {
	struct snap_manifest m, got;
	char *text;
	size_t len;
};

static void word(char *to, const char *text)
{
	strcpy(to, text);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct snap_manifest *m = &f->m;

	word(m->husk, "0.1.0");
	word(m->kind, "early");
	word(m->arch, "x86_64");
	word(m->backend, "soft");
	word(m->cpu, "base");
	memset(m->key, 'a', SHA256_HEX);
	memset(m->cpuid, '0', SHA256_HEX);
	memset(m->state_hash, 'f', SHA256_HEX);
	m->created_ns = 1234567890123456789;
	m->tsc_khz = 1000000;
	m->ram_bytes = 128 << 20;
	m->n_vcpus = 2;
	m->memory_bytes = 132 << 20;
	m->state_bytes = 4711;
	m->n_runs = 3;
	m->runs = calloc(m->n_runs, sizeof(*m->runs));
	m->runs[0] = (struct snap_run){ 0, 4096 };
	m->runs[1] = (struct snap_run){ 8192, 1 << 20 };
	m->runs[2] = (struct snap_run){ (132 << 20) - 4096, 4096 };
	m->n_chunks = 2;
	m->chunks = calloc(m->n_chunks, sizeof(*m->chunks));
	m->chunks[1].index = 65;
	memset(m->chunks[1].hash, 0xab, SHA256_BYTES);
	*state = f;
	return snap_manifest_print(m, &f->text, &f->len, NULL);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	snap_manifest_done(&f->m);
	snap_manifest_done(&f->got);
	free(f->text);
	free(f);
	return 0;
}

static void reads_what_it_wrote(void **state)
{
	struct fixture *f = *state;
	char *again;
	size_t len;

	assert_int_equal(snap_manifest_parse(f->text, f->len, &f->got, NULL), 0);
	assert_string_equal(f->got.kind, "early");
	assert_int_equal(f->got.created_ns, f->m.created_ns);
	assert_int_equal(f->got.n_runs, 3);
	assert_int_equal(f->got.runs[1].len, 1 << 20);
	assert_int_equal(f->got.n_chunks, 2);
	assert_int_equal(snap_manifest_print(&f->got, &again, &len, NULL), 0);
	assert_int_equal(len, f->len);
	assert_memory_equal(again, f->text, len);
	free(again);
}

static void refuses_any_flipped_bit(void **state)
{
	struct fixture *f = *state;

	for (size_t i = 0; i < f->len; i++) {
		for (unsigned bit = 0; bit < 8; bit++) {
			struct err err = { 0 };
			int r;

			f->text[i] = (char)(f->text[i] ^ 1 << bit);
			r = snap_manifest_parse(f->text, f->len, &f->got, &err);
			f->text[i] = (char)(f->text[i] ^ 1 << bit);
			if (r >= 0 || !err.msg[0])
				fail_msg("byte %zu, bit %u was taken", i, bit);
		}
	}
}

static void refuses_any_cut(void **state)
{
	struct fixture *f = *state;

	for (size_t len = 0; len < f->len; len++)
		assert_int_equal(snap_manifest_parse(f->text, len, &f->got, NULL), -EBADMSG);
}

/* Put other text in, with a checksum that is right. */
static int parse_with(struct fixture *f, const char *from, const char *to, struct err *err)
{
	char *at = strstr(f->text, from), buf[4096];
	size_t head;
	int r;

	assert_non_null(at);
	head = (size_t)(at - f->text);
	snprintf(buf, sizeof(buf), "%.*s%s%s", (int)head, f->text, to, at + strlen(from));
	at = strstr(buf, ",\n\"crc32\"");
	assert_non_null(at);
	sprintf(at, ",\n\"crc32\":\"%08x\"}\n", crc32_add(0, buf, (size_t)(at - buf)));
	r = snap_manifest_parse(buf, strlen(buf), &f->got, err);
	return r;
}

static void names_the_member_that_is_wrong(void **state)
{
	static const struct {
		const char *from, *to, *say;
		int code;
	} cases[] = {
		{ "\"format\":1", "\"format\":2", "format 2", -ESTALE },
		{ "\"kind\":\"early\"", "\"kind\":5", "'kind'", -EBADMSG },
		{ "\"arch\":", "\"arsch\":", "'arch'", -EBADMSG },
		{ "\"vcpus\":2", "\"vcpus\":2000", "'vcpus'", -EBADMSG },
		{ "\"vcpus\":2", "\"vcpus\":02", "'vcpus'", -EBADMSG },
		{ "\"vcpus\":2", "\"vcpus\":99999999999999999999", "'vcpus'", -EBADMSG },
		{ "\"ram_bytes\":134217728", "\"ram_bytes\":142217728", "'memory_bytes'",
		  -EBADMSG },
		{ "[8192,1048576]", "[8193,1048576]", "'runs'", -EBADMSG },
		{ "[8192,1048576]", "[4096,1048576]", "'runs'", -EBADMSG },
		{ "[8192,1048576]", "[8192,0]", "'runs'", -EBADMSG },
		{ "[8192,1048576]", "[8192,18446744073709547520]", "'runs'", -EBADMSG },
		{ "[65,", "[66,", "'chunks'", -EBADMSG },
		{ "[65,", "[0,", "'chunks'", -EBADMSG },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct err err = { 0 };
		int r = parse_with(*state, cases[i].from, cases[i].to, &err);

		if (r != cases[i].code || !strstr(err.msg, cases[i].say))
			fail_msg("%s: %d '%s'", cases[i].to, r, err.msg);
	}
}

static void says_what_does_not_match(void **state)
{
	struct fixture *f = *state;
	const struct snap_machine same = { "x86_64", "base", f->m.cpuid, 1000000, 128 << 20, 2 };
	struct snap_machine other = same;
	struct err err = { 0 };

	assert_int_equal(snap_manifest_match(&f->m, &same, NULL), 0);
	other.ram_bytes++;
	assert_int_equal(snap_manifest_match(&f->m, &other, &err), -ESTALE);
	assert_non_null(strstr(err.msg, "memory"));
	other = same;
	other.n_vcpus = 1;
	assert_int_equal(snap_manifest_match(&f->m, &other, NULL), -ESTALE);
	other = same;
	other.arch = "aarch64";
	assert_int_equal(snap_manifest_match(&f->m, &other, NULL), -ESTALE);
	other = same;
	other.cpuid = f->m.key;
	assert_int_equal(snap_manifest_match(&f->m, &other, &err), -ESTALE);
	assert_non_null(strstr(err.msg, "CPU features"));
}

static void refuses_words_that_need_escapes(void **state)
{
	struct fixture *f = *state;
	char *text;
	size_t len;

	word(f->m.cpu, "a\"b");
	assert_int_equal(snap_manifest_print(&f->m, &text, &len, NULL), -EINVAL);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(reads_what_it_wrote),	     T(refuses_any_flipped_bit),
		T(refuses_any_cut),	     T(names_the_member_that_is_wrong),
		T(says_what_does_not_match), T(refuses_words_that_need_escapes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
