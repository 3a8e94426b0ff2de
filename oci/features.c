/* SPDX-License-Identifier: Apache-2.0 */
/* What the runtime can do, as JSON. Ref: runtime-spec v1.2 features.md, features-linux.md */
#include "oci/features.h"

#include <errno.h>
#include <stdlib.h>

#include "base/checked.h"
#include "emit.h"
#include "oci/config.h"
#include "oci/hooks.h"
#include "oci/state.h"
#include "schema.h"

static bool add_strings(cJSON *obj, const char *key, const char *const *words)
{
	cJSON *array = cJSON_AddArrayToObject(obj, key);

	for (; array && *words; words++) {
		cJSON *one = cJSON_CreateString(*words);

		if (!one || !cJSON_AddItemToArray(array, one))
			return false;
	}
	return array != NULL;
}

static bool add_hooks(cJSON *root)
{
	const char *names[OCI_HOOK_MAX_ + 1] = { 0 };
	size_t n = 0;

	for (unsigned i = 0; i < OCI_HOOK_MAX_; i++) {
		if (i != OCI_HOOK_START_CONTAINER)
			names[n++] = oci_hook_kind_str((enum oci_hook_kind)i);
	}
	return add_strings(root, "hooks", names);
}

static bool add_caps(cJSON *obj)
{
	const char *names[65] = { 0 };

	for (unsigned i = 0; i < 64 && oci_cap_name(i); i++)
		names[i] = oci_cap_name(i);
	return add_strings(obj, "capabilities", names);
}

static bool add_flags(cJSON *obj, const char *const *names, bool value)
{
	for (; *names; names++) {
		if (!cJSON_AddBoolToObject(obj, *names, value))
			return false;
	}
	return true;
}

static bool add_linux(cJSON *root)
{
	static const char *const namespaces[] = { "cgroup", "ipc",  "mount", "network",
						  "pid",    "user", "uts",   NULL };
	static const char *const cgroup_yes[] = { "v1", "v2", NULL };
	static const char *const cgroup_no[] = { "systemd", "systemdUser", "rdma", NULL };
	static const char *const actions[] = {
		"SCMP_ACT_ALLOW",	 "SCMP_ACT_ERRNO",	 "SCMP_ACT_KILL",
		"SCMP_ACT_KILL_PROCESS", "SCMP_ACT_KILL_THREAD", "SCMP_ACT_LOG",
		"SCMP_ACT_TRACE",	 "SCMP_ACT_TRAP",	 NULL
	};
	static const char *const ops[] = { "SCMP_CMP_NE",	 "SCMP_CMP_LT", "SCMP_CMP_LE",
					   "SCMP_CMP_EQ",	 "SCMP_CMP_GE", "SCMP_CMP_GT",
					   "SCMP_CMP_MASKED_EQ", NULL };
	static const char *const arches[] = { "SCMP_ARCH_X86", "SCMP_ARCH_X86_64", "SCMP_ARCH_X32",
					      NULL };
	static const char *const off[] = { "apparmor", "selinux", "intelRdt", NULL };
	cJSON *lnx = cJSON_AddObjectToObject(root, "linux"), *part;

	if (!lnx || !add_strings(lnx, "namespaces", namespaces) || !add_caps(lnx))
		return false;
	part = cJSON_AddObjectToObject(lnx, "cgroup");
	if (!part || !add_flags(part, cgroup_yes, true) || !add_flags(part, cgroup_no, false))
		return false;
	part = cJSON_AddObjectToObject(lnx, "seccomp");
	if (!part || !cJSON_AddBoolToObject(part, "enabled", true) ||
	    !add_strings(part, "actions", actions) || !add_strings(part, "operators", ops) ||
	    !add_strings(part, "archs", arches))
		return false;
	for (unsigned i = 0; off[i]; i++) {
		part = cJSON_AddObjectToObject(lnx, off[i]);
		if (!part || !cJSON_AddBoolToObject(part, "enabled", false))
			return false;
	}
	part = cJSON_AddObjectToObject(lnx, "mountExtensions");
	part = part ? cJSON_AddObjectToObject(part, "idmap") : NULL;
	return part && cJSON_AddBoolToObject(part, "enabled", true);
}

static bool add_annotations(cJSON *root, const char *version)
{
	cJSON *obj = cJSON_AddObjectToObject(root, "annotations");

	return obj && cJSON_AddStringToObject(obj, "dev.husk.version", version);
}

int oci_features_print(const char *version, char **ret, struct err *err)
{
	CLEANUP(cJSON_Deletep) cJSON *root = cJSON_CreateObject();
	AUTO_FREE const char **words = oci_mount_words();

	*ret = NULL;
	if (root && words && cJSON_AddStringToObject(root, "ociVersionMin", "1.0.0") &&
	    cJSON_AddStringToObject(root, "ociVersionMax", OCI_VERSION) && add_hooks(root) &&
	    add_strings(root, "mountOptions", words) && add_linux(root) &&
	    add_annotations(root, version))
		*ret = emit_pretty(root);
	return *ret ? 0 : err_set(err, -ENOMEM, "features: no memory");
}
