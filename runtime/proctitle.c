/* SPDX-License-Identifier: Apache-2.0 */
/* The name that ps shows for a process. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "vmmproc.h"

/* Set once by main(), before anything else runs. */
static struct {
	char *start;
	size_t len;
} title_room;

void proctitle_init(int argc, char **argv)
{
	char *end = argv[0];

	for (int i = 0; i < argc && argv[i] == end; i++)
		end += strlen(argv[i]) + 1;
	/* The environment lies behind; husk reads little of it, and a copy stays. */
	for (char **e = environ; *e && *e == end; e++) {
		char *copy = strdup(*e);

		end += strlen(*e) + 1;
		if (copy)
			*e = copy;
	}
	title_room.start = argv[0];
	title_room.len = (size_t)(end - argv[0]);
	/* The arguments are still needed when the title lies over them. */
	for (int i = 0; i < argc; i++) {
		char *copy = strdup(argv[i]);

		if (copy)
			argv[i] = copy;
		else
			title_room.len = 0;
	}
}

void proctitle_set(const char *fmt, ...)
{
	char text[320];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	prctl(PR_SET_NAME, "husk", 0, 0, 0);
	if (title_room.len < 2)
		return;
	memset(title_room.start, 0, title_room.len);
	snprintf(title_room.start, title_room.len, "%s", text);
}
