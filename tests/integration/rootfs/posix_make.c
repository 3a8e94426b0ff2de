/* SPDX-License-Identifier: Apache-2.0 */
/* File system suite: mkdir, mkfifo, mknod, open: modes, umask, owners, rights. */
#include "posix_run.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <sys/stat.h>

static const struct maker {
	const char *op;	  /* takes a path */
	const char *rest; /* before the mode */
	const char *after;
	const char *type;
} makers[] = {
	{ "mkdir", "", "", "dir" },	 { "mkfifo", "", "", "fifo" },
	{ "mknod", "f", "0 0", "fifo" }, { "mknod", "r", "0 0", "regular" },
	{ "create", "", "", "regular" }, { "open", "O_CREAT|O_RDWR", "", "regular" },
};

#define N_MAKERS (sizeof(makers) / sizeof(makers[0]))

static void mode_and_umask(void)
{
	static const struct {
		const char *mask, *mode, *result;
	} modes[] = {
		{ "0", "0755", "0755" },   { "0", "0151", "0151" },    { "077", "0151", "0100" },
		{ "070", "0345", "0305" }, { "0501", "0345", "0244" }, { "022", "0777", "0755" },
		{ "0777", "0777", "0" },
	};

	for (size_t m = 0; m < N_MAKERS; m++) {
		for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
			const char *n = name();

			x("0 umask %s", modes[i].mask);
			x("0 %s %s %s %s %s", makers[m].op, n, makers[m].rest, modes[i].mode,
			  makers[m].after);
			x("%s,%s lstat %s type,mode", makers[m].type,
			  strcmp(modes[i].result, "0") == 0 ? "00" : modes[i].result, n);
		}
		x("0 umask 022");
	}
}

static void owners(void)
{
	for (size_t m = 0; m < N_MAKERS; m++) {
		const char *d = name();

		x("0 mkdir %s 0755", d);
		x("0 chown %s 65535 65535", d);
		x("0 chmod %s 0777", d);
		x("0 as 65534:65533 %s %s/a %s 0755 %s", makers[m].op, d, makers[m].rest,
		  makers[m].after);
		x("65534,65533 lstat %s/a uid,gid", d);
		/* A setgid directory gives its group; a new directory also its bit. */
		x("0 chmod %s 02777", d);
		x("0 as 65534:65533 %s %s/b %s 0755 %s", makers[m].op, d, makers[m].rest,
		  makers[m].after);
		x("65534,65535 lstat %s/b uid,gid", d);
		x("%s lstat %s/b mode", m == 0 ? "02755" : "0755", d);
		/* Who is not in the group cannot make a setgid executable of it. */
		x("0 as 65534:65533 %s %s/c %s 02755 %s", makers[m].op, d, makers[m].rest,
		  makers[m].after);
		x("%s lstat %s/c mode", m == 0 ? "02755" : "0755", d);
		x("0 as 65534:65533:65535 %s %s/e %s 02755 %s", makers[m].op, d, makers[m].rest,
		  makers[m].after);
		x("02755 lstat %s/e mode", d);
		x("0 %s %s/f %s 0755 %s", makers[m].op, d, makers[m].rest, makers[m].after);
		x("0,65535 lstat %s/f uid,gid", d);
	}
}

static void make_rights(void)
{
	for (size_t m = 0; m < N_MAKERS; m++) {
		const char *d = name();

		x("0 mkdir %s 0755", d);
		x("0 chown %s 65534 65533", d);
#define TRY(result, mode, who, n)                                                               \
	do {                                                                                    \
		x("0 chmod %s " mode, d);                                                       \
		x(result " as " who " %s %s/" n " %s 0644 %s", makers[m].op, d, makers[m].rest, \
		  makers[m].after);                                                             \
	} while (0)
		TRY("0", "0700", "65534:65534", "a");
		TRY("EACCES", "0500", "65534:65534", "b");
		TRY("EACCES", "0600", "65534:65534", "c");
		TRY("EACCES", "0077", "65534:65534", "d");
		TRY("0", "0070", "65532:65533", "e");
		TRY("0", "0070", "65532:65532:65533", "f");
		TRY("EACCES", "0050", "65532:65533", "g");
		TRY("EACCES", "0707", "65532:65533", "h");
		TRY("0", "0007", "65532:65532", "i");
		TRY("EACCES", "0770", "65532:65532", "j");
		TRY("0", "0000", "0:0", "k");
#undef TRY
	}
}

static void make_exists(void)
{
	for (size_t m = 0; m + 1 < N_MAKERS; m++) {
		for (int t = 0; t < T_MAX_; t++) {
			const char *n = name();

			make(t, n);
			x("EEXIST %s %s %s 0644 %s", makers[m].op, n, makers[m].rest,
			  makers[m].after);
			x("%s lstat %s type", type_names[t], n);
		}
	}
}

static void make_times(void)
{
	for (size_t m = 0; m < N_MAKERS; m++) {
		const char *d = name();
		struct stat was, is, f;
		char path[32];

		x("0 mkdir %s 0755", d);
		stat(d, &was);
		tick();
		snprintf(path, sizeof(path), "%s/x", d);
		x("0 %s %s %s 0644 %s", makers[m].op, path, makers[m].rest, makers[m].after);
		stat(d, &is);
		lstat(path, &f);
		check(was.st_mtim.tv_sec < is.st_mtim.tv_sec ||
			      was.st_mtim.tv_nsec != is.st_mtim.tv_nsec,
		      "the directory's mtime moves");
		check(f.st_mtim.tv_sec > was.st_mtim.tv_sec ||
			      (f.st_mtim.tv_sec == was.st_mtim.tv_sec &&
			       f.st_mtim.tv_nsec > was.st_mtim.tv_nsec),
		      "the new file is newer than the directory was");
	}
}

static void devices(void)
{
	x("0 mknod c c 0644 1 3");
	x("char,1-3,0644 lstat c type,rdev,mode");
	x("0 mknod b b 0600 259 70000");
	x("block,259-70000,0600 lstat b type,rdev,mode");
	x("0 mknod big c 0600 4095 1048575");
	x("4095-1048575 lstat big rdev");
	x("0 mknod s s 0640 0 0");
	x("socket,0640 lstat s type,mode");
	x("EACCES as 65534:65534 mknod d1 c 0644 1 3");
	x("0 chmod . 0777");
	x("EPERM as 65534:65534 mknod d2 c 0644 1 3");
	x("EPERM as 65534:65534 mknod d3 b 0644 1 3");
	x("0 as 65534:65534 mknod d4 f 0644 0 0");
	x("0 as 65534:65534 mknod d5 s 0644 0 0");
	x("ENXIO open s O_RDONLY");
	x("0 mkfifo p 0644");
	x("ENXIO open p O_WRONLY|O_NONBLOCK");
	x("0 open p O_RDONLY|O_NONBLOCK");
	x("0 open p O_RDWR");
}

static void open_existing(void)
{
	const char *f = name(), *d = name(), *l = name();

	x("0 write %s O_CREAT 0 data", f);
	make(T_DIR, d);
	x("EEXIST open %s O_CREAT|O_EXCL 0644", f);
	x("EEXIST open %s O_CREAT|O_EXCL 0644", d);
	x("0 open %s O_CREAT|O_RDWR 0600", f);
	x("0644,4 lstat %s mode,size", f);
	x("EISDIR open %s O_WRONLY", d);
	x("EISDIR open %s O_RDWR", d);
	x("EISDIR open %s O_RDONLY|O_TRUNC", d);
	x("EISDIR open %s O_CREAT 0644", d);
	x("ENOTDIR open %s O_DIRECTORY", f);
	x("0 open %s O_DIRECTORY", d);
	x("0 symlink %s %s", f, l);
	x("ELOOP open %s O_NOFOLLOW", l);
	x("EEXIST open %s O_CREAT|O_EXCL 0644", l);
	x("0 open %s O_WRONLY|O_TRUNC", l);
	x("0 stat %s size", f);
	x("0 symlink missing dangling");
	x("ENOENT open dangling O_RDONLY");
	x("EEXIST open dangling O_CREAT|O_EXCL 0644");
	x("0 open dangling O_CREAT|O_WRONLY 0644");
	x("regular lstat missing type");
	x("0 symlink self self");
	x("ELOOP open self O_RDONLY");
	x("0 open . O_TMPFILE|O_RDWR 0600");
	x("EISDIR open . O_RDWR");
}

static void open_rights(void)
{
	static const struct {
		const char *mode, *who, *r, *w, *rw;
	} cases[] = {
		{ "0400", "65534:65534", "0", "EACCES", "EACCES" },
		{ "0200", "65534:65534", "EACCES", "0", "EACCES" },
		{ "0600", "65534:65534", "0", "0", "0" },
		{ "0100", "65534:65534", "EACCES", "EACCES", "EACCES" },
		{ "0077", "65534:65534", "EACCES", "EACCES", "EACCES" },
		{ "0040", "65532:65533", "0", "EACCES", "EACCES" },
		{ "0060", "65532:65532:65533", "0", "0", "0" },
		{ "0020", "65532:65533", "EACCES", "0", "EACCES" },
		{ "0706", "65532:65533", "EACCES", "EACCES", "EACCES" },
		{ "0004", "65532:65532", "0", "EACCES", "EACCES" },
		{ "0006", "65532:65532", "0", "0", "0" },
		{ "0770", "65532:65532", "EACCES", "EACCES", "EACCES" },
		{ "0000", "0:0", "0", "0", "0" },
	};
	const char *f = name();

	make_owned(T_REG, f, 65534, 65533);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		x("0 chmod %s %s", f, cases[i].mode);
		x("%s as %s open %s O_RDONLY", cases[i].r, cases[i].who, f);
		x("%s as %s open %s O_WRONLY", cases[i].w, cases[i].who, f);
		x("%s as %s open %s O_RDWR", cases[i].rw, cases[i].who, f);
		x("%s as %s access %s 4", cases[i].r, cases[i].who, f);
		x("%s as %s access %s 2", cases[i].w, cases[i].who, f);
	}
}

/* The maker may write what it has just made, whatever the mode. */
static void create_read_only(void)
{
	int fd = open("ro", O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0444);
	struct stat st = { 0 };

	check(fd >= 0 && write(fd, "x", 1) == 1, "a file made read-only is writable by its maker");
	close(fd);
	x("0444,1 lstat ro mode,size");
	fd = open(".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0640);
	check(fd >= 0 && write(fd, "tmp", 3) == 3, "a nameless file can be written");
	check(fd >= 0 && fstat(fd, &st) == 0 && st.st_nlink == 0 && st.st_size == 3,
	      "it has no links");
	check(linkat(fd, "", AT_FDCWD, "named", AT_EMPTY_PATH) == 0, "it can be given a name");
	close(fd);
	x("tmp read named 0");
	x("1,0640 lstat named nlink,mode");
}

void suite_make(void)
{
	if (suite_case("make/umask"))
		mode_and_umask();
	if (suite_case("make/owners"))
		owners();
	if (suite_case("make/rights"))
		make_rights();
	if (suite_case("make/exists"))
		make_exists();
	if (suite_case("make/times"))
		make_times();
	if (suite_case("mknod/devices"))
		devices();
	if (suite_case("open/existing"))
		open_existing();
	if (suite_case("open/rights"))
		open_rights();
	if (suite_case("open/create"))
		create_read_only();
}
