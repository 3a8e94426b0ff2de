/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Windows: guest physical ranges that show pages of host files (DAX of virtio-fs).
 *
 * Theory of operation. A window is a region of the guest memory map whose host addresses never
 * change; what lies behind them does, by mmap over them, a chunk at a time. So translations of
 * guest addresses stay true over a change, and only code decoded from the range is dropped. Where
 * no file is mapped there is private memory, zero at first. A file that is mapped for reading is
 * mapped privately: a guest that writes all the same changes a copy of its own.
 *
 * A file may be truncated under its mapping by anyone. Whoever then touches a page behind its end,
 * a vCPU or a device, gets SIGBUS; the handler puts private memory from that page to the end of the
 * chunk, and the access goes on, reading zeros. KVM's own accesses end KVM_RUN with EFAULT instead:
 * window_mend() then touches all pages. The guest gets to see the file again by mapping it again.
 * Chunks bound the number of host mappings: two for each.
 */
#ifndef VMM_WINDOW_H
#define VMM_WINDOW_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "vmm/gmem.h"

#define WINDOW_CHUNK_SHIFT 21
#define WINDOW_CHUNK	   (1ULL << WINDOW_CHUNK_SHIFT)
#define WINDOW_MAX	   16 /* in one process */

/**
 * window_add() - Add an empty window to a guest memory map
 * @mem:	Map, before vCPUs run
 * @gpa:	Start, aligned to chunks
 * @len:	Bytes, a multiple of the chunk
 *
 * Return: 0; -EMFILE too many windows; what gmem_add_anon() gives.
 */
int window_add(struct gmem *mem, gpa_t gpa, uint64_t len, struct err *err);

/**
 * window_map() - Show part of a file
 * @off:	In the window; it, @file_off and @len are multiples of the chunk
 * @fd:		Open for reading, and for writing if @writable
 *
 * Context: any thread; vCPUs may run.
 * Return: 0; -EINVAL outside the window or not aligned; what mmap gives.
 */
int window_map(struct gmem *mem, gpa_t window, uint64_t off, int fd, uint64_t file_off,
	       uint64_t len, bool writable);

/* Show private zeros again. Return as window_map(). */
int window_unmap(struct gmem *mem, gpa_t window, uint64_t off, uint64_t len);

/* Put private memory in place of all pages that lie behind the end of their file; whether there
 * were any. */
bool window_mend(const struct gmem *mem);

/* For gmem_free(): the region goes. */
void window_forget(const struct gmem_region *r);

#endif
