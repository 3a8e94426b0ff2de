/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The configuration of a container: config.json of the OCI runtime specification as C structures.
 *
 * Theory of operation. A configuration is read from text in two steps without side effects: the
 * decoder walks the JSON by tables (types, ranges, allowed words), then the validator looks at what
 * fields mean together. Everything lives in one arena and is freed at once. What husk does with
 * each field is data too (oci/fields.h): applied, refused, or ignored with a warning that names the
 * field. No field is dropped in silence; unknown ones are warned about.
 *
 * Ref: runtime-spec v1.2 config.md, config-linux.md, config-vm.md.
 */
#ifndef OCI_CONFIG_H
#define OCI_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/err.h"

#define OCI_FILE_MAX	 (8U << 20) /* bytes of one JSON file */
#define OCI_WARNINGS_MAX 64

/* Optional numbers; .v is 0 while not set. */
struct oci_i64 {
	bool set;
	int64_t v;
};

struct oci_u64 {
	bool set;
	uint64_t v;
};

struct oci_bool {
	bool set, v;
};

/* Strings, with a NULL behind the last. v may be NULL when n is 0. */
struct oci_strs {
	char **v;
	size_t n;
};

struct oci_i64s {
	struct oci_i64 *v;
	size_t n;
};

struct oci_pair {
	const char *key;
	const char *value;
};

struct oci_map {
	struct oci_pair *v;
	size_t n;
};

#define OCI_ARRAY(type)   \
	struct {          \
		type *v;  \
		size_t n; \
	}

struct oci_id_map {
	struct oci_i64 container_id, host_id, size;
};

typedef OCI_ARRAY(struct oci_id_map) oci_id_maps_t;

struct oci_root {
	const char *path;
	bool readonly;
};

/* What the words of mounts[].options come to. */
struct oci_mount_flags {
	uint64_t set, clear;	     /* MS_* */
	uint64_t rec_set, rec_clear; /* MS_*, by "rro" and its like: the whole tree */
	uint64_t propagation;	     /* MS_SHARED and others, with MS_REC; 0: as it is */
	bool bind, rbind;
	bool idmap, ridmap;
	bool tmpcopyup;
	bool copy_symlink;
	const char *data; /* comma-separated rest, for the file system; "" for none */
};

struct oci_mount {
	const char *destination, *source, *type;
	struct oci_strs options;
	oci_id_maps_t uid_mappings, gid_mappings;
	struct oci_mount_flags flags; /* made by the validator */
};

struct oci_user {
	struct oci_i64 uid, gid, umask;
	struct oci_i64s additional_gids;
	const char *username;
};

struct oci_caps {
	struct oci_strs bounding, effective, inheritable, permitted, ambient;
	/* Bit n: capability n of linux/capability.h; made by the validator. */
	uint64_t bounding_set, effective_set, inheritable_set, permitted_set, ambient_set;
};

struct oci_rlimit {
	const char *type;
	struct oci_u64 soft, hard;
	int resource; /* RLIMIT_*, made by the validator */
};

struct oci_scheduler {
	const char *policy;
	struct oci_i64 nice, priority;
	struct oci_strs flags;
	struct oci_u64 runtime, deadline, period;
};

struct oci_io_priority {
	const char *class;
	struct oci_i64 priority;
};

struct oci_cpu_affinity {
	const char *initial, *final;
};

struct oci_console_size {
	struct oci_i64 height, width;
};

struct oci_process {
	bool terminal, no_new_privileges;
	struct oci_console_size *console_size;
	struct oci_user *user;
	struct oci_strs args, env;
	const char *command_line, *cwd;
	struct oci_caps *capabilities;
	OCI_ARRAY(struct oci_rlimit) rlimits;
	const char *apparmor_profile, *selinux_label;
	struct oci_i64 oom_score_adj;
	struct oci_scheduler *scheduler;
	struct oci_io_priority *io_priority;
	struct oci_cpu_affinity *exec_cpu_affinity;
};

struct oci_hook {
	const char *path;
	struct oci_strs args, env;
	struct oci_i64 timeout; /* seconds */
};

typedef OCI_ARRAY(struct oci_hook) oci_hook_list_t;

enum oci_hook_kind {
	OCI_HOOK_PRESTART,
	OCI_HOOK_CREATE_RUNTIME,
	OCI_HOOK_CREATE_CONTAINER,
	OCI_HOOK_START_CONTAINER,
	OCI_HOOK_POSTSTART,
	OCI_HOOK_POSTSTOP,
	OCI_HOOK_MAX_,
};

struct oci_hooks {
	oci_hook_list_t of[OCI_HOOK_MAX_];
};

struct oci_namespace {
	const char *type, *path;
	int flag; /* CLONE_NEW*, made by the validator */
};

struct oci_device {
	const char *type, *path;
	struct oci_i64 major, minor, file_mode, uid, gid;
};

struct oci_device_rule {
	bool allow;
	const char *type, *access;
	struct oci_i64 major, minor;
};

struct oci_memory {
	struct oci_i64 limit, reservation, swap, kernel, kernel_tcp;
	struct oci_u64 swappiness;
	struct oci_bool disable_oom_killer, use_hierarchy, check_before_update;
};

struct oci_cpu {
	struct oci_u64 shares, burst, period, realtime_period;
	struct oci_i64 quota, realtime_runtime, idle;
	const char *cpus, *mems;
};

struct oci_pids {
	struct oci_i64 limit;
};

struct oci_weight_device {
	struct oci_i64 major, minor;
	struct oci_u64 weight, leaf_weight;
};

struct oci_throttle_device {
	struct oci_i64 major, minor;
	struct oci_u64 rate;
};

typedef OCI_ARRAY(struct oci_throttle_device) oci_throttles_t;

struct oci_block_io {
	struct oci_u64 weight, leaf_weight;
	OCI_ARRAY(struct oci_weight_device) weight_devices;
	oci_throttles_t read_bps, write_bps, read_iops, write_iops;
};

struct oci_hugepage_limit {
	const char *page_size;
	struct oci_u64 limit;
};

struct oci_net_priority {
	const char *name;
	struct oci_u64 priority;
};

struct oci_net_limits {
	struct oci_u64 class_id;
	OCI_ARRAY(struct oci_net_priority) priorities;
};

struct oci_rdma {
	const char *key; /* the device */
	struct oci_u64 hca_handles, hca_objects;
};

struct oci_resources {
	struct oci_map unified;
	OCI_ARRAY(struct oci_device_rule) devices;
	struct oci_memory *memory;
	struct oci_cpu *cpu;
	struct oci_pids *pids;
	struct oci_block_io *block_io;
	OCI_ARRAY(struct oci_hugepage_limit) hugepage_limits;
	struct oci_net_limits *network;
	OCI_ARRAY(struct oci_rdma) rdma;
};

struct oci_seccomp_arg {
	struct oci_i64 index;
	struct oci_u64 value, value_two;
	const char *op;
};

struct oci_seccomp_rule {
	struct oci_strs names;
	const char *action;
	struct oci_i64 errno_ret;
	OCI_ARRAY(struct oci_seccomp_arg) args;
};

struct oci_seccomp {
	const char *default_action;
	struct oci_i64 default_errno_ret;
	struct oci_strs architectures, flags;
	const char *listener_path, *listener_metadata;
	OCI_ARRAY(struct oci_seccomp_rule) syscalls;
};

struct oci_intel_rdt {
	const char *clos_id, *l3_cache_schema, *mem_bw_schema;
	bool enable_cmt, enable_mbm;
};

struct oci_personality {
	const char *domain;
	struct oci_strs flags;
};

struct oci_time_offset {
	struct oci_i64 secs;
	struct oci_i64 nanosecs;
};

struct oci_time_offsets {
	struct oci_time_offset *monotonic, *boottime;
};

struct oci_linux {
	OCI_ARRAY(struct oci_namespace) namespaces;
	oci_id_maps_t uid_mappings, gid_mappings;
	OCI_ARRAY(struct oci_device) devices;
	const char *cgroups_path, *rootfs_propagation, *mount_label;
	struct oci_resources *resources;
	struct oci_seccomp *seccomp;
	struct oci_map sysctl;
	struct oci_strs masked_paths, readonly_paths;
	struct oci_intel_rdt *intel_rdt;
	struct oci_personality *personality;
	struct oci_time_offsets *time_offsets;
};

struct oci_vm_hypervisor {
	const char *path;
	struct oci_strs parameters;
};

struct oci_vm_kernel {
	const char *path, *initrd;
	struct oci_strs parameters;
};

struct oci_vm_image {
	const char *path, *format;
};

struct oci_vm_hw {
	const char *device_tree;
	struct oci_i64 vcpus;
	struct oci_u64 memory;
	struct oci_strs dtdevs;
};

struct oci_vm {
	struct oci_vm_hypervisor *hypervisor;
	struct oci_vm_kernel *kernel;
	struct oci_vm_image *image;
	struct oci_vm_hw *hw_config;
};

struct oci_arena;

struct oci_config {
	const char *oci_version;
	struct oci_root *root;
	struct oci_process *process;
	const char *hostname, *domainname;
	OCI_ARRAY(struct oci_mount) mounts;
	struct oci_hooks *hooks;
	struct oci_map annotations;
	struct oci_linux *lnx; /* "linux" is a macro of gnu17 */
	struct oci_vm *vm;

	struct oci_strs warnings; /* "process.apparmorProfile: ignored: ..." */
	struct oci_arena *arena;
};

void oci_config_free(struct oci_config *config);
CLEANUP_DEFINE(struct oci_config, oci_config_free);

/**
 * oci_config_parse() - Decode and validate the text of a config.json
 * @text:	@len bytes, untrusted
 * @name:	Of the file, in messages
 * @ret:	Freed by oci_config_free()
 *
 * Context: any thread; touches nothing outside its arguments.
 * Return: 0; -EINVAL; -E2BIG larger or deeper than the limits; -EOPNOTSUPP a field that husk
 * refuses; -ENOMEM. The message names the field.
 */
int oci_config_parse(const char *text, size_t len, const char *name, struct oci_config **ret,
		     struct err *err);

/**
 * oci_process_parse() - The process of exec --process: a configuration with only @process set
 */
int oci_process_parse(const char *text, size_t len, const char *name, struct oci_config **ret,
		      struct err *err);

/**
 * oci_resources_parse() - The resources of update --resources: only lnx->resources is set
 */
int oci_resources_parse(const char *text, size_t len, const char *name, struct oci_config **ret,
			struct err *err);

/**
 * oci_file_read() - Read a whole file of at most OCI_FILE_MAX bytes
 * @dir_fd:	As openat()
 * @ret:	From malloc, NUL-terminated
 *
 * Return: 0; -E2BIG; what open and read give.
 */
int oci_file_read(int dir_fd, const char *path, char **ret, size_t *ret_len, struct err *err);
/* As oci_file_read(), from an open descriptor. */
int oci_fd_read(int fd, const char *name, char **ret, size_t *ret_len, struct err *err);

/**
 * oci_config_load() - Read and parse a file
 * @path:	Path of the config.json
 */
int oci_config_load(const char *path, struct oci_config **ret, struct err *err);

/* Value of an annotation, or NULL. */
const char *oci_annotation(const struct oci_config *config, const char *key);

/* The namespace of that CLONE_NEW* flag, or NULL when it is not asked for. */
const struct oci_namespace *oci_namespace_find(const struct oci_config *config, int flag);

/* Number of "CAP_CHOWN" and its like, or -1. */
int oci_cap_number(const char *name);
const char *oci_cap_name(unsigned number);
/* RLIMIT_* of "RLIMIT_CORE" and its like, or -1. */
int oci_rlimit_number(const char *name);

/**
 * oci_config_set_env() - Set or add one "NAME=VALUE" of the process
 *
 * Return: 0; -EINVAL no '='; -ENOMEM.
 */
int oci_config_set_env(struct oci_config *config, const char *pair, struct err *err);

#endif
