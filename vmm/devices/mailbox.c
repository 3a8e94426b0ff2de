/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mailbox: words by which the guest's init reports.
 *
 * Theory of operation. A word keeps what was last written; a write to word 0 hands all of them to
 * the backend while the guest waits in its store. Only the "ready" signal, which starts a new
 * round, clears them, and only after the backend has seen them: no exit code is ever lost. Anything
 * but an aligned 32-bit write to a word is counted and ignored; reads are the backend's to answer.
 */
#include "devices/devices.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* The signal that begins a new round (GUEST-PROTOCOL: ready, in the command loop). */
#define SIGNAL_READY 0xdeadbeefu

struct mailbox {
	struct device dev; /* first */
	struct guest_backend backend;
	uint32_t words[GUEST_MAILBOX_WORDS];
};

static void mailbox_read(struct device *dev, uint64_t off, unsigned size, uint64_t *ret_val)
{
	const struct mailbox *m = (struct mailbox *)dev;

	*ret_val = m->backend.read && size == 4 && off % 4 == 0
			   ? m->backend.read(m->backend.opaque, (uint32_t)off)
			   : 0;
}

static void mailbox_write(struct device *dev, uint64_t off, unsigned size, uint64_t val)
{
	struct mailbox *m = (struct mailbox *)dev;
	uint64_t word = off / 4;

	if (size != 4 || off % 4 || word >= GUEST_MAILBOX_WORDS || off == 4) {
		device_fail(dev, "write of %u bytes at 0x%" PRIx64, size, off);
		return;
	}
	m->words[word] = (uint32_t)val;
	if (word)
		return;
	if (m->backend.signal)
		m->backend.signal(m->backend.opaque, (uint32_t)val, m->words);
	if ((uint32_t)val == SIGNAL_READY)
		memset(m->words, 0, sizeof(m->words));
}

static void mailbox_reset(struct device *dev)
{
	struct mailbox *m = (struct mailbox *)dev;

	memset(m->words, 0, sizeof(m->words));
}

static const struct state_desc mailbox_state = {
	.name = "mailbox",
	.version = 2, /* 2: two words more */
	.min_version = 2,
	.fields =
		(const struct state_field[]){
			STATE_FIELD(struct mailbox, words, STATE_U32, 1),
			{ .type = STATE_END },
		},
};

static void mailbox_free(struct device *dev)
{
	free(dev);
}

static const struct device_ops mailbox_ops = {
	.name = "mailbox",
	.read = mailbox_read,
	.write = mailbox_write,
	.reset = mailbox_reset,
	.state = &mailbox_state,
	.free = mailbox_free,
};

int mailbox_new(const struct guest_backend *backend, struct device **ret, struct err *err)
{
	struct mailbox *m = calloc(1, sizeof(*m));

	if (!m)
		return err_set(err, -ENOMEM, "no memory for the mailbox");
	device_init(&m->dev, &mailbox_ops);
	m->backend = *backend;
	*ret = &m->dev;
	return 0;
}
