/* SPDX-License-Identifier: Apache-2.0 */
/* The tables of the top level, root, mounts, hooks and vm; the list of all fields. */
#include "fields_macros.h"

#include <stdio.h>

/* clang-format off */

#define T struct oci_root
static const struct oci_field root_fields[] = {
	STR(T, "path", path, APPLIED, REQ | OCI_NONEMPTY, "a directory, absolute or below the bundle"),
	FLAG(T, "readonly", readonly, APPLIED, "at the file server and in the guest"),
	END_OF_FIELDS,
};
static const struct oci_type root_type = { sizeof(T), root_fields };
#undef T

#define T struct oci_mount
static const struct oci_field mount_fields[] = {
	STR(T, "destination", destination, APPLIED, REQ | OCI_NONEMPTY, "in the container"),
	STR(T, "source", source, APPLIED, 0, "binds: on the host, absolute or below the bundle"),
	STR(T, "type", type, APPLIED, 0, "binds by the file server; proc, sysfs, tmpfs, devpts, mqueue, cgroup in the guest"),
	STRS(T, "options", options, APPLIED, 0, "runc's words, then data for the file system"),
	OBJS(T, "uidMappings", uid_mappings, APPLIED, 0, &oci_type_id_map, "with idmap or ridmap, for binds"),
	OBJS(T, "gidMappings", gid_mappings, APPLIED, 0, &oci_type_id_map, "with idmap or ridmap, for binds"),
	END_OF_FIELDS,
};
static const struct oci_type mount_type = { sizeof(T), mount_fields };
#undef T

#define T struct oci_hook
static const struct oci_field hook_fields[] = {
	STR(T, "path", path, APPLIED, REQ | OCI_NONEMPTY | OCI_ABSPATH, "of the program"),
	STRS(T, "args", args, APPLIED, 0, "the whole argv"),
	STRS(T, "env", env, APPLIED, 0, "the whole environment"),
	INT(T, "timeout", timeout, APPLIED, 0, 1, 86400 * 365, "seconds; then the hook is killed and has failed"),
	END_OF_FIELDS,
};
static const struct oci_type hook_type = { sizeof(T), hook_fields };
#undef T

#define T struct oci_hooks
static const struct oci_field hooks_fields[] = {
	OBJS(T, "prestart", of[OCI_HOOK_PRESTART], APPLIED, 0, &hook_type, "on the host, in create"),
	OBJS(T, "createRuntime", of[OCI_HOOK_CREATE_RUNTIME], APPLIED, 0, &hook_type, "on the host, in create, after prestart"),
	OBJS(T, "createContainer", of[OCI_HOOK_CREATE_CONTAINER], APPLIED, 0, &hook_type, "on the host, in create, after createRuntime"),
	OBJS(T, "startContainer", of[OCI_HOOK_START_CONTAINER], APPLIED, 0, &hook_type, "in the container, in start, before its process and with its rights"),
	OBJS(T, "poststart", of[OCI_HOOK_POSTSTART], APPLIED, 0, &hook_type, "on the host, in start"),
	OBJS(T, "poststop", of[OCI_HOOK_POSTSTOP], APPLIED, 0, &hook_type, "on the host, in delete"),
	END_OF_FIELDS,
};
static const struct oci_type hooks_type = { sizeof(T), hooks_fields };
#undef T

static const char *const image_formats[] = { "raw", "qcow2", "vdi", "vmdk", "vhd", NULL };

#define T struct oci_vm_hypervisor
static const struct oci_field hypervisor_fields[] = {
	STR(T, "path", path, WARNED, OCI_ABSPATH, "husk is the hypervisor"),
	STRS(T, "parameters", parameters, WARNED, 0, "annotations dev.husk.* set what can be set"),
	END_OF_FIELDS,
};
static const struct oci_type hypervisor_type = { sizeof(T), hypervisor_fields };
#undef T

#define T struct oci_vm_kernel
static const struct oci_field kernel_fields[] = {
	STR(T, "path", path, APPLIED, REQ | OCI_NONEMPTY | OCI_ABSPATH, "the guest's kernel, in place of the store's"),
	STRS(T, "parameters", parameters, APPLIED, 0, "added to the kernel's command line"),
	STR(T, "initrd", initrd, REFUSED, OCI_ABSPATH, "the guest's init is husk's own"),
	END_OF_FIELDS,
};
static const struct oci_type kernel_type = { sizeof(T), kernel_fields };
#undef T

#define T struct oci_vm_image
static const struct oci_field image_fields[] = {
	STR(T, "path", path, REFUSED, REQ | OCI_NONEMPTY | OCI_ABSPATH, "the root file system is a directory"),
	ENUM(T, "format", format, REFUSED, REQ, image_formats, "the root file system is a directory"),
	END_OF_FIELDS,
};
static const struct oci_type image_type = { sizeof(T), image_fields };
#undef T

#define T struct oci_vm_hw
static const struct oci_field hw_fields[] = {
	STR(T, "deviceTree", device_tree, WARNED, OCI_ABSPATH, "the machine's description is husk's own"),
	INT(T, "vcpus", vcpus, APPLIED, 0, 1, 32, "virtual CPUs, before what cpu.quota says"),
	UNS(T, "memory", memory, APPLIED, 0, 32 << 20, 1ULL << 42, "bytes of guest memory, before what memory.limit says"),
	STRS(T, "dtdevs", dtdevs, WARNED, 0, "devices of the host are not passed through"),
	OTHER("iomems", "devices of the host are not passed through"),
	OTHER("irqs", "devices of the host are not passed through"),
	END_OF_FIELDS,
};
static const struct oci_type hw_type = { sizeof(T), hw_fields };
#undef T

#define T struct oci_vm
static const struct oci_field vm_fields[] = {
	OBJ(T, "hypervisor", hypervisor, WARNED, 0, &hypervisor_type, "husk is the hypervisor"),
	OBJ(T, "kernel", kernel, APPLIED, 0, &kernel_type, "the guest's kernel"),
	OBJ(T, "image", image, REFUSED, 0, &image_type, "the root file system is a directory"),
	OBJ(T, "hwConfig", hw_config, APPLIED, 0, &hw_type, "size of the machine"),
	END_OF_FIELDS,
};
static const struct oci_type vm_type = { sizeof(T), vm_fields };
#undef T

#define T struct oci_config
static const struct oci_field config_fields[] = {
	STR(T, "ociVersion", oci_version, APPLIED, REQ | OCI_NONEMPTY, "1.x.y"),
	OBJ(T, "root", root, APPLIED, REQ, &root_type, "the directory that the guest's root shows"),
	OBJ(T, "process", process, APPLIED, REQ, &oci_type_process, "pid 1 in the container"),
	STR(T, "hostname", hostname, APPLIED, 0,
	    "in the guest; that of the UTS namespace when absent"),
	STR(T, "domainname", domainname, APPLIED, 0, "in the guest"),
	OBJS(T, "mounts", mounts, APPLIED, 0, &mount_type, "in order"),
	OBJ(T, "hooks", hooks, APPLIED, 0, &hooks_type, "state on standard input"),
	MAP(T, "annotations", annotations, APPLIED, "in state; dev.husk.* set the machine"),
	OBJ(T, "linux", lnx, APPLIED, 0, &oci_type_linux, "see its fields"),
	OBJ(T, "vm", vm, APPLIED, 0, &vm_type, "see its fields"),
	OTHER("windows", "for another platform"),
	OTHER("solaris", "for another platform"),
	OTHER("zos", "for another platform"),
	END_OF_FIELDS,
};
const struct oci_type oci_type_config = { sizeof(T), config_fields };
#undef T
/* clang-format on */

const char *oci_effect_str(enum oci_effect effect)
{
	static const char *const names[OCI_EFFECT_MAX_] = {
		[OCI_APPLIED] = "applied",
		[OCI_REFUSED] = "refused",
		[OCI_WARNED] = "ignored with a warning",
	};

	return (unsigned)effect < OCI_EFFECT_MAX_ ? names[effect] : "?";
}

typedef int (*each_fn)(void *opaque, const struct oci_field_info *info);

static int each_in(const struct oci_type *type, const char *prefix, each_fn fn, void *opaque)
{
	char path[OCI_PATH_MAX];
	int r = 0;

	for (const struct oci_field *f = type->fields; r == 0 && f->name; f++) {
		const char *tail = f->kind == OCI_OBJS ? "[]" : f->kind == OCI_OBJMAP ? ".*" : "";
		struct oci_field_info info = { .path = path,
					       .effect = f->effect,
					       .kind = f->kind,
					       .required = (f->flags & OCI_REQUIRED) != 0,
					       .note = f->note };

		snprintf(path, sizeof(path), "%s%s", prefix, f->name);
		r = fn(opaque, &info);
		if (r || !f->sub)
			continue;
		snprintf(path, sizeof(path), "%s%s%s.", prefix, f->name, tail);
		r = each_in(f->sub, path, fn, opaque);
	}
	return r;
}

int oci_fields_each(each_fn fn, void *opaque)
{
	return each_in(&oci_type_config, "", fn, opaque);
}
