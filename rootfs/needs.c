/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which files a program will need: itself, what interprets it, the libraries it names, and what
 * libc and loader look at.
 *
 * A guess that makes a start faster when it is right: a snapshot is taken with these files in the
 * guest's memory. So what is damaged, odd or too deep is left out, never an error. Everything read
 * here comes from the container: copied once, bounded, opened beneath the root as the container
 * would see it.
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "fuse/server.h"
#include "passthrough/open.h"

#define FILES_MAX    128
#define FILE_BYTES   (16 * MIB) /* of one file that is read */
#define TOTAL_BYTES  (32 * MIB)
#define HEADERS_MAX  64
#define DYNAMIC_MAX  512
#define LINE_BYTES   256
#define DEFAULT_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#define LIBRARIES                                                                          \
	"/lib/x86_64-linux-gnu:/usr/lib/x86_64-linux-gnu:/lib64:/usr/lib64:/lib:/usr/lib:" \
	"/usr/local/lib"

/* Looked at by nearly every program, there or not. */
static const char *const common[] = {
	"/etc/ld.so.preload", "/etc/ld.so.cache", "/etc/nsswitch.conf", "/etc/passwd",
	"/etc/group",	      "/etc/localtime",	  "/var/run/nscd",
};

struct needs {
	struct fuse_server *srv;
	const struct fuse_program *program;
	char *names[FILES_MAX];
	size_t n;
	uint64_t bytes;
};

/* ---- files ---- */

/* Return: false when there is no room, or it is there already. */
static bool add(struct needs *s, const char *path)
{
	for (size_t i = 0; i < s->n; i++) {
		if (strcmp(s->names[i], path) == 0)
			return false;
	}
	if (s->n == FILES_MAX)
		return false;
	s->names[s->n] = strdup(path);
	return s->names[s->n] && ++s->n;
}

/* A regular file by its path in the container. Return: descriptor; negative errno. */
static int open_file(struct needs *s, const char *path, struct statx *stx)
{
	AUTO_FD int fd = gate_open_in_root(s->srv->nodes.slots[NODE_ROOT_ID].node->fd, path);

	if (fd < 0)
		return fd;
	if (statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, stx) < 0)
		return -errno;
	if (!S_ISREG(stx->stx_mode))
		return -EINVAL;
	return openat(s->srv->proc_fd, gate_name_of(fd).s, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
}

static size_t read_at(int fd, void *buf, size_t len, uint64_t off)
{
	ssize_t n =
		off > INT64_MAX - len ? -1 : preadv(fd, &(struct iovec){ buf, len }, 1, (off_t)off);

	return n < 0 ? 0 : (size_t)n;
}

/* A string of the file, cut to the buffer. */
static bool read_text(int fd, char *buf, size_t size, uint64_t off)
{
	size_t n = read_at(fd, buf, size - 1, off);

	buf[n] = 0;
	return buf[0] != 0;
}

static void add_object(struct needs *s, const char *path, unsigned depth);

/* The first of a list of directories that has the name. */
static bool search(struct needs *s, const char *dirs, const char *origin, const char *name,
		   bool tell, unsigned depth)
{
	char path[PATH_MAX];
	struct statx stx;

	while (*dirs) {
		size_t len = strcspn(dirs, ":");
		bool own = origin && strncmp(dirs, "$ORIGIN", 7) == 0 && len >= 7;
		int n = own ? snprintf(path, sizeof(path), "%s%.*s/%s", origin, (int)len - 7,
				       dirs + 7, name)
			    : snprintf(path, sizeof(path), "%.*s/%s", (int)len, dirs, name);
		int fd = n < (int)sizeof(path) && path[0] == '/' ? open_file(s, path, &stx) : -1;

		fd_close(fd);
		if (fd >= 0) {
			add_object(s, path, depth + 1);
			return true;
		}
		/* What is not there is looked for each time, too. */
		if (tell && n < (int)sizeof(path))
			add(s, path);
		dirs += len + (dirs[len] == ':');
	}
	return false;
}

/* ---- programs ---- */

struct object {
	int fd;
	Elf64_Phdr headers[HEADERS_MAX];
	unsigned n;
	char origin[PATH_MAX];
};

static bool object_read(struct object *o)
{
	Elf64_Ehdr e;

	if (read_at(o->fd, &e, sizeof(e), 0) != sizeof(e) ||
	    memcmp(e.e_ident, ELFMAG, SELFMAG) != 0 || e.e_ident[EI_CLASS] != ELFCLASS64 ||
	    e.e_ident[EI_DATA] != ELFDATA2LSB || e.e_phentsize != sizeof(Elf64_Phdr))
		return false;
	o->n = MIN((unsigned)e.e_phnum, (unsigned)HEADERS_MAX);
	return read_at(o->fd, o->headers, o->n * sizeof(o->headers[0]), e.e_phoff) ==
	       o->n * sizeof(o->headers[0]);
}

/* Where in the file an address of the image is; 0: nowhere. */
static uint64_t file_offset(const struct object *o, uint64_t address)
{
	for (unsigned i = 0; i < o->n; i++) {
		const Elf64_Phdr *p = &o->headers[i];

		if (p->p_type == PT_LOAD && address >= p->p_vaddr &&
		    address - p->p_vaddr < p->p_filesz)
			return p->p_offset + (address - p->p_vaddr);
	}
	return 0;
}

static void add_libraries(struct needs *s, const struct object *o, const Elf64_Phdr *p,
			  unsigned depth)
{
	AUTO_FREE Elf64_Dyn *dyn = calloc(DYNAMIC_MAX, sizeof(*dyn));
	size_t n = dyn ? read_at(o->fd, dyn, MIN(p->p_filesz, DYNAMIC_MAX * sizeof(*dyn)),
				 p->p_offset) /
				   sizeof(*dyn)
		       : 0;
	char name[LINE_BYTES], run[LINE_BYTES] = "";
	uint64_t strings = 0, paths = 0;
	bool has_paths = false;

	for (size_t i = 0; i < n && dyn[i].d_tag != DT_NULL; i++) {
		if (dyn[i].d_tag == DT_STRTAB)
			strings = file_offset(o, dyn[i].d_un.d_ptr);
		has_paths |= dyn[i].d_tag == DT_RUNPATH || dyn[i].d_tag == DT_RPATH;
		if (dyn[i].d_tag == DT_RUNPATH || (dyn[i].d_tag == DT_RPATH && !paths))
			paths = dyn[i].d_un.d_val;
	}
	if (!strings)
		return;
	if (has_paths)
		(void)read_text(o->fd, run, sizeof(run), strings + paths);
	for (size_t i = 0; i < n && dyn[i].d_tag != DT_NULL; i++) {
		if (dyn[i].d_tag != DT_NEEDED ||
		    !read_text(o->fd, name, sizeof(name), strings + dyn[i].d_un.d_val))
			continue;
		if (name[0] == '/')
			add_object(s, name, depth + 1);
		else if (!search(s, run, o->origin, name, true, depth))
			search(s, LIBRARIES, NULL, name, false, depth);
	}
}

/* A script's interpreter, and what env looks for. */
static void add_script(struct needs *s, char *line, unsigned depth)
{
	const char *search_path = s->program->search ? s->program->search : DEFAULT_PATH;
	char *save = NULL, *interpreter, *argument;

	line[strcspn(line, "\n")] = 0;
	interpreter = strtok_r(line + 2, " \t", &save);
	argument = strtok_r(NULL, " \t", &save);
	if (!interpreter || interpreter[0] != '/')
		return;
	add_object(s, interpreter, depth + 1);
	interpreter = strrchr(interpreter, '/') + 1;
	if (argument && strcmp(interpreter, "env") == 0 && argument[0] != '-' &&
	    !strchr(argument, '/'))
		search(s, search_path, NULL, argument, true, depth);
}

static void add_object(struct needs *s, const char *path, unsigned depth)
{
	AUTO_FREE struct object *o = NULL;
	char text[PATH_MAX], *slash;
	struct statx stx;
	AUTO_FD int fd = depth > FILES_MAX / 8 ? -ELOOP : open_file(s, path, &stx);

	if (fd < 0 || stx.stx_size > FILE_BYTES || s->bytes + stx.stx_size > TOTAL_BYTES ||
	    !add(s, path))
		return;
	s->bytes += stx.stx_size;
	o = calloc(1, sizeof(*o));
	if (!o)
		return;
	if (read_text(fd, text, LINE_BYTES, 0) && text[0] == '#' && text[1] == '!') {
		add_script(s, text, depth);
		return;
	}
	o->fd = fd;
	snprintf(o->origin, sizeof(o->origin), "%s", path);
	slash = strrchr(o->origin, '/');
	if (!slash || !object_read(o))
		return;
	*slash = 0;
	for (unsigned i = 0; i < o->n; i++) {
		const Elf64_Phdr *p = &o->headers[i];

		if (p->p_type == PT_INTERP && p->p_filesz && p->p_filesz < sizeof(text)) {
			text[read_at(fd, text, p->p_filesz, p->p_offset)] = 0;
			add_object(s, text, depth + 1);
		} else if (p->p_type == PT_DYNAMIC) {
			add_libraries(s, o, p, depth);
		}
	}
}

/* ---- all together ---- */

static void needs_run(void *arg)
{
	struct needs *s = arg;
	const struct fuse_program *p = s->program;
	char path[PATH_MAX];

	for (size_t i = 0; i < ARRAY_LEN(common); i++)
		add(s, common[i]);
	if (!strchr(p->name, '/'))
		search(s, p->search ? p->search : DEFAULT_PATH, NULL, p->name, true, 0);
	else if (p->name[0] == '/')
		add_object(s, p->name, 0);
	else if (snprintf(path, sizeof(path), "%s/%s", p->dir, p->name) < (int)sizeof(path))
		add_object(s, path, 0);
}

int fuse_server_needs(struct fuse_server *srv, const struct fuse_program *program, char **ret,
		      size_t *ret_len, struct err *err)
{
	AUTO_FREE struct needs *s = calloc(1, sizeof(*s));
	size_t len = 0;
	char *p;

	if (!srv->opened)
		return err_set(err, -EINVAL, "file server: not started");
	if (!s)
		return err_set(err, -ENOMEM, "file server: needs");
	s->srv = srv;
	s->program = program;
	fuse_pool_run_job(srv, needs_run, s);
	for (size_t i = 0; i < s->n; i++)
		len += strlen(s->names[i]) + 1;
	*ret_len = len;
	*ret = p = malloc(len + 1);
	for (size_t i = 0; i < s->n; i++) {
		if (p)
			p = stpcpy(p, s->names[i]) + 1;
		free(s->names[i]);
	}
	return p ? 0 : err_set(err, -ENOMEM, "file server: needs");
}
