/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a program, and as the interpreter and library that it names. */
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/stat.h>

#include "fuse/server.h"

static struct fuse_server *srv;
static int root_fd;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	const char *tmp = getenv("TMPDIR");
	char dir[PATH_MAX];
	struct err err = { 0 };

	snprintf(dir, sizeof(dir), "%s/husk-fuzz-needs.XXXXXX", tmp ? tmp : "/tmp");
	if (!mkdtemp(dir) || (root_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0 ||
	    mkdirat(root_fd, "lib", 0755) < 0 || symlinkat("../p", root_fd, "lib/l") < 0 ||
	    symlinkat("p", root_fd, "i") < 0 || fuse_server_new(root_fd, NULL, &srv, &err) < 0 ||
	    fuse_server_open(srv, &err) < 0) {
		perror(err.msg);
		abort();
	}
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct fuse_program program = { .name = "p", .search = "/nowhere:/", .dir = "/" };
	int fd = openat(root_fd, "p", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0755);
	struct err err = { 0 };
	char *needs;
	size_t len;

	if (fd < 0 || write(fd, data, size) != (ssize_t)size)
		abort();
	close(fd);
	if (fuse_server_needs(srv, &program, &needs, &len, &err) < 0 || (len && needs[len - 1]))
		abort();
	free(needs);
	return 0;
}
