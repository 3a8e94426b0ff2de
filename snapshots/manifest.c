/* SPDX-License-Identifier: Apache-2.0 */
/* The file `manifest.json`: one table of members for printing and parsing. */
#include "snapshots/manifest.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/checked.h"
#include "crc32.h"

#define PAGE	  4096ULL
#define CRC_NAME  ",\n\"crc32\":\""
#define CRC_TAIL  "\"}\n"
#define CRC_CHARS 8

enum member_type { TYPE_U64, TYPE_WORD, TYPE_HASH };

static const struct member {
	const char *name;
	enum member_type type;
	size_t offset;
	uint64_t max; /* TYPE_U64 */
} members[] = {
#define M(name, type, field, max)                                      \
	{                                                              \
		name, type, offsetof(struct snap_manifest, field), max \
	}
	M("husk", TYPE_WORD, husk, 0),
	M("kind", TYPE_WORD, kind, 0),
	M("key", TYPE_HASH, key, 0),
	M("arch", TYPE_WORD, arch, 0),
	M("backend", TYPE_WORD, backend, 0),
	M("cpu", TYPE_WORD, cpu, 0),
	M("cpuid", TYPE_HASH, cpuid, 0),
	M("created_ns", TYPE_U64, created_ns, UINT64_MAX),
	M("tsc_khz", TYPE_U64, tsc_khz, UINT32_MAX),
	M("ram_bytes", TYPE_U64, ram_bytes, SNAP_MEMORY_MAX),
	M("vcpus", TYPE_U64, n_vcpus, 1024),
	M("memory_bytes", TYPE_U64, memory_bytes, SNAP_MEMORY_MAX),
	M("state_bytes", TYPE_U64, state_bytes, UINT32_MAX),
	M("state_sha256", TYPE_HASH, state_hash, 0),
#undef M
};

void snap_manifest_done(struct snap_manifest *m)
{
	free(m->runs);
	free(m->chunks);
	m->runs = NULL;
	m->chunks = NULL;
	m->n_runs = m->n_chunks = 0;
}

/* ---- printing ---- */

static bool word_ok(const char *s, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (s[i] < ' ' || s[i] > '~' || s[i] == '"' || s[i] == '\\')
			return false;
	}
	return len <= SNAP_WORD_MAX;
}

static int print_members(FILE *f, const struct snap_manifest *m, struct err *err)
{
	fprintf(f, "{\"format\":%d", SNAP_FORMAT);
	for (unsigned i = 0; i < ARRAY_LEN(members); i++) {
		const void *field = (const char *)m + members[i].offset;

		if (members[i].type == TYPE_U64) {
			fprintf(f, ",\n\"%s\":%" PRIu64, members[i].name, *(const uint64_t *)field);
			continue;
		}
		if (!word_ok(field, strlen(field)) && members[i].type == TYPE_WORD)
			return err_set(err, -EINVAL, "manifest: %s is not plain text",
				       members[i].name);
		fprintf(f, ",\n\"%s\":\"%s\"", members[i].name, (const char *)field);
	}
	return 0;
}

static void print_arrays(FILE *f, const struct snap_manifest *m)
{
	char hex[SHA256_HEX + 1];

	fputs(",\n\"runs\":[", f);
	for (size_t i = 0; i < m->n_runs; i++)
		fprintf(f, "%s[%" PRIu64 ",%" PRIu64 "]", i ? ",\n" : "", m->runs[i].off,
			m->runs[i].len);
	fputs("],\n\"chunks\":[", f);
	for (size_t i = 0; i < m->n_chunks; i++) {
		sha256_hex(m->chunks[i].hash, hex);
		fprintf(f, "%s[%" PRIu64 ",\"%s\"]", i ? ",\n" : "", m->chunks[i].index, hex);
	}
	fputs("]", f);
}

int snap_manifest_print(const struct snap_manifest *m, char **ret, size_t *ret_len, struct err *err)
{
	char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);
	int r;

	if (!f)
		return err_set(err, -ENOMEM, "manifest: no memory");
	r = print_members(f, m, err);
	if (r == 0) {
		print_arrays(f, m);
		fflush(f);
		fprintf(f, CRC_NAME "%08" PRIx32 CRC_TAIL, crc32_add(0, text, len));
	}
	if (fclose(f) != 0 && r == 0)
		r = err_set(err, -ENOMEM, "manifest: no memory");
	if (r < 0) {
		free(text);
		return r;
	}
	*ret = text;
	*ret_len = len;
	return 0;
}

/* ---- parsing ---- */

struct in {
	const char *p;
	size_t left;
};

static bool take(struct in *in, const char *text)
{
	size_t n = strlen(text);

	if (n > in->left || memcmp(in->p, text, n) != 0)
		return false;
	in->p += n;
	in->left -= n;
	return true;
}

static bool take_u64(struct in *in, uint64_t *ret)
{
	uint64_t v = 0;
	size_t n = 0;

	for (; n < in->left && in->p[n] >= '0' && in->p[n] <= '9'; n++) {
		if (ckd_mul(&v, v, 10) || ckd_add(&v, v, (uint64_t)(in->p[n] - '0')))
			return false;
	}
	if (n == 0 || (n > 1 && in->p[0] == '0'))
		return false;
	in->p += n;
	in->left -= n;
	*ret = v;
	return true;
}

/* Up to the closing quote, which is taken too. */
static bool take_word(struct in *in, char *ret)
{
	const char *end = memchr(in->p, '"', MIN(in->left, (size_t)SNAP_WORD_MAX + 1));
	size_t n = end ? (size_t)(end - in->p) : 0;

	if (!end || !word_ok(in->p, n))
		return false;
	memcpy(ret, in->p, n);
	ret[n] = 0;
	in->p += n + 1;
	in->left -= n + 1;
	return true;
}

static int hex_digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool take_hash(struct in *in, uint8_t *ret_bytes, char *ret_hex)
{
	if (in->left < SHA256_HEX + 1 || in->p[SHA256_HEX] != '"')
		return false;
	for (unsigned i = 0; i < SHA256_BYTES; i++) {
		int high = hex_digit(in->p[2 * i]), low = hex_digit(in->p[2 * i + 1]);

		if (high < 0 || low < 0)
			return false;
		if (ret_bytes)
			ret_bytes[i] = (uint8_t)(high << 4 | low);
	}
	if (ret_hex) {
		memcpy(ret_hex, in->p, SHA256_HEX);
		ret_hex[SHA256_HEX] = 0;
	}
	in->p += SHA256_HEX + 1;
	in->left -= SHA256_HEX + 1;
	return true;
}

static bool parse_member(struct in *in, const struct member *member, struct snap_manifest *m)
{
	void *field = (char *)m + member->offset;

	if (!take(in, ",\n\"") || !take(in, member->name) || !take(in, "\":"))
		return false;
	switch (member->type) {
	case TYPE_U64: return take_u64(in, field) && *(uint64_t *)field <= member->max;
	case TYPE_WORD: return take(in, "\"") && take_word(in, field);
	case TYPE_HASH: return take(in, "\"") && take_hash(in, NULL, field);
	}
	return false;
}

/* Make room for one more of @size bytes. */
static bool grow(void *array, size_t n, size_t size)
{
	void **p = array, *grown;

	if (n & (n - 1))
		return true;
	grown = realloc(*p, (n ? 2 * n : 1) * size);
	if (grown)
		*p = grown;
	return grown;
}

static int parse_runs(struct in *in, struct snap_manifest *m)
{
	uint64_t end = 0;

	if (!take(in, ",\n\"runs\":["))
		return -EBADMSG;
	while (!take(in, "]")) {
		struct snap_run run;
		uint64_t run_end;

		if ((m->n_runs && !take(in, ",\n")) || !take(in, "[") || !take_u64(in, &run.off) ||
		    !take(in, ",") || !take_u64(in, &run.len) || !take(in, "]"))
			return -EBADMSG;
		if (!IS_ALIGNED(run.off, PAGE) || !IS_ALIGNED(run.len, PAGE) || run.len == 0 ||
		    ckd_add(&run_end, run.off, run.len) || run_end > m->memory_bytes ||
		    (m->n_runs && run.off <= end) || m->n_runs == SNAP_RUNS_MAX)
			return -EBADMSG;
		if (!grow(&m->runs, m->n_runs, sizeof(run)))
			return -ENOMEM;
		m->runs[m->n_runs++] = run;
		end = run_end;
	}
	return 0;
}

static int parse_chunks(struct in *in, struct snap_manifest *m)
{
	if (!take(in, ",\n\"chunks\":["))
		return -EBADMSG;
	while (!take(in, "]")) {
		struct snap_chunk c;

		if ((m->n_chunks && !take(in, ",\n")) || !take(in, "[") ||
		    !take_u64(in, &c.index) || !take(in, ",\"") || !take_hash(in, c.hash, NULL) ||
		    !take(in, "]"))
			return -EBADMSG;
		if (c.index >= (m->memory_bytes + SNAP_CHUNK_BYTES - 1) / SNAP_CHUNK_BYTES ||
		    (m->n_chunks && c.index <= m->chunks[m->n_chunks - 1].index))
			return -EBADMSG;
		if (!grow(&m->chunks, m->n_chunks, sizeof(c)))
			return -ENOMEM;
		m->chunks[m->n_chunks++] = c;
	}
	return 0;
}

static int array_error(int r, const char *name, struct err *err)
{
	if (r == -ENOMEM)
		return err_set(err, r, "manifest: no memory");
	return err_set(err, r, "manifest: '%s' is damaged", name);
}

/* The checksum stands last, at a place known from the end. */
static int check_crc(const char *text, size_t *len, struct err *err)
{
	const size_t tail = sizeof(CRC_NAME) - 1 + CRC_CHARS + sizeof(CRC_TAIL) - 1;
	char want[sizeof(CRC_NAME) + CRC_CHARS + sizeof(CRC_TAIL)];

	if (*len < tail || *len > SNAP_MANIFEST_MAX)
		return err_set(err, -EBADMSG, "manifest: %zu bytes", *len);
	*len -= tail;
	snprintf(want, sizeof(want), CRC_NAME "%08" PRIx32 CRC_TAIL, crc32_add(0, text, *len));
	if (memcmp(text + *len, want, tail) != 0)
		return err_set(err, -EBADMSG, "manifest: the checksum is wrong");
	return 0;
}

static int parse_all(struct in *in, struct snap_manifest *m, struct err *err)
{
	uint64_t format;
	int r;

	if (!take(in, "{\"format\":") || !take_u64(in, &format))
		return err_set(err, -EBADMSG, "manifest: not a snapshot's manifest");
	if (format != SNAP_FORMAT)
		return err_set(err, -ESTALE, "manifest: format %" PRIu64 ", this husk reads %d",
			       format, SNAP_FORMAT);
	for (unsigned i = 0; i < ARRAY_LEN(members); i++) {
		if (!parse_member(in, &members[i], m))
			return err_set(err, -EBADMSG, "manifest: '%s' is missing or damaged",
				       members[i].name);
	}
	if (!IS_ALIGNED(m->memory_bytes, PAGE) || m->ram_bytes > m->memory_bytes)
		return err_set(err, -EBADMSG, "manifest: 'memory_bytes' is damaged");
	r = parse_runs(in, m);
	if (r < 0)
		return array_error(r, "runs", err);
	r = parse_chunks(in, m);
	if (r < 0)
		return array_error(r, "chunks", err);
	return in->left ? err_set(err, -EBADMSG, "manifest: bytes after the last member") : 0;
}

int snap_manifest_parse(const char *text, size_t len, struct snap_manifest *ret, struct err *err)
{
	struct snap_manifest m = { 0 };
	struct in in = { .p = text, .left = len };
	int r = check_crc(text, &in.left, err);

	if (r == 0)
		r = parse_all(&in, &m, err);
	if (r < 0)
		snap_manifest_done(&m);
	else
		*ret = m;
	return r;
}

/* ---- comparing ---- */

int snap_manifest_match(const struct snap_manifest *m, const struct snap_machine *machine,
			struct err *err)
{
	const struct {
		const char *name, *have, *want;
	} words[] = {
		{ "architecture", m->arch, machine->arch },
		{ "CPU model", m->cpu, machine->cpu },
		{ "CPU features", m->cpuid, machine->cpuid },
	};
	const struct {
		const char *name;
		uint64_t have, want;
	} numbers[] = {
		{ "TSC rate in kHz", m->tsc_khz, machine->tsc_khz },
		{ "memory in bytes", m->ram_bytes, machine->ram_bytes },
		{ "number of vCPUs", m->n_vcpus, machine->n_vcpus },
	};

	for (unsigned i = 0; i < ARRAY_LEN(words); i++) {
		if (strcmp(words[i].have, words[i].want) != 0)
			return err_set(err, -ESTALE,
				       "the snapshot's %s is '%s', the machine's '%s'",
				       words[i].name, words[i].have, words[i].want);
	}
	for (unsigned i = 0; i < ARRAY_LEN(numbers); i++) {
		if (numbers[i].have != numbers[i].want)
			return err_set(err, -ESTALE,
				       "the snapshot's %s is %" PRIu64 ", the machine's %" PRIu64,
				       numbers[i].name, numbers[i].have, numbers[i].want);
	}
	return 0;
}
