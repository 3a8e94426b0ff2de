/* SPDX-License-Identifier: Apache-2.0 */
/* Virtqueues against a malicious driver: rules one by one, then random rings. */
#include "test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "virtio/queue.h"

#define RAM	 (256 * KIB)
#define DESC	 0x1000
#define AVAIL	 0x2000
#define USED	 0x3000
#define DATA	 0x8000
#define SIZE	 8

#define NEXT	 1
#define WRITE	 2
#define INDIRECT 4

struct fixture {
	struct gmem *mem;
	struct vq vq;
	struct vq_chain chain;
	uint16_t avail_idx;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	if (!f || gmem_new(&f->mem, NULL) < 0 || gmem_add_anon(f->mem, 0, RAM, GMEM_RAM, NULL) < 0)
		return -1;
	f->vq = (struct vq){ .size = SIZE, .desc_gpa = DESC, .avail_gpa = AVAIL, .used_gpa = USED };
	*state = f;
	return vq_activate(&f->vq, f->mem, false);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	gmem_free(f->mem);
	free(f);
	return 0;
}

static uint8_t *ram(struct fixture *f, gpa_t gpa)
{
	return gmem_ptr(f->mem, gpa, 1);
}

static void put_desc(struct fixture *f, gpa_t table, unsigned i, uint64_t addr, uint32_t len,
		     unsigned flags, unsigned next)
{
	uint8_t *d = ram(f, table + i * 16);

	le64_store(d, addr);
	le32_store(d + 8, len);
	le16_store(d + 12, (uint16_t)flags);
	le16_store(d + 14, (uint16_t)next);
}

static void offer(struct fixture *f, unsigned head)
{
	le16_store(ram(f, AVAIL + 4 + 2 * (gpa_t)(f->avail_idx % SIZE)), (uint16_t)head);
	f->avail_idx++;
	le16_store(ram(f, AVAIL + 2), f->avail_idx);
}

static void expect_violation(struct fixture *f, const char *what)
{
	struct err err = { 0 };

	assert_int_equal(vq_pop(&f->vq, &f->chain, &err), -EPROTO);
	if (!strstr(err.msg, what))
		fail_msg("'%s' does not say '%s'", err.msg, what);
	assert_int_equal(vq_pop(&f->vq, &f->chain, NULL), 0); /* broken until reset */
}

static void refuses_bad_rings_at_activation(void **state)
{
	struct fixture *f = *state;
	static const struct {
		uint16_t size;
		uint64_t desc, avail, used;
		int want;
	} cases[] = {
		{ 0, DESC, AVAIL, USED, -EINVAL },
		{ 7, DESC, AVAIL, USED, -EINVAL },
		{ 512, DESC, AVAIL, USED, -EINVAL },
		{ SIZE, DESC + 8, AVAIL, USED, -EINVAL },
		{ SIZE, DESC, AVAIL + 1, USED, -EINVAL },
		{ SIZE, DESC, AVAIL, USED + 2, -EINVAL },
		{ SIZE, RAM - 16, AVAIL, USED, -EFAULT },
		{ SIZE, DESC, RAM - 2, USED, -EFAULT },
		{ SIZE, DESC, AVAIL, UINT64_MAX & ~3ULL, -EFAULT },
		{ SIZE, DESC, AVAIL, USED, 0 },
	};

	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		struct vq vq = { .size = cases[i].size,
				 .desc_gpa = cases[i].desc,
				 .avail_gpa = cases[i].avail,
				 .used_gpa = cases[i].used };

		assert_int_equal(vq_activate(&vq, f->mem, false), cases[i].want);
		assert_int_equal(vq.active, cases[i].want == 0);
	}
}

static void gives_chain_and_returns_it(void **state)
{
	struct fixture *f = *state;
	char buf[8] = "";

	memcpy(ram(f, DATA), "request", 7);
	put_desc(f, DESC, 3, DATA, 3, NEXT, 5);
	put_desc(f, DESC, 5, DATA + 3, 4, NEXT, 0);
	put_desc(f, DESC, 0, DATA + 0x100, 16, WRITE, 0);
	offer(f, 3);
	assert_int_equal(vq_pop(&f->vq, &f->chain, NULL), 1);
	assert_int_equal(f->chain.n_read, 2);
	assert_int_equal(f->chain.n_write, 1);
	assert_int_equal(f->chain.read_len, 7);
	assert_int_equal(vq_chain_read(&f->chain, 0, buf, 8), 7);
	assert_string_equal(buf, "request");
	assert_int_equal(vq_chain_read(&f->chain, 2, buf, 2), 2);
	assert_memory_equal(buf, "qu", 2);
	assert_int_equal(vq_chain_write(&f->chain, 4, "reply", 5), 5);
	assert_memory_equal(ram(f, DATA + 0x104), "reply", 5);
	assert_int_equal(vq_chain_write(&f->chain, 14, "reply", 5), 2);
	vq_push(&f->vq, &f->chain, 9);
	assert_int_equal(le16_load(ram(f, USED + 2)), 1);
	assert_int_equal(le32_load(ram(f, USED + 4)), 3);
	assert_int_equal(le32_load(ram(f, USED + 8)), 9);
	assert_int_equal(vq_pop(&f->vq, &f->chain, NULL), 0);
}

static void used_length_is_cut_to_what_was_writable(void **state)
{
	struct fixture *f = *state;

	put_desc(f, DESC, 0, DATA, 16, WRITE, 0);
	offer(f, 0);
	assert_int_equal(vq_pop(&f->vq, &f->chain, NULL), 1);
	vq_push(&f->vq, &f->chain, 1000000);
	assert_int_equal(le32_load(ram(f, USED + 8)), 16);
}

static void accounts_for_exactly_the_bytes_written(void **state)
{
	struct fixture *f = *state;
	const uint8_t *flags = f->mem->regions[0].page_flags;

	f->mem->dirty_log = true;
	put_desc(f, DESC, 0, DATA, 4096, WRITE | NEXT, 1);
	put_desc(f, DESC, 1, DATA + 0x4000, 4096, WRITE, 0);
	offer(f, 0);
	assert_int_equal(vq_pop(&f->vq, &f->chain, NULL), 1);
	vq_push(&f->vq, &f->chain, 4096);
	assert_int_equal(flags[DATA >> 12], GMEM_PAGE_DIRTY);
	assert_int_equal(flags[(DATA + 0x4000) >> 12], 0);
	assert_int_equal(flags[USED >> 12], GMEM_PAGE_DIRTY);
}

static void refuses_descriptor_outside_ram(void **state)
{
	struct fixture *f = *state;

	put_desc(f, DESC, 0, RAM - 8, 16, 0, 0);
	offer(f, 0);
	expect_violation(f, "outside");
}

static void refuses_descriptor_that_wraps(void **state)
{
	struct fixture *f = *state;

	put_desc(f, DESC, 0, UINT64_MAX - 8, 16, 0, 0);
	offer(f, 0);
	expect_violation(f, "outside");
}

static void refuses_loop(void **state)
{
	struct fixture *f = *state;

	put_desc(f, DESC, 0, DATA, 1, NEXT, 1);
	put_desc(f, DESC, 1, DATA, 1, NEXT, 0);
	offer(f, 0);
	expect_violation(f, "loop");
}

static void refuses_next_out_of_range(void **state)
{
	struct fixture *f = *state;

	put_desc(f, DESC, 0, DATA, 1, NEXT, SIZE);
	offer(f, 0);
	expect_violation(f, "out of range");
}

static void refuses_head_out_of_range(void **state)
{
	struct fixture *f = *state;

	offer(f, SIZE);
	expect_violation(f, "head");
}

static void refuses_readable_behind_writable(void **state)
{
	struct fixture *f = *state;

	put_desc(f, DESC, 0, DATA, 1, WRITE | NEXT, 1);
	put_desc(f, DESC, 1, DATA, 1, 0, 0);
	offer(f, 0);
	expect_violation(f, "behind");
}

static void refuses_index_too_far_ahead(void **state)
{
	struct fixture *f = *state;

	le16_store(ram(f, AVAIL + 2), SIZE + 1);
	expect_violation(f, "ahead");
}

static void takes_at_most_size_requests_at_a_time(void **state)
{
	struct fixture *f = *state;

	put_desc(f, DESC, 0, DATA, 1, 0, 0);
	for (unsigned i = 0; i < SIZE; i++) {
		offer(f, 0);
		assert_int_equal(vq_pop(&f->vq, &f->chain, NULL), 1);
	}
	offer(f, 0);
	expect_violation(f, "more requests");
}

static void walks_an_indirect_table(void **state)
{
	struct fixture *f = *state;

	put_desc(f, DESC, 2, DATA, 3 * 16, INDIRECT, 0);
	put_desc(f, DATA, 0, DATA + 0x1000, 5, NEXT, 2);
	put_desc(f, DATA, 2, DATA + 0x2000, 6, WRITE, 0);
	offer(f, 2);
	assert_int_equal(vq_pop(&f->vq, &f->chain, NULL), 1);
	assert_int_equal(f->chain.read_len, 5);
	assert_int_equal(f->chain.write_len, 6);
}

static void refuses_bad_indirect_tables(void **state)
{
	static const struct {
		uint64_t addr;
		uint32_t len;
		unsigned flags;
		const char *what;
	} cases[] = {
		{ DATA, 8, INDIRECT, "length" },
		{ DATA, 0, INDIRECT, "length" },
		{ DATA, 16 * (SIZE + 1), INDIRECT, "length" },
		{ RAM - 16, 32, INDIRECT, "outside" },
		{ DATA, 16, INDIRECT | NEXT, "next" },
		{ DATA, 16, INDIRECT, "inside another" },
	};
	struct fixture *f = *state;

	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		f->avail_idx = 0;
		vq_reset(&f->vq);
		f->vq = (struct vq){
			.size = SIZE, .desc_gpa = DESC, .avail_gpa = AVAIL, .used_gpa = USED
		};
		assert_int_equal(vq_activate(&f->vq, f->mem, false), 0);
		put_desc(f, DESC, 0, cases[i].addr, cases[i].len, cases[i].flags, 1);
		put_desc(f, DATA, 0, DATA, 16, INDIRECT, 0);
		offer(f, 0);
		expect_violation(f, cases[i].what);
	}
}

static void interrupts_only_when_asked(void **state)
{
	struct fixture *f = *state;

	put_desc(f, DESC, 0, DATA, 1, WRITE, 0);
	offer(f, 0);
	assert_int_equal(vq_pop(&f->vq, &f->chain, NULL), 1);
	vq_push(&f->vq, &f->chain, 1);
	assert_true(vq_should_interrupt(&f->vq));
	le16_store(ram(f, AVAIL), 1);
	assert_false(vq_should_interrupt(&f->vq));
	vq_disable_notify(&f->vq);
	assert_int_equal(le16_load(ram(f, USED)), 1);
	assert_false(vq_enable_notify(&f->vq));
	assert_int_equal(le16_load(ram(f, USED)), 0);
	offer(f, 0);
	assert_true(vq_enable_notify(&f->vq));
}

static void event_index_says_when_to_interrupt(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(vq_activate(&f->vq, f->mem, true), 0);
	put_desc(f, DESC, 0, DATA, 1, WRITE, 0);
	le16_store(ram(f, AVAIL + 4 + 2 * SIZE), 2); /* used_event: at the third */
	for (unsigned i = 0; i < 4; i++) {
		offer(f, 0);
		assert_int_equal(vq_pop(&f->vq, &f->chain, NULL), 1);
		vq_push(&f->vq, &f->chain, 1);
		assert_int_equal(vq_should_interrupt(&f->vq), i == 0 || i == 2);
	}
	(void)vq_enable_notify(&f->vq);
	assert_int_equal(le16_load(ram(f, USED + 4 + 8 * SIZE)), 4); /* avail_event */
}

static void state_survives_saving_twice(void **state)
{
	struct fixture *f = *state;
	uint8_t a[64], b[64];
	struct vq copy = { 0 };
	size_t n = state_size(&vq_state);

	f->vq.next_avail = 0xabcd;
	f->vq.next_used = 0x1234;
	f->vq.ready = true;
	assert_true(n <= sizeof(a));
	assert_int_equal(state_save(&vq_state, &f->vq, a), n);
	assert_int_equal(state_load(&vq_state, &copy, a, n, NULL), 0);
	assert_int_equal(state_save(&vq_state, &copy, b), n);
	assert_memory_equal(a, b, n);
	assert_int_equal(copy.next_avail, 0xabcd);
}

/* xorshift: the same rings every time */
static uint32_t random32(uint64_t *s)
{
	*s ^= *s << 13;
	*s ^= *s >> 7;
	*s ^= *s << 17;
	return (uint32_t)(*s >> 16);
}

static void check_chain(struct fixture *f)
{
	const struct vq_chain *c = &f->chain;
	const uint8_t *lo = f->mem->regions[0].hva, *hi = lo + RAM;
	size_t read_len = 0, write_len = 0;

	assert_true(c->n_read + c->n_write <= VQ_MAX_SIZE);
	for (unsigned i = 0; i < c->n_read + c->n_write; i++) {
		const uint8_t *p = c->iov[i].iov_base;

		assert_true(p >= lo && p < hi && c->iov[i].iov_len <= (size_t)(hi - p));
		assert_true(c->iov[i].iov_len > 0);
		if (i < c->n_read)
			read_len += c->iov[i].iov_len;
		else
			write_len += c->iov[i].iov_len;
	}
	assert_int_equal(read_len, c->read_len);
	assert_int_equal(write_len, c->write_len);
}

/* Whatever the driver writes, every chain lies in RAM and nothing is read or written outside. */
static void random_rings_never_lead_outside(void **state)
{
	struct fixture *f = *state;
	uint64_t seed = 0x9e3779b97f4a7c15ULL;
	unsigned n_good = 0;

	for (unsigned round = 0; round < 20000; round++) {
		f->vq = (struct vq){
			.size = SIZE, .desc_gpa = DESC, .avail_gpa = AVAIL, .used_gpa = USED
		};
		assert_int_equal(vq_activate(&f->vq, f->mem, round & 1), 0);
		for (unsigned i = 0; i < SIZE; i++) {
			uint64_t addr = random32(&seed) % (RAM + RAM / 16);

			if (random32(&seed) % 16 == 0)
				addr = (uint64_t)random32(&seed) << 32 | random32(&seed);
			put_desc(f, random32(&seed) % 4 ? DESC : DATA, i, addr,
				 random32(&seed) % 8 ? random32(&seed) % 4096 & ~15U
						     : random32(&seed),
				 random32(&seed) % 8 ? random32(&seed) & 3 : random32(&seed),
				 random32(&seed) % (SIZE + 1));
		}
		for (unsigned i = 0; i < SIZE; i++)
			le16_store(ram(f, AVAIL + 4 + 2 * (gpa_t)i), random32(&seed) % (SIZE + 1));
		le16_store(ram(f, AVAIL + 2), random32(&seed) % (SIZE + 2));
		while (vq_pop(&f->vq, &f->chain, NULL) == 1) {
			check_chain(f);
			vq_push(&f->vq, &f->chain, random32(&seed));
			(void)vq_should_interrupt(&f->vq);
			n_good++;
		}
		(void)vq_enable_notify(&f->vq);
	}
	assert_true(n_good > 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		T(refuses_bad_rings_at_activation),
		T(gives_chain_and_returns_it),
		T(used_length_is_cut_to_what_was_writable),
		T(accounts_for_exactly_the_bytes_written),
		T(refuses_descriptor_outside_ram),
		T(refuses_descriptor_that_wraps),
		T(refuses_loop),
		T(refuses_next_out_of_range),
		T(refuses_head_out_of_range),
		T(refuses_readable_behind_writable),
		T(refuses_index_too_far_ahead),
		T(takes_at_most_size_requests_at_a_time),
		T(walks_an_indirect_table),
		T(refuses_bad_indirect_tables),
		T(interrupts_only_when_asked),
		T(event_index_says_when_to_interrupt),
		T(state_survives_saving_twice),
		T(random_rings_never_lead_outside),
	};

	return cmocka_run_group_tests_name("vmm/virtio/queue", tests, NULL, NULL);
}
