/* SPDX-License-Identifier: Apache-2.0 */
/* CRC-32 (ISO-HDLC, as in zlib): against accidents, not against malice. */
#ifndef SNAPSHOTS_CRC32_H
#define SNAPSHOTS_CRC32_H

#include <stddef.h>
#include <stdint.h>

/* @crc: 0, or what the bytes before gave */
uint32_t crc32_add(uint32_t crc, const void *data, size_t len);

#endif
