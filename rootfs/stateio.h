/* SPDX-License-Identifier: Apache-2.0 */
/* The bytes of a saved state: little-endian, appended one by one, taken one by one. */
#ifndef ROOTFS_STATEIO_H
#define ROOTFS_STATEIO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

struct out {
	uint8_t *p; /* owned by whoever made it */
	size_t len, room;
	bool failed; /* no memory: what comes later is dropped */
};

void out_bytes(struct out *o, const void *p, size_t len);
void out_u16(struct out *o, uint16_t v);
void out_u32(struct out *o, uint32_t v);
void out_u64(struct out *o, uint64_t v);
void out_time(struct out *o, const struct statx_timestamp *t);
/* A u16 of length and the text without its NUL. */
void out_text(struct out *o, const char *text);

struct in {
	const uint8_t *p; /* untrusted */
	size_t left;
	bool failed; /* something was not there: all that comes later is 0 */
};

/* NULL, once and for all, when there is less. */
const uint8_t *in_take(struct in *in, size_t len);
uint16_t in_u16(struct in *in);
uint32_t in_u32(struct in *in);
uint64_t in_u64(struct in *in);
struct statx_timestamp in_time(struct in *in);
/* What out_text() wrote, with a NUL. Return: 0; -EBADMSG longer, or with a NUL inside. */
int in_text(struct in *in, char *buf, size_t size);

#endif
