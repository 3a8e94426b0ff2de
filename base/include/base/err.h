/* SPDX-License-Identifier: Apache-2.0 */
/* Error objects: a negative errno with one sentence of context. */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#define ERR_MSG_MAX 512

/* Zero-initialise before the first use: struct err err = { 0 }. */
struct err {
	int code;              /* 0 while unset, else a negative errno */
	char msg[ERR_MSG_MAX]; /* always terminated; cut, never overrun */
};

/**
 * err_set() - Record an error that has no errno of its own
 * @err:	Where to record it, or NULL
 * @code:	Negative errno, one meaning each (see HACKING.md)
 * @fmt:	What failed, on which thing, why
 *
 * Context: any thread; allocates nothing.
 * Return: @code.
 */
int err_set(struct err *err, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/**
 * err_errno() - Record a failed system call; appends ": " and the errno's text
 * @err:	Where to record it, or NULL
 * @errnum:	Positive errno value
 * @fmt:	What was attempted
 *
 * Return: -@errnum.
 */
int err_errno(struct err *err, int errnum, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/**
 * err_wrap() - Put context in front of the message already recorded
 * @err:	Error set by a callee, or NULL
 * @code:	Negative errno to return
 * @fmt:	The context, without a colon
 *
 * Return: @code.
 */
int err_wrap(struct err *err, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/**
 * err_advise() - Say behind the message already recorded what to do about it
 * @err:	Error set by a callee, or NULL
 * @code:	Negative errno to return
 *
 * Return: @code.
 */
int err_advise(struct err *err, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/**
 * err_str() - Text of an errno, without locale and without allocating
 * @errnum:	Errno value, either sign
 *
 * Return: static string, never NULL.
 */
const char *err_str(int errnum);

#endif
