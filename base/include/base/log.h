/* SPDX-License-Identifier: Apache-2.0 */
/* Logging: text or JSON lines to one descriptor. Library code returns errors instead. */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

#ifndef LOG_MODULE
#define LOG_MODULE NULL
#endif

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG, LOG_LEVEL_MAX_ };
enum log_format { LOG_FORMAT_TEXT, LOG_FORMAT_JSON };

/**
 * log_setup() - Choose where and how to log; until then warnings go to stderr as text
 * @fd:		Borrowed descriptor, stays open for the life of the process
 * @format:	Text ("husk: error: ...") or one JSON object a line, as engines expect
 * @max_level:	The most verbose level still written
 *
 * Context: before threads start.
 */
void log_setup(int fd, enum log_format format, enum log_level max_level);

bool log_enabled(enum log_level level);

/**
 * log_line() - Write one line; use the macros below
 *
 * Context: any thread; one write(2) a line, allocates nothing.
 */
void log_line(enum log_level level, const char *module, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

#define log_err(...)   log_line(LOG_LEVEL_ERROR, LOG_MODULE, __VA_ARGS__)
#define log_warn(...)  log_line(LOG_LEVEL_WARN, LOG_MODULE, __VA_ARGS__)
#define log_info(...)  log_line(LOG_LEVEL_INFO, LOG_MODULE, __VA_ARGS__)
#define log_debug(...)                                                    \
	do {                                                              \
		if (log_enabled(LOG_LEVEL_DEBUG))                         \
			log_line(LOG_LEVEL_DEBUG, LOG_MODULE, __VA_ARGS__); \
	} while (0)

/* One place's allowance for messages that a guest can provoke; zero-initialised, owned by a device. */
struct log_limit {
	uint64_t window_start; /* ns, monotonic */
	uint32_t n_in_window;
	uint32_t n_dropped;
};

/**
 * log_limit_pass() - Whether a guest-caused message may be written now
 * @limit:	The caller's allowance (guarded by the caller)
 *
 * Ten a second pass; the rest are counted, and the count is added to the next that passes.
 */
bool log_limit_pass(struct log_limit *limit);

#define log_guest(limit, ...)                                            \
	do {                                                             \
		if (log_limit_pass(limit))                               \
			log_line(LOG_LEVEL_WARN, LOG_MODULE, __VA_ARGS__); \
	} while (0)

#endif
