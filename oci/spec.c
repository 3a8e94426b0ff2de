/* SPDX-License-Identifier: Apache-2.0 */
/* A config.json to start from. */
#include <errno.h>

#include "emit.h"
#include "oci/features.h"

/* clang-format off */
static const char text[] =
	"{\n"
	"  \"ociVersion\": \"1.2.0\",\n"
	"  \"process\": {\n"
	"    \"terminal\": true,\n"
	"    \"user\": { \"uid\": 0, \"gid\": 0 },\n"
	"    \"args\": [ \"sh\" ],\n"
	"    \"env\": [\n"
	"      \"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\",\n"
	"      \"TERM=xterm\"\n"
	"    ],\n"
	"    \"cwd\": \"/\",\n"
	"    \"capabilities\": {\n"
	"      \"bounding\": [ \"CAP_AUDIT_WRITE\", \"CAP_KILL\", \"CAP_NET_BIND_SERVICE\" ],\n"
	"      \"effective\": [ \"CAP_AUDIT_WRITE\", \"CAP_KILL\", \"CAP_NET_BIND_SERVICE\" ],\n"
	"      \"permitted\": [ \"CAP_AUDIT_WRITE\", \"CAP_KILL\", \"CAP_NET_BIND_SERVICE\" ]\n"
	"    },\n"
	"    \"rlimits\": [ { \"type\": \"RLIMIT_NOFILE\", \"hard\": 1024, \"soft\": 1024 } ],\n"
	"    \"noNewPrivileges\": true\n"
	"  },\n"
	"  \"root\": { \"path\": \"rootfs\", \"readonly\": true },\n"
	"  \"hostname\": \"husk\",\n"
	"  \"mounts\": [\n"
	"    { \"destination\": \"/proc\", \"type\": \"proc\", \"source\": \"proc\" },\n"
	"    { \"destination\": \"/dev\", \"type\": \"tmpfs\", \"source\": \"tmpfs\",\n"
	"      \"options\": [ \"nosuid\", \"strictatime\", \"mode=755\", \"size=65536k\" ] },\n"
	"    { \"destination\": \"/dev/pts\", \"type\": \"devpts\", \"source\": \"devpts\",\n"
	"      \"options\": [ \"nosuid\", \"noexec\", \"newinstance\", \"ptmxmode=0666\", \"mode=0620\" ] },\n"
	"    { \"destination\": \"/dev/shm\", \"type\": \"tmpfs\", \"source\": \"shm\",\n"
	"      \"options\": [ \"nosuid\", \"noexec\", \"nodev\", \"mode=1777\", \"size=65536k\" ] },\n"
	"    { \"destination\": \"/dev/mqueue\", \"type\": \"mqueue\", \"source\": \"mqueue\",\n"
	"      \"options\": [ \"nosuid\", \"noexec\", \"nodev\" ] },\n"
	"    { \"destination\": \"/sys\", \"type\": \"sysfs\", \"source\": \"sysfs\",\n"
	"      \"options\": [ \"nosuid\", \"noexec\", \"nodev\", \"ro\" ] },\n"
	"    { \"destination\": \"/sys/fs/cgroup\", \"type\": \"cgroup\", \"source\": \"cgroup\",\n"
	"      \"options\": [ \"nosuid\", \"noexec\", \"nodev\", \"relatime\", \"ro\" ] }\n"
	"  ],\n"
	"  \"linux\": {\n"
	"    \"namespaces\": [\n"
	"      { \"type\": \"pid\" }, { \"type\": \"network\" }, { \"type\": \"ipc\" }, { \"type\": \"uts\" },\n"
	"      { \"type\": \"mount\" }, { \"type\": \"cgroup\" }\n"
	"    ],\n"
	"    \"maskedPaths\": [\n"
	"      \"/proc/acpi\", \"/proc/asound\", \"/proc/kcore\", \"/proc/keys\", \"/proc/latency_stats\",\n"
	"      \"/proc/timer_list\", \"/proc/timer_stats\", \"/proc/sched_debug\", \"/sys/firmware\", \"/proc/scsi\"\n"
	"    ],\n"
	"    \"readonlyPaths\": [\n"
	"      \"/proc/bus\", \"/proc/fs\", \"/proc/irq\", \"/proc/sys\", \"/proc/sysrq-trigger\"\n"
	"    ]\n"
	"  }\n"
	"}\n";
/* clang-format on */

static cJSON *mapping(unsigned host_id)
{
	CLEANUP(cJSON_Deletep) cJSON *array = cJSON_CreateArray();
	cJSON *one = cJSON_CreateObject();

	if (!array || !one || !cJSON_AddItemToArray(array, one)) {
		cJSON_Delete(one);
		return NULL;
	}
	if (!cJSON_AddNumberToObject(one, "containerID", 0) ||
	    !cJSON_AddNumberToObject(one, "hostID", host_id) ||
	    !cJSON_AddNumberToObject(one, "size", 1))
		return NULL;
	return STEAL_PTR(array);
}

static bool add_mapping(cJSON *lnx, const char *key, unsigned host_id)
{
	cJSON *array = mapping(host_id);

	if (array && cJSON_AddItemToObject(lnx, key, array))
		return true;
	cJSON_Delete(array);
	return false;
}

static bool add_user_namespace(cJSON *lnx)
{
	cJSON *list = cJSON_GetObjectItemCaseSensitive(lnx, "namespaces");
	cJSON *one = cJSON_CreateObject();

	if (one && cJSON_AddStringToObject(one, "type", "user") && cJSON_AddItemToArray(list, one))
		return true;
	cJSON_Delete(one);
	return false;
}

int oci_spec_print(bool rootless, unsigned uid, unsigned gid, char **ret, struct err *err)
{
	CLEANUP(cJSON_Deletep) cJSON *root = cJSON_Parse(text);
	cJSON *lnx = cJSON_GetObjectItemCaseSensitive(root, "linux");

	*ret = NULL;
	if (root &&
	    (!rootless || (add_user_namespace(lnx) && add_mapping(lnx, "uidMappings", uid) &&
			   add_mapping(lnx, "gidMappings", gid))))
		*ret = emit_pretty(root);
	return *ret ? 0 : err_set(err, -ENOMEM, "spec: no memory");
}
