/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of a container, from the side of the verbs.
 *
 * Theory of operation. creating -> created -> running <-> paused -> stopped -> (deleted). create
 * checks everything before it makes anything; from then on a failure takes back all that was made.
 * Each verb that changes a container holds the lock of its directory. Nothing here lives on but the
 * VMM process, whose parent is the caller of husk once husk has ended.
 */
#ifndef RUNTIME_LIFECYCLE_H
#define RUNTIME_LIFECYCLE_H

#include <stdbool.h>

#include "base/err.h"
#include "statedir.h"

struct create_options {
	const char *root; /* of the state directories */
	const char *id;
	const char *bundle; /* NULL: "." */
	const char *config; /* NULL: BUNDLE/config.json */
	const char *console_socket, *pid_file;
	unsigned n_preserve_fds;
	bool start;	 /* ask for the start, too: container_started() waits for it */
	bool foreground; /* a terminal comes to this process, not to a console socket */
	bool cgroups_disabled;
	const char *snapshot; /* a word of --snapshot; NULL: what the annotation says */
	bool snapshot_wait;
	const char *restore_from; /* directory with a checkpoint to begin with, or NULL */
};

/* A container that is started at once. */
struct run_options {
	struct create_options create;
	bool detach, keep;
};

struct created {
	pid_t pid;
	int terminal; /* the master when foreground and it has one, else -1; owned by the caller */
	int start_fd; /* where the answer to the start comes, else -1; owned by the caller */
};

/**
 * container_create() - Make a container and bring its guest up to the point of start
 *
 * Return: 0; negative errno with nothing left behind.
 */
int container_create(const struct create_options *opt, struct created *ret, struct err *err);

/* Let the container's process go, run the poststart hooks. */
int container_start(const char *root, const char *id, struct err *err);
/* The same where create has asked for it: wait for the answer. Takes over @fd. */
int container_started(const char *root, const char *id, int fd, struct err *err);

/* Return: 0; -ESRCH "container not running". */
int container_kill(const char *root, const char *id, int sig, bool all, struct err *err);

/**
 * container_delete() - Remove what is left of a stopped container
 * @force:	End it first; one that does not exist is no error
 */
int container_delete(const char *root, const char *id, bool force, struct err *err);

int container_pause(const char *root, const char *id, struct err *err);
int container_resume(const char *root, const char *id, struct err *err);

/**
 * container_checkpoint() - Write a running container to a directory
 * @dir:	Made when it is not there; a checkpoint in it is replaced
 * @leave:	Let it run on; else it ends, as if killed, when the checkpoint is complete
 *
 * Return: 0; -ESRCH it does not run; negative errno, and it runs on.
 */
int container_checkpoint(const char *root, const char *id, const char *dir, bool leave,
			 struct err *err);

/**
 * container_load() - Open a container and read its state
 * @lock:	Hold its lock until statedir_close()
 *
 * Return: 0; -ENOENT.
 */
int container_load(const char *root, const char *id, bool lock, struct statedir *ret_dir,
		   struct oci_state *ret, struct err *err);

/* Write a pid as engines want it: whole or not at all. */
int pid_file_write(const char *path, pid_t pid, struct err *err);

/* A signal by name, with and without SIG, or number. Return: the number; -EINVAL. */
int signal_parse(const char *text);

#endif
