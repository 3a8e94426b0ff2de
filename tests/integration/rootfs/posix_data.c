/* SPDX-License-Identifier: Apache-2.0 */
/* File system suite: sizes, times, contents, holes, appending, mapping, copying, attributes, locks.
 */
#include "posix_run.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>

static void sizes(const char *op)
{
	const char *f = name();

	x("0 write %s O_CREAT 0 0123456789", f);
	x("0 %s %s 4", op, f);
	x("4 lstat %s size", f);
	x("0123 read %s 0", f);
	x("0 %s %s 8", op, f);
	x("0123@@@@ read %s 0", f);
	x("0 %s %s 1234567", op, f);
	x("1234567 lstat %s size", f);
	x("0 %s %s 0", op, f);
	x("empty read %s 0", f);
	x("EINVAL %s %s -1", op, f);
	x("0 lstat %s size", f);
}

static void truncate_rights(void)
{
	const char *f = name(), *d = name();
	struct stat was, is;

	make_owned(T_REG, f, 65534, 65534);
	make(T_DIR, d);
	x("EISDIR truncate %s 0", d);
	x("0 chmod %s 0444", f);
	x("EACCES as 65534:65534 truncate %s 1", f);
	x("EACCES as 65533:65533 truncate %s 1", f);
	x("0 chmod %s 0644", f);
	x("0 as 65534:65534 truncate %s 5", f);
	stat(f, &was);
	tick();
	x("0 truncate %s 7", f);
	stat(f, &is);
	check(was.st_mtim.tv_nsec != is.st_mtim.tv_nsec, "mtime moves with the size");
	check(was.st_ctim.tv_nsec != is.st_ctim.tv_nsec, "ctime moves with the size");
	x("EINVAL truncate /dev/null 1");
}

static void fallocate_cases(void)
{
	const char *f = name();
	struct stat st;

	x("0 write %s O_CREAT 0 abc", f);
	x("0 posix_fallocate %s 0 100", f);
	x("100 lstat %s size", f);
	x("0 posix_fallocate %s 4096 4096", f);
	x("8192 lstat %s size", f);
	x("0 posix_fallocate %s 10 5", f);
	x("8192 lstat %s size", f);
	x("EINVAL posix_fallocate %s 0 0", f);
	x("EINVAL posix_fallocate %s -1 5", f);
	x("abc@@ read %s 0", "short");
	x("0 fallocate %s 1 0 65536", f); /* FALLOC_FL_KEEP_SIZE */
	x("8192 lstat %s size", f);
	x("0 fallocate %s 3 0 4096", f); /* PUNCH_HOLE | KEEP_SIZE */
	x("8192 lstat %s size", f);
	stat(f, &st);
	check(st.st_blocks > 0, "allocated blocks are counted");
}

static void holes(void)
{
	int fd = open("sparse", O_CREAT | O_RDWR | O_CLOEXEC, 0644);
	off_t data, hole;

	check(ftruncate(fd, 1 << 20) == 0, "a file of one hole");
	check(pwrite(fd, "x", 1, 512 << 10) == 1, "data in the middle");
	fsync(fd);
	data = lseek(fd, 0, SEEK_DATA);
	check(data > 0 && data <= 512 << 10, "SEEK_DATA finds it");
	hole = lseek(fd, data, SEEK_HOLE);
	check(hole > 512 << 10 && hole <= 1 << 20, "SEEK_HOLE finds its end");
	check(lseek(fd, 2 << 20, SEEK_DATA) < 0 && errno == ENXIO, "beyond the end is ENXIO");
	check(lseek(fd, 0, SEEK_END) == 1 << 20, "SEEK_END");
	close(fd);
}

static void appending(void)
{
	int a = open("log", O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0644);
	int b = open("log", O_WRONLY | O_APPEND | O_CLOEXEC);
	char buf[16] = "";

	check(write(a, "one", 3) == 3 && write(b, "two", 3) == 3 && write(a, "six", 3) == 3,
	      "two writers append in turn");
	close(a);
	close(b);
	x("onetwosix read log 0");
	a = open("log", O_RDWR | O_APPEND | O_CLOEXEC);
	check(pread(a, buf, 3, 3) == 3 && strcmp(buf, "two") == 0, "an appender reads anywhere");
	close(a);
}

/* Many processes append records; none is lost or torn. */
static void appending_together(void)
{
	enum { N_PROC = 4, N_REC = 200, REC = 16 };
	char rec[REC + 1];
	int bad = 0, fd, n = 0;

	for (int p = 0; p < N_PROC; p++) {
		if (fork() == 0) {
			fd = open("records", O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0644);
			for (int i = 0; i < N_REC; i++) {
				snprintf(rec, sizeof(rec), "%07d-%06d\n", p, i);
				if (write(fd, rec, REC - 1) != REC - 1)
					_exit(1);
			}
			_exit(0);
		}
	}
	for (int p = 0; p < N_PROC; p++) {
		int status;

		wait(&status);
		bad += status != 0;
	}
	check(bad == 0, "all appenders wrote");
	fd = open("records", O_RDONLY | O_CLOEXEC);
	while (read(fd, rec, REC - 1) == REC - 1) {
		n++;
		bad += rec[7] != '-' || rec[REC - 2] != '\n';
	}
	close(fd);
	check(n == N_PROC * N_REC, "every record is there");
	check(bad == 0, "no record is torn");
}

static void mapping(void)
{
	int fd = open("mapped", O_CREAT | O_RDWR | O_CLOEXEC, 0644);
	char *p, buf[8] = "";

	check(ftruncate(fd, 8192) == 0, "size");
	p = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	check(p != MAP_FAILED, "a shared writable mapping");
	if (p == MAP_FAILED)
		return;
	memcpy(p + 4090, "hello", 5);
	check(pread(fd, buf, 5, 4090) == 5 && strcmp(buf, "hello") == 0, "a store is seen by read");
	check(pwrite(fd, "world", 5, 100) == 5 && memcmp(p + 100, "world", 5) == 0,
	      "a write is seen by the mapping");
	check(msync(p, 8192, MS_SYNC) == 0, "msync");
	munmap(p, 8192);
	close(fd);
	x("world read mapped2 0");
}

static void copying(void)
{
	int in, out;
	loff_t a = 2, b = 1;

	x("0 write from O_CREAT 0 0123456789");
	in = open("from", O_RDONLY | O_CLOEXEC);
	out = open("to", O_CREAT | O_RDWR | O_CLOEXEC, 0644);
	check(copy_file_range(in, &a, out, &b, 5, 0) == 5, "copy_file_range copies");
	check(a == 7 && b == 6, "and moves the positions");
	check(copy_file_range(in, &a, out, &b, 100, 0) == 3, "it ends with the file");
	check(copy_file_range(in, &a, out, &b, 100, 0) == 0, "and then gives nothing");
	close(in);
	close(out);
	x("@23456789 read to 0");
}

static void times(void)
{
	const char *f = name(), *l = name(), *d = name();

	make(T_REG, f);
	x("0 utimensat %s 1000000000 123456789 1100000000 987654321", f);
	x("1000000000.123456789,1100000000.987654321 lstat %s atime,mtime", f);
	x("0 utimensat %s 5 5 0 omit", f);
	x("5.000000005,1100000000.987654321 lstat %s atime,mtime", f);
	x("0 utimensat %s 0 omit 6 6", f);
	x("5.000000005,6.000000006 lstat %s atime,mtime", f);
	x("0 utimensat %s 0 omit 0 omit", f);
	x("5.000000005,6.000000006 lstat %s atime,mtime", f);
	x("0 utimensat %s 4294967296 0 4294967299 1", f); /* after 2106 */
	x("4294967296.000000000,4294967299.000000001 lstat %s atime,mtime", f);
	x("EINVAL utimensat %s 0 1000000000 0 0", f);
	x("0 symlink %s %s", f, l);
	x("0 utimensat %s 77 0 88 0 nofollow", l);
	x("77.000000000,88.000000000 lstat %s atime,mtime", l);
	x("0 utimensat %s 55 0 66 0", l);
	x("55.000000000,66.000000000 stat %s atime,mtime", f);
	make(T_DIR, d);
	x("0 utimensat %s 1 0 2 0", d);
	x("1.000000000,2.000000000 lstat %s atime,mtime", d);
	for (int t = T_FIFO; t < T_SYMLINK; t++) {
		const char *n = name();

		make(t, n);
		x("0 utimensat %s 3 0 4 0", n);
		x("3.000000000,4.000000000 lstat %s atime,mtime", n);
	}
}

static void times_rights(void)
{
	const char *f = name();

	make_owned(T_REG, f, 65534, 65534);
	x("0 chmod %s 0444", f);
	x("0 as 65534:65534 utimensat %s 0 now 0 now", f);
	x("EACCES as 65533:65533 utimensat %s 0 now 0 now", f);
	x("EPERM as 65533:65533 utimensat %s 1 0 2 0", f);
	x("EPERM as 65533:65533 utimensat %s 0 now 0 omit", f);
	x("0 chmod %s 0666", f);
	x("0 as 65533:65533 utimensat %s 0 now 0 now", f);
	x("EPERM as 65533:65533 utimensat %s 1 0 2 0", f);
	x("0 as 65534:65534 utimensat %s 1 0 2 0", f);
	x("1.000000000,2.000000000 lstat %s atime,mtime", f);
}

static void attributes(void)
{
	const char *f = name(), *d = name(), *l = name();
	char list[256];

	make(T_REG, f);
	make(T_DIR, d);
	x("0 symlink %s %s", f, l);
	x("ENODATA getxattr %s user.a", f);
	x("0 setxattr %s user.a value 0", f);
	x("value getxattr %s user.a", f);
	x("EEXIST setxattr %s user.a other 1", f);
	x("ENODATA setxattr %s user.b other 2", f);
	x("0 setxattr %s user.a other 2", f);
	x("other getxattr %s user.a", f);
	x("0 setxattr %s user.dir yes 1", d);
	x("yes getxattr %s user.dir", d);
	x("EPERM setxattr %s user.a no 0", l);
	check(listxattr(f, list, sizeof(list)) == 7 && strcmp(list, "user.a") == 0,
	      "the list holds the one name");
	check(listxattr(f, NULL, 0) == 7, "and its size is told");
	check(getxattr(f, "user.a", list, 2) < 0 && errno == ERANGE, "a short buffer is ERANGE");
	x("0 removexattr %s user.a", f);
	x("ENODATA removexattr %s user.a", f);
	x("EOPNOTSUPP setxattr %s nonsense.a v 0", f);
	x("0 setxattr %s trusted.a v 0", f);
	x("v getxattr %s trusted.a", f);
	x("EPERM as 65534:65534 setxattr %s trusted.a w 0", f);
	x("ENODATA as 65534:65534 getxattr %s trusted.a", f);
	x("EACCES as 65534:65534 setxattr %s user.c w 0", f);
}

static void locks(void)
{
	int a = open("locked", O_CREAT | O_RDWR | O_CLOEXEC, 0644);
	int b = open("locked", O_RDWR | O_CLOEXEC);
	struct flock fl = { .l_type = F_WRLCK, .l_len = 10 };
	int status = -1;

	check(flock(a, LOCK_EX) == 0, "flock");
	check(flock(b, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK, "excludes another opener");
	check(flock(a, LOCK_UN) == 0 && flock(b, LOCK_EX | LOCK_NB) == 0, "until unlocked");
	check(fcntl(a, F_SETLK, &fl) == 0, "a record lock");
	if (fork() == 0) {
		fl.l_type = F_WRLCK;
		_exit(fcntl(b, F_SETLK, &fl) < 0 && (errno == EAGAIN || errno == EACCES) ? 0 : 1);
	}
	wait(&status);
	check(status == 0, "excludes another process");
	close(a);
	close(b);
}

static void big_io(void)
{
	const size_t len = 5 << 20;
	unsigned char *buf = malloc(len), *back = malloc(len);
	int fd = open("big", O_CREAT | O_RDWR | O_CLOEXEC, 0644);

	if (!buf || !back)
		exit(2);
	for (size_t i = 0; i < len; i++)
		buf[i] = (unsigned char)(i * 7 + (i >> 12));
	check(pwrite(fd, buf, len, 3) == (ssize_t)len, "five MiB in one write at an odd place");
	check(fsync(fd) == 0 && fdatasync(fd) == 0, "reaches the disk");
	posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	check(pread(fd, back, len, 3) == (ssize_t)len && memcmp(buf, back, len) == 0,
	      "and comes back the same");
	check(pread(fd, back, 10, (off_t)len) == 3, "a read across the end is short");
	check(pread(fd, back, 10, (off_t)len + 3) == 0, "a read at the end is empty");
	close(fd);
	free(buf);
	free(back);
}

void suite_data(void)
{
	if (suite_case("truncate/sizes"))
		sizes("truncate");
	if (suite_case("ftruncate/sizes"))
		sizes("ftruncate");
	if (suite_case("truncate/rights"))
		truncate_rights();
	if (suite_case("posix_fallocate")) {
		x("0 write short O_CREAT 0 abc");
		x("0 truncate short 5");
		fallocate_cases();
	}
	if (suite_case("holes"))
		holes();
	if (suite_case("append")) {
		appending();
		appending_together();
	}
	if (suite_case("mmap")) {
		x("0 write mapped2 O_CREAT 0 world");
		mapping();
	}
	if (suite_case("copy_file_range"))
		copying();
	if (suite_case("utimensat/times"))
		times();
	if (suite_case("utimensat/rights"))
		times_rights();
	if (suite_case("xattr"))
		attributes();
	if (suite_case("locks"))
		locks();
	if (suite_case("big-io"))
		big_io();
}
