/* SPDX-License-Identifier: Apache-2.0 */
/*
 * File system suite: the subjects of the usual POSIX suites in checks of our own.
 *
 *	posix_suite [-v] [-s FILE] DIRECTORY
 *
 * Runs in a fresh directory below DIRECTORY, as root. -v prints every line with its result (compare
 * two file systems by diff); else only failures. -s: learns how long each case is, then does all
 *again, each in a process of its own that stops half-way; says "half" and goes on when FILE is
 *there. Last line: "N passed, N failed". Statically linkable: the same program runs inside the
 *guest.
 */
#include "posix_run.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>

#define LINE_MAX_  16384
#define MAX_ARGS   12
#define RESULT_MAX 4200

#define MAX_CASES  100

static bool verbose;
static unsigned n_passed, n_failed, n_line, n_case, n_name;
static const char *case_name = "";
static char top[PATH_MAX];

/* With -s. */
static struct split {
	unsigned n_lines[MAX_CASES];
	atomic_uint n_waiting, n_passed, n_failed;
	atomic_bool go;
} * split;
static bool in_halves, in_child;
static pid_t children[MAX_CASES];

const char *const type_names[T_MAX_] = { "regular", "dir",    "fifo",	"block",
					 "char",    "socket", "symlink" };

static const struct {
	const char *name;
	int value;
} errnos[] = {
	{ "EPERM", EPERM },
	{ "ENOENT", ENOENT },
	{ "EACCES", EACCES },
	{ "EEXIST", EEXIST },
	{ "ENOTDIR", ENOTDIR },
	{ "EISDIR", EISDIR },
	{ "EINVAL", EINVAL },
	{ "ENOTEMPTY", ENOTEMPTY },
	{ "ELOOP", ELOOP },
	{ "ENXIO", ENXIO },
	{ "EFBIG", EFBIG },
	{ "ENODATA", ENODATA },
	{ "ETXTBSY", ETXTBSY },
	{ "EXDEV", EXDEV },
	{ "ENAMETOOLONG", ENAMETOOLONG },
	{ "EBADF", EBADF },
	{ "EOPNOTSUPP", EOPNOTSUPP },
	{ "ERANGE", ERANGE },
	{ "EBUSY", EBUSY },
	{ "EROFS", EROFS },
	{ "ENOTTY", ENOTTY },
	{ "ESTALE", ESTALE },
	{ "EIO", EIO },
	{ "ENOSYS", ENOSYS },
	{ "EMLINK", EMLINK },
	{ "ENOSPC", ENOSPC },
	{ "ENODEV", ENODEV },
	{ "ESPIPE", ESPIPE },
	{ "EAGAIN", EAGAIN },
	{ "ENFILE", ENFILE },
};

static const struct {
	const char *name;
	int value;
} open_flags[] = {
	{ "O_RDONLY", O_RDONLY },	{ "O_WRONLY", O_WRONLY },     { "O_RDWR", O_RDWR },
	{ "O_CREAT", O_CREAT },		{ "O_EXCL", O_EXCL },	      { "O_TRUNC", O_TRUNC },
	{ "O_APPEND", O_APPEND },	{ "O_NOFOLLOW", O_NOFOLLOW }, { "O_NONBLOCK", O_NONBLOCK },
	{ "O_DIRECTORY", O_DIRECTORY }, { "O_TMPFILE", O_TMPFILE },   { "O_SYNC", O_SYNC },
};

static void errno_text(int e, char *buf)
{
	for (size_t i = 0; i < sizeof(errnos) / sizeof(errnos[0]); i++) {
		if (errnos[i].value == e) {
			strcpy(buf, errnos[i].name);
			return;
		}
	}
	snprintf(buf, 32, "errno%d", e);
}

static int flags_parse(char *s)
{
	int flags = 0;
	char *save = NULL;

	for (char *t = strtok_r(s, "|", &save); t; t = strtok_r(NULL, "|", &save)) {
		for (size_t i = 0; i < sizeof(open_flags) / sizeof(open_flags[0]); i++) {
			if (strcmp(t, open_flags[i].name) == 0)
				flags |= open_flags[i].value;
		}
	}
	return flags;
}

static mode_t oct(const char *s)
{
	return (mode_t)strtoul(s, NULL, 8);
}

static long long num(const char *s)
{
	return strtoll(s, NULL, 0);
}

static const char *type_of(mode_t m)
{
	switch (m & S_IFMT) {
	case S_IFREG: return "regular";
	case S_IFDIR: return "dir";
	case S_IFIFO: return "fifo";
	case S_IFBLK: return "block";
	case S_IFCHR: return "char";
	case S_IFSOCK: return "socket";
	case S_IFLNK: return "symlink";
	default: return "?";
	}
}

static void field_print(const struct stat *st, const char *f, char *buf, size_t size)
{
	if (strcmp(f, "mode") == 0)
		snprintf(buf, size, "0%o", st->st_mode & 07777);
	else if (strcmp(f, "type") == 0)
		snprintf(buf, size, "%s", type_of(st->st_mode));
	else if (strcmp(f, "uid") == 0)
		snprintf(buf, size, "%u", st->st_uid);
	else if (strcmp(f, "gid") == 0)
		snprintf(buf, size, "%u", st->st_gid);
	else if (strcmp(f, "nlink") == 0)
		snprintf(buf, size, "%lu", (unsigned long)st->st_nlink);
	else if (strcmp(f, "size") == 0)
		snprintf(buf, size, "%lld", (long long)st->st_size);
	else if (strcmp(f, "rdev") == 0)
		snprintf(buf, size, "%u-%u", major(st->st_rdev), minor(st->st_rdev));
	else if (strcmp(f, "atime") == 0)
		snprintf(buf, size, "%lld.%09ld", (long long)st->st_atim.tv_sec,
			 st->st_atim.tv_nsec);
	else if (strcmp(f, "mtime") == 0)
		snprintf(buf, size, "%lld.%09ld", (long long)st->st_mtim.tv_sec,
			 st->st_mtim.tv_nsec);
	else if (strcmp(f, "ctime") == 0)
		snprintf(buf, size, "%lld.%09ld", (long long)st->st_ctim.tv_sec,
			 st->st_ctim.tv_nsec);
	else
		snprintf(buf, size, "?%s", f);
}

static int do_stat(char **a, char *out)
{
	struct stat st;
	char *save = NULL;
	size_t n = 0;
	int r = strcmp(a[0], "stat") == 0 ? stat(a[1], &st) : lstat(a[1], &st);

	if (r < 0)
		return -1;
	for (char *f = strtok_r(a[2], ",", &save); f; f = strtok_r(NULL, ",", &save)) {
		if (n)
			out[n++] = ',';
		field_print(&st, f, out + n, 64);
		n += strlen(out + n);
	}
	return 0;
}

static int do_open(char **a, int n_args)
{
	int fd = open(a[1], flags_parse(a[2]) | O_CLOEXEC, n_args > 3 ? oct(a[3]) : 0);

	if (fd < 0)
		return -1;
	close(fd);
	return 0;
}

/* write PATH FLAGS OFFSET TEXT */
static int do_write(char **a)
{
	int fd = open(a[1], flags_parse(a[2]) | O_WRONLY | O_CLOEXEC, 0644);
	size_t len = strlen(a[4]);
	int r;

	if (fd < 0)
		return -1;
	r = pwrite(fd, a[4], len, (off_t)num(a[3])) == (ssize_t)len ? 0 : -1;
	close(fd);
	return r;
}

static int do_read(char **a, char *out)
{
	int fd = open(a[1], O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return -1;
	n = pread(fd, out, RESULT_MAX - 1, (off_t)num(a[2]));
	close(fd);
	if (n < 0)
		return -1;
	out[n] = 0;
	for (ssize_t i = 0; i < n; i++) {
		if (!out[i])
			out[i] = '@';
	}
	if (n == 0)
		strcpy(out, "empty");
	return 0;
}

static int do_mknod(char **a)
{
	mode_t type = a[2][0] == 'f'   ? S_IFIFO
		      : a[2][0] == 'b' ? S_IFBLK
		      : a[2][0] == 'c' ? S_IFCHR
		      : a[2][0] == 's' ? S_IFSOCK
				       : S_IFREG;

	return mknod(a[1], type | oct(a[3]), makedev((unsigned)num(a[4]), (unsigned)num(a[5])));
}

static int do_bind(const char *path)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int r;

	if (strlen(path) >= sizeof(sa.sun_path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	strcpy(sa.sun_path, path);
	r = bind(fd, (struct sockaddr *)&sa, sizeof(sa));
	close(fd);
	return r;
}

/* ftruncate, posix_fallocate, fallocate: open for writing first. */
static int do_fd_size(char **a)
{
	int fd = open(a[1], O_RDWR | O_CLOEXEC), r;

	if (fd < 0)
		return -1;
	if (strcmp(a[0], "ftruncate") == 0) {
		r = ftruncate(fd, num(a[2]));
	} else if (strcmp(a[0], "fallocate") == 0) {
		r = fallocate(fd, (int)num(a[2]), num(a[3]), num(a[4]));
	} else {
		errno = posix_fallocate(fd, num(a[2]), num(a[3]));
		r = errno ? -1 : 0;
	}
	close(fd);
	return r;
}

/* utimensat PATH ASEC ANSEC MSEC MNSEC [nofollow]; nsec may be now or omit */
static int do_utimens(char **a, int n_args)
{
	struct timespec ts[2];

	for (int i = 0; i < 2; i++) {
		const char *ns = a[3 + i * 2];

		ts[i].tv_sec = num(a[2 + i * 2]);
		ts[i].tv_nsec = strcmp(ns, "now") == 0	  ? UTIME_NOW
				: strcmp(ns, "omit") == 0 ? UTIME_OMIT
							  : (long)num(ns);
	}
	return utimensat(AT_FDCWD, a[1], ts, n_args > 6 ? AT_SYMLINK_NOFOLLOW : 0);
}

static int do_rename(char **a, int n_args)
{
	unsigned flags = 0;

	if (n_args < 4)
		return rename(a[1], a[2]);
	if (strcmp(a[3], "noreplace") == 0)
		flags = RENAME_NOREPLACE;
	else if (strcmp(a[3], "exchange") == 0)
		flags = RENAME_EXCHANGE;
	else if (strcmp(a[3], "whiteout") == 0)
		flags = RENAME_WHITEOUT;
	else
		flags = 0x80;
	return renameat2(AT_FDCWD, a[1], AT_FDCWD, a[2], flags);
}

static int do_xattr(char **a, char *out)
{
	ssize_t n;

	if (strcmp(a[0], "setxattr") == 0)
		return lsetxattr(a[1], a[2], a[3], strlen(a[3]), (int)num(a[4]));
	if (strcmp(a[0], "removexattr") == 0)
		return lremovexattr(a[1], a[2]);
	n = lgetxattr(a[1], a[2], out, RESULT_MAX - 1);
	if (n >= 0)
		out[n] = 0;
	return n < 0 ? -1 : 0;
}

static int do_readlink(char **a, char *out)
{
	ssize_t n = readlink(a[1], out, RESULT_MAX - 1);

	if (n < 0)
		return -1;
	out[n] = 0;
	return 0;
}

static int run_file(char **a, int n, char *out)
{
	const char *op = a[0];

	if (strcmp(op, "open") == 0)
		return do_open(a, n);
	if (strcmp(op, "create") == 0) {
		int fd = open(a[1], O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, oct(a[2]));

		return fd < 0 ? -1 : close(fd);
	}
	if (strcmp(op, "write") == 0)
		return do_write(a);
	if (strcmp(op, "read") == 0)
		return do_read(a, out);
	if (strcmp(op, "truncate") == 0)
		return truncate(a[1], num(a[2]));
	if (strcmp(op, "ftruncate") == 0 || strcmp(op, "posix_fallocate") == 0 ||
	    strcmp(op, "fallocate") == 0)
		return do_fd_size(a);
	if (strcmp(op, "utimensat") == 0)
		return do_utimens(a, n);
	if (strcmp(op, "setxattr") == 0 || strcmp(op, "getxattr") == 0 ||
	    strcmp(op, "removexattr") == 0)
		return do_xattr(a, out);
	if (strcmp(op, "access") == 0)
		return faccessat(AT_FDCWD, a[1], (int)num(a[2]), AT_EACCESS);
	fprintf(stderr, "posix_suite: unknown operation '%s'\n", op);
	exit(2);
}

static int run_op(char **a, int n, char *out)
{
	const char *op = a[0];

	if (strcmp(op, "mkdir") == 0)
		return mkdir(a[1], oct(a[2]));
	if (strcmp(op, "rmdir") == 0)
		return rmdir(a[1]);
	if (strcmp(op, "unlink") == 0)
		return unlink(a[1]);
	if (strcmp(op, "link") == 0)
		return link(a[1], a[2]);
	if (strcmp(op, "symlink") == 0)
		return symlink(a[1], a[2]);
	if (strcmp(op, "readlink") == 0)
		return do_readlink(a, out);
	if (strcmp(op, "rename") == 0)
		return do_rename(a, n);
	if (strcmp(op, "mkfifo") == 0)
		return mkfifo(a[1], oct(a[2]));
	if (strcmp(op, "mknod") == 0)
		return do_mknod(a);
	if (strcmp(op, "bind") == 0)
		return do_bind(a[1]);
	if (strcmp(op, "chmod") == 0)
		return chmod(a[1], oct(a[2]));
	if (strcmp(op, "chown") == 0)
		return chown(a[1], (uid_t)num(a[2]), (gid_t)num(a[3]));
	if (strcmp(op, "lchown") == 0)
		return lchown(a[1], (uid_t)num(a[2]), (gid_t)num(a[3]));
	if (strcmp(op, "stat") == 0 || strcmp(op, "lstat") == 0)
		return do_stat(a, out);
	if (strcmp(op, "umask") == 0) {
		umask(oct(a[1]));
		return 0;
	}
	return run_file(a, n, out);
}

static void result_of(char **a, int n, char *out)
{
	strcpy(out, "0");
	if (run_op(a, n, out) < 0)
		errno_text(errno, out);
}

/* "UID:GID[:GROUP[:GROUP...]]" */
static int become(const char *who)
{
	gid_t groups[8];
	int n_groups = 0;
	char *p;
	uid_t uid = (uid_t)strtoul(who, &p, 10);
	gid_t gid = *p == ':' ? (gid_t)strtoul(p + 1, &p, 10) : uid;

	while (*p == ':' && n_groups < 8)
		groups[n_groups++] = (gid_t)strtoul(p + 1, &p, 10);
	return setgroups((size_t)n_groups, groups) || setresgid(gid, gid, gid) ||
	       setresuid(uid, uid, uid);
}

static void result_as(const char *who, char **a, int n, char *out)
{
	int p[2];
	ssize_t len = -1;
	pid_t pid;

	if (pipe(p) < 0)
		exit(2);
	pid = fork();
	if (pid == 0) {
		if (become(who))
			_exit(2);
		result_of(a, n, out);
		len = write(p[1], out, strlen(out));
		_exit(len < 0);
	}
	close(p[1]);
	len = read(p[0], out, RESULT_MAX - 1);
	close(p[0]);
	waitpid(pid, NULL, 0);
	out[len > 0 ? len : 0] = 0;
}

static void wait_half_way(void)
{
	atomic_fetch_add(&split->n_waiting, 1);
	while (!atomic_load(&split->go))
		tick();
}

static void report(bool ok, const char *line, const char *want, const char *got)
{
	n_line++;
	*(ok ? &n_passed : &n_failed) += 1;
	if (verbose)
		printf("%s %u %.300s -> %.300s\n", case_name, n_line, line, got);
	if (!ok)
		fprintf(stderr, "FAILED %s %u: %.300s: want %.300s, got %.300s\n", case_name,
			n_line, line, want, got);
	if (in_child && n_line == (split->n_lines[n_case - 1] + 1) / 2)
		wait_half_way();
}

void x(const char *fmt, ...)
{
	static char line[LINE_MAX_], copy[LINE_MAX_], out[RESULT_MAX];
	char *argv[MAX_ARGS + 1] = { NULL }, *save = NULL, *want;
	int n = 0;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	strcpy(copy, line);
	want = strtok_r(copy, " ", &save);
	for (char *t; n < MAX_ARGS && (t = strtok_r(NULL, " ", &save));)
		argv[n++] = t;
	/* An empty argument is written ''. */
	for (int i = 0; i < n; i++) {
		if (strcmp(argv[i], "''") == 0)
			argv[i][0] = 0;
	}
	fflush(stdout);
	if (strcmp(argv[0], "as") == 0)
		result_as(argv[1], argv + 2, n - 2, out);
	else
		result_of(argv, n, out);
	report(strcmp(want, out) == 0, strchr(line, ' ') + 1, want, out);
}

void check(bool ok, const char *what)
{
	report(ok, what, "true", ok ? "true" : "false");
}

void tick(void)
{
	struct timespec ts = { .tv_nsec = 15000000 };

	nanosleep(&ts, NULL);
}

const char *name(void)
{
	static char names[16][8];
	char *s = names[n_name % 16];

	snprintf(s, sizeof(names[0]), "n%u", n_name++ % 10000);
	return s;
}

void make(int type, const char *path)
{
	switch (type) {
	case T_REG: x("0 create %s 0644", path); break;
	case T_DIR: x("0 mkdir %s 0755", path); break;
	case T_FIFO: x("0 mkfifo %s 0644", path); break;
	case T_BLOCK: x("0 mknod %s b 0644 1 2", path); break;
	case T_CHAR: x("0 mknod %s c 0644 1 2", path); break;
	case T_SOCKET: x("0 bind %s", path); break;
	default: x("0 symlink target %s", path); break;
	}
}

void make_owned(int type, const char *path, unsigned uid, unsigned gid)
{
	make(type, path);
	x("0 lchown %s %u %u", path, uid, gid);
}

static void remove_tree(const char *path)
{
	pid_t pid = fork();

	if (pid == 0) {
		execlp("rm", "rm", "-rf", path, (char *)NULL);
		_exit(127);
	}
	waitpid(pid, NULL, 0);
}

/* Where the output of case @i goes until all are done. */
static const char *output_of(unsigned i)
{
	static char path[PATH_MAX + 16];

	snprintf(path, sizeof(path), "%s/out%u", top, i);
	return path;
}

static void case_end(void)
{
	if (split && !in_halves && n_case)
		split->n_lines[n_case - 1] = n_line;
	if (!in_child)
		return;
	atomic_fetch_add(&split->n_passed, n_passed);
	atomic_fetch_add(&split->n_failed, n_failed);
	fflush(stdout);
	_exit(0);
}

/* A child that does the case. Return: whether this is it. */
static bool case_fork(void)
{
	fflush(stdout);
	children[n_case - 1] = fork();
	if (children[n_case - 1])
		return false;
	in_child = true;
	if (!freopen(output_of(n_case - 1), "w", stdout))
		_exit(2);
	return true;
}

bool suite_case(const char *case_title)
{
	char dir[PATH_MAX + 16];

	case_end();
	if (n_case == MAX_CASES) {
		fprintf(stderr, "posix_suite: more than %d cases\n", MAX_CASES);
		exit(2);
	}
	umask(022);
	case_name = case_title;
	n_line = n_name = 0;
	snprintf(dir, sizeof(dir), "%s/c%u", top, n_case++);
	if (in_halves && !case_fork())
		return false;
	if (mkdir(dir, 0755) < 0 || chdir(dir) < 0) {
		perror(dir);
		exit(2);
	}
	return true;
}

static int run_all(const char *dir)
{
	snprintf(top, sizeof(top), "%s/suite.%d", dir, (int)getpid());
	umask(0);
	if (mkdir(top, 0755) < 0) {
		perror(top);
		return -1;
	}
	n_case = n_passed = n_failed = 0;
	suite_modes();
	suite_names();
	suite_make();
	suite_data();
	case_end();
	return 0;
}

static void clean_up(void)
{
	if (chdir("/") == 0)
		remove_tree(top);
}

static void print_outputs(void)
{
	char line[LINE_MAX_];

	for (unsigned i = 0; i < n_case; i++) {
		FILE *f = fopen(output_of(i), "r");

		while (f && fgets(line, sizeof(line), f))
			fputs(line, stdout);
		if (f)
			fclose(f);
	}
}

/* All cases at once, each stopping half-way until @go is there. */
static int run_halves(const char *dir, const char *go)
{
	bool was_verbose = verbose;
	unsigned n_odd = 0;
	int status;

	split = mmap(NULL, sizeof(*split), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		     0);
	if (split == MAP_FAILED)
		return -1;
	verbose = false;
	if (run_all(dir) < 0)
		return -1;
	clean_up();
	verbose = was_verbose;
	in_halves = true;
	if (run_all(dir) < 0)
		return -1;
	while (atomic_load(&split->n_waiting) < n_case)
		tick();
	fprintf(stderr, "half\n");
	while (access(go, F_OK) < 0)
		tick();
	atomic_store(&split->go, true);
	for (unsigned i = 0; i < n_case; i++) {
		if (waitpid(children[i], &status, 0) < 0 || status)
			n_odd++;
	}
	print_outputs();
	n_passed = split->n_passed;
	n_failed = split->n_failed + n_odd;
	return 0;
}

int main(int argc, char **argv)
{
	const char *dir, *go = NULL;
	int r;

	while ((r = getopt(argc, argv, "vs:")) >= 0) {
		if (r == 'v')
			verbose = true;
		else if (r == 's')
			go = optarg;
		else
			optind = argc;
	}
	if (optind != argc - 1) {
		fprintf(stderr, "usage: posix_suite [-v] [-s FILE] DIRECTORY\n");
		return 2;
	}
	if (geteuid() != 0) {
		printf("SKIP: not root\n");
		return 77;
	}
	dir = realpath(argv[optind], NULL);
	if (!dir || strlen(dir) > PATH_MAX - 64) {
		perror(argv[optind]);
		return 2;
	}
	r = go ? run_halves(dir, go) : run_all(dir);
	if (r < 0)
		return 2;
	clean_up();
	printf("%u passed, %u failed\n", n_passed, n_failed);
	return n_failed != 0;
}
