/* SPDX-License-Identifier: Apache-2.0 */
/* What the verbs share: messages and numbers. */
#include "cli/cli.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/log.h"

int cli_error(const struct err *err)
{
	log_err("%s", err->msg);
	return CLI_FAIL;
}

int cli_usage(const char *verb, const char *fmt, ...)
{
	char msg[ERR_MSG_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(msg, sizeof(msg), fmt, ap);
	va_end(ap);
	log_err("%s (see 'husk %s --help')", msg, verb);
	return CLI_FAIL;
}

static int parse_number(const char *text, char **ret_end, uint64_t *ret)
{
	if (text[0] < '0' || text[0] > '9')
		return -EINVAL;
	errno = 0;
	*ret = strtoull(text, ret_end, 10);
	return errno ? -EINVAL : 0;
}

int cli_parse_size(const char *text, uint64_t *ret_bytes)
{
	static const struct {
		const char *suffix;
		uint64_t unit;
	} units[] = {
		{ "", MIB },	{ "K", KIB }, { "KiB", KIB }, { "k", KIB },   { "M", MIB },
		{ "MiB", MIB }, { "m", MIB }, { "G", GIB },   { "GiB", GIB }, { "g", GIB },
	};
	uint64_t n, bytes;
	char *end;

	if (parse_number(text, &end, &n) < 0)
		return -EINVAL;
	for (unsigned i = 0; i < ARRAY_LEN(units); i++) {
		if (strcmp(end, units[i].suffix) != 0)
			continue;
		if (ckd_mul(&bytes, n, units[i].unit))
			return -EINVAL;
		*ret_bytes = bytes;
		return 0;
	}
	return -EINVAL;
}

int cli_parse_uint(const char *text, unsigned min, unsigned max, unsigned *ret)
{
	uint64_t n;
	char *end;

	if (parse_number(text, &end, &n) < 0 || *end || n < min || n > max)
		return -EINVAL;
	*ret = (unsigned)n;
	return 0;
}
