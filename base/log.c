/* SPDX-License-Identifier: Apache-2.0 */
/* Logging: text or JSON lines to one descriptor. */
#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

#define LOG_LINE_MAX	  2048
#define LOG_LIMIT_PER_SEC 10

static struct {
	int fd;
	enum log_format format;
	enum log_level max_level;
} log_state = { .fd = STDERR_FILENO, .format = LOG_FORMAT_TEXT, .max_level = LOG_LEVEL_WARN };

static const char *const level_names[LOG_LEVEL_MAX_] = { "error", "warning", "info", "debug" };

void log_setup(int fd, enum log_format format, enum log_level max_level)
{
	log_state.fd = fd;
	log_state.format = format;
	log_state.max_level = max_level;
}

bool log_enabled(enum log_level level)
{
	return level <= log_state.max_level;
}

/* Append @text as the inside of a JSON string; control bytes become \u00XX. */
static size_t json_escape(char *out, size_t len, size_t max, const char *text)
{
	for (; *text && len + 7 < max; text++) {
		unsigned char c = (unsigned char)*text;

		if (c == '"' || c == '\\') {
			out[len++] = '\\';
			out[len++] = (char)c;
		} else if (c < 0x20) {
			len += (size_t)snprintf(out + len, max - len, "\\u%04x", c);
		} else {
			out[len++] = (char)c;
		}
	}
	return len;
}

static size_t format_json(char *out, size_t max, enum log_level level, const char *msg)
{
	struct timespec now;
	struct tm tm;
	size_t len;

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &tm);
	len = (size_t)snprintf(out, max, "{\"level\":\"%s\",\"msg\":\"", level_names[level]);
	len = json_escape(out, len, max - 48, msg);
	len += (size_t)snprintf(out + len, max - len, "\",\"time\":\"");
	len += strftime(out + len, max - len, "%Y-%m-%dT%H:%M:%SZ", &tm);
	len += (size_t)snprintf(out + len, max - len, "\"}\n");
	return len;
}

static size_t format_text(char *out, size_t max, enum log_level level, const char *module,
			  const char *msg)
{
	bool with_module = module && log_state.max_level >= LOG_LEVEL_DEBUG;
	int n = snprintf(out, max, "husk: %s: %s%s%s\n", level_names[level],
			 with_module ? module : "", with_module ? ": " : "", msg);

	if (n < 0)
		return 0;
	if ((size_t)n < max)
		return (size_t)n;
	out[max - 2] = '\n';
	return max - 1;
}

void log_line(enum log_level level, const char *module, const char *fmt, ...)
{
	char msg[LOG_LINE_MAX / 2];
	char line[LOG_LINE_MAX];
	int saved_errno = errno;
	size_t len;
	va_list ap;

	if (!log_enabled(level))
		return;
	va_start(ap, fmt);
	vsnprintf(msg, sizeof(msg), fmt, ap);
	va_end(ap);
	len = log_state.format == LOG_FORMAT_JSON ?
		      format_json(line, sizeof(line), level, msg) :
		      format_text(line, sizeof(line), level, module, msg);
	if (write(log_state.fd, line, len) < 0) {
		/* Nowhere left to say it. */
	}
	errno = saved_errno;
}

bool log_limit_pass(struct log_limit *limit)
{
	uint64_t now = clock_monotonic_ns();

	if (now - limit->window_start >= NSEC_PER_SEC) {
		uint32_t dropped = limit->n_dropped;

		*limit = (struct log_limit){ .window_start = now };
		if (dropped)
			log_line(LOG_LEVEL_WARN, NULL, "%u similar guest messages left out", dropped);
	}
	if (limit->n_in_window++ < LOG_LIMIT_PER_SEC)
		return true;
	limit->n_dropped++;
	return false;
}
