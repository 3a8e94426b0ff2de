/* SPDX-License-Identifier: Apache-2.0 */
/* husk kernel: add kernels to the store, list them. */
#include "cli/cli.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "kernelstore.h"

static const char help[] =
	"usage: husk kernel add FILE [--modules DIR]\n"
	"       husk kernel add --debian\n"
	"       husk kernel add --host\n"
	"       husk kernel list\n"
	"\n"
	"The store is /var/lib/husk/kernels for root, else $XDG_DATA_HOME/husk/kernels;\n"
	"HUSK_KERNEL_STORE names another.\n"
	"\n"
	"  FILE           a bzImage (vmlinuz) or an ELF kernel (vmlinux)\n"
	"  --modules DIR  its module directory, such as /lib/modules/VERSION\n"
	"  --debian       fetch Debian's current cloud kernel with apt; the host's own\n"
	"                 system is not changed\n"
	"  --host         take the kernel and modules this host runs";

enum { OPT_MODULES = 256, OPT_DEBIAN, OPT_HOST };

static const struct option options[] = {
	{ "modules", required_argument, NULL, OPT_MODULES },
	{ "debian", no_argument, NULL, OPT_DEBIAN },
	{ "host", no_argument, NULL, OPT_HOST },
	{ "help", no_argument, NULL, 'h' },
	{ 0 },
};

static int finish_add(int r, const char *name, const struct err *err)
{
	if (r < 0)
		return cli_error(err);
	printf("%s\n", name);
	return 0;
}

static int add(int argc, char **argv)
{
	const char *modules = NULL;
	bool debian = false, host = false;
	char name[KERNELSTORE_NAME_MAX] = "";
	struct err err = { 0 };
	int c;

	optind = 1;
	opterr = 0;
	while ((c = getopt_long(argc, argv, ":h", options, NULL)) >= 0) {
		switch (c) {
		case OPT_MODULES: modules = optarg; break;
		case OPT_DEBIAN: debian = true; break;
		case OPT_HOST: host = true; break;
		case 'h': puts(help); return 0;
		case ':': return cli_usage("kernel", "'%s' wants a value", argv[optind - 1]);
		default: return cli_usage("kernel", "unknown option '%s'", argv[optind - 1]);
		}
	}
	if ((argc - optind) + debian + host != 1)
		return cli_usage("kernel", "name one kernel: a FILE, --debian or --host");
	if (modules && (debian || host))
		return cli_usage("kernel", "--modules goes with a FILE only");
	if (debian)
		return finish_add(kernelstore_add_debian(name, &err), name, &err);
	if (host)
		return finish_add(kernelstore_add_host(name, &err), name, &err);
	return finish_add(kernelstore_add(argv[optind], modules, name, &err), name, &err);
}

static int list(void)
{
	AUTO_FREE struct kernelstore_entry *entries = NULL;
	struct err err = { 0 };
	int n = kernelstore_list(&entries, &err);

	if (n < 0)
		return cli_error(&err);
	for (int i = 0; i < n; i++)
		printf("%s%s\n", entries[i].name, entries[i].has_modules ? "" : " (no modules)");
	return 0;
}

int cli_kernel(int argc, char **argv)
{
	if (argc < 2)
		return cli_usage("kernel", "'add' or 'list' is missing");
	if (!strcmp(argv[1], "add"))
		return add(argc - 1, argv + 1);
	if (!strcmp(argv[1], "list") && argc == 2)
		return list();
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h")) {
		puts(help);
		return 0;
	}
	return cli_usage("kernel", "unknown argument '%s'", argv[argc > 2 ? 2 : 1]);
}
