/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the file system suite is written in: one checked operation a line.
 *
 *	x("0 mkdir %s 0755", d);
 *	x("EACCES as 65534:65534 open %s/f O_RDONLY", d);
 *	x("0640,0,0 lstat %s mode,uid,gid", f);
 *
 * The first word is what the operation must give: an errno's name, or its value. Every line prints
 * what really came, so that the outputs of two file systems can be compared by diff.
 */
#ifndef POSIX_RUN_H
#define POSIX_RUN_H

#include <stdbool.h>

/* Begin a case; gives it a fresh empty directory as working directory. Return: whether to do it
 * here. */
bool suite_case(const char *name);
/* One operation. */
void x(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Any other condition; @what is printed. */
void check(bool ok, const char *what);
/* Let the clock of the file system's timestamps move. */
void tick(void);
/* A fresh name, the same in every run: "n0", "n1", ... in the current case. Ring of 16. */
const char *name(void);

enum { T_REG, T_DIR, T_FIFO, T_BLOCK, T_CHAR, T_SOCKET, T_SYMLINK, T_MAX_ };
extern const char *const type_names[T_MAX_];
/* Make a file of a type. */
void make(int type, const char *path);
/* chown it away, without following. */
void make_owned(int type, const char *path, unsigned uid, unsigned gid);

/* Subjects, one a file or two. */
void suite_modes(void); /* chmod, chown, setuid bits */
void suite_names(void); /* link, unlink, rename, rmdir, symlink */
void suite_make(void);	/* mkdir, mkfifo, mknod, open */
void suite_data(void);	/* truncate, ftruncate, posix_fallocate, utimensat, data, xattrs */

#endif
