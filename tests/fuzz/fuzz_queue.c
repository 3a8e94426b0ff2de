/* SPDX-License-Identifier: Apache-2.0 */
/* Virtqueues: the input is the driver's rings and descriptors; every chain must lie in memory. */
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "virtio/queue.h"

#define RAM   (64 * KIB)
#define DESC  0x0000
#define AVAIL 0x1000
#define USED  0x2000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct gmem *mem, const struct vq_chain *c)
{
	const uint8_t *lo = mem->regions[0].hva;

	for (unsigned i = 0; i < c->n_read + c->n_write; i++) {
		const uint8_t *p = c->iov[i].iov_base;

		if (p < lo || p + c->iov[i].iov_len > lo + RAM || c->iov[i].iov_len == 0)
			abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct vq vq = { .desc_gpa = DESC, .avail_gpa = AVAIL, .used_gpa = USED };
	struct vq_chain *chain = malloc(sizeof(*chain));
	struct gmem *mem = NULL;
	uint8_t *ram;

	if (!chain || gmem_new(&mem, NULL) < 0 || gmem_add_anon(mem, 0, RAM, GMEM_RAM, NULL) < 0)
		abort();
	ram = gmem_ptr(mem, 0, RAM);
	if (size > 2 && size - 2 <= RAM) {
		vq.size = (uint16_t)(1U << (data[0] & 7));
		memcpy(ram, data + 2, size - 2);
		/* Small inputs: the available ring right behind the descriptors. */
		if (data[1] & 2)
			vq.avail_gpa = (uint64_t)vq.size * 16;
		if (vq_activate(&vq, mem, data[1] & 1) == 0) {
			for (unsigned n = 0; n < 300 && vq_pop(&vq, chain, NULL) == 1; n++) {
				check(mem, chain);
				/* As a device does that takes buffers ahead and gives some back. */
				if (n % 7 == 6) {
					vq_unpop(&vq, 1);
					continue;
				}
				vq_put(&vq, chain, n * 977);
				if (n % 3 == 2)
					vq_publish(&vq);
				(void)vq_should_interrupt(&vq);
			}
			(void)vq_enable_notify(&vq);
		}
	}
	gmem_free(mem);
	free(chain);
	return 0;
}
