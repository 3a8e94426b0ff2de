/* SPDX-License-Identifier: Apache-2.0 */
/* JSON to text, in the layout people know from other runtimes. */
#include "emit.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define INDENT 2

static void emit_value(FILE *f, const cJSON *item, int level);

static void emit_children(FILE *f, const cJSON *item, int level)
{
	const cJSON *child;

	cJSON_ArrayForEach(child, item)
	{
		fprintf(f, "%s\n%*s", child == item->child ? "" : ",", (level + 1) * INDENT, "");
		if (cJSON_IsObject(item)) {
			cJSON key = { .type = cJSON_String, .valuestring = child->string };
			AUTO_FREE char *text = cJSON_PrintUnformatted(&key);

			fprintf(f, "%s: ", text ? text : "\"\"");
		}
		emit_value(f, child, level + 1);
	}
	fprintf(f, "\n%*s", level * INDENT, "");
}

static void emit_value(FILE *f, const cJSON *item, int level)
{
	bool is_object = cJSON_IsObject(item);

	if ((is_object || cJSON_IsArray(item)) && item->child) {
		fputc(is_object ? '{' : '[', f);
		emit_children(f, item, level);
		fputc(is_object ? '}' : ']', f);
	} else {
		AUTO_FREE char *text = cJSON_PrintUnformatted(item);

		fputs(text ? text : "null", f);
	}
}

char *emit_pretty(const cJSON *item)
{
	char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);

	if (!f)
		return NULL;
	emit_value(f, item, 0);
	if (fclose(f) != 0) {
		free(text);
		return NULL;
	}
	return text;
}

int emit_add_u64(cJSON *obj, const char *key, uint64_t value)
{
	char text[24];

	snprintf(text, sizeof(text), "%llu", (unsigned long long)value);
	return cJSON_AddRawToObject(obj, key, text) != NULL;
}
