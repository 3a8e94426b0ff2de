/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Many processes create, fill, rename, link and delete files in one tree.
 *
 *	churn DIRECTORY PROCESSES FILES_EACH
 *
 * Each process checks what only it changes; all share a directory in which they rename onto one
 * another. Exits 0 when every check held and the tree is empty at the end.
 */
#include <errno.h>
#include <fcntl.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define KEEP 50 /* files a process holds at a time */

static void fail(const char *what, const char *path)
{
	fprintf(stderr, "churn: %s '%s': %s\n", what, path, strerror(errno));
	_exit(1);
}

static void file_check(const char *path, int id)
{
	char want[32], got[32] = "";
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	snprintf(want, sizeof(want), "file %d", id);
	if (fd < 0 || read(fd, got, sizeof(got) - 1) < 0)
		fail("read", path);
	close(fd);
	if (strcmp(want, got) != 0) {
		fprintf(stderr, "churn: '%s' holds '%s', not '%s'\n", path, got, want);
		_exit(1);
	}
}

static void file_make(const char *path, int id)
{
	char text[32];
	int n = snprintf(text, sizeof(text), "file %d", id);
	int fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644);

	if (fd < 0 || write(fd, text, (size_t)n) != n)
		fail("make", path);
	close(fd);
}

static void file_retire(const char *dir, const char *shared, int id)
{
	char path[300], other[300];
	struct stat st;

	snprintf(path, sizeof(path), "%s/r%d", dir, id);
	file_check(path, id);
	if (id % 3 == 0) {
		snprintf(other, sizeof(other), "%s/l%d", dir, id);
		if (link(path, other) < 0 || stat(path, &st) < 0 || st.st_nlink != 2)
			fail("link", path);
		if (unlink(other) < 0)
			fail("unlink", other);
	}
	/* Into the shared directory, over whatever others have put there. */
	if (id % 5 == 0) {
		snprintf(other, sizeof(other), "%s/s%d", shared, id % 20);
		if (rename(path, other) < 0)
			fail("rename", path);
		if (unlink(other) < 0 && errno != ENOENT)
			fail("unlink", other);
		return;
	}
	if (unlink(path) < 0)
		fail("unlink", path);
	if (stat(path, &st) == 0 || errno != ENOENT)
		fail("still there", path);
}

static int process_run(const char *top, int self, int n_files)
{
	char dir[200], shared[200], path[300], other[300];

	snprintf(dir, sizeof(dir), "%s/p%d", top, self);
	snprintf(shared, sizeof(shared), "%s/shared", top);
	if (mkdir(dir, 0755) < 0)
		fail("mkdir", dir);
	for (int i = 0; i < n_files; i++) {
		snprintf(path, sizeof(path), "%s/f%d", dir, i);
		file_make(path, i);
		snprintf(other, sizeof(other), "%s/r%d", dir, i);
		if (rename(path, other) < 0)
			fail("rename", path);
		if (i >= KEEP)
			file_retire(dir, shared, i - KEEP);
	}
	for (int i = n_files > KEEP ? n_files - KEEP : 0; i < n_files; i++)
		file_retire(dir, shared, i);
	if (rmdir(dir) < 0)
		fail("rmdir", dir);
	return 0;
}

int main(int argc, char **argv)
{
	int n_proc, n_files, bad = 0, status;
	char shared[200], path[300];

	if (argc != 4) {
		fprintf(stderr, "usage: churn DIRECTORY PROCESSES FILES_EACH\n");
		return 2;
	}
	n_proc = atoi(argv[2]);
	n_files = atoi(argv[3]);
	snprintf(shared, sizeof(shared), "%s/shared", argv[1]);
	if (mkdir(shared, 0755) < 0)
		fail("mkdir", shared);
	for (int i = 0; i < n_proc; i++) {
		if (fork() == 0)
			_exit(process_run(argv[1], i, n_files));
	}
	for (int i = 0; i < n_proc; i++) {
		wait(&status);
		bad += status != 0;
	}
	for (int i = 0; i < 20; i++) {
		snprintf(path, sizeof(path), "%s/s%d", shared, i);
		unlink(path);
	}
	if (rmdir(shared) < 0)
		fail("rmdir", shared);
	printf("%d processes, %d files each: %d failed\n", n_proc, n_files, bad);
	return bad != 0;
}
