/* SPDX-License-Identifier: Apache-2.0 */
/* The tables of linux and its parts. Ref: runtime-spec v1.2 config-linux.md */
#include "fields_macros.h"

/* clang-format off */

#define HOST_V1	 "around all processes of the container on the host; cgroup v1"
#define HOST_CG	 "around all processes of the container on the host"
#define DEV_MAX	 INT64_MAX

static const char *const namespace_types[] = { "pid", "network", "mount", "ipc", "uts", "user",
	"cgroup", "time", NULL };
static const char *const device_types[] = { "c", "b", "u", "p", NULL };
static const char *const rule_types[] = { "a", "b", "c", "", NULL };
static const char *const propagations[] = { "", "shared", "slave", "private", "unbindable",
	"rshared", "rslave", "rprivate", "runbindable", NULL };

#define T struct oci_namespace
static const struct oci_field namespace_fields[] = {
	ENUM(T, "type", type, APPLIED, REQ, namespace_types, "each once"),
	STR(T, "path", path, APPLIED, OCI_ABSPATH, "network: joined by the machine's process, its interfaces become the guest's (docs/network.md); uts: the host name is taken from it; others are the guest's own, with a warning"),
	END_OF_FIELDS,
};
static const struct oci_type namespace_type = { sizeof(T), namespace_fields };
#undef T

#define T struct oci_device
static const struct oci_field device_fields[] = {
	ENUM(T, "type", type, APPLIED, REQ, device_types, "a node in the guest"),
	STR(T, "path", path, APPLIED, REQ | OCI_NONEMPTY | OCI_ABSPATH, "a node in the guest"),
	INT(T, "major", major, APPLIED, 0, 0, 4095, "required but for type p"),
	INT(T, "minor", minor, APPLIED, 0, 0, 1048575, "required but for type p"),
	INT(T, "fileMode", file_mode, APPLIED, 0, 0, 07777, "0666 when absent"),
	INT(T, "uid", uid, APPLIED, 0, 0, UINT32_MAX - 1, "owner"),
	INT(T, "gid", gid, APPLIED, 0, 0, UINT32_MAX - 1, "group"),
	END_OF_FIELDS,
};
static const struct oci_type device_type = { sizeof(T), device_fields };
#undef T

#define T struct oci_device_rule
static const struct oci_field rule_fields[] = {
	FLAG(T, "allow", allow, APPLIED, "checked only"),
	ENUM(T, "type", type, APPLIED, 0, rule_types, "checked only"),
	INT(T, "major", major, APPLIED, 0, -1, DEV_MAX, "checked only"),
	INT(T, "minor", minor, APPLIED, 0, -1, DEV_MAX, "checked only"),
	STR(T, "access", access, APPLIED, 0, "checked only"),
	END_OF_FIELDS,
};
static const struct oci_type rule_type = { sizeof(T), rule_fields };
#undef T

#define T struct oci_memory
static const struct oci_field memory_fields[] = {
	INT(T, "limit", limit, APPLIED, 0, -1, INT64_MAX, "sizes the guest; with husk's own need added, " HOST_CG),
	INT(T, "reservation", reservation, APPLIED, 0, -1, INT64_MAX, HOST_CG),
	INT(T, "swap", swap, APPLIED, 0, -1, INT64_MAX, HOST_CG),
	INT(T, "kernel", kernel, WARNED, 0, -1, INT64_MAX, "no kernel has this limit any more"),
	INT(T, "kernelTCP", kernel_tcp, APPLIED, 0, -1, INT64_MAX, HOST_V1),
	UNS(T, "swappiness", swappiness, APPLIED, 0, 0, 100, HOST_V1),
	BOOL(T, "disableOOMKiller", disable_oom_killer, APPLIED, HOST_V1),
	BOOL(T, "useHierarchy", use_hierarchy, WARNED, "always so"),
	BOOL(T, "checkBeforeUpdate", check_before_update, APPLIED, "update refuses a limit below what is used"),
	END_OF_FIELDS,
};
static const struct oci_type memory_type = { sizeof(T), memory_fields };
#undef T

#define T struct oci_cpu
static const struct oci_field cpu_fields[] = {
	UNS(T, "shares", shares, APPLIED, 0, 0, 262144, HOST_CG),
	INT(T, "quota", quota, APPLIED, 0, -1, INT64_MAX / 2, "with period, the number of vCPUs; " HOST_CG),
	UNS(T, "burst", burst, APPLIED, 0, 0, INT64_MAX / 2, HOST_CG),
	UNS(T, "period", period, APPLIED, 0, 0, 1000000, HOST_CG),
	INT(T, "realtimeRuntime", realtime_runtime, APPLIED, 0, -1, INT64_MAX / 2, HOST_V1),
	UNS(T, "realtimePeriod", realtime_period, APPLIED, 0, 0, INT64_MAX / 2, HOST_V1),
	STR(T, "cpus", cpus, APPLIED, 0, HOST_CG),
	STR(T, "mems", mems, APPLIED, 0, HOST_CG),
	INT(T, "idle", idle, APPLIED, 0, 0, 1, HOST_CG),
	END_OF_FIELDS,
};
static const struct oci_type cpu_type = { sizeof(T), cpu_fields };
#undef T

#define T struct oci_pids
static const struct oci_field pids_fields[] = {
	INT(T, "limit", limit, APPLIED, REQ, INT64_MIN, INT64_MAX, "in the guest, whose cgroup the container's processes share; 0 or less: no limit"),
	END_OF_FIELDS,
};
static const struct oci_type pids_type = { sizeof(T), pids_fields };
#undef T

#define T struct oci_weight_device
static const struct oci_field weight_device_fields[] = {
	INT(T, "major", major, APPLIED, REQ, 0, DEV_MAX, HOST_CG),
	INT(T, "minor", minor, APPLIED, REQ, 0, DEV_MAX, HOST_CG),
	UNS(T, "weight", weight, APPLIED, 0, 0, 1000, HOST_CG),
	UNS(T, "leafWeight", leaf_weight, WARNED, 0, 0, 1000, "no kernel has leaf weights any more"),
	END_OF_FIELDS,
};
static const struct oci_type weight_device_type = { sizeof(T), weight_device_fields };
#undef T

#define T struct oci_throttle_device
static const struct oci_field throttle_fields[] = {
	INT(T, "major", major, APPLIED, REQ, 0, DEV_MAX, HOST_CG),
	INT(T, "minor", minor, APPLIED, REQ, 0, DEV_MAX, HOST_CG),
	UNS(T, "rate", rate, APPLIED, REQ, 0, UINT64_MAX, HOST_CG),
	END_OF_FIELDS,
};
static const struct oci_type throttle_type = { sizeof(T), throttle_fields };
#undef T

#define T struct oci_block_io
static const struct oci_field block_io_fields[] = {
	UNS(T, "weight", weight, APPLIED, 0, 0, 1000, HOST_CG),
	UNS(T, "leafWeight", leaf_weight, WARNED, 0, 0, 1000, "no kernel has leaf weights any more"),
	OBJS(T, "weightDevice", weight_devices, APPLIED, 0, &weight_device_type, HOST_CG),
	OBJS(T, "throttleReadBpsDevice", read_bps, APPLIED, 0, &throttle_type, HOST_CG),
	OBJS(T, "throttleWriteBpsDevice", write_bps, APPLIED, 0, &throttle_type, HOST_CG),
	OBJS(T, "throttleReadIOPSDevice", read_iops, APPLIED, 0, &throttle_type, HOST_CG),
	OBJS(T, "throttleWriteIOPSDevice", write_iops, APPLIED, 0, &throttle_type, HOST_CG),
	END_OF_FIELDS,
};
static const struct oci_type block_io_type = { sizeof(T), block_io_fields };
#undef T

#define T struct oci_hugepage_limit
static const struct oci_field hugepage_fields[] = {
	STR(T, "pageSize", page_size, APPLIED, REQ | OCI_NONEMPTY, HOST_CG),
	UNS(T, "limit", limit, APPLIED, REQ, 0, UINT64_MAX, HOST_CG),
	END_OF_FIELDS,
};
static const struct oci_type hugepage_type = { sizeof(T), hugepage_fields };
#undef T

#define T struct oci_net_priority
static const struct oci_field net_priority_fields[] = {
	STR(T, "name", name, APPLIED, REQ | OCI_NONEMPTY, HOST_V1),
	UNS(T, "priority", priority, APPLIED, REQ, 0, UINT32_MAX, HOST_V1),
	END_OF_FIELDS,
};
static const struct oci_type net_priority_type = { sizeof(T), net_priority_fields };
#undef T

#define T struct oci_net_limits
static const struct oci_field net_limits_fields[] = {
	UNS(T, "classID", class_id, APPLIED, 0, 0, UINT32_MAX, HOST_V1),
	OBJS(T, "priorities", priorities, APPLIED, 0, &net_priority_type, HOST_V1),
	END_OF_FIELDS,
};
static const struct oci_type net_limits_type = { sizeof(T), net_limits_fields };
#undef T

#define T struct oci_rdma
static const struct oci_field rdma_fields[] = {
	UNS(T, "hcaHandles", hca_handles, WARNED, 0, 0, UINT32_MAX, "the guest has no RDMA devices"),
	UNS(T, "hcaObjects", hca_objects, WARNED, 0, 0, UINT32_MAX, "the guest has no RDMA devices"),
	END_OF_FIELDS,
};
static const struct oci_type rdma_type = { sizeof(T), rdma_fields };
#undef T

#define T struct oci_resources
static const struct oci_field resources_fields[] = {
	MAP(T, "unified", unified, APPLIED, "files of the cgroup v2 directory on the host"),
	OBJS(T, "devices", devices, APPLIED, 0, &rule_type, "checked only: the guest's devices are its own"),
	OBJ(T, "memory", memory, APPLIED, 0, &memory_type, HOST_CG),
	OBJ(T, "cpu", cpu, APPLIED, 0, &cpu_type, HOST_CG),
	OBJ(T, "pids", pids, APPLIED, 0, &pids_type, "in the guest"),
	OBJ(T, "blockIO", block_io, APPLIED, 0, &block_io_type, HOST_CG),
	OBJS(T, "hugepageLimits", hugepage_limits, APPLIED, 0, &hugepage_type, HOST_CG),
	OBJ(T, "network", network, APPLIED, 0, &net_limits_type, HOST_V1),
	OBJMAP(T, "rdma", rdma, WARNED, &rdma_type, "the guest has no RDMA devices"),
	END_OF_FIELDS,
};
const struct oci_type oci_type_resources = { sizeof(T), resources_fields };
#undef T

static const char *const seccomp_actions[] = { "SCMP_ACT_KILL", "SCMP_ACT_KILL_PROCESS",
	"SCMP_ACT_KILL_THREAD", "SCMP_ACT_TRAP", "SCMP_ACT_ERRNO", "SCMP_ACT_TRACE",
	"SCMP_ACT_ALLOW", "SCMP_ACT_LOG", "SCMP_ACT_NOTIFY", NULL };
static const char *const seccomp_ops[] = { "SCMP_CMP_NE", "SCMP_CMP_LT", "SCMP_CMP_LE",
	"SCMP_CMP_EQ", "SCMP_CMP_GE", "SCMP_CMP_GT", "SCMP_CMP_MASKED_EQ", NULL };
static const char *const seccomp_arches[] = { "SCMP_ARCH_X86", "SCMP_ARCH_X86_64",
	"SCMP_ARCH_X32", "SCMP_ARCH_ARM", "SCMP_ARCH_AARCH64", "SCMP_ARCH_MIPS",
	"SCMP_ARCH_MIPS64", "SCMP_ARCH_MIPS64N32", "SCMP_ARCH_MIPSEL", "SCMP_ARCH_MIPSEL64",
	"SCMP_ARCH_MIPSEL64N32", "SCMP_ARCH_PPC", "SCMP_ARCH_PPC64", "SCMP_ARCH_PPC64LE",
	"SCMP_ARCH_S390", "SCMP_ARCH_S390X", "SCMP_ARCH_PARISC", "SCMP_ARCH_PARISC64",
	"SCMP_ARCH_RISCV64", "SCMP_ARCH_LOONGARCH64", "SCMP_ARCH_M68K", "SCMP_ARCH_SH",
	"SCMP_ARCH_SHEB", NULL };
static const char *const seccomp_flags[] = { "SECCOMP_FILTER_FLAG_TSYNC",
	"SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
	"SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", NULL };

#define T struct oci_seccomp_arg
static const struct oci_field seccomp_arg_fields[] = {
	INT(T, "index", index, APPLIED, REQ, 0, 5, "in the guest"),
	UNS(T, "value", value, APPLIED, REQ, 0, UINT64_MAX, "in the guest"),
	UNS(T, "valueTwo", value_two, APPLIED, 0, 0, UINT64_MAX, "in the guest"),
	ENUM(T, "op", op, APPLIED, REQ, seccomp_ops, "in the guest"),
	END_OF_FIELDS,
};
static const struct oci_type seccomp_arg_type = { sizeof(T), seccomp_arg_fields };
#undef T

#define T struct oci_seccomp_rule
static const struct oci_field seccomp_rule_fields[] = {
	STRS(T, "names", names, APPLIED, REQ | OCI_NONEMPTY, "in the guest; names libseccomp does not know are left out"),
	ENUM(T, "action", action, APPLIED, REQ, seccomp_actions, "in the guest; SCMP_ACT_NOTIFY is refused"),
	INT(T, "errnoRet", errno_ret, APPLIED, 0, 0, 4095, "in the guest; EPERM when absent"),
	OBJS(T, "args", args, APPLIED, 0, &seccomp_arg_type, "in the guest"),
	END_OF_FIELDS,
};
static const struct oci_type seccomp_rule_type = { sizeof(T), seccomp_rule_fields };
#undef T

#define T struct oci_seccomp
static const struct oci_field seccomp_fields[] = {
	ENUM(T, "defaultAction", default_action, APPLIED, REQ, seccomp_actions, "compiled on the host, loaded in the guest"),
	INT(T, "defaultErrnoRet", default_errno_ret, APPLIED, 0, 0, 4095, "in the guest; EPERM when absent"),
	ENUMS(T, "architectures", architectures, APPLIED, 0, seccomp_arches, "those the guest can run; others are left out"),
	ENUMS(T, "flags", flags, APPLIED, 0, seccomp_flags, "in the guest"),
	STR(T, "listenerPath", listener_path, REFUSED, 0, "a listener on the host cannot hold a filter of the guest"),
	STR(T, "listenerMetadata", listener_metadata, REFUSED, 0, "a listener on the host cannot hold a filter of the guest"),
	OBJS(T, "syscalls", syscalls, APPLIED, 0, &seccomp_rule_type, "in the guest"),
	END_OF_FIELDS,
};
const struct oci_type oci_type_seccomp = { sizeof(T), seccomp_fields };
#undef T

#define T struct oci_intel_rdt
static const struct oci_field rdt_fields[] = {
	STR(T, "closID", clos_id, WARNED, 0, "not built"),
	STR(T, "l3CacheSchema", l3_cache_schema, WARNED, 0, "not built"),
	STR(T, "memBwSchema", mem_bw_schema, WARNED, 0, "not built"),
	FLAG(T, "enableCMT", enable_cmt, WARNED, "not built"),
	FLAG(T, "enableMBM", enable_mbm, WARNED, "not built"),
	END_OF_FIELDS,
};
static const struct oci_type rdt_type = { sizeof(T), rdt_fields };
#undef T

static const char *const personality_domains[] = { "LINUX", "LINUX32", NULL };

#define T struct oci_personality
static const struct oci_field personality_fields[] = {
	ENUM(T, "domain", domain, WARNED, REQ, personality_domains, "not built"),
	STRS(T, "flags", flags, WARNED, 0, "not built"),
	END_OF_FIELDS,
};
static const struct oci_type personality_type = { sizeof(T), personality_fields };
#undef T

#define T struct oci_time_offset
static const struct oci_field time_offset_fields[] = {
	INT(T, "secs", secs, WARNED, 0, INT64_MIN, INT64_MAX, "the guest has its own clocks"),
	INT(T, "nanosecs", nanosecs, WARNED, 0, 0, 999999999, "the guest has its own clocks"),
	END_OF_FIELDS,
};
static const struct oci_type time_offset_type = { sizeof(T), time_offset_fields };
#undef T

#define T struct oci_time_offsets
static const struct oci_field time_offsets_fields[] = {
	OBJ(T, "monotonic", monotonic, WARNED, 0, &time_offset_type, "the guest has its own clocks"),
	OBJ(T, "boottime", boottime, WARNED, 0, &time_offset_type, "the guest has its own clocks"),
	END_OF_FIELDS,
};
static const struct oci_type time_offsets_type = { sizeof(T), time_offsets_fields };
#undef T

#define T struct oci_linux
static const struct oci_field linux_fields[] = {
	OBJS(T, "namespaces", namespaces, APPLIED, 0, &namespace_type, "network for the machine's process, the rest made in the guest"),
	OBJS(T, "uidMappings", uid_mappings, APPLIED, 0, &oci_type_id_map, "in a user namespace of the guest; without root on the host all ids are the guest's own, and unmapped"),
	OBJS(T, "gidMappings", gid_mappings, APPLIED, 0, &oci_type_id_map, "in a user namespace of the guest; without root on the host all ids are the guest's own, and unmapped"),
	OBJS(T, "devices", devices, APPLIED, 0, &device_type, "nodes in the guest"),
	STR(T, "cgroupsPath", cgroups_path, APPLIED, 0, "of the cgroup on the host"),
	ENUM(T, "rootfsPropagation", rootfs_propagation, APPLIED, 0, propagations, "in the guest; mounts made later on the host do not reach it"),
	STR(T, "mountLabel", mount_label, WARNED, 0, "labels of the host do not reach into the guest"),
	OBJ(T, "resources", resources, APPLIED, 0, &oci_type_resources, HOST_CG),
	OBJ(T, "seccomp", seccomp, APPLIED, 0, &oci_type_seccomp, "compiled on the host, loaded in the guest"),
	MAP(T, "sysctl", sysctl, APPLIED, "in the guest"),
	STRS(T, "maskedPaths", masked_paths, APPLIED, OCI_ABSPATH, "in the guest"),
	STRS(T, "readonlyPaths", readonly_paths, APPLIED, OCI_ABSPATH, "in the guest"),
	OBJ(T, "intelRdt", intel_rdt, WARNED, 0, &rdt_type, "not built"),
	OBJ(T, "personality", personality, WARNED, 0, &personality_type, "not built"),
	OBJ(T, "timeOffsets", time_offsets, WARNED, 0, &time_offsets_type, "the guest has its own clocks"),
	END_OF_FIELDS,
};
const struct oci_type oci_type_linux = { sizeof(T), linux_fields };
#undef T
