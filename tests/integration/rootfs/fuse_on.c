/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Serve a directory on a host mount point and run a program meanwhile, for tests.
 *
 *	fuse_on [-c never|auto|always] [-o xattr] [-a] [-w WORKERS] [-f NODE_FDS] DIR MNT PROGRAM
 *...
 *
 * Exits with the program's status; prints the server's tables at the end, and fails (99) when they
 *do not return to their size.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>

#include "base/fd.h"
#include "fuse_mount.h"
#include "sandbox/crash.h"
#include "sandbox/sandbox.h"

static struct sandbox_files jail = { .tree_fd = -1 };

/* As the runtime does it. */
static int jail_prepare(const char *dir, struct fuse_options *o, struct sandbox **ret,
			struct err *err)
{
	int r = sandbox_new(SANDBOX_ENFORCE, ret, err);

	if (r == 0)
		r = jail.tree_fd = sandbox_tree_open(dir, err);
	jail.sb = *ret;
	o->no_file_handles = true;
	o->enter_jail = sandbox_files_enter;
	o->close_jail = sandbox_files_close;
	o->seal_worker = sandbox_files_seal;
	o->jail_opaque = &jail;
	return r < 0 ? r : crash_watch(err);
}

static int run(char **argv)
{
	int status = 0;
	pid_t pid = fork();

	if (pid == 0) {
		execvp(argv[0], argv);
		perror(argv[0]);
		_exit(127);
	}
	if (pid < 0 || waitpid(pid, &status, 0) < 0)
		return 126;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static int options_parse(int argc, char **argv, struct fuse_options *o, bool *ret_jail)
{
	int opt;

	while ((opt = getopt(argc, argv, "+c:o:aw:f:rs:jH")) != -1) {
		switch (opt) {
		case 'c':
			o->cache = strcmp(optarg, "never") == 0	   ? FUSE_CACHE_NEVER
				   : strcmp(optarg, "always") == 0 ? FUSE_CACHE_ALWAYS
								   : FUSE_CACHE_AUTO;
			break;
		case 'o': o->owner = FUSE_OWNER_XATTR; break;
		case 'a': o->posix_acl = true; break;
		case 'j': *ret_jail = true; break;
		case 'H': o->no_file_handles = true; break;
		case 'r': o->read_only = true; break;
		case 'w': o->n_workers = (unsigned)atoi(optarg); break;
		case 's': o->spin_us = (unsigned)atoi(optarg); break;
		case 'f': o->max_node_fds = (uint32_t)atoi(optarg); break;
		default: return -1;
		}
	}
	return argc - optind < 3 ? -1 : 0;
}

int main(int argc, char **argv)
{
	struct fuse_options opt = { 0 };
	struct fuse_server *srv = NULL;
	struct fuse_mount *m = NULL;
	CLEANUP(sandbox_freep) struct sandbox *sb = NULL;
	struct fuse_stats st;
	struct err err = { 0 };
	bool in_jail = false;
	AUTO_FD int root = -1;
	int status;

	if (options_parse(argc, argv, &opt, &in_jail) < 0) {
		fprintf(stderr, "usage: fuse_on [options] DIR MNT PROGRAM [ARG...]\n");
		return 2;
	}
	if (!fuse_mount_possible() || unshare(CLONE_NEWNS) < 0 ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0) {
		printf("SKIP: no /dev/fuse or no right to mount\n");
		return 77;
	}
	if (in_jail)
		status = jail_prepare(argv[optind], &opt, &sb, &err);
	else
		status = root = open(argv[optind], O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (status < 0 || fuse_server_new(root, &opt, &srv, &err) < 0 ||
	    fuse_server_start(srv, &err) < 0 ||
	    fuse_mount_start(srv, argv[optind + 1], &m, &err) < 0) {
		fprintf(stderr, "fuse_on: %s\n", err.code ? err.msg : strerror(errno));
		return 98;
	}
	status = run(argv + optind + 2);
	fuse_mount_stop(m);
	fuse_server_stats(srv, &st);
	fprintf(stderr,
		"fuse_on: requests=%llu sleeps=%llu wakeups=%llu malformed=%llu nodes=%u fds=%u "
		"handles=%u lookups=%llu\n",
		(unsigned long long)st.n_requests, (unsigned long long)st.n_sleeps,
		(unsigned long long)st.n_wakeups, (unsigned long long)st.n_malformed, st.n_nodes,
		st.n_node_fds, st.n_handles, (unsigned long long)st.n_lookups);
	fuse_server_free(srv);
	if (st.n_handles || st.n_nodes > 1)
		return 99;
	return status;
}
