/* SPDX-License-Identifier: Apache-2.0 */
/* The tables of process, its parts, and the id mappings. Ref: runtime-spec v1.2 config.md#process
 */
#include "fields_macros.h"

/* clang-format off */

#define T struct oci_id_map
static const struct oci_field id_map_fields[] = {
	INT(T, "containerID", container_id, APPLIED, REQ, 0, UINT32_MAX, "first id in the container"),
	INT(T, "hostID", host_id, APPLIED, REQ, 0, UINT32_MAX, "first id on the host"),
	INT(T, "size", size, APPLIED, REQ, 1, UINT32_MAX, "how many"),
	END_OF_FIELDS,
};
const struct oci_type oci_type_id_map = { sizeof(T), id_map_fields };
#undef T

#define T struct oci_console_size
static const struct oci_field console_size_fields[] = {
	INT(T, "height", height, APPLIED, REQ, 0, UINT16_MAX, "rows of the terminal"),
	INT(T, "width", width, APPLIED, REQ, 0, UINT16_MAX, "columns of the terminal"),
	END_OF_FIELDS,
};
static const struct oci_type console_size_type = { sizeof(T), console_size_fields };
#undef T

#define T struct oci_user
static const struct oci_field user_fields[] = {
	INT(T, "uid", uid, APPLIED, 0, 0, UINT32_MAX - 1, "in the guest"),
	INT(T, "gid", gid, APPLIED, 0, 0, UINT32_MAX - 1, "in the guest"),
	INT(T, "umask", umask, APPLIED, 0, 0, 0777, "in the guest; 022 when absent"),
	INTS(T, "additionalGids", additional_gids, APPLIED, 0, 0, UINT32_MAX - 1, "in the guest"),
	STR(T, "username", username, WARNED, 0, "for Windows only"),
	END_OF_FIELDS,
};
static const struct oci_type user_type = { sizeof(T), user_fields };
#undef T

#define T struct oci_caps
static const struct oci_field caps_fields[] = {
	STRS(T, "bounding", bounding, APPLIED, 0, "in the guest"),
	STRS(T, "effective", effective, APPLIED, 0, "in the guest"),
	STRS(T, "inheritable", inheritable, APPLIED, 0, "in the guest"),
	STRS(T, "permitted", permitted, APPLIED, 0, "in the guest"),
	STRS(T, "ambient", ambient, APPLIED, 0, "in the guest"),
	END_OF_FIELDS,
};
static const struct oci_type caps_type = { sizeof(T), caps_fields };
#undef T

#define T struct oci_rlimit
static const struct oci_field rlimit_fields[] = {
	STR(T, "type", type, APPLIED, REQ | OCI_NONEMPTY, "in the guest; RLIMIT_CORE and its like, once each"),
	UNS(T, "soft", soft, APPLIED, REQ, 0, UINT64_MAX, "in the guest"),
	UNS(T, "hard", hard, APPLIED, REQ, 0, UINT64_MAX, "in the guest"),
	END_OF_FIELDS,
};
static const struct oci_type rlimit_type = { sizeof(T), rlimit_fields };
#undef T

static const char *const sched_policies[] = { "SCHED_OTHER", "SCHED_FIFO", "SCHED_RR",
	"SCHED_BATCH", "SCHED_ISO", "SCHED_IDLE", "SCHED_DEADLINE", NULL };
static const char *const sched_flags[] = { "SCHED_FLAG_RESET_ON_FORK", "SCHED_FLAG_RECLAIM",
	"SCHED_FLAG_DL_OVERRUN", "SCHED_FLAG_KEEP_POLICY", "SCHED_FLAG_KEEP_PARAMS",
	"SCHED_FLAG_UTIL_CLAMP_MIN", "SCHED_FLAG_UTIL_CLAMP_MAX", NULL };

#define T struct oci_scheduler
static const struct oci_field scheduler_fields[] = {
	ENUM(T, "policy", policy, APPLIED, REQ, sched_policies, "in the guest"),
	INT(T, "nice", nice, APPLIED, 0, -20, 19, "in the guest"),
	INT(T, "priority", priority, APPLIED, 0, 0, 99, "in the guest; for SCHED_FIFO and SCHED_RR"),
	ENUMS(T, "flags", flags, WARNED, 0, sched_flags, "not built"),
	UNS(T, "runtime", runtime, WARNED, 0, 0, INT64_MAX, "SCHED_DEADLINE is refused at start"),
	UNS(T, "deadline", deadline, WARNED, 0, 0, INT64_MAX, "SCHED_DEADLINE is refused at start"),
	UNS(T, "period", period, WARNED, 0, 0, INT64_MAX, "SCHED_DEADLINE is refused at start"),
	END_OF_FIELDS,
};
static const struct oci_type scheduler_type = { sizeof(T), scheduler_fields };
#undef T

static const char *const io_classes[] = { "IOPRIO_CLASS_RT", "IOPRIO_CLASS_BE",
	"IOPRIO_CLASS_IDLE", NULL };

#define T struct oci_io_priority
static const struct oci_field io_priority_fields[] = {
	ENUM(T, "class", class, APPLIED, REQ, io_classes, "in the guest"),
	INT(T, "priority", priority, APPLIED, 0, 0, 7, "in the guest"),
	END_OF_FIELDS,
};
static const struct oci_type io_priority_type = { sizeof(T), io_priority_fields };
#undef T

#define T struct oci_cpu_affinity
static const struct oci_field affinity_fields[] = {
	STR(T, "initial", initial, WARNED, 0, "the guest has its own CPUs"),
	STR(T, "final", final, WARNED, 0, "the guest has its own CPUs"),
	END_OF_FIELDS,
};
static const struct oci_type affinity_type = { sizeof(T), affinity_fields };
#undef T

#define T struct oci_process
static const struct oci_field process_fields[] = {
	FLAG(T, "terminal", terminal, APPLIED, "a pty in the guest, joined to one on the host"),
	OBJ(T, "consoleSize", console_size, APPLIED, 0, &console_size_type, "first size of the terminal"),
	OBJ(T, "user", user, APPLIED, 0, &user_type, "in the guest; root when absent"),
	STRS(T, "args", args, APPLIED, OCI_NONEMPTY, "args[0] is looked up in the container's PATH"),
	STR(T, "commandLine", command_line, WARNED, 0, "for Windows only"),
	STRS(T, "env", env, APPLIED, 0, "NAME=VALUE each; HOME from the container's /etc/passwd when absent"),
	STR(T, "cwd", cwd, APPLIED, REQ | OCI_NONEMPTY | OCI_ABSPATH, "in the guest"),
	OBJ(T, "capabilities", capabilities, APPLIED, 0, &caps_type, "in the guest; none when absent"),
	OBJS(T, "rlimits", rlimits, APPLIED, 0, &rlimit_type, "in the guest"),
	FLAG(T, "noNewPrivileges", no_new_privileges, APPLIED, "in the guest"),
	STR(T, "apparmorProfile", apparmor_profile, WARNED, 0, "profiles of the host do not reach into the guest"),
	STR(T, "selinuxLabel", selinux_label, WARNED, 0, "labels of the host do not reach into the guest"),
	INT(T, "oomScoreAdj", oom_score_adj, APPLIED, 0, -1000, 1000, "in the guest"),
	OBJ(T, "scheduler", scheduler, APPLIED, 0, &scheduler_type, "in the guest"),
	OBJ(T, "ioPriority", io_priority, APPLIED, 0, &io_priority_type, "in the guest"),
	OBJ(T, "execCPUAffinity", exec_cpu_affinity, WARNED, 0, &affinity_type, "the guest has its own CPUs"),
	END_OF_FIELDS,
};
const struct oci_type oci_type_process = { sizeof(T), process_fields };
#undef T
