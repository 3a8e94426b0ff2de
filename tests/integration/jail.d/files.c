/* SPDX-License-Identifier: Apache-2.0 */
/* A container's process that makes its file server do everything it can: in the current directory,
 * as root. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/fs.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <dirent.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#define MUST(call)                     \
	do {                           \
		if ((call) < 0) {      \
			perror(#call); \
			exit(1);       \
		}                      \
	} while (0)

static char buf[100000];

static void names(void)
{
	DIR *dir;

	MUST(mkdir("d", 0755));
	MUST(symlink("target", "link"));
	MUST(readlink("link", buf, sizeof(buf)));
	MUST(mknod("node", S_IFIFO | 0600, 0));
	MUST(link("node", "second"));
	MUST(rename("second", "third"));
	MUST(renameat2(AT_FDCWD, "third", AT_FDCWD, "fourth", RENAME_NOREPLACE));
	dir = opendir(".");
	MUST(dir ? 0 : -1);
	while (readdir(dir))
		;
	rewinddir(dir);
	while (readdir(dir))
		;
	closedir(dir);
	MUST(unlink("fourth"));
	MUST(rmdir("d"));
}

static void attributes(void)
{
	struct statfs st;
	int fd, flags;

	MUST(statfs(".", &st));
	MUST(fd = open("a", O_RDWR | O_CREAT, 0644));
	MUST(chmod("a", 0600));
	MUST(chown("a", 1, 2));
	MUST(utimensat(AT_FDCWD, "a", NULL, 0));
	MUST(truncate("a", 5000));
	MUST(setxattr("a", "user.x", "y", 1, 0));
	MUST(getxattr("a", "user.x", buf, sizeof(buf)));
	MUST(listxattr("a", buf, sizeof(buf)));
	MUST(removexattr("a", "user.x"));
	MUST(ioctl(fd, FS_IOC_GETFLAGS, &flags));
	flags |= FS_NODUMP_FL;
	MUST(ioctl(fd, FS_IOC_SETFLAGS, &flags));
	close(fd);
}

static void data(void)
{
	int fd, copy;

	MUST(fd = open("big", O_RDWR | O_CREAT, 0644));
	MUST(pwrite(fd, buf, sizeof(buf), 0));
	MUST(fsync(fd));
	MUST(fdatasync(fd));
	MUST(fallocate(fd, 0, 0, 200000));
	MUST(lseek(fd, 0, SEEK_DATA));
	MUST(syncfs(fd));
	MUST(copy = open("copy", O_RDWR | O_CREAT, 0644));
	MUST(copy_file_range(fd, NULL, copy, NULL, 4096, 0));
	close(copy);
	MUST(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED));
	MUST(pread(fd, buf, sizeof(buf), 0));
	close(fd);
	MUST(fd = open("big", O_WRONLY | O_APPEND | O_DIRECT));
	if (write(fd, (void *)(((uintptr_t)buf + 4095) & ~4095UL), 4096) < 0)
		perror("append");
	close(fd);
	MUST(fd = open(".", O_TMPFILE | O_RDWR, 0600));
	snprintf(buf, sizeof(buf), "/proc/self/fd/%d", fd);
	MUST(linkat(AT_FDCWD, buf, AT_FDCWD, "named", AT_SYMLINK_FOLLOW));
	close(fd);
	MUST(fd = open(".", O_RDONLY));
	MUST(fsync(fd));
	close(fd);
}

/* Made by another user, also in a directory that hands its group down. */
static void others(void)
{
	pid_t pid;
	int status;

	MUST(mkdir("theirs", 0777));
	MUST(chmod("theirs", 0777));
	MUST(mkdir("group", 0));
	MUST(chown("group", 0, 2345));
	MUST(chmod("group", 02777));
	pid = fork();
	if (pid == 0) {
		gid_t groups[] = { 1001, 2345 };

		MUST(setgroups(2, groups));
		MUST(setgid(1000));
		MUST(setuid(1000));
		umask(027);
		MUST(mkdir("theirs/one", 0777));
		MUST(close(open("theirs/two", O_CREAT | O_RDWR, 0666)));
		MUST(mkdir("group/one", 0777));
		MUST(close(open("group/two", O_CREAT | O_RDWR, 02775)));
		MUST(mknod("group/three", S_IFREG | 02755, 0));
		_exit(0);
	}
	MUST(waitpid(pid, &status, 0));
	if (status)
		exit(1);
}

/* Pages of a file in the window onto the host's, where the file then ends before them. */
static void window(void)
{
	volatile char *p;
	int fd;

	MUST(fd = open("window", O_RDWR | O_CREAT, 0644));
	MUST(ftruncate(fd, 65536));
	p = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	MUST(p == MAP_FAILED ? -1 : 0);
	p[0] = p[50000] = 1;
	MUST(puts("mapped"));
	fflush(stdout);
	MUST(read(0, buf, 1));
	p[50000]++;
	munmap((void *)(uintptr_t)p, 65536);
	close(fd);
}

int main(void)
{
	names();
	attributes();
	data();
	others();
	window();
	puts("done");
	return 0;
}
