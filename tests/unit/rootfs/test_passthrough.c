/* SPDX-License-Identifier: Apache-2.0 */
/* What the suite on a mount does not reach: options, hidden attributes, caching hints, STATX, DAX.
 */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "fuse/wire.h"
#include "fuse_client.h"

static struct fuse_client c;

static int setup(void **state)
{
	int r = fc_open(&c, NULL);

	return r < 0 ? r : fc_init(&c);
}

static int teardown(void **state)
{
	fc_close(&c);
	return 0;
}

static void restart(const struct fuse_options *opt)
{
	assert_int_equal(fc_restart(&c, opt), 0);
	assert_int_equal(fc_init(&c), 0);
}

static uint64_t make_file(const char *name)
{
	uint64_t node, fh;

	assert_int_equal(fc_create(&c, 1, name, O_RDWR, 0644, &node, &fh), 0);
	assert_int_equal(fc_write(&c, node, fh, 0, "hello", 5), 0);
	assert_int_equal(fc_release(&c, node, fh, false), 0);
	return node;
}

static int set_x(uint64_t node, const char *name, const char *value)
{
	struct fuse_setxattr_in in = { .size = (uint32_t)strlen(value) };
	char body[256];
	size_t n = strlen(name) + 1;

	memcpy(body, name, n);
	memcpy(body + n, value, strlen(value));
	return fc_call(&c, FUSE_SETXATTR, node, &in, sizeof(in), body, n + strlen(value));
}

static int get_x(uint64_t node, const char *name)
{
	struct fuse_getxattr_in in = { .size = 200 };
	int r = fc_call(&c, FUSE_GETXATTR, node, &in, sizeof(in), name, strlen(name) + 1);

	if (r == 0)
		c.out[c.out_len] = 0;
	return r;
}

static void read_only_server_changes_nothing(void **state)
{
	struct fuse_options opt = { .read_only = true };
	struct fuse_setattr_in sa = { .valid = FATTR_MODE, .mode = 0600 };
	uint64_t node, fh;

	make_file("f");
	restart(&opt);
	node = fc_lookup(&c, 1, "f", NULL);
	assert_true(node);
	assert_int_equal(fc_open_node(&c, node, O_RDWR, &fh), -EROFS);
	assert_int_equal(fc_open_node(&c, node, O_RDONLY | O_TRUNC, &fh), -EROFS);
	assert_int_equal(fc_open_node(&c, node, O_RDONLY, &fh), 0);
	assert_int_equal(fc_read(&c, node, fh, 0, 100), 0);
	assert_int_equal(c.out_len, 5);
	assert_int_equal(fc_write(&c, node, fh, 0, "x", 1), -EROFS);
	assert_int_equal(fc_call(&c, FUSE_UNLINK, 1, NULL, 0, "f", 2), -EROFS);
	assert_int_equal(fc_call(&c, FUSE_SETATTR, node, &sa, sizeof(sa), NULL, 0), -EROFS);
	assert_int_equal(set_x(node, "user.a", "b"), -EROFS);
}

static void private_attributes_are_hidden(void **state)
{
	struct fuse_getxattr_in in = { .size = 4096 };
	uint64_t node = make_file("f");
	char path[96];

	snprintf(path, sizeof(path), "%s/root/f", c.dir);
	assert_int_equal(set_x(node, "user.visible", "1"), 0);
	assert_int_equal(set_x(node, "trusted.overlay.opaque", "y"), 0);
	/* On the host it is a plain user attribute. */
	assert_int_equal(getxattr(path, "user.husk.trusted.overlay.opaque", NULL, 0), 1);
	assert_int_equal(getxattr(path, "trusted.overlay.opaque", NULL, 0), -1);
	assert_int_equal(get_x(node, "trusted.overlay.opaque"), 0);
	assert_int_equal(c.out[0], 'y');
	/* The guest can neither see nor forge the host's form. */
	assert_int_equal(set_x(node, "user.husk.trusted.overlay.opaque", "n"), -EPERM);
	assert_int_equal(get_x(node, "user.husk.trusted.overlay.opaque"), -ENODATA);
	assert_int_equal(set_x(node, "user.containers.override_stat", "0:0:04755"), -EPERM);
	assert_int_equal(set_x(node, "security.selinux", "x"), -EOPNOTSUPP);
	assert_int_equal(set_x(node, "system.posix_acl_access", "x"), -EOPNOTSUPP);
	assert_int_equal(set_x(node, "", "x"), -ERANGE);
	assert_int_equal(setxattr(path, "user.containers.override_stat", "1:1:0", 5, 0), 0);
	assert_int_equal(fc_call(&c, FUSE_LISTXATTR, node, &in, sizeof(in), NULL, 0), 0);
	assert_null(memmem(c.out, c.out_len, "husk", 4));
	assert_null(memmem(c.out, c.out_len, "override", 8));
	assert_non_null(memmem(c.out, c.out_len, "trusted.overlay.opaque", 23));
	assert_non_null(memmem(c.out, c.out_len, "user.visible", 13));
	/* A size that does not match the value. */
	assert_int_equal(fc_call(&c, FUSE_SETXATTR, node, &(struct fuse_setxattr_in){ .size = 100 },
				 16, "user.a\0v", 8),
			 -EINVAL);
}

static void attributes_can_be_off(void **state)
{
	struct fuse_options opt = { .no_xattr = true };
	uint64_t node = make_file("f");

	restart(&opt);
	node = fc_lookup(&c, 1, "f", NULL);
	assert_int_equal(set_x(node, "user.a", "b"), -ENOSYS);
	assert_int_equal(get_x(node, "user.a"), -ENOSYS);
}

static uint32_t open_hint(uint64_t node)
{
	struct fuse_open_in in = { .flags = O_RDONLY };
	struct fuse_open_out o;

	assert_int_equal(fc_call(&c, FUSE_OPEN, node, &in, sizeof(in), NULL, 0), 0);
	memcpy(&o, c.out, sizeof(o));
	assert_int_equal(fc_release(&c, node, o.fh, false), 0);
	return o.open_flags;
}

static void cached_data_is_kept_while_the_file_is_the_same(void **state)
{
	uint64_t node = make_file("f");
	struct stat before, now;
	char path[96];
	int fd;

	open_hint(node);
	assert_int_equal(open_hint(node), FOPEN_KEEP_CACHE);
	snprintf(path, sizeof(path), "%s/root/f", c.dir);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	assert_true(fd >= 0 && fstat(fd, &before) == 0);
	do { /* until the kernel's clock of files has ticked */
		assert_int_equal(pwrite(fd, "HELLO", 5, 0), 5);
		assert_int_equal(fstat(fd, &now), 0);
	} while (!memcmp(&now.st_mtim, &before.st_mtim, sizeof(now.st_mtim)));
	close(fd);
	assert_int_equal(open_hint(node), 0);
	assert_int_equal(open_hint(node), FOPEN_KEEP_CACHE);
}

static void cache_modes_answer_as_named(void **state)
{
	struct fuse_options never = { .cache = FUSE_CACHE_NEVER };
	struct fuse_options always = { .cache = FUSE_CACHE_ALWAYS };
	struct fuse_entry_out e;
	uint64_t node = make_file("f");

	restart(&never);
	node = fc_lookup(&c, 1, "f", NULL);
	memcpy(&e, c.out, sizeof(e));
	assert_int_equal(e.entry_valid, 0);
	assert_int_equal(e.attr_valid, 0);
	assert_true(open_hint(node) & FOPEN_DIRECT_IO);
	assert_int_equal(fc_call(&c, FUSE_LOOKUP, 1, NULL, 0, "none", 5), -ENOENT);
	restart(&always);
	node = fc_lookup(&c, 1, "f", NULL);
	memcpy(&e, c.out, sizeof(e));
	assert_true(e.entry_valid > 3600);
	assert_int_equal(open_hint(node), FOPEN_KEEP_CACHE);
	/* A name that is not there may be remembered as such. */
	assert_int_equal(fc_call(&c, FUSE_LOOKUP, 1, NULL, 0, "none", 5), 0);
	memcpy(&e, c.out, sizeof(e));
	assert_int_equal(e.nodeid, 0);
	assert_true(e.entry_valid > 3600);
}

static void statx_tells_the_birth_time(void **state)
{
	struct fuse_wire_statx_in in = { .sx_mask = 0xfff };
	struct fuse_wire_statx_out out;
	uint64_t node = make_file("f");

	assert_int_equal(fc_call(&c, FUSE_OP_STATX, node, &in, sizeof(in), NULL, 0), 0);
	assert_int_equal(c.out_len, sizeof(out));
	memcpy(&out, c.out, sizeof(out));
	assert_int_equal(out.stat.size, 5);
	assert_int_equal(out.stat.mode, S_IFREG | 0644);
	assert_true(!(out.stat.mask & STATX_BTIME) || out.stat.btime.tv_sec > 1000000000);
}

static void copies_report_their_length_both_ways(void **state)
{
	struct fuse_wire_copy_file_range_in in = { .len = 100 };
	struct fuse_wire_copy_file_range_out out64;
	struct fuse_write_out out32;
	uint64_t a = make_file("a"), b = make_file("b"), fa, fb;

	assert_int_equal(fc_open_node(&c, a, O_RDONLY, &fa), 0);
	assert_int_equal(fc_open_node(&c, b, O_RDWR, &fb), 0);
	in.fh_in = fa;
	in.nodeid_out = b;
	in.fh_out = fb;
	in.off_out = 5;
	assert_int_equal(fc_call(&c, FUSE_OP_COPY_FILE_RANGE_64, a, &in, sizeof(in), NULL, 0), 0);
	memcpy(&out64, c.out, sizeof(out64));
	assert_int_equal(out64.bytes_copied, 5);
	assert_int_equal(fc_call(&c, FUSE_COPY_FILE_RANGE, a, &in, sizeof(in), NULL, 0), 0);
	memcpy(&out32, c.out, sizeof(out32));
	assert_int_equal(out32.size, 5);
	in.nodeid_out = a;
	assert_int_equal(fc_call(&c, FUSE_COPY_FILE_RANGE, a, &in, sizeof(in), NULL, 0), -EBADF);
	in.nodeid_out = 99;
	assert_int_equal(fc_call(&c, FUSE_COPY_FILE_RANGE, a, &in, sizeof(in), NULL, 0), -ESTALE);
}

static void directory_above_the_root_is_not_named(void **state)
{
	struct fuse_read_in in = { .size = 4096 };
	struct fuse_dirent d;
	struct stat above;
	uint64_t fh;
	size_t off = 0;
	int seen = 0;

	assert_int_equal(stat(c.dir, &above), 0);
	assert_int_equal(fc_open_node(&c, 1, O_DIRECTORY, &fh), 0);
	in.fh = fh;
	assert_int_equal(fc_call(&c, FUSE_READDIR, 1, &in, sizeof(in), NULL, 0), 0);
	while (off + FUSE_NAME_OFFSET < c.out_len) {
		memcpy(&d, c.out + off, FUSE_NAME_OFFSET);
		assert_true(d.ino != above.st_ino);
		seen++;
		off += FUSE_REC_ALIGN(FUSE_NAME_OFFSET + d.namelen);
	}
	assert_int_equal(seen, 2);
}

/* ---- owners in attributes: what a server without any right can do ---- */

static struct fuse_attr entry_attr(void)
{
	struct fuse_entry_out e;

	memcpy(&e, c.out, sizeof(e));
	return e.attr;
}

static struct fuse_attr set_attr(uint64_t node, const struct fuse_setattr_in *in)
{
	struct fuse_attr_out out;

	assert_int_equal(fc_call(&c, FUSE_SETATTR, node, in, sizeof(*in), NULL, 0), 0);
	memcpy(&out, c.out, sizeof(out));
	return out.attr;
}

static void owners_live_in_the_shared_attribute(void **state)
{
	struct fuse_options opt = { .owner = FUSE_OWNER_XATTR };
	struct fuse_mkdir_in mk = { .mode = 02770, .umask = 022 };
	struct fuse_attr a;
	uint64_t node, fh;
	char path[96], text[64] = "";
	struct stat st;

	restart(&opt);
	c.uid = 1000;
	c.gid = 100;
	assert_int_equal(fc_create(&c, 1, "f", O_RDWR, 0640, &node, &fh), 0);
	a = entry_attr();
	assert_int_equal(a.uid, 1000);
	assert_int_equal(a.gid, 100);
	assert_int_equal(a.mode, S_IFREG | 0640);
	snprintf(path, sizeof(path), "%s/root/f", c.dir);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_uid, geteuid());
	assert_true(getxattr(path, "user.containers.override_stat", text, sizeof(text)) > 0);
	assert_string_equal(text, "1000:100:0640");
	a = set_attr(node, &(struct fuse_setattr_in){
				   .valid = FATTR_UID | FATTR_GID, .uid = 7, .gid = 8 });
	assert_int_equal(a.uid, 7);
	assert_int_equal(a.gid, 8);
	/* No mode, not even 0, keeps the server out. */
	a = set_attr(node, &(struct fuse_setattr_in){ .valid = FATTR_MODE, .mode = 0 });
	assert_int_equal(a.mode, S_IFREG);
	assert_int_equal(fc_write(&c, node, fh, 0, "x", 1), 0);
	assert_int_equal(fc_open_node(&c, node, O_RDWR, &fh), 0);
	/* A new directory of a setgid one inherits group and bit. */
	assert_int_equal(fc_call(&c, FUSE_MKDIR, 1, &mk, sizeof(mk), "d", 2), 0);
	a = entry_attr();
	assert_int_equal(a.mode, S_IFDIR | 02750);
	c.gid = 5;
	mk = (struct fuse_mkdir_in){ .mode = 0755 };
	assert_int_equal(fc_call(&c, FUSE_MKDIR, fc_lookup(&c, 1, "d", NULL), &mk, sizeof(mk), "e",
				 2),
			 0);
	a = entry_attr();
	assert_int_equal(a.gid, 100);
	assert_int_equal(a.mode, S_IFDIR | 02755);
}

static void devices_are_files_that_say_so(void **state)
{
	struct fuse_options opt = { .owner = FUSE_OWNER_XATTR };
	struct fuse_mknod_in mk = { .mode = S_IFCHR | 0666, .rdev = 1 << 8 | 3 };
	struct fuse_attr a;
	char path[96];
	struct stat st;

	restart(&opt);
	assert_int_equal(fc_call(&c, FUSE_MKNOD, 1, &mk, sizeof(mk), "null", 5), 0);
	a = entry_attr();
	assert_int_equal(a.mode, S_IFCHR | 0666);
	assert_int_equal(a.rdev, 1 << 8 | 3);
	snprintf(path, sizeof(path), "%s/root/null", c.dir);
	assert_int_equal(lstat(path, &st), 0);
	assert_true(S_ISREG(st.st_mode));
	restart(&opt);
	assert_true(fc_lookup(&c, 1, "null", NULL));
	a = entry_attr();
	assert_int_equal(a.mode, S_IFCHR | 0666);
	mk = (struct fuse_mknod_in){ .mode = S_IFSOCK | 0600 };
	assert_int_equal(fc_call(&c, FUSE_MKNOD, 1, &mk, sizeof(mk), "sock", 5), 0);
	assert_int_equal(entry_attr().mode, S_IFSOCK | 0600);
}

static void writes_by_others_drop_setuid_in_the_attribute(void **state)
{
	struct fuse_options opt = { .owner = FUSE_OWNER_XATTR };
	struct fuse_write_in wr = { .size = 1, .write_flags = FUSE_WRITE_KILL_SUIDGID };
	struct fuse_getattr_in ga = { 0 };
	struct fuse_attr_out out;
	uint64_t node;

	restart(&opt);
	assert_int_equal(fc_create(&c, 1, "f", O_RDWR, 0755, &node, &wr.fh), 0);
	set_attr(node, &(struct fuse_setattr_in){ .valid = FATTR_MODE, .mode = 06755 });
	assert_int_equal(fc_write(&c, node, wr.fh, 0, "x", 1), 0);
	assert_int_equal(fc_call(&c, FUSE_GETATTR, node, &ga, sizeof(ga), NULL, 0), 0);
	memcpy(&out, c.out, sizeof(out));
	assert_int_equal(out.attr.mode, S_IFREG | 06755);
	assert_int_equal(fc_call(&c, FUSE_WRITE, node, &wr, sizeof(wr), "y", 1), 0);
	assert_int_equal(fc_call(&c, FUSE_GETATTR, node, &ga, sizeof(ga), NULL, 0), 0);
	memcpy(&out, c.out, sizeof(out));
	assert_int_equal(out.attr.mode, S_IFREG | 0755);
}

/* ---- the window ---- */

static int n_mapped, n_unmapped;

static int dax_map(void *opaque, uint64_t off, int fd, uint64_t file_off, uint64_t len,
		   bool writable)
{
	assert_true(fd >= 0);
	n_mapped++;
	return 0;
}

static int dax_unmap(void *opaque, uint64_t off, uint64_t len)
{
	n_unmapped++;
	return 0;
}

static void mappings_stay_inside_the_window(void **state)
{
	static const struct fuse_dax_ops dax = { .window_len = 4 * FUSE_DAX_CHUNK,
						 .map = dax_map,
						 .unmap = dax_unmap };
	struct fuse_options opt = { .dax = &dax };
	struct fuse_wire_setupmapping_in in = { .len = FUSE_DAX_CHUNK };
	struct {
		uint32_t count, pad;
	} count = { 1, 0 };
	struct {
		uint32_t count;
		struct fuse_wire_removemapping_one one;
	} __attribute__((packed)) remove_in = { .count = 1 };
	uint64_t node = make_file("f");

	assert_int_equal(fc_call(&c, FUSE_SETUPMAPPING, node, &in, sizeof(in), NULL, 0), -ENOSYS);
	restart(&opt);
	node = fc_lookup(&c, 1, "f", NULL);
	assert_int_equal(fc_call(&c, FUSE_SETUPMAPPING, node, &in, sizeof(in), NULL, 0), 0);
	assert_int_equal(n_mapped, 1);
	in.moffset = 4 * FUSE_DAX_CHUNK;
	assert_int_equal(fc_call(&c, FUSE_SETUPMAPPING, node, &in, sizeof(in), NULL, 0), -EINVAL);
	in.moffset = UINT64_MAX & ~(FUSE_DAX_CHUNK - 1);
	assert_int_equal(fc_call(&c, FUSE_SETUPMAPPING, node, &in, sizeof(in), NULL, 0), -EINVAL);
	in = (struct fuse_wire_setupmapping_in){ .len = 0 };
	assert_int_equal(fc_call(&c, FUSE_SETUPMAPPING, node, &in, sizeof(in), NULL, 0), -EINVAL);
	in = (struct fuse_wire_setupmapping_in){ .len = 4096 };
	assert_int_equal(fc_call(&c, FUSE_SETUPMAPPING, node, &in, sizeof(in), NULL, 0), -EINVAL);
	in = (struct fuse_wire_setupmapping_in){ .len = FUSE_DAX_CHUNK, .moffset = 4096 };
	assert_int_equal(fc_call(&c, FUSE_SETUPMAPPING, node, &in, sizeof(in), NULL, 0), -EINVAL);
	in = (struct fuse_wire_setupmapping_in){ .len = FUSE_DAX_CHUNK,
						 .foffset = INT64_MAX & ~(FUSE_DAX_CHUNK - 1) };
	assert_int_equal(fc_call(&c, FUSE_SETUPMAPPING, node, &in, sizeof(in), NULL, 0), -EINVAL);
	assert_int_equal(n_mapped, 1);
	assert_int_equal(fc_call(&c, FUSE_REMOVEMAPPING, node, &count, 4, NULL, 0), -EINVAL);
	remove_in.one.len = 4096;
	assert_int_equal(fc_call(&c, FUSE_REMOVEMAPPING, node, &remove_in, sizeof(remove_in), NULL,
				 0),
			 -EINVAL);
	n_unmapped = 0;
	remove_in.one.len = FUSE_DAX_CHUNK;
	assert_int_equal(fc_call(&c, FUSE_REMOVEMAPPING, node, &remove_in, sizeof(remove_in), NULL,
				 0),
			 0);
	assert_int_equal(n_unmapped, 1);
	fuse_server_reset(c.srv);
	assert_int_equal(n_unmapped, 2); /* the whole window */
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(read_only_server_changes_nothing),
		TEST(private_attributes_are_hidden),
		TEST(attributes_can_be_off),
		TEST(cached_data_is_kept_while_the_file_is_the_same),
		TEST(cache_modes_answer_as_named),
		TEST(statx_tells_the_birth_time),
		TEST(copies_report_their_length_both_ways),
		TEST(directory_above_the_root_is_not_named),
		TEST(owners_live_in_the_shared_attribute),
		TEST(devices_are_files_that_say_so),
		TEST(writes_by_others_drop_setuid_in_the_attribute),
		TEST(mappings_stay_inside_the_window),
	};

	return cmocka_run_group_tests_name("rootfs/passthrough", tests, NULL, NULL);
}
