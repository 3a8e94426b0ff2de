/* SPDX-License-Identifier: Apache-2.0 */
/* husk doctor: can this host run VMs, on which back end, and why. */
#include "cli/cli.h"

#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "backends.h"
#include "base/clock.h"
#include "kernelstore.h"

static const char help[] =
	"usage: husk doctor [--probe]\n"
	"\n"
	"Says whether this host can run virtual machines, which back end 'auto' takes and why.\n"
	"The exit status is 0 when machines can run.\n"
	"\n"
	"  --probe  try KVM anew instead of using what was found since the host booted\n"
	"  --help   show this";

static void print_host(void)
{
	struct utsname u;

	if (uname(&u) == 0)
		printf("host:      %s %s %s, %ld CPUs\n", u.sysname, u.release, u.machine,
		       sysconf(_SC_NPROCESSORS_ONLN));
}

static void print_kvm(const struct probe_result *p, bool cached)
{
	printf("kvm:       %s: %s\n", probe_verdict_str(p->verdict), p->reason);
	if (cached)
		puts("           (found earlier, since the host booted; --probe tries anew)");
	else
		printf("           (probed in %.1f ms)\n",
		       (double)p->took_ns / (double)NSEC_PER_MSEC);
}

static void print_backend(const struct probe_result *p)
{
	if (p->verdict == PROBE_NATIVE) {
		puts("back end:  auto takes 'kvm'");
		return;
	}
	puts("soft:      ready: the software CPU needs nothing from the host");
	printf("back end:  auto takes 'soft'%s\n",
	       p->verdict == PROBE_EMULATED ? "; '--backend kvm' works, slowly" : "");
}

static void print_kernel(void)
{
	char path[4096];
	struct err err = { 0 };
	int fd = kernelstore_open(NULL, path, sizeof(path), &err);

	if (fd < 0) {
		printf("kernel:    none: %s\n", err.msg);
		return;
	}
	close(fd);
	printf("kernel:    %s\n", path);
}

int cli_doctor(int argc, char **argv)
{
	struct probe_result probe;
	bool cached = false, anew = false;

	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")) {
			puts(help);
			return 0;
		}
		if (strcmp(argv[i], "--probe") != 0)
			return cli_usage("doctor", "unexpected argument '%s'", argv[i]);
		anew = true;
	}
	if (anew)
		probe_kvm(&probe);
	else
		backend_probe(&probe, &cached);
	print_host();
	print_kvm(&probe, cached);
	print_backend(&probe);
	print_kernel();
	return 0;
}
