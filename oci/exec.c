/* SPDX-License-Identifier: Apache-2.0 */
/* The process of exec, made from the container's own and the command line. */
#include "oci/exec.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "emit.h"
#include "json.h"
#include "oci/config.h"

/* Numbers that were put aside go back as they were written. */
static int restore_numbers(const struct json_doc *doc, cJSON *item)
{
	cJSON *child;

	if (cJSON_IsNumber(item) && item->valuedouble != (double)(int64_t)item->valuedouble) {
		size_t index = (size_t)item->valuedouble;

		item->valuestring = strdup(index < doc->n_aside ? doc->aside[index] : "0");
		item->type = cJSON_Raw;
		return item->valuestring ? 0 : -ENOMEM;
	}
	for (child = item->child; child; child = child->next) {
		if (restore_numbers(doc, child) < 0)
			return -ENOMEM;
	}
	return 0;
}

/* Put @value in place of obj.key; takes @value over. */
static int replace(cJSON *obj, const char *key, cJSON *value)
{
	cJSON_DeleteItemFromObjectCaseSensitive(obj, key);
	if (value && cJSON_AddItemToObject(obj, key, value))
		return 0;
	cJSON_Delete(value);
	return -ENOMEM;
}

static cJSON *strings(const char *const *v, size_t n)
{
	CLEANUP(cJSON_Deletep) cJSON *array = cJSON_CreateArray();

	for (size_t i = 0; array && i < n; i++) {
		cJSON *one = cJSON_CreateString(v[i]);

		if (!one || !cJSON_AddItemToArray(array, one)) {
			cJSON_Delete(one);
			return NULL;
		}
	}
	return STEAL_PTR(array);
}

static int parse_id(const char *option, const char *text, double *ret, struct err *err)
{
	char *end;
	unsigned long n;

	errno = 0;
	n = strtoul(text, &end, 10);
	if (text[0] < '0' || text[0] > '9' || *end || errno || n >= UINT32_MAX)
		return err_set(err, -EINVAL, "--%s: wants a number, got '%.40s'", option, text);
	*ret = (double)n;
	return 0;
}

static cJSON *object_at(cJSON *obj, const char *key)
{
	cJSON *sub = cJSON_GetObjectItemCaseSensitive(obj, key);

	if (cJSON_IsObject(sub))
		return sub;
	cJSON_DeleteItemFromObjectCaseSensitive(obj, key);
	return cJSON_AddObjectToObject(obj, key);
}

static int set_user(cJSON *process, const char *text, struct err *err)
{
	const char *colon = strchr(text, ':');
	char uid_text[24];
	double uid, gid = 0;
	cJSON *user = object_at(process, "user");
	int r;

	snprintf(uid_text, sizeof(uid_text), "%.*s", colon ? (int)(colon - text) : 23, text);
	r = parse_id("user", uid_text, &uid, err);
	if (r == 0 && colon)
		r = parse_id("user", colon + 1, &gid, err);
	if (r < 0)
		return r;
	if (!user || replace(user, "uid", cJSON_CreateNumber(uid)) < 0 ||
	    (colon && replace(user, "gid", cJSON_CreateNumber(gid)) < 0))
		return -ENOMEM;
	return 0;
}

static int set_gids(cJSON *process, const struct oci_exec_options *opt, struct err *err)
{
	cJSON *user = object_at(process, "user"), *array;

	if (!user)
		return -ENOMEM;
	cJSON_DeleteItemFromObjectCaseSensitive(user, "additionalGids");
	array = cJSON_AddArrayToObject(user, "additionalGids");
	for (size_t i = 0; array && i < opt->n_gids; i++) {
		double gid;
		int r = parse_id("additional-gids", opt->gids[i], &gid, err);

		if (r < 0)
			return r;
		if (!cJSON_AddItemToArray(array, cJSON_CreateNumber(gid)))
			return -ENOMEM;
	}
	return array ? 0 : -ENOMEM;
}

static int add_env(cJSON *process, const struct oci_exec_options *opt, struct err *err)
{
	cJSON *env = cJSON_GetObjectItemCaseSensitive(process, "env");

	if (!cJSON_IsArray(env)) {
		cJSON_DeleteItemFromObjectCaseSensitive(process, "env");
		env = cJSON_AddArrayToObject(process, "env");
	}
	for (size_t i = 0; env && i < opt->n_env; i++) {
		if (!strchr(opt->env[i], '=') || opt->env[i][0] == '=')
			return err_set(err, -EINVAL, "--env: wants NAME=VALUE, got '%.80s'",
				       opt->env[i]);
		if (!cJSON_AddItemToArray(env, cJSON_CreateString(opt->env[i])))
			return -ENOMEM;
	}
	return env ? 0 : -ENOMEM;
}

static int add_caps(cJSON *process, const struct oci_exec_options *opt, struct err *err)
{
	static const char *const sets[] = { "bounding", "effective", "permitted", NULL };
	cJSON *caps = object_at(process, "capabilities");

	for (size_t i = 0; i < opt->n_caps; i++) {
		int n = oci_cap_number(opt->caps[i]);

		if (n < 0)
			return err_set(err, -EINVAL, "--cap: unknown capability '%.40s'",
				       opt->caps[i]);
		for (unsigned k = 0; sets[k]; k++) {
			cJSON *set = cJSON_GetObjectItemCaseSensitive(caps, sets[k]);

			if (!set)
				set = cJSON_AddArrayToObject(caps, sets[k]);
			if (!set || !cJSON_AddItemToArray(set, cJSON_CreateString(
								       oci_cap_name((unsigned)n))))
				return -ENOMEM;
		}
	}
	return caps ? 0 : -ENOMEM;
}

static int change(cJSON *p, const struct oci_exec_options *opt, struct err *err)
{
	size_t n = 0;
	int r = 0;

	while (opt->args && opt->args[n])
		n++;
	if (n)
		r = replace(p, "args", strings((const char *const *)opt->args, n));
	if (r == 0)
		r = replace(p, "terminal", cJSON_CreateBool(opt->tty));
	/* The container's own terminal has nothing to do with this one. */
	cJSON_DeleteItemFromObjectCaseSensitive(p, "consoleSize");
	if (r == 0 && opt->no_new_privs)
		r = replace(p, "noNewPrivileges", cJSON_CreateTrue());
	if (r == 0 && opt->cwd)
		r = replace(p, "cwd", cJSON_CreateString(opt->cwd));
	if (r == 0 && opt->user)
		r = set_user(p, opt->user, err);
	if (r == 0 && opt->n_gids)
		r = set_gids(p, opt, err);
	if (r == 0 && opt->n_env)
		r = add_env(p, opt, err);
	if (r == 0 && opt->n_caps)
		r = add_caps(p, opt, err);
	return r;
}

int oci_exec_process(const char *config_text, size_t len, const struct oci_exec_options *opt,
		     char **ret, struct err *err)
{
	CLEANUP(json_doc_freep) struct json_doc *doc = NULL;
	cJSON *process;
	int r = json_parse(config_text, len, "config.json", &doc, err);

	if (r < 0)
		return r;
	process = cJSON_GetObjectItemCaseSensitive(doc->root, "process");
	if (!cJSON_IsObject(process))
		return err_set(err, -EINVAL, "config.json: process: is required");
	r = restore_numbers(doc, process);
	if (r == 0)
		r = change(process, opt, err);
	if (r == -ENOMEM)
		return err_set(err, r, "exec: no memory");
	if (r < 0)
		return r;
	*ret = cJSON_PrintUnformatted(process);
	return *ret ? 0 : err_set(err, -ENOMEM, "exec: no memory");
}
