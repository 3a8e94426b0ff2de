/* SPDX-License-Identifier: Apache-2.0 */
/* /dev/kvm: is it there, may we, and can it do what the back end needs. */
#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/fd.h"
#include "kvm/kvm.h"

int kvm_ioctl(int fd, unsigned long request, void *arg)
{
	return ioctl(fd, request, arg);
}

/* Without these there is no machine; all are in Linux 4.12 and later. */
static const struct {
	unsigned long cap;
	const char *name;
} needed[] = {
	{ KVM_CAP_USER_MEMORY, "KVM_CAP_USER_MEMORY" },
	{ KVM_CAP_IRQCHIP, "KVM_CAP_IRQCHIP" },
	{ KVM_CAP_SET_TSS_ADDR, "KVM_CAP_SET_TSS_ADDR" },
	{ KVM_CAP_EXT_CPUID, "KVM_CAP_EXT_CPUID" },
	{ KVM_CAP_MP_STATE, "KVM_CAP_MP_STATE" },
	{ KVM_CAP_VCPU_EVENTS, "KVM_CAP_VCPU_EVENTS" },
	{ KVM_CAP_DEBUGREGS, "KVM_CAP_DEBUGREGS" },
	{ KVM_CAP_XSAVE, "KVM_CAP_XSAVE" },
	{ KVM_CAP_GET_TSC_KHZ, "KVM_CAP_GET_TSC_KHZ" },
	{ KVM_CAP_ADJUST_CLOCK, "KVM_CAP_ADJUST_CLOCK" },
	{ KVM_CAP_IMMEDIATE_EXIT, "KVM_CAP_IMMEDIATE_EXIT" },
};

int kvm_check(int fd, kvm_ioctl_fn fn, struct err *err)
{
	int api = fn(fd, KVM_GET_API_VERSION, NULL);

	if (api < 0)
		return err_set(err, -EOPNOTSUPP, "'" KVM_PATH "' does not answer like KVM");
	if (api != KVM_API_VERSION)
		return err_set(err, -EOPNOTSUPP,
			       "KVM speaks version %d of its interface, husk needs %d", api,
			       KVM_API_VERSION);
	for (unsigned i = 0; i < ARRAY_LEN(needed); i++) {
		if (fn(fd, KVM_CHECK_EXTENSION, (void *)needed[i].cap) <= 0)
			return err_set(err, -EOPNOTSUPP, "this host's KVM lacks %s",
				       needed[i].name);
	}
	return 0;
}

int kvm_open(const char *path, kvm_ioctl_fn fn, struct err *err)
{
	int AUTO_FD fd = open(path, O_RDWR | O_CLOEXEC);
	int r;

	if (fd < 0 && (errno == EACCES || errno == EPERM))
		return err_set(err, -EACCES,
			       "no permission to use '%s': join its group (often 'kvm'), or use "
			       "the back end 'soft'",
			       path);
	if (fd < 0 && (errno == ENOENT || errno == ENXIO || errno == ENODEV))
		return err_set(err, -errno, "this host has no KVM ('%s' is missing)", path);
	if (fd < 0)
		return err_errno(err, errno, "open '%s'", path);
	r = kvm_check(fd, fn, err);
	return r < 0 ? r : fd_steal(&fd);
}

int kvm_create_vm(int sys_fd, kvm_ioctl_fn fn)
{
	int fd;

	/* Any signal ends it half-way, also that of being frozen or traced. */
	do
		fd = fn(sys_fd, KVM_CREATE_VM, NULL);
	while (fd < 0 && errno == EINTR);
	return fd;
}

/* A vCPU's rate before anybody sets one: the host's. */
static uint32_t host_khz(int sys_fd)
{
	int AUTO_FD vm = kvm_create_vm(sys_fd, kvm_ioctl);
	int AUTO_FD vcpu = vm < 0 ? -1 : ioctl(vm, KVM_CREATE_VCPU, 0);
	int khz = vcpu < 0 ? 0 : ioctl(vcpu, KVM_GET_TSC_KHZ, 0);

	return khz > 0 ? (uint32_t)khz : 0;
}

uint32_t kvm_tsc_khz(uint32_t wanted_khz)
{
	int AUTO_FD fd = kvm_open(KVM_PATH, kvm_ioctl, NULL);
	uint32_t khz;

	/* Without a device the VM fails later, with a message. */
	if (fd < 0 || ioctl(fd, KVM_CHECK_EXTENSION, KVM_CAP_TSC_CONTROL) > 0)
		return wanted_khz;
	khz = host_khz(fd);
	return khz ? khz : wanted_khz;
}
