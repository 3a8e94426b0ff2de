/* SPDX-License-Identifier: Apache-2.0 */
/* What is known of a container between two runs of the runtime: state.json. */
#include "oci/state.h"

#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/checked.h"
#include "base/clock.h"
#include "emit.h"
#include "json.h"

static const char *const status_names[OCI_STATUS_MAX_] = {
	[OCI_STATUS_CREATING] = "creating", [OCI_STATUS_CREATED] = "created",
	[OCI_STATUS_RUNNING] = "running",   [OCI_STATUS_PAUSED] = "paused",
	[OCI_STATUS_STOPPED] = "stopped",
};

const char *oci_status_str(enum oci_status status)
{
	return (unsigned)status < OCI_STATUS_MAX_ ? status_names[status] : "unknown";
}

void oci_state_done(struct oci_state *state)
{
	free(state->id);
	free(state->bundle);
	free(state->rootfs);
	free(state->config_path);
	free(state->cgroup);
	for (size_t i = 0; i < state->n_annotations; i++) {
		free((void *)(uintptr_t)state->annotations[i].key);
		free((void *)(uintptr_t)state->annotations[i].value);
	}
	free(state->annotations);
	*state = (struct oci_state){ 0 };
}

void oci_time_format(uint64_t ns, char *buf, size_t len)
{
	time_t secs = (time_t)(ns / NSEC_PER_SEC);
	char date[32];
	struct tm tm;

	gmtime_r(&secs, &tm);
	strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(buf, len, "%s.%09lluZ", date, (unsigned long long)(ns % NSEC_PER_SEC));
}

/* ---- reading ---- */

static int take_string(const cJSON *root, const char *key, bool required, char **ret,
		       struct err *err)
{
	const cJSON *item = cJSON_GetObjectItemCaseSensitive(root, key);

	if (!item && !required)
		return 0;
	if (!cJSON_IsString(item))
		return err_set(err, -EINVAL, "state.json: %s: wants a string", key);
	*ret = strdup(item->valuestring);
	return *ret ? 0 : err_set(err, -ENOMEM, "state.json: no memory");
}

static int take_u64(const struct json_doc *doc, const char *key, uint64_t max, uint64_t *ret,
		    struct err *err)
{
	const cJSON *item = cJSON_GetObjectItemCaseSensitive(doc->root, key);

	if (!cJSON_IsNumber(item) || json_u64(doc, item, ret) < 0 || *ret > max)
		return err_set(err, -EINVAL, "state.json: %s: wants a number up to %llu", key,
			       (unsigned long long)max);
	return 0;
}

static int take_status(const cJSON *root, enum oci_status *ret, struct err *err)
{
	const cJSON *item = cJSON_GetObjectItemCaseSensitive(root, "status");

	for (unsigned i = 0; cJSON_IsString(item) && i < OCI_STATUS_MAX_; i++) {
		if (!strcmp(item->valuestring, status_names[i])) {
			*ret = (enum oci_status)i;
			return 0;
		}
	}
	return err_set(err, -EINVAL, "state.json: status: not a known one");
}

static int take_annotations(const cJSON *root, struct oci_state *s, struct err *err)
{
	const cJSON *item = cJSON_GetObjectItemCaseSensitive(root, "annotations"), *child;

	if (!item)
		return 0;
	s->annotations = calloc((size_t)cJSON_GetArraySize(item) + 1, sizeof(*s->annotations));
	if (!s->annotations)
		return err_set(err, -ENOMEM, "state.json: no memory");
	cJSON_ArrayForEach(child, item)
	{
		struct oci_pair *pair = &s->annotations[s->n_annotations];

		if (!child->string || !cJSON_IsString(child))
			return err_set(err, -EINVAL, "state.json: annotations: wants strings");
		s->n_annotations++;
		pair->key = strdup(child->string);
		pair->value = strdup(child->valuestring);
		if (!pair->key || !pair->value)
			return err_set(err, -ENOMEM, "state.json: no memory");
	}
	return 0;
}

static int take_all(const struct json_doc *doc, struct oci_state *s, struct err *err)
{
	uint64_t pid = 0, owner = 0;
	int r = take_string(doc->root, "id", true, &s->id, err);

	if (r == 0)
		r = take_string(doc->root, "bundle", true, &s->bundle, err);
	if (r == 0)
		r = take_string(doc->root, "rootfs", true, &s->rootfs, err);
	if (r == 0)
		r = take_string(doc->root, "config", true, &s->config_path, err);
	if (r == 0)
		r = take_string(doc->root, "cgroup", false, &s->cgroup, err);
	if (r == 0)
		r = take_status(doc->root, &s->status, err);
	if (r == 0)
		r = take_u64(doc, "pid", INT32_MAX, &pid, err);
	if (r == 0)
		r = take_u64(doc, "pidStart", UINT64_MAX, &s->pid_start, err);
	if (r == 0)
		r = take_u64(doc, "created", UINT64_MAX, &s->created_ns, err);
	if (r == 0)
		r = take_u64(doc, "owner", UINT32_MAX, &owner, err);
	if (r == 0)
		r = take_annotations(doc->root, s, err);
	s->pid = (pid_t)pid;
	s->owner_uid = (uint32_t)owner;
	s->poststop_done =
		cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(doc->root, "poststopDone"));
	return r;
}

int oci_state_parse(const char *text, size_t len, struct oci_state *ret, struct err *err)
{
	CLEANUP(json_doc_freep) struct json_doc *doc = NULL;
	struct oci_state state = { 0 };
	int r = json_parse(text, len, "state.json", &doc, err);

	if (r < 0)
		return r;
	if (!cJSON_IsObject(doc->root))
		return err_set(err, -EINVAL, "state.json: wants an object");
	r = take_all(doc, &state, err);
	if (r < 0)
		oci_state_done(&state);
	else
		*ret = state;
	return r;
}

/* ---- writing ---- */

static bool add_annotations(cJSON *root, const struct oci_state *s)
{
	cJSON *obj;

	if (!s->n_annotations)
		return true;
	obj = cJSON_AddObjectToObject(root, "annotations");
	for (size_t i = 0; obj && i < s->n_annotations; i++) {
		if (!cJSON_AddStringToObject(obj, s->annotations[i].key, s->annotations[i].value))
			return false;
	}
	return obj != NULL;
}

int oci_state_format(const struct oci_state *s, char **ret, struct err *err)
{
	CLEANUP(cJSON_Deletep) cJSON *root = cJSON_CreateObject();

	if (root && cJSON_AddStringToObject(root, "id", s->id) &&
	    cJSON_AddStringToObject(root, "bundle", s->bundle) &&
	    cJSON_AddStringToObject(root, "rootfs", s->rootfs) &&
	    cJSON_AddStringToObject(root, "config", s->config_path) &&
	    (!s->cgroup || cJSON_AddStringToObject(root, "cgroup", s->cgroup)) &&
	    cJSON_AddStringToObject(root, "status", oci_status_str(s->status)) &&
	    cJSON_AddNumberToObject(root, "pid", s->pid) &&
	    emit_add_u64(root, "pidStart", s->pid_start) &&
	    emit_add_u64(root, "created", s->created_ns) &&
	    cJSON_AddNumberToObject(root, "owner", s->owner_uid) &&
	    cJSON_AddBoolToObject(root, "poststopDone", s->poststop_done) &&
	    add_annotations(root, s))
		*ret = emit_pretty(root);
	else
		*ret = NULL;
	return *ret ? 0 : err_set(err, -ENOMEM, "state: no memory");
}

static void owner_name(uint32_t uid, char *buf, size_t len)
{
	char room[4096];
	struct passwd pw, *found = NULL;

	if (getpwuid_r(uid, &pw, room, sizeof(room), &found) == 0 && found)
		snprintf(buf, len, "%s", pw.pw_name);
	else
		snprintf(buf, len, "#%u", uid);
}

static cJSON *state_object(const struct oci_state *s, bool pretty)
{
	CLEANUP(cJSON_Deletep) cJSON *root = cJSON_CreateObject();
	pid_t pid = s->status == OCI_STATUS_STOPPED ? 0 : s->pid;
	char created[40], owner[64];
	bool ok;

	oci_time_format(s->created_ns, created, sizeof(created));
	ok = root && cJSON_AddStringToObject(root, "ociVersion", OCI_VERSION) &&
	     cJSON_AddStringToObject(root, "id", s->id) &&
	     cJSON_AddNumberToObject(root, "pid", pid) &&
	     cJSON_AddStringToObject(root, "status", oci_status_str(s->status)) &&
	     cJSON_AddStringToObject(root, "bundle", s->bundle);
	/* Hooks get what the specification names, people a little more. */
	if (ok && pretty) {
		owner_name(s->owner_uid, owner, sizeof(owner));
		ok = cJSON_AddStringToObject(root, "rootfs", s->rootfs) &&
		     cJSON_AddStringToObject(root, "created", created) &&
		     cJSON_AddStringToObject(root, "owner", owner);
	}
	if (!ok || !add_annotations(root, s))
		return NULL;
	return STEAL_PTR(root);
}

int oci_state_print(const struct oci_state *s, bool pretty, char **ret, struct err *err)
{
	CLEANUP(cJSON_Deletep) cJSON *root = state_object(s, pretty);

	*ret = !root ? NULL : pretty ? emit_pretty(root) : cJSON_PrintUnformatted(root);
	return *ret ? 0 : err_set(err, -ENOMEM, "state: no memory");
}

int oci_state_print_list(const struct oci_state *states, size_t n, char **ret, struct err *err)
{
	CLEANUP(cJSON_Deletep) cJSON *array = cJSON_CreateArray();

	for (size_t i = 0; array && i < n; i++) {
		cJSON *one = state_object(&states[i], true);

		if (!one || !cJSON_AddItemToArray(array, one)) {
			cJSON_Delete(one);
			return err_set(err, -ENOMEM, "state: no memory");
		}
	}
	*ret = array ? cJSON_PrintUnformatted(array) : NULL;
	return *ret ? 0 : err_set(err, -ENOMEM, "state: no memory");
}
