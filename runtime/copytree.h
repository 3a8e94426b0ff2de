/* SPDX-License-Identifier: Apache-2.0 */
/* Copying and removing directory trees of plain files. */
#ifndef RUNTIME_COPYTREE_H
#define RUNTIME_COPYTREE_H

#include <sys/types.h>

#include "base/err.h"

/**
 * copytree_file() - Copy an open file to a new one, shared with the source where the host can
 * @name:	Of the source, for messages
 */
int copytree_file(int from_fd, const char *name, int to_dir, const char *to, mode_t mode,
		  struct err *err);

/**
 * copytree_copy() - Copy directories and regular files; links and special files are left out
 * @to:		Must not exist
 */
int copytree_copy(const char *from, const char *to, struct err *err);

/* Remove a tree; what is gone already is no error. Return: 0; negative errno. */
int copytree_remove(const char *path);

#endif
