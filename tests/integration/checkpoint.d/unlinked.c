/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Holds files and directories of every kind that have no name any more, says "half", waits for a
 *file and then says what it sees of them: the same in every place, and with a checkpoint in
 *between.
 *
 *	unlinked DIRECTORY GO
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <unistd.h>

#define BLOCK  (1U << 20)
#define N_DATA 24U /* blocks in a row: more than a checkpoint's tables take */
#define FAR    (5ULL << 30)

static uint8_t block[BLOCK];

static void must(int ok, const char *what)
{
	if (ok)
		return;
	printf("%s: %s\n", what, strerror(errno));
	exit(1);
}

static void say(const char *what, long r)
{
	printf("%s: %s\n", what, r < 0 ? strerror(errno) : "done");
}

static void fill(unsigned seed)
{
	for (unsigned i = 0; i < BLOCK; i++)
		block[i] = (uint8_t)(seed * 31 + i + (i >> 8) * 7);
}

static uint64_t digest(int fd, uint64_t from, uint64_t len)
{
	uint64_t sum = 0xcbf29ce484222325ULL;

	while (len) {
		ssize_t n = pread(fd, block, len < BLOCK ? len : BLOCK, (off_t)from);

		must(n > 0, "pread");
		for (ssize_t i = 0; i < n; i++)
			sum = (sum ^ block[i]) * 0x100000001b3ULL;
		from += (uint64_t)n;
		len -= (uint64_t)n;
	}
	return sum;
}

static void show(const char *what, int fd)
{
	struct stat st;

	must(fstat(fd, &st) == 0, what);
	printf("%s: mode %o, links %lu, owner %u:%u, size %lld, device %x\n", what, st.st_mode,
	       (unsigned long)st.st_nlink, st.st_uid, st.st_gid,
	       S_ISDIR(st.st_mode) ? 0 : (long long)st.st_size, (unsigned)st.st_rdev);
}

/* ---- a large file: two descriptors, a mapping ---- */

struct large {
	int rw, ro;
	char *map;
};

static struct large large_make(void)
{
	struct large l = { .rw = open("large", O_RDWR | O_CREAT, 0640) };

	must(l.rw >= 0, "large");
	for (unsigned i = 0; i < N_DATA; i++) {
		fill(i);
		must(pwrite(l.rw, block, BLOCK, (off_t)i * BLOCK) == BLOCK, "write");
	}
	must(pwrite(l.rw, "far", 3, FAR) == 3, "write far");
	l.ro = open("large", O_RDONLY);
	l.map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, l.rw, 0);
	must(l.ro >= 0 && l.map != MAP_FAILED, "map");
	must(fchmod(l.rw, 04711) == 0 && unlink("large") == 0, "unlink");
	memcpy(l.map, "mapped", 6);
	return l;
}

static void large_say(struct large *l)
{
	char text[16] = { 0 }, path[64];

	show("large", l->ro);
	printf("large: content %llx, hole %llx\n",
	       (unsigned long long)digest(l->ro, 0, (uint64_t)N_DATA * BLOCK),
	       (unsigned long long)digest(l->ro, FAR - BLOCK, BLOCK + 3));
	must(pwrite(l->rw, "written", 7, 100) == 7, "write again");
	memcpy(text, l->map + 100, 7);
	printf("large: mapping %.6s, %s\n", l->map, text);
	memcpy(l->map + 200, "from the map", 12);
	must(msync(l->map, 4096, MS_SYNC) == 0 && pread(l->ro, text, 12, 200) == 12, "msync");
	printf("large: read %s\n", text);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", l->rw);
	say("large: opened once more", open(path, O_RDWR));
	say("large: cut", ftruncate(l->rw, 5000));
	show("large", l->ro);
}

/* ---- what has no content ---- */

static int held(const char *name)
{
	int fd = open(name, O_PATH | O_NOFOLLOW);

	must(fd >= 0 && unlink(name) == 0, name);
	return fd;
}

static int make_socket(void)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX, .sun_path = "socket" };
	int s = socket(AF_UNIX, SOCK_STREAM, 0);

	must(s >= 0 && bind(s, (struct sockaddr *)&a, sizeof(a)) == 0, "bind");
	return held("socket");
}

static int make_fifo(int *path)
{
	int fd;

	must(mkfifo("fifo", 0620) == 0, "mkfifo");
	fd = open("fifo", O_RDWR);
	must(fd >= 0 && write(fd, "in the fifo", 11) == 11, "fifo");
	*path = held("fifo");
	return fd;
}

/* ---- directories ---- */

static void dir_say(const char *what, int fd)
{
	char buf[1024];

	show(what, fd);
	say(what, getdents64(fd, buf, sizeof(buf)));
	say("make in it", openat(fd, "new", O_CREAT | O_WRONLY, 0600));
	say("mkdir in it", mkdirat(fd, "new", 0700));
	say("look up in it", openat(fd, "new", O_RDONLY));
	say("itself", openat(fd, ".", O_RDONLY | O_DIRECTORY));
	say("its mode", fchmod(fd, 0711));
	show(what, fd);
}

static void wait_for(const char *path)
{
	printf("half\n");
	fflush(stdout);
	while (access(path, F_OK) < 0)
		usleep(20000);
}

int main(int argc, char **argv)
{
	char target[32] = { 0 }, text[32] = { 0 }, cwd[256];
	struct stat st;

	must(argc == 3 && chdir(argv[1]) == 0, "usage");
	umask(022);
	struct large large = large_make();
	int fifo_path, fifo = make_fifo(&fifo_path), sock = make_socket();
	int link_fd, dev, dir, empty = open("empty", O_RDWR | O_CREAT | O_EXCL, 0604);

	must(symlink("where/to", "link") == 0, "symlink");
	link_fd = held("link");
	must(mknod("device", S_IFCHR | 0666, makedev(1, 3)) == 0, "mknod");
	dev = held("device");
	must(unlink("empty") == 0 && chown(".", 0, 0) == 0, "empty");
	must(mkdir("dir", 0750) == 0 && mkdir("dir/inner", 02755) == 0, "mkdir");
	dir = open("dir", O_RDONLY | O_DIRECTORY);
	must(dir >= 0 && chdir("dir/inner") == 0, "chdir");
	must(rmdir("../inner") == 0 && unlinkat(dir, "../dir", AT_REMOVEDIR) == 0, "rmdir");

	wait_for(argv[2]);
	large_say(&large);
	show("empty", empty);
	say("empty: written", write(empty, "no more", 7));
	must(read(fifo, text, 11) == 11, "fifo");
	printf("fifo: %s\n", text);
	show("fifo", fifo_path);
	show("socket", sock);
	show("device", dev);
	show("link", link_fd);
	must(readlinkat(link_fd, "", target, sizeof(target)) > 0, "readlink");
	printf("link: %s\n", target);
	dir_say("dir", dir);
	say("cwd", getcwd(cwd, sizeof(cwd)) ? 0 : -1);
	say("stat .", stat(".", &st));
	say("make here", open("new", O_CREAT | O_WRONLY, 0600));
	dir_say("inner", open(".", O_RDONLY | O_DIRECTORY));
	say("chdir", chdir(argv[1]));
	say("make there", mkdir("end", 0700));
	return 0;
}
