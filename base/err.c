/* SPDX-License-Identifier: Apache-2.0 */
/* Error objects: a negative errno with one sentence of context. */
#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Append @text to @msg at @len, cutting at the end of the buffer. */
static size_t msg_append(char *msg, size_t len, const char *text)
{
	while (*text && len < ERR_MSG_MAX - 1)
		msg[len++] = *text++;
	msg[len] = '\0';
	return len;
}

__attribute__((format(printf, 2, 0))) static size_t msg_format(char *msg, const char *fmt,
							       va_list ap)
{
	int n = vsnprintf(msg, ERR_MSG_MAX, fmt, ap);

	if (n < 0) {
		msg[0] = '\0';
		return 0;
	}
	return n < ERR_MSG_MAX ? (size_t)n : ERR_MSG_MAX - 1;
}

int err_set(struct err *err, int code, const char *fmt, ...)
{
	va_list ap;

	if (!err)
		return code;
	err->code = code;
	va_start(ap, fmt);
	msg_format(err->msg, fmt, ap);
	va_end(ap);
	return code;
}

int err_errno(struct err *err, int errnum, const char *fmt, ...)
{
	va_list ap;
	size_t len;

	if (!err)
		return -errnum;
	err->code = -errnum;
	va_start(ap, fmt);
	len = msg_format(err->msg, fmt, ap);
	va_end(ap);
	len = msg_append(err->msg, len, ": ");
	msg_append(err->msg, len, err_str(errnum));
	return -errnum;
}

int err_wrap(struct err *err, int code, const char *fmt, ...)
{
	char inner[ERR_MSG_MAX];
	va_list ap;
	size_t len;

	if (!err)
		return code;
	memcpy(inner, err->msg, sizeof(inner));
	err->code = code;
	va_start(ap, fmt);
	len = msg_format(err->msg, fmt, ap);
	va_end(ap);
	if (inner[0]) {
		len = msg_append(err->msg, len, ": ");
		msg_append(err->msg, len, inner);
	}
	return code;
}

int err_advise(struct err *err, int code, const char *fmt, ...)
{
	char advice[ERR_MSG_MAX];
	va_list ap;
	size_t len;

	if (!err)
		return code;
	va_start(ap, fmt);
	msg_format(advice, fmt, ap);
	va_end(ap);
	len = msg_append(err->msg, strlen(err->msg), ": ");
	msg_append(err->msg, len, advice);
	return code;
}

const char *err_str(int errnum)
{
	const char *s = strerrordesc_np(errnum < 0 ? -errnum : errnum);

	return s ? s : "Unknown error";
}
