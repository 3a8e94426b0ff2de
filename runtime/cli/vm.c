/* SPDX-License-Identifier: Apache-2.0 */
/* husk vm: one virtual machine on the terminal. */
#include "cli/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backends.h"
#include "base/checked.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "kernelstore.h"
#include "network.h"
#include "sandbox/sandbox.h"
#include "share.h"
#include "terminal.h"
#include "vmm/vm.h"

#define DEFAULT_RAM	 (512 * MIB)
#define MAX_SHARE_QUEUES 4
#define CMDLINE_MAX	 4096
#define EXIT_SIGNAL	 128

static const char help[] =
	"usage: husk vm [OPTION...]\n"
	"\n"
	"Boots a kernel. The terminal is the machine's console; ctrl-a x ends it,\n"
	"ctrl-a a sends ctrl-a. The exit status is 0 after power-off or reset, the value\n"
	"of the test-exit port, or 1 after a failure.\n"
	"\n"
	"  --kernel K          a file, or a name in the kernel store\n"
	"                      (default: the newest there)\n"
	"  --initrd FILE       initial RAM disk, or a Multiboot kernel's module\n"
	"  --memory SIZE       guest memory: 512M, 2G; a bare number is MiB (default 512M)\n"
	"  --vcpus N           virtual CPUs, 1 to 32 (default 1)\n"
	"  --cmdline TEXT      added to the default kernel command line\n"
	"  --cmdline-only TEXT the whole kernel command line\n"
	"  --share DIR=TAG     the guest mounts directory DIR as virtiofs TAG; may be repeated\n"
	"  --share-cache MODE  auto (default), never or always, for those that follow\n"
	"  --share-dax SIZE    those that follow show file pages through a window of SIZE\n"
	"                      (2M to 16G, a power of two) in the guest's memory\n"
	"  --net tap=NAME[,mac=MAC]\n"
	"                      a network interface on that tap; may be repeated\n"
	"  --console WHICH     serial (default) or virtio\n"
	"  --backend NAME      auto (default), soft or kvm\n"
	"  --soft-mode MODE    fast (default), interp: without translating hot code,\n"
	"                      or step: one instruction at a time\n"
	"  --cpu MODEL         base (default)\n"
	"  --stats             print what the machine did when it ends\n"
	"  --help              show this";

/*
 * What a stock Linux wants to hear here. The self-tests of its crypto are two thirds of a boot; the
 * TSC's speed and the delay loop are known; reboot goes by the keyboard controller, so that a
 * triple fault is told from it.
 */
#define CMDLINE_LINUX \
	"reboot=k panic=-1 quiet pci=off cryptomgr.notests no_timer_check tsc_early_khz=%u lpj=%u"
#define LINUX_HZ    250
/* No model has XSAVE, but a KVM that has no hardware behind it shows it all the same. */
#define CMDLINE_KVM " noxsave"

struct vm_options {
	const char *kernel, *initrd, *cmdline, *backend, *cpu;
	bool cmdline_only, virtio_console, stats, help;
	enum hv_soft_mode soft_mode;
	uint64_t ram_bytes;
	unsigned n_vcpus;
	struct vm_share {
		char *dir; /* of the argument, cut at '=' */
		const char *tag;
		enum fuse_cache cache;
		uint64_t dax_len;
	} shares[VM_MAX_FS];
	unsigned n_shares;
	enum fuse_cache share_cache;
	uint64_t share_dax;
	const char *nets[VM_MAX_NET];
	unsigned n_nets;
};

enum {
	OPT_KERNEL = 256,
	OPT_INITRD,
	OPT_MEMORY,
	OPT_VCPUS,
	OPT_CMDLINE,
	OPT_CMDLINE_ONLY,
	OPT_SHARE,
	OPT_SHARE_CACHE,
	OPT_SHARE_DAX,
	OPT_NET,
	OPT_CONSOLE,
	OPT_BACKEND,
	OPT_SOFT_MODE,
	OPT_CPU,
	OPT_STATS,
};

static const struct option options[] = {
	{ "kernel", required_argument, NULL, OPT_KERNEL },
	{ "initrd", required_argument, NULL, OPT_INITRD },
	{ "memory", required_argument, NULL, OPT_MEMORY },
	{ "vcpus", required_argument, NULL, OPT_VCPUS },
	{ "cmdline", required_argument, NULL, OPT_CMDLINE },
	{ "cmdline-only", required_argument, NULL, OPT_CMDLINE_ONLY },
	{ "share", required_argument, NULL, OPT_SHARE },
	{ "share-cache", required_argument, NULL, OPT_SHARE_CACHE },
	{ "share-dax", required_argument, NULL, OPT_SHARE_DAX },
	{ "net", required_argument, NULL, OPT_NET },
	{ "console", required_argument, NULL, OPT_CONSOLE },
	{ "backend", required_argument, NULL, OPT_BACKEND },
	{ "soft-mode", required_argument, NULL, OPT_SOFT_MODE },
	{ "cpu", required_argument, NULL, OPT_CPU },
	{ "stats", no_argument, NULL, OPT_STATS },
	{ "help", no_argument, NULL, 'h' },
	{ 0 },
};

/* One of two words. */
static int parse_choice(const char *text, const char *no, const char *yes, bool *ret)
{
	if (strcmp(text, no) && strcmp(text, yes))
		return -EINVAL;
	*ret = !strcmp(text, yes);
	return 0;
}

static int parse_cache(const char *text, enum fuse_cache *ret)
{
	static const char *const names[] = { [FUSE_CACHE_AUTO] = "auto",
					     [FUSE_CACHE_NEVER] = "never",
					     [FUSE_CACHE_ALWAYS] = "always" };

	for (unsigned i = 0; i < ARRAY_LEN(names); i++) {
		if (!strcmp(text, names[i])) {
			*ret = (enum fuse_cache)i;
			return 0;
		}
	}
	return -EINVAL;
}

/* DIR=TAG; the directory may contain '=', the tag not. */
static int take_share(struct vm_options *o, char *text)
{
	char *eq = strrchr(text, '=');

	if (!eq || eq == text || !eq[1] || o->n_shares == VM_MAX_FS)
		return -EINVAL;
	*eq = 0;
	o->shares[o->n_shares++] = (struct vm_share){
		.dir = text, .tag = eq + 1, .cache = o->share_cache, .dax_len = o->share_dax
	};
	return 0;
}

static int take_net(struct vm_options *o, const char *text)
{
	if (o->n_nets == VM_MAX_NET)
		return -EINVAL;
	o->nets[o->n_nets++] = text;
	return 0;
}

static int parse_soft_mode(const char *text, enum hv_soft_mode *ret)
{
	static const char *const names[HV_SOFT_MAX_] = { "fast", "interp", "step" };

	for (unsigned i = 0; i < HV_SOFT_MAX_; i++)
		if (!strcmp(text, names[i])) {
			*ret = i;
			return 0;
		}
	return -EINVAL;
}

/* Returns 0, or -EINVAL for a bad value. */
static int take_option(struct vm_options *o, int c)
{
	switch (c) {
	case OPT_KERNEL: o->kernel = optarg; return 0;
	case OPT_INITRD: o->initrd = optarg; return 0;
	case OPT_MEMORY: return cli_parse_size(optarg, &o->ram_bytes);
	case OPT_VCPUS: return cli_parse_uint(optarg, 1, HV_MAX_VCPUS, &o->n_vcpus);
	case OPT_CMDLINE:
	case OPT_CMDLINE_ONLY:
		o->cmdline = optarg;
		o->cmdline_only = c == OPT_CMDLINE_ONLY;
		return 0;
	case OPT_SHARE: return take_share(o, optarg);
	case OPT_SHARE_CACHE: return parse_cache(optarg, &o->share_cache);
	case OPT_SHARE_DAX: return cli_parse_size(optarg, &o->share_dax);
	case OPT_NET: return take_net(o, optarg);
	case OPT_CONSOLE: return parse_choice(optarg, "serial", "virtio", &o->virtio_console);
	case OPT_BACKEND: o->backend = optarg; return 0;
	case OPT_SOFT_MODE: return parse_soft_mode(optarg, &o->soft_mode);
	case OPT_CPU: o->cpu = optarg; return 0;
	case OPT_STATS: o->stats = true; return 0;
	default: o->help = true; return 0;
	}
}

/* Returns 0, or the exit status of a bad command line. */
static int parse(int argc, char **argv, struct vm_options *o)
{
	int c, at = 0;

	optind = 1;
	opterr = 0;
	while ((c = getopt_long(argc, argv, ":h", options, &at)) >= 0) {
		if (c == ':')
			return cli_usage("vm", "'%s' wants a value", argv[optind - 1]);
		if (c == '?')
			return cli_usage("vm", "unknown option '%s'", argv[optind - 1]);
		if (take_option(o, c) < 0)
			return cli_usage("vm", "'%s' is no value for --%s", optarg,
					 options[at].name);
	}
	return optind < argc ? cli_usage("vm", "unexpected argument '%s'", argv[optind]) : 0;
}

/* ---- files ---- */

struct vm_files {
	int kernel_fd, initrd_fd;
	char kernel_path[PATH_MAX];
	bool from_store;
};

static void files_done(struct vm_files *f)
{
	fd_close(f->kernel_fd);
	fd_close(f->initrd_fd);
}

static int open_kernel(const char *name, struct vm_files *f, struct err *err)
{
	bool is_path = name && strchr(name, '/');

	if (name && (is_path || access(name, F_OK) == 0)) {
		f->kernel_fd = open(name, O_RDONLY | O_CLOEXEC);
		if (f->kernel_fd < 0)
			return err_errno(err, errno, "open kernel '%s'", name);
		snprintf(f->kernel_path, sizeof(f->kernel_path), "%s", name);
		return 0;
	}
	f->kernel_fd = kernelstore_open(name, f->kernel_path, sizeof(f->kernel_path), err);
	f->from_store = f->kernel_fd >= 0;
	return f->kernel_fd < 0 ? f->kernel_fd : 0;
}

static int open_files(const struct vm_options *o, struct vm_files *f, struct err *err)
{
	int r = open_kernel(o->kernel, f, err);

	if (r < 0 || !o->initrd)
		return r;
	f->initrd_fd = open(o->initrd, O_RDONLY | O_CLOEXEC);
	return f->initrd_fd < 0 ? err_errno(err, errno, "open initrd '%s'", o->initrd) : 0;
}

static int build_cmdline(const struct vm_options *o, const struct hv_ops *hv, char *buf, size_t len,
			 struct err *err)
{
	const char *extra = o->cmdline ? o->cmdline : "";
	uint32_t tsc_khz = vm_tsc_khz(hv);
	int n;

	if (o->cmdline_only)
		n = snprintf(buf, len, "%s", extra);
	else
		n = snprintf(buf, len, "console=%s " CMDLINE_LINUX "%s%s%s",
			     o->virtio_console ? "hvc0" : "ttyS0", tsc_khz,
			     tsc_khz / LINUX_HZ * 1000, hv == &hv_kvm_ops ? CMDLINE_KVM : "",
			     extra[0] ? " " : "", extra);
	if (n < 0 || (size_t)n >= len)
		return err_set(err, -E2BIG, "the kernel command line is longer than %zu characters",
			       len - 1);
	return 0;
}

/* ---- running ---- */

static void on_resize(void *opaque, unsigned cols, unsigned rows)
{
	vm_console_resize(opaque, cols, rows);
}

static void print_stats(struct vm *vm, uint64_t ns)
{
	struct hv_stats s;

	vm_stats(vm, &s);
	fprintf(stderr,
		"husk: stats: seconds=%.3f insns=%llu io=%llu mmio=%llu hlt=%llu kicks=%llu "
		"irqs=%llu assists=%llu\n",
		(double)ns / (double)NSEC_PER_SEC, (unsigned long long)s.n_insns,
		(unsigned long long)s.n_io, (unsigned long long)s.n_mmio,
		(unsigned long long)s.n_hlt, (unsigned long long)s.n_kicks,
		(unsigned long long)s.n_irqs, (unsigned long long)s.n_assists);
}

static void print_share_stats(const struct vm_options *o, struct share **shares)
{
	for (unsigned i = 0; i < o->n_shares; i++) {
		struct fuse_stats s;

		share_stats(shares[i], &s);
		fprintf(stderr, "husk: stats: share=%s requests=%llu sleeps=%llu wakeups=%llu\n",
			o->shares[i].tag, (unsigned long long)s.n_requests,
			(unsigned long long)s.n_sleeps, (unsigned long long)s.n_wakeups);
	}
}

static int exit_status(const struct vm_exit *end, enum terminal_event event, int sig)
{
	if (event == TERMINAL_SIGNAL)
		return EXIT_SIGNAL + sig;
	switch (end->reason) {
	case VM_EXIT_TEST: return (int)(end->value & 0xff);
	case VM_EXIT_POWER_OFF:
	case VM_EXIT_RESET:
	case VM_EXIT_STOPPED: return 0;
	case VM_EXIT_TRIPLE_FAULT:
		log_err("the guest's vCPU %u ended in a triple fault", end->value);
		return CLI_FAIL;
	case VM_EXIT_ERROR: log_err("vCPU %u: %s", end->value, end->err.msg); return CLI_FAIL;
	case VM_EXIT_NONE:
	case VM_EXIT_MAX_: break;
	}
	return CLI_FAIL;
}

static void shares_free(struct share **shares)
{
	for (unsigned i = 0; i < VM_MAX_FS; i++)
		share_free(shares[i]);
}

/* File servers are locked in; without rights that takes namespaces, before any thread. */
static int shares_make(const struct vm_options *o, struct sandbox **ret_sb, struct share **shares,
		       struct vm_config *config, struct err *err)
{
	struct sandbox_namespaces ns = { .flags = CLONE_NEWNS };
	int r = o->n_shares ? sandbox_unshare(&ns, err) : 0;

	if (r == 0 && o->n_shares)
		r = sandbox_new(SANDBOX_ENFORCE, ret_sb, err);
	if (r < 0)
		return r;
	for (unsigned i = 0; i < o->n_shares; i++) {
		struct fuse_options opt = { .cache = o->shares[i].cache };
		int tree = sandbox_tree_open(o->shares[i].dir, err);

		r = tree < 0
			    ? tree
			    : share_new(tree, *ret_sb, &opt, o->shares[i].dax_len, &shares[i], err);
		if (r < 0)
			return err_wrap(err, r, "share '%s'", o->shares[i].dir);
		config->fs[config->n_fs++] = share_device(shares[i], o->shares[i].tag,
							  MIN(o->n_vcpus, MAX_SHARE_QUEUES));
	}
	return 0;
}

static int shares_start(const struct vm_options *o, struct share **shares, struct err *err)
{
	int r = 0;

	for (unsigned i = 0; r == 0 && i < o->n_shares; i++)
		r = share_start(shares[i], err);
	return r;
}

static int nets_open(const struct vm_options *o, struct vm_config *config, struct err *err)
{
	int r = 0;

	for (unsigned i = 0; r == 0 && i < o->n_nets; i++) {
		r = network_open(o->nets[i], &config->net[config->n_net], err);
		config->n_net += r == 0;
	}
	return r;
}

static void nets_close(const struct vm_config *config)
{
	for (unsigned i = 0; i < config->n_net; i++)
		fd_close(config->net[i].tap_fd);
}

/* From here on the terminal may be raw: it is put back before anything is said. */
static int run(const struct vm_options *o, struct vm_config *config)
{
	struct console_backend console = { .in_fd = -1, .out_fd = -1 };
	struct share *shares[VM_MAX_FS] = { NULL };
	CLEANUP(sandbox_freep) struct sandbox *sb = NULL;
	struct err err = { 0 };
	struct terminal term;
	struct vm_exit end = { 0 };
	enum terminal_event event = TERMINAL_VM_ENDED;
	uint64_t start = clock_monotonic_ns();
	struct vm *vm = NULL;
	int sig = 0, r = terminal_open(&term, &err);

	console.in_fd = term.in_read;
	console.out_fd = term.out_fd;
	if (o->virtio_console)
		config->virtio_console = &console;
	else
		config->serial = &console;
	if (r == 0)
		r = shares_make(o, &sb, shares, config, &err);
	if (r == 0)
		r = nets_open(o, config, &err);
	if (r == 0)
		r = vm_new(config, &vm, &err);
	if (r == 0)
		r = shares_start(o, shares, &err);
	if (r == 0)
		r = vm_start(vm, &err);
	if (r == 0) {
		event = terminal_relay(&term, vm_exit_fd(vm), on_resize, vm, &sig);
		vm_stop(vm);
		vm_wait(vm, &end);
	}
	terminal_close(&term);
	r = r < 0 ? cli_error(&err) : exit_status(&end, event, sig);
	if (o->stats && vm) {
		print_stats(vm, clock_monotonic_ns() - start);
		print_share_stats(o, shares);
	}
	vm_free(vm);
	nets_close(config);
	shares_free(shares);
	return r;
}

int cli_vm(int argc, char **argv)
{
	struct vm_options o = { .backend = "auto", .ram_bytes = DEFAULT_RAM, .n_vcpus = 1 };
	CLEANUP(files_done) struct vm_files files = { .kernel_fd = -1, .initrd_fd = -1 };
	struct vm_config config = { 0 };
	char cmdline[CMDLINE_MAX];
	struct err err = { 0 };
	int r = parse(argc, argv, &o);

	if (r)
		return r;
	if (o.help) {
		puts(help);
		return 0;
	}
	r = backend_find(o.backend, &config.hv, &err);
	if (r == 0)
		r = open_files(&o, &files, &err);
	if (r == 0)
		r = build_cmdline(&o, config.hv, cmdline, sizeof(cmdline), &err);
	if (r < 0)
		return cli_error(&err);
	config.cpu_model = o.cpu;
	config.ram_bytes = o.ram_bytes;
	config.n_vcpus = o.n_vcpus;
	config.soft_mode = o.soft_mode;
	config.kernel = (struct vm_file){ .fd = files.kernel_fd, .name = files.kernel_path };
	config.linux64 = files.from_store;
	config.initrd = (struct vm_file){ .fd = files.initrd_fd, .name = o.initrd };
	config.cmdline = cmdline;
	config.virtio_rng = true;
	config.has_debug_fd = true;
	config.debug_fd = STDERR_FILENO;
	return run(&o, &config);
}
