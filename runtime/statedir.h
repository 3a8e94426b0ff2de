/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The directories of containers: ROOT/ID.
 *
 * Theory of operation. Each container has a directory (mode 0711) below the root directory, with
 * state.json, the control socket (mode 0600) and the logs. Who changes a container holds a lock on
 * its directory; the lock is the directory itself, so nothing is left of it. A directory that was
 * removed while one waited for its lock counts as not there. Reading needs no lock: state.json is
 * replaced by rename.
 */
#ifndef RUNTIME_STATEDIR_H
#define RUNTIME_STATEDIR_H

#include <limits.h>
#include <stdbool.h>

#include "base/err.h"
#include "oci/state.h"

#define STATEDIR_ID_MAX 255

struct statedir {
	int fd; /* of the container's directory */
	char id[STATEDIR_ID_MAX + 1];
	char path[PATH_MAX];
};

#define STATEDIR_NONE    \
	{                \
		.fd = -1 \
	}

/* "ID is a name": letters, digits and _ + - . only. Return: 0; -EINVAL. */
int statedir_check_id(const char *id, struct err *err);

/**
 * statedir_root() - The root directory: @option, else /run/husk, or for other users one below
 * XDG_RUNTIME_DIR
 *
 * Return: 0; -ENAMETOOLONG.
 */
int statedir_root(const char *option, char *buf, size_t len, struct err *err);

/* Make the directory of a new container and lock it. Return: 0; -EEXIST; what mkdir gives. */
int statedir_create(const char *root, const char *id, struct statedir *ret, struct err *err);

/**
 * statedir_open() - Open the directory of a container
 * @lock:	Wait for its lock
 *
 * Return: 0; -ENOENT "container does not exist"; -EINVAL a bad id.
 */
int statedir_open(const char *root, const char *id, bool lock, struct statedir *ret,
		  struct err *err);
void statedir_close(struct statedir *dir);

/* Remove the directory and all in it. Return: 0; negative errno. */
int statedir_remove(struct statedir *dir, struct err *err);

/**
 * statedir_load() - Read the state, and correct it by what lives
 *
 * Return: 0; -ENOENT there is none yet; -EINVAL damaged.
 */
int statedir_load(const struct statedir *dir, struct oci_state *ret, struct err *err);
int statedir_save(const struct statedir *dir, const struct oci_state *state, struct err *err);

/**
 * statedir_list() - Names of all containers, sorted
 * @ret:	From malloc, each too; statedir_list_free()
 */
int statedir_list(const char *root, char ***ret, size_t *ret_n, struct err *err);
void statedir_list_free(char **names, size_t n);

/**
 * pid_start_time() - Clock ticks after boot at which a process started
 *
 * Return: 0; -ESRCH it is gone, or a zombie.
 */
int pid_start_time(pid_t pid, uint64_t *ret);
/* Whether that very process still lives. */
bool pid_alive(pid_t pid, uint64_t start);

#endif
