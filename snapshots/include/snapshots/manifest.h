/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file `manifest.json` of a snapshot: what machine it is of, and what its memory file holds.
 * It is JSON in one fixed form (docs/snapshot-format.md): members in one order, no free spaces, so
 * that reading it needs no JSON library and any change is found by its checksum.
 */
#ifndef SNAPSHOTS_MANIFEST_H
#define SNAPSHOTS_MANIFEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "base/sha256.h"

#define SNAP_FORMAT	    1
#define SNAP_MANIFEST_MAX   (64u << 20) /* bytes of the file */
#define SNAP_WORD_MAX	    63
#define SNAP_CHUNK_BYTES    (2u << 20)
#define SNAP_MEMORY_MAX	    (1ULL << 40)
#define SNAP_RUNS_MAX	    (1u << 21)

/* A run of the memory file that holds data; the rest reads as zeros. */
struct snap_run {
	uint64_t off, len; /* page-aligned, ascending, not touching */
};

/* The hash of one chunk of SNAP_CHUNK_BYTES that holds data; the last may be shorter. */
struct snap_chunk {
	uint64_t index;
	uint8_t hash[SHA256_BYTES];
};

struct snap_manifest {
	char husk[SNAP_WORD_MAX + 1]; /* the version that wrote it */
	char kind[SNAP_WORD_MAX + 1]; /* "early", "late", "checkpoint" */
	char key[SHA256_HEX + 1];     /* what it depends on; zeros for a checkpoint */
	char arch[SNAP_WORD_MAX + 1];
	char backend[SNAP_WORD_MAX + 1]; /* that wrote it; any may read it */
	char cpu[SNAP_WORD_MAX + 1];	 /* the model's name */
	char cpuid[SHA256_HEX + 1];	 /* of the features the guest has seen */
	uint64_t created_ns;		 /* wall clock */
	uint64_t tsc_khz;
	uint64_t ram_bytes;
	uint64_t n_vcpus;
	uint64_t memory_bytes; /* of the file */
	uint64_t state_bytes;
	char state_hash[SHA256_HEX + 1];
	struct snap_run *runs; /* owned: snap_manifest_done() */
	size_t n_runs;
	struct snap_chunk *chunks; /* owned: snap_manifest_done() */
	size_t n_chunks;
};

void snap_manifest_done(struct snap_manifest *m);

/**
 * snap_manifest_print() - Turn a manifest into its file
 * @ret:	The text, owned by the caller (free)
 *
 * Return: 0; -EINVAL a word that JSON would have to escape; -ENOMEM.
 */
int snap_manifest_print(const struct snap_manifest *m, char **ret, size_t *ret_len,
			struct err *err);

/**
 * snap_manifest_parse() - Read a manifest
 * @text:	Untrusted bytes
 *
 * Return: 0; -EBADMSG damaged, with the member; -ESTALE another version of the format; -ENOMEM.
 */
int snap_manifest_parse(const char *text, size_t len, struct snap_manifest *ret, struct err *err);

/* What a machine must have in common with a snapshot. */
struct snap_machine {
	const char *arch, *cpu, *cpuid;
	uint64_t tsc_khz, ram_bytes, n_vcpus;
};

/* Return: 0; -ESTALE, with the member that differs. */
int snap_manifest_match(const struct snap_manifest *m, const struct snap_machine *machine,
			struct err *err);

#endif
