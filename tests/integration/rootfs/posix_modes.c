/* SPDX-License-Identifier: Apache-2.0 */
/* File system suite: chmod, chown, and the bits that change hands must lose. */
#include "posix_run.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static long long ctime_of(const char *path)
{
	struct stat st;

	if (lstat(path, &st) < 0)
		return -1;
	return (long long)st.st_ctim.tv_sec * 1000000000LL + st.st_ctim.tv_nsec;
}

static char long_name[257], too_long_name[258];
static char too_long_path[5000];

static void names_init(void)
{
	memset(long_name, 'x', 255);
	memset(too_long_name, 'x', 256);
	for (size_t i = 0; i + 2 < sizeof(too_long_path); i += 2)
		memcpy(too_long_path + i, "x/", 3);
}

/* Errors every path-taking call shares; @rest are the arguments after the path. */
static void path_errors(const char *op, const char *rest)
{
	const char *f = name(), *d = name(), *l1 = name(), *l2 = name();

	make(T_REG, f);
	x("ENOTDIR %s %s/sub %s", op, f, rest);
	x("ENAMETOOLONG %s %s %s", op, too_long_name, rest);
	x("ENAMETOOLONG %s %s %s", op, too_long_path, rest);
	x("ENOENT %s missing/sub %s", op, rest);
	x("ENOENT %s '' %s", op, rest);
	x("0 symlink %s %s", l2, l1);
	x("0 symlink %s %s", l1, l2);
	x("ELOOP %s %s/sub %s", op, l1, rest);
	make_owned(T_DIR, d, 65534, 65534);
	x("0 chmod %s 0644", d);
	x("EACCES as 65534:65534 %s %s/sub %s", op, d, rest);
	x("EACCES as 65533:65533 %s %s/sub %s", op, d, rest);
}

static void chmod_changes(void)
{
	for (int t = 0; t < T_SYMLINK; t++) {
		const char *n = name(), *l = name();
		long long before;

		make(t, n);
		for (int i = 0; i < 12; i++) {
			x("0 chmod %s 0%o", n, 1 << i);
			x("0%o lstat %s mode", 1 << i, n);
		}
		x("0 chmod %s 07777", n);
		x("%s,07777 lstat %s type,mode", type_names[t], n);
		x("0 symlink %s %s", n, l);
		x("0 chmod %s 0321", l);
		x("0321 stat %s mode", l);
		x("0777 lstat %s mode", l);
		before = ctime_of(n);
		tick();
		x("0 chmod %s 0444", n);
		check(before < ctime_of(n), "ctime moves when the mode changes");
		before = ctime_of(n);
		tick();
		x("EPERM as 65534:65534 chmod %s 0777", n);
		check(before == ctime_of(n), "ctime stays when chmod fails");
		x("0444 lstat %s mode", n);
	}
}

static void chmod_rights(void)
{
	const char *d = name();

	x("0 mkdir %s 0777", d);
	x("0 chmod %s 0777", d);
	for (int t = 0; t < T_SYMLINK; t++) {
		char n[64];

		snprintf(n, sizeof(n), "%s/%s", d, type_names[t]);
		make_owned(t, n, 65534, 65533);
		x("0 as 65534:65534 chmod %s 0600", n);
		x("0600,65534,65533 lstat %s mode,uid,gid", n);
		x("EPERM as 65533:65533 chmod %s 0666", n);
		/* setgid only for members of the group, silently. */
		x("0 as 65534:65534 chmod %s 02755", n);
		x("0755 lstat %s mode", n);
		x("0 as 65534:65534:65533 chmod %s 02755", n);
		x("02755 lstat %s mode", n);
		x("0 as 65534:65533 chmod %s 02750", n);
		x("02750 lstat %s mode", n);
		x("0 chmod %s 06711", n);
		x("06711 lstat %s mode", n);
		x("0 as 65534:65534 chmod %s 01644", n);
		x("01644 lstat %s mode", n);
	}
}

static void chown_changes(void)
{
	for (int t = 0; t < T_MAX_; t++) {
		const char *n = name();
		long long before;

		make(t, n);
		x("0 lchown %s 123 456", n);
		x("%s,123,456 lstat %s type,uid,gid", type_names[t], n);
		x("0 lchown %s -1 7", n);
		x("123,7 lstat %s uid,gid", n);
		x("0 lchown %s 8 -1", n);
		x("8,7 lstat %s uid,gid", n);
		x("0 lchown %s 4294967294 4294967294", n);
		x("4294967294,4294967294 lstat %s uid,gid", n);
		before = ctime_of(n);
		tick();
		x("0 lchown %s 1 1", n);
		check(before < ctime_of(n), "ctime moves when the owner changes");
		x("EPERM as 65534:65534 lchown %s 65534 65534", n);
		x("1,1 lstat %s uid,gid", n);
	}
}

static void chown_rights(void)
{
	for (int t = 0; t < T_SYMLINK; t++) {
		const char *n = name(), *l = name();

		make_owned(t, n, 65534, 65533);
		/* The owner may give it to a group it is in, nothing else. */
		x("0 as 65534:65532:65531 chown %s -1 65531", n);
		x("65534,65531 lstat %s uid,gid", n);
		x("0 as 65534:65532:65531 chown %s 65534 65532", n);
		x("65534,65532 lstat %s uid,gid", n);
		x("EPERM as 65534:65532:65531 chown %s 65533 65532", n);
		x("EPERM as 65534:65532:65531 chown %s -1 65530", n);
		x("EPERM as 65533:65533 chown %s -1 65533", n);
		x("65534,65532 lstat %s uid,gid", n);
		x("0 symlink %s %s", n, l);
		x("0 chown %s 5 6", l);
		x("5,6 stat %s uid,gid", l);
		x("0,0 lstat %s uid,gid", l);
	}
}

/* setuid and setgid go when the owner changes, whoever does it. */
static void chown_drops_bits(void)
{
	static const struct {
		const char *mode, *left;
	} modes[] = {
		{ "04755", "0755" },  { "02755", "0755" },  { "06755", "0755" },
		{ "02745", "02745" }, { "06745", "02745" }, { "01755", "01755" },
	};

	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		const char *f = name(), *d = name();

		make_owned(T_REG, f, 65534, 65533);
		x("0 chmod %s %s", f, modes[i].mode);
		x("0 chown %s 65534 65532", f);
		x("%s lstat %s mode", modes[i].left, f);
		x("0 chmod %s %s", f, modes[i].mode);
		x("0 as 65534:65532:65531 chown %s 65534 65531", f);
		x("%s,65531 lstat %s mode,gid", modes[i].left, f);
		make_owned(T_DIR, d, 65534, 65533);
		x("0 chmod %s %s", d, modes[i].mode);
		x("0 chown %s 65534 65532", d);
		x("%s lstat %s mode", modes[i].mode, d);
	}
}

/* A chown that changes nothing drops them too. */
static void chown_nothing_drops_bits(void)
{
	const char *f = name(), *g = name();

	make_owned(T_REG, f, 65534, 65533);
	x("0 chmod %s 06555", f);
	x("0 as 65534:65533 chown %s -1 -1", f);
	x("0555 lstat %s mode", f);
	x("0 chmod %s 06555", f);
	x("0 chown %s -1 -1", f);
	x("0555 lstat %s mode", f);
	/* setgid without group execute stays, also after someone else's write */
	make_owned(T_REG, g, 65534, 65533);
	x("0 chmod %s 06767", f);
	x("0 as 65534:65533 write %s O_WRONLY 0 data", g);
	x("0 chown %s -1 -1", f);
	x("02767 lstat %s mode", f);
}

/* A write by someone without CAP_FSETID drops them. */
static void write_drops_bits(void)
{
	const char *f = name();

	make_owned(T_REG, f, 65534, 65533);
	x("0 chmod %s 06777", f);
	x("0 as 65533:65532 write %s O_WRONLY 0 data", f);
	x("0777,4 lstat %s mode,size", f);
	x("0 chmod %s 06777", f);
	x("0 as 65534:65533 write %s O_WRONLY 0 data", f);
	x("0777 lstat %s mode", f);
	x("0 chmod %s 06777", f);
	x("0 write %s O_WRONLY 0 data", f);
	x("06777 lstat %s mode", f);
	/* setgid without group execute is not a privilege */
	x("0 chmod %s 06767", f);
	x("0 as 65534:65533 write %s O_WRONLY 0 data", f);
	x("02767 lstat %s mode", f);
	x("0 chmod %s 06777", f);
	x("0 as 65533:65532 truncate %s 2", f);
	x("0777,2 lstat %s mode,size", f);
	x("0 chmod %s 06777", f);
	x("0 as 65533:65532 open %s O_WRONLY|O_TRUNC", f);
	x("0777,0 lstat %s mode,size", f);
	x("0 chmod %s 06777", f);
	x("0 truncate %s 3", f);
	x("06777 lstat %s mode", f);
}

void suite_modes(void)
{
	names_init();
	if (suite_case("chmod/changes"))
		chmod_changes();
	if (suite_case("chmod/rights"))
		chmod_rights();
	if (suite_case("chmod/errors"))
		path_errors("chmod", "0644");
	if (suite_case("chown/changes"))
		chown_changes();
	if (suite_case("chown/rights"))
		chown_rights();
	if (suite_case("chown/drops-bits"))
		chown_drops_bits();
	if (suite_case("chown/nothing-drops-bits"))
		chown_nothing_drops_bits();
	if (suite_case("chown/errors")) {
		path_errors("chown", "65534 65534");
		path_errors("lchown", "65534 65534");
	}
	if (suite_case("write/drops-bits"))
		write_drops_bits();
	if (suite_case("truncate/errors"))
		path_errors("truncate", "0");
	if (suite_case("unlink/errors"))
		path_errors("unlink", "");
	if (suite_case("rmdir/errors"))
		path_errors("rmdir", "");
	if (suite_case("mkdir/errors"))
		path_errors("mkdir", "0755");
	if (suite_case("mkfifo/errors"))
		path_errors("mkfifo", "0644");
	if (suite_case("open/errors")) {
		path_errors("open", "O_RDONLY");
		path_errors("open", "O_CREAT|O_RDWR 0644");
	}
	if (suite_case("utimensat/errors"))
		path_errors("utimensat", "0 now 0 now");
	if (suite_case("longest-name")) {
		x("0 mkdir %s 0755", long_name);
		x("dir lstat %s type", long_name);
		x("0 create %s/%s 0644", long_name, long_name);
		x("0 rename %s/%s %s/short", long_name, long_name, long_name);
		x("0 unlink %s/short", long_name);
		x("0 rmdir %s", long_name);
	}
}
