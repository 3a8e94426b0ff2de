/* SPDX-License-Identifier: Apache-2.0 */
/*
 * FUSE wire format: the kernel's header, what newer kernels have added to it, and size checks.
 *
 * Numbers are in the byte order of host and guest, which are both little-endian. Ref: linux
 * include/uapi/linux/fuse.h, versions 7.31 to 7.45.
 */
#ifndef ROOTFS_FUSE_WIRE_H
#define ROOTFS_FUSE_WIRE_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include <linux/fuse.h>

/* The newest minor version we speak, and the oldest client we serve (Linux 5.10 has 7.31). */
#define FUSE_WIRE_MINOR		       45
#define FUSE_WIRE_MINOR_MIN	       31

/* Opcodes by number: the build host's header may lack the newer ones. */
#define FUSE_OP_STATX		       52
#define FUSE_OP_COPY_FILE_RANGE_64     53
#define FUSE_OP_MAX_		       54

#define FUSE_WIRE_CREATE_SUPP_GROUP    (1ULL << 34)
#define FUSE_WIRE_DIRECT_IO_ALLOW_MMAP (1ULL << 36)
#define FUSE_WIRE_NO_EXPORT_SUPPORT    (1ULL << 38)

#define FUSE_WIRE_EXT_GROUPS	       32

/* Most bytes of one name, without its NUL. */
#define FUSE_WIRE_NAME_MAX	       255

struct fuse_wire_copy_file_range_in {
	uint64_t fh_in;
	uint64_t off_in;
	uint64_t nodeid_out;
	uint64_t fh_out;
	uint64_t off_out;
	uint64_t len;
	uint64_t flags;
};

struct fuse_wire_copy_file_range_out {
	uint64_t bytes_copied;
};

struct fuse_wire_lseek_in {
	uint64_t fh;
	uint64_t offset;
	uint32_t whence;
	uint32_t padding;
};

struct fuse_wire_lseek_out {
	uint64_t offset;
};

struct fuse_wire_statx_in {
	uint32_t getattr_flags;
	uint32_t reserved;
	uint64_t fh;
	uint32_t sx_flags;
	uint32_t sx_mask;
};

struct fuse_wire_sx_time {
	int64_t tv_sec;
	uint32_t tv_nsec;
	int32_t reserved;
};

struct fuse_wire_statx {
	uint32_t mask;
	uint32_t blksize;
	uint64_t attributes;
	uint32_t nlink;
	uint32_t uid;
	uint32_t gid;
	uint16_t mode;
	uint16_t spare0;
	uint64_t ino;
	uint64_t size;
	uint64_t blocks;
	uint64_t attributes_mask;
	struct fuse_wire_sx_time atime, btime, ctime, mtime;
	uint32_t rdev_major, rdev_minor;
	uint32_t dev_major, dev_minor;
	uint64_t spare2[14];
};

struct fuse_wire_statx_out {
	uint64_t attr_valid;
	uint32_t attr_valid_nsec;
	uint32_t flags;
	uint64_t spare[2];
	struct fuse_wire_statx stat;
};

struct fuse_wire_setupmapping_in {
	uint64_t fh;
	uint64_t foffset;
	uint64_t len;
	uint64_t flags;
	uint64_t moffset;
};

struct fuse_wire_removemapping_one {
	uint64_t moffset;
	uint64_t len;
};

#define FUSE_WIRE_MAP_WRITE (1ULL << 0)
#define FUSE_WIRE_MAP_READ  (1ULL << 1)

struct fuse_wire_ext_header {
	uint32_t size; /* of the extension with this header, a multiple of 8 */
	uint32_t type;
};

static_assert(sizeof(struct fuse_in_header) == 40, "fuse_in_header");
static_assert(sizeof(struct fuse_out_header) == 16, "fuse_out_header");
static_assert(sizeof(struct fuse_attr) == 88, "fuse_attr");
static_assert(sizeof(struct fuse_entry_out) == 128, "fuse_entry_out");
static_assert(sizeof(struct fuse_attr_out) == 104, "fuse_attr_out");
static_assert(sizeof(struct fuse_init_in) == 64, "fuse_init_in");
static_assert(sizeof(struct fuse_init_out) == 64, "fuse_init_out");
static_assert(sizeof(struct fuse_setattr_in) == 88, "fuse_setattr_in");
static_assert(sizeof(struct fuse_setxattr_in) == 16, "fuse_setxattr_in");
static_assert(sizeof(struct fuse_read_in) == 40, "fuse_read_in");
static_assert(sizeof(struct fuse_write_in) == 40, "fuse_write_in");
static_assert(sizeof(struct fuse_wire_statx) == 256, "fuse_wire_statx");
static_assert(sizeof(struct fuse_wire_statx_out) == 288, "fuse_wire_statx_out");
static_assert(sizeof(struct fuse_wire_copy_file_range_in) == 56, "copy_file_range_in");
static_assert(sizeof(struct fuse_wire_lseek_in) == 24, "lseek_in");
static_assert(sizeof(struct fuse_wire_setupmapping_in) == 40, "setupmapping_in");

#endif
