/* SPDX-License-Identifier: Apache-2.0 */
/* File system suite: link, unlink, rename, rmdir, symlink, and sticky directories. */
#include "posix_run.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/stat.h>

static struct stat stat_of(const char *path)
{
	struct stat st = { 0 };

	lstat(path, &st);
	return st;
}

static long long ns(const struct timespec *t)
{
	return (long long)t->tv_sec * 1000000000LL + t->tv_nsec;
}

static void link_counts(void)
{
	for (int t = 0; t < T_MAX_; t++) {
		const char *a = name(), *b = name(), *c = name();
		struct stat before;

		if (t == T_DIR)
			continue;
		make(t, a);
		x("1 lstat %s nlink", a);
		before = stat_of(a);
		tick();
		x("0 link %s %s", a, b);
		x("2,%s lstat %s nlink,type", type_names[t], b);
		check(ns(&before.st_ctim) < ns(&(struct timespec){ stat_of(a).st_ctim.tv_sec,
								   stat_of(a).st_ctim.tv_nsec }),
		      "ctime moves with a link");
		check(stat_of(a).st_ino == stat_of(b).st_ino, "links are one inode");
		x("0 link %s %s", b, c);
		x("3 lstat %s nlink", a);
		if (t != T_SYMLINK) {
			x("0 chmod %s 0600", c);
			x("0600 lstat %s mode", a);
		}
		x("0 lchown %s 1 2", a);
		x("1,2 lstat %s uid,gid", c);
		x("EEXIST link %s %s", a, b);
		x("0 unlink %s", a);
		x("2 lstat %s nlink", c);
		x("ENOENT lstat %s type", a);
		x("0 unlink %s", b);
		x("1 lstat %s nlink", c);
		x("0 unlink %s", c);
		x("ENOENT lstat %s type", c);
	}
}

static void link_errors(void)
{
	const char *f = name(), *d = name(), *n = name();

	make(T_REG, f);
	make(T_DIR, d);
	x("EPERM link %s %s", d, n);
	x("ENOENT link missing %s", n);
	x("ENOTDIR link %s %s/x", f, f);
	x("EEXIST link %s %s", f, d);
	x("ENOENT link %s missing/x", f);
	x("0 chmod %s 0755", d);
	x("0 chown %s 65534 65534", f);
	x("EACCES as 65534:65534 link %s %s/x", f, d);
	x("0 chown %s 65534 65534", d);
	x("0 as 65534:65534 link %s %s/x", f, d);
	x("2 lstat %s nlink", f);
	x("0 chmod %s 0555", d);
	x("EACCES as 65534:65534 link %s %s/y", f, d);
	x("EACCES as 65534:65534 unlink %s/x", d);
}

static void unlink_kinds(void)
{
	const char *d = name();
	struct stat before;

	for (int t = 0; t < T_MAX_; t++) {
		const char *n = name();

		make(t, n);
		if (t == T_DIR) {
			x("EISDIR unlink %s", n);
			x("0 rmdir %s", n);
		} else {
			x("ENOTDIR rmdir %s", n);
			x("0 unlink %s", n);
		}
		x("ENOENT lstat %s type", n);
		x("ENOENT unlink %s", n);
	}
	make(T_DIR, d);
	x("0 create %s/f 0644", d);
	before = stat_of(d);
	tick();
	x("0 unlink %s/f", d);
	check(ns(&before.st_mtim) < (long long)stat_of(d).st_mtim.tv_sec * 1000000000LL +
					    stat_of(d).st_mtim.tv_nsec,
	      "a directory's mtime moves when a name goes");
}

static void unlink_open_file(void)
{
	const char *f = name();
	char buf[8] = "";
	struct stat st = { 0 };
	int fd;

	x("0 write %s O_CREAT 0 content", f);
	fd = open(f, O_RDWR);
	check(fd >= 0, "open");
	x("0 unlink %s", f);
	check(fstat(fd, &st) == 0 && st.st_nlink == 0 && st.st_size == 7,
	      "an unlinked open file has no links");
	check(pread(fd, buf, 7, 0) == 7 && strcmp(buf, "content") == 0, "and can be read");
	check(pwrite(fd, "more", 4, 7) == 4 && fstat(fd, &st) == 0 && st.st_size == 11,
	      "and written");
	check(fchmod(fd, 0600) == 0 && fstat(fd, &st) == 0 && (st.st_mode & 0777) == 0600,
	      "and its mode changed");
	check(ftruncate(fd, 2) == 0 && fstat(fd, &st) == 0 && st.st_size == 2, "and be cut");
	x("0 create %s 0644", f);
	x("0 lstat %s size", f);
	close(fd);
}

/* Who may remove or rename in a sticky directory: owner of the file, of the directory, root. */
static void sticky(void)
{
	static const struct {
		unsigned dir_owner, file_owner, who;
		const char *result;
	} cases[] = {
		{ 65534, 65534, 65534, "0" },	  { 65534, 65533, 65534, "0" },
		{ 65533, 65534, 65534, "0" },	  { 65533, 65533, 65534, "EPERM" },
		{ 65533, 65532, 65534, "EPERM" }, { 0, 65534, 65534, "0" },
		{ 0, 65533, 65534, "EPERM" },	  { 65533, 65533, 0, "0" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const char *d = name();
		unsigned who = cases[i].who;

		x("0 mkdir %s 0755", d);
		x("0 chown %s %u %u", d, cases[i].dir_owner, cases[i].dir_owner);
		x("0 chmod %s 01777", d);
		for (int t = 0; t < T_MAX_; t++) {
			char n[32], m[32];

			snprintf(n, sizeof(n), "%s/%s", d, type_names[t]);
			snprintf(m, sizeof(m), "%s/%s2", d, type_names[t]);
			make_owned(t, n, cases[i].file_owner, cases[i].file_owner);
			x("%s as %u:%u rename %s %s", cases[i].result, who, who, n, m);
			if (strcmp(cases[i].result, "0") == 0)
				x("0 rename %s %s", m, n);
			x("%s as %u:%u %s %s", cases[i].result, who, who,
			  t == T_DIR ? "rmdir" : "unlink", n);
		}
	}
}

/* Replacing somebody's file in a sticky directory is removing it. */
static void sticky_replace(void)
{
	const char *d = name();

	x("0 mkdir %s 0755", d);
	x("0 chmod %s 01777", d);
	x("0 as 65534:65534 create %s/mine 0644", d);
	x("0 as 65533:65533 create %s/theirs 0644", d);
	x("EPERM as 65534:65534 rename %s/mine %s/theirs", d, d);
	x("0 as 65534:65534 create %s/mine2 0644", d);
	x("0 as 65534:65534 rename %s/mine %s/mine2", d, d);
	x("EPERM as 65534:65534 rename %s/mine2 %s/theirs exchange", d, d);
}

static void rename_kinds(void)
{
	for (int t = 0; t < T_MAX_; t++) {
		const char *a = name(), *b = name(), *d = name();
		ino_t ino;

		make(t, a);
		ino = stat_of(a).st_ino;
		x("0 rename %s %s", a, b);
		x("ENOENT lstat %s type", a);
		x("%s lstat %s type", type_names[t], b);
		check(stat_of(b).st_ino == ino, "a rename keeps the inode");
		make(T_DIR, d);
		x("0 rename %s %s/in", b, d);
		x("%s lstat %s/in type", type_names[t], d);
		check(stat_of(b).st_ino == 0, "the old name is gone");
	}
}

static void rename_onto(void)
{
	for (int from = 0; from < T_MAX_; from++) {
		for (int to = 0; to < T_MAX_; to++) {
			const char *a = name(), *b = name();
			const char *want = "0";

			make(from, a);
			make(to, b);
			if (from == T_DIR && to != T_DIR)
				want = "ENOTDIR";
			if (from != T_DIR && to == T_DIR)
				want = "EISDIR";
			x("EEXIST rename %s %s noreplace", a, b);
			x("%s rename %s %s", want, a, b);
			if (strcmp(want, "0") == 0)
				x("%s lstat %s type", type_names[from], b);
			else
				x("%s lstat %s type", type_names[to], b);
		}
	}
}

static void rename_errors(void)
{
	const char *d = name(), *e = name(), *f = name(), *l = name();

	x("0 mkdir %s 0755", d);
	x("0 mkdir %s/sub 0755", d);
	x("0 mkdir %s 0755", e);
	make(T_REG, f);
	x("EINVAL rename %s %s/sub/x", d, d);
	x("EINVAL rename %s %s/sub", d, d);
	x("ENOTEMPTY rename %s %s", e, d);
	x("0 rename %s/sub %s", d, e);
	x("0 create %s/f 0644", d);
	x("ENOTEMPTY rename %s %s", e, d);
	x("ENOENT rename missing %s", f);
	x("ENOTDIR rename %s %s/x", f, f);
	x("ENOTDIR rename %s/x %s", f, f);
	x("EBUSY rename . %s", e);
	x("EBUSY rename %s ..", e);
	x("EINVAL rename %s x strange", f);
	x("0 link %s %s", f, l);
	/* Two names of one file: nothing happens, both stay. */
	x("0 rename %s %s", f, l);
	x("2 lstat %s nlink", f);
	x("EACCES as 65534:65534 rename %s other", f);
	x("0 chmod . 0777");
	x("0 as 65534:65534 rename %s other", f);
	/* Moving a directory elsewhere writes its "..". */
	x("0 chown %s 65534 65534", d);
	x("0 mkdir %s/mine 0755", d);
	x("0 chown %s/mine 65533 65533", d);
	x("EACCES as 65534:65534 rename %s/mine moved", d);
	x("0 as 65534:65534 rename %s/mine %s/mine2", d, d);
	x("0 chmod . 0755");
}

static void rename_flags(void)
{
	const char *f = name(), *d = name(), *w = name();
	ino_t fi, di;

	make(T_REG, f);
	x("0 mkdir %s 0755", d);
	x("0 create %s/in 0644", d);
	fi = stat_of(f).st_ino;
	di = stat_of(d).st_ino;
	x("0 rename %s %s exchange", f, d);
	check(stat_of(f).st_ino == di && stat_of(d).st_ino == fi, "exchange swaps the names");
	x("regular lstat %s/in type", f);
	x("ENOENT rename %s missing exchange", f);
	x("0 rename %s new noreplace", f);
	x("dir lstat new type");
	make(T_REG, w);
	x("0 rename %s white whiteout", w);
	x("char,0-0 lstat %s type,rdev", w);
	x("regular lstat white type");
}

static void rename_times(void)
{
	const char *a = name(), *b = name(), *f = name();
	struct stat was_a, was_b, is_a, is_b;

	make(T_DIR, a);
	make(T_DIR, b);
	x("0 create %s/%s 0644", a, f);
	was_a = stat_of(a);
	was_b = stat_of(b);
	tick();
	x("0 rename %s/%s %s/%s", a, f, b, f);
	is_a = stat_of(a);
	is_b = stat_of(b);
	check(ns(&was_a.st_mtim) < ns(&is_a.st_mtim), "mtime of the old directory moves");
	check(ns(&was_b.st_mtim) < ns(&is_b.st_mtim), "mtime of the new directory moves");
	check(ns(&was_a.st_ctim) < ns(&is_a.st_ctim), "ctime of the old directory moves");
	check(ns(&was_b.st_ctim) < ns(&is_b.st_ctim), "ctime of the new directory moves");
}

static void rmdir_cases(void)
{
	const char *d = name();

	x("0 mkdir %s 0755", d);
	x("3 lstat . nlink");
	x("0 mkdir %s/sub 0755", d);
	x("3 lstat %s nlink", d);
	x("ENOTEMPTY rmdir %s", d);
	x("EINVAL rmdir %s/.", d);
	x("ENOTEMPTY rmdir %s/sub/..", d);
	x("0 rmdir %s/sub", d);
	x("2 lstat %s nlink", d);
	for (int t = 0; t < T_MAX_; t++) {
		char n[32];

		snprintf(n, sizeof(n), "%s/x", d);
		make(t, n);
		x("ENOTEMPTY rmdir %s", d);
		x("0 %s %s", t == T_DIR ? "rmdir" : "unlink", n);
	}
	x("EACCES as 65534:65534 rmdir %s", d);
	x("0 rmdir %s", d);
	x("2 lstat . nlink");
}

static void symlink_cases(void)
{
	static char target[4097];
	const char *l = name(), *f = name(), *e = name();

	memset(target, 'a', 4095);
	target[4095] = 0;
	x("0 symlink %s %s", target, l);
	x("symlink,4095,0777 lstat %s type,size,mode", l);
	x("%s readlink %s", target, l);
	target[4095] = 'a';
	x("ENAMETOOLONG symlink %s %s", target, name());
	x("ENOENT symlink '' %s", e);
	make(T_REG, f);
	for (int t = 0; t < T_MAX_; t++) {
		const char *n = name();

		make(t, n);
		x("EEXIST symlink target %s", n);
	}
	x("EINVAL readlink %s", f);
	x("0 as 0:0 symlink /etc/passwd abs");
	x("/etc/passwd readlink abs");
	x("0 symlink ../.. up");
	x("dir stat up type");
	x("0 chmod . 0777");
	x("0 as 65534:65533 symlink x by");
	x("65534,65533,symlink lstat by uid,gid,type");
	x("0 chmod . 0755");
	x("EACCES as 65534:65533 symlink x by2");
}

/* A directory of many names: every one is listed once, also while names go. */
static void big_directory(void)
{
	const int n_files = 3000;
	unsigned char *seen = calloc((size_t)n_files, 1);
	struct dirent *e;
	int n_seen = 0, n_twice = 0;
	DIR *dir;
	char path[64];

	x("0 mkdir big 0755");
	for (int i = 0; i < n_files; i++) {
		snprintf(path, sizeof(path), "big/file-with-a-name-%d", i);
		close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0644));
	}
	dir = opendir("big");
	while (seen && dir && (e = readdir(dir))) {
		int i = e->d_name[0] == '.' ? -1 : atoi(e->d_name + 17);

		if (i < 0 || i >= n_files)
			continue;
		n_twice += seen[i];
		n_seen += !seen[i];
		seen[i] = 1;
		/* Removing what was seen must not hide what was not. */
		snprintf(path, sizeof(path), "big/%.50s", e->d_name);
		if (i % 2)
			unlink(path);
	}
	check(n_seen == n_files, "every name is listed");
	check(n_twice == 0, "no name is listed twice");
	if (dir) {
		rewinddir(dir);
		for (n_seen = 0; (e = readdir(dir));)
			n_seen += e->d_name[0] != '.';
		closedir(dir);
	}
	check(n_seen == n_files / 2, "after rewinding the rest is listed");
	free(seen);
}

static void directory_positions(void)
{
	char path[32], names[40][32];
	long pos[40];
	struct dirent *e;
	int n = 0, bad = 0;
	DIR *dir;

	x("0 mkdir d 0755");
	for (int i = 0; i < 38; i++) {
		snprintf(path, sizeof(path), "d/%d", i);
		close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0644));
	}
	dir = opendir("d");
	while (dir && n < 40) {
		pos[n] = telldir(dir);
		e = readdir(dir);
		if (!e)
			break;
		snprintf(names[n++], 32, "%.31s", e->d_name);
	}
	check(n == 40, "forty entries");
	for (int i = n; dir && i-- > 0;) {
		seekdir(dir, pos[i]);
		e = readdir(dir);
		bad += !e || strcmp(e->d_name, names[i]) != 0;
	}
	check(bad == 0, "seekdir returns to each entry");
	if (dir)
		closedir(dir);
}

void suite_names(void)
{
	if (suite_case("link/counts"))
		link_counts();
	if (suite_case("link/errors"))
		link_errors();
	if (suite_case("unlink/kinds"))
		unlink_kinds();
	if (suite_case("unlink/open-file"))
		unlink_open_file();
	if (suite_case("sticky"))
		sticky();
	if (suite_case("sticky/replace"))
		sticky_replace();
	if (suite_case("rename/kinds"))
		rename_kinds();
	if (suite_case("rename/onto"))
		rename_onto();
	if (suite_case("rename/errors"))
		rename_errors();
	if (suite_case("rename/flags"))
		rename_flags();
	if (suite_case("rename/times"))
		rename_times();
	if (suite_case("rmdir"))
		rmdir_cases();
	if (suite_case("symlink"))
		symlink_cases();
	if (suite_case("readdir/big"))
		big_directory();
	if (suite_case("readdir/positions"))
		directory_positions();
}
