/* SPDX-License-Identifier: Apache-2.0 */
/* What the verbs share: messages and numbers. */
#include "cli/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/log.h"
#include "statedir.h"

struct cli_globals cli_globals = { .log_fd = -1 };

/* Engines read the log's last line, people standard error: an error goes to both. */
static void say_error(const char *msg)
{
	log_err("%s", msg);
	if (cli_globals.log_fd >= 0)
		dprintf(STDERR_FILENO, "husk: error: %s\n", msg);
}

int cli_error(const struct err *err)
{
	say_error(err->msg);
	return CLI_FAIL;
}

static int open_log(const char *path, enum log_format format, enum log_level level, struct err *err)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);

	if (fd < 0)
		return err_errno(err, errno, "open log '%s'", path);
	cli_globals.log_fd = fd;
	log_setup(fd, format, level);
	return 0;
}

static int parse_level(const char *text, enum log_level *ret)
{
	static const char *const names[LOG_LEVEL_MAX_] = { "error", "warning", "info", "debug" };

	for (unsigned i = 0; i < LOG_LEVEL_MAX_; i++) {
		if (!strcmp(text, names[i]) || (i == LOG_LEVEL_WARN && !strcmp(text, "warn"))) {
			*ret = (enum log_level)i;
			return 0;
		}
	}
	return -EINVAL;
}

int cli_globals_apply(struct err *err)
{
	struct cli_globals *g = &cli_globals;
	enum log_format format = LOG_FORMAT_TEXT;
	enum log_level level = LOG_LEVEL_INFO;

	if (g->log_format && !strcmp(g->log_format, "json"))
		format = LOG_FORMAT_JSON;
	else if (g->log_format && strcmp(g->log_format, "text") != 0)
		return err_set(err, -EINVAL, "--log-format: wants text or json, got '%s'",
			       g->log_format);
	if (g->log_level && parse_level(g->log_level, &level) < 0)
		return err_set(err, -EINVAL,
			       "--log-level: wants error, warning, info or debug, got '%s'",
			       g->log_level);
	if (g->debug)
		level = LOG_LEVEL_DEBUG;
	if (g->cgroup_manager && strcmp(g->cgroup_manager, "cgroupfs") != 0 &&
	    strcmp(g->cgroup_manager, "systemd") != 0 && strcmp(g->cgroup_manager, "disabled") != 0)
		return err_set(err, -EINVAL,
			       "--cgroup-manager: wants cgroupfs, systemd or disabled, got '%s'",
			       g->cgroup_manager);
	log_setup(STDERR_FILENO, format, level);
	if (g->log && g->log[0]) {
		int r = open_log(g->log, format, level, err);

		if (r < 0)
			return r;
	}
	return statedir_root(g->root, g->root_path, sizeof(g->root_path), err);
}

int cli_usage(const char *verb, const char *fmt, ...)
{
	char msg[ERR_MSG_MAX], line[ERR_MSG_MAX + 64];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(msg, sizeof(msg), fmt, ap);
	va_end(ap);
	snprintf(line, sizeof(line), "%s (see 'husk %s --help')", msg, verb);
	say_error(line);
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
