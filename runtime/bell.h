/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Questions to the guest's init, over its doorbell, without waiting for the answers.
 *
 * Theory of operation. Each question has a connection to itself. Its answer, the connection's end
 * or its deadline comes on the event loop and ends it: @fn is called exactly once for each, unless
 * bells_done() comes first. One connection whose question was answered stays for the next: to make
 * and end one takes the guest as long as the question. A guest that says nothing costs its caller no time. While the machine
 * is paused questions wait, and deadlines with them.
 */
#ifndef RUNTIME_BELL_H
#define RUNTIME_BELL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/loop.h"

#define BELL_WORDS  18
#define BELL_ANSWER 64

struct bell;
struct vm;

/* @result: 0 with the whole answer; -EIO the guest hung up; -ETIMEDOUT; another of
 * vm_vsock_connect(). */
typedef void (*bell_fn)(void *opaque, int result, const uint8_t *answer);

struct bells {
	struct loop *loop;
	struct vm *vm; /* borrowed */
	struct loop_timer timer;
	struct bell *first;
	int idle_fd; /* -1 for none */
	struct loop_watch idle;
	bool held;
};

int bells_init(struct bells *bells, struct loop *loop, struct err *err);
/* Forget all questions; no callback. */
void bells_done(struct bells *bells);

struct bell_question {
	uint32_t words[BELL_WORDS];
	size_t n_words;
	const void *more; /* bytes behind the words; borrowed until the answer comes */
	size_t more_len;
	size_t answer_len; /* at most BELL_ANSWER */
	uint64_t timeout_ns;
	bell_fn fn;
	void *opaque;
};

/* Ask. @fn may not be called before this returns. Return: 0; -ENOMEM, and no callback. */
int bell_ring(struct bells *bells, const struct bell_question *question);

/* The machine stands still from now on; it goes on again. */
void bells_hold(struct bells *bells);
void bells_release(struct bells *bells);

#endif
