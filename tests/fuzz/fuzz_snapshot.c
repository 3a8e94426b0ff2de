/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as the state, the manifest and the working set of a snapshot, also with checksums that
 * are right.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "crc32.h"
#include "snapshots/manifest.h"
#include "snapshots/sections.h"
#include "snapshots/workset.h"

#define HEAD_LEN 32
#define SECT_LEN 24
#define WSET_LEN 24

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_state(const uint8_t *data, size_t size)
{
	struct snap_sections s = { 0 };
	struct err err = { 0 };

	if (snap_sections_parse(data, size, &s, &err) < 0) {
		if (!err.msg[0])
			abort();
		return;
	}
	for (unsigned i = 0; i < s.n; i++) {
		if (s.v[i].data < data || s.v[i].data + s.v[i].len > data + size)
			abort();
		snap_sections_find(&s, s.v[i].name, s.v[i].instance);
	}
	if (snap_sections_check_taken(&s, NULL) < 0)
		abort();
	snap_sections_done(&s);
}

/* Repair lengths and sums as far as there are sections to be seen. */
static void mend_state(uint8_t *p, size_t size)
{
	uint32_t n = 0;

	for (size_t at = HEAD_LEN; at + SECT_LEN <= size; n++) {
		uint64_t body = (uint64_t)le16_load(p + at + 6) + le32_load(p + at + 12);

		if (SECT_LEN + body > size - at)
			break;
		le32_store(p + at + 20,
			   crc32_add(crc32_add(0, p + at, 20), p + at + SECT_LEN, body));
		at += ALIGN_UP(SECT_LEN + body, (uint64_t)8);
	}
	le32_store(p + 12, n);
	le64_store(p + 16, size);
	le32_store(p + 28, crc32_add(0, p, 28));
}

static void try_manifest(const char *text, size_t len)
{
	struct snap_manifest m = { 0 };
	struct err err = { 0 };
	char *again;
	size_t again_len;

	if (snap_manifest_parse(text, len, &m, &err) < 0) {
		if (!err.msg[0])
			abort();
		return;
	}
	if (snap_manifest_print(&m, &again, &again_len, NULL) < 0 || again_len != len ||
	    memcmp(again, text, len) != 0)
		abort();
	free(again);
	snap_manifest_done(&m);
}

/* The runs of a working set. */
static void try_workset(const uint8_t *runs, size_t len)
{
	uint8_t *p = malloc(WSET_LEN + len);
	struct snap_workset w = { 0 };
	uint64_t end = 0;

	if (!p)
		return;
	memcpy(p, "HUSKWSET\1\0\0", 12);
	le32_store(p + 12, (uint32_t)(len / 8));
	le32_store(p + 16, crc32_add(0, runs, len));
	le32_store(p + 20, crc32_add(0, p, 20));
	memcpy(p + WSET_LEN, runs, len);
	if (snap_workset_parse(p, WSET_LEN + len, 1U << 20, &w, NULL) == 0) {
		for (size_t i = 0; i < w.n; i++) {
			if (w.v[i].page < end || w.v[i].n == 0)
				abort();
			end = (uint64_t)w.v[i].page + w.v[i].n;
		}
		if (end > 1U << 20)
			abort();
	}
	snap_workset_done(&w);
	free(p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *copy = malloc(size + 64);

	if (!copy)
		return 0;
	try_state(data, size);
	try_manifest((const char *)data, size);
	try_workset(data, size);
	memcpy(copy, data, size);
	if (size >= HEAD_LEN) {
		mend_state((uint8_t *)copy, size);
		try_state((const uint8_t *)copy, size);
		memcpy(copy, data, size);
	}
	size += (size_t)sprintf(copy + size, ",\n\"crc32\":\"%08x\"}\n", crc32_add(0, copy, size));
	try_manifest(copy, size);
	free(copy);
	return 0;
}
