/* SPDX-License-Identifier: Apache-2.0 */
/* Timelines of starts and commands, as Chrome trace events (open the file in Perfetto). */
#ifndef INITX_TIMELINE_H
#define INITX_TIMELINE_H

#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/err.h"

#define TIMELINE_MAX 65536 /* events; later ones are counted and dropped */

enum timeline_track { TIMELINE_HOST, TIMELINE_GUEST };

struct timeline;

int timeline_new(struct timeline **ret, struct err *err);
void timeline_free(struct timeline *t);
CLEANUP_DEFINE(struct timeline, timeline_free);

/* A moment of the guest: timeslice id @id. Any thread. */
void timeline_guest(struct timeline *t, uint32_t id, uint64_t now_ns);
/* A span of the host; @name is copied (at most 47 bytes). Any thread. */
void timeline_host(struct timeline *t, const char *name, uint64_t start_ns, uint64_t end_ns);

/* "virtio-fs mounted" for INITX_TS_VIRTIOFS; NULL when unknown. */
const char *timeline_name(uint32_t id);

/**
 * timeline_write() - Write everything as JSON
 * @fd:		Borrowed
 *
 * Each guest moment ends a slice that began at the one before it.
 * Return: 0; negative errno.
 */
int timeline_write(struct timeline *t, int fd, struct err *err);

#endif
