/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The protocol between the VMM and the guest's init: the only place with its numbers. Freestanding.
 *
 * Host code includes this; guest programs get the names of proto_consts.h as constants. All
 * integers are little-endian. Life of a command: the host writes a command block (magic last) and
 * rings the doorbell; init copies the block, zeroes the magic, signals ACCEPTED; runs it; writes
 * command id, result, stage and term signal, then signals DONE. docs/guest-protocol.md tells the
 * whole story.
 */
#ifndef INITX_PROTO_H
#define INITX_PROTO_H

#include <stdint.h>

/* Regions: defaults, injected into the guest programs as constants. */
#define INITX_MAILBOX_PHYS    0xf0000000u
#define INITX_TIMESLICE_PHYS  0xf0001000u
#define INITX_CONFIG_PHYS     0xf0003000u
#define INITX_MAILBOX_SIZE    0x1000u
#define INITX_TIMESLICE_SIZE  0x1000u
#define INITX_CONFIG_SIZE     0x400000u

/* Mailbox words, each a u32. */
#define INITX_MB_SIGNAL	      0x00
#define INITX_MB_RESULT	      0x08 /* exit code; negative errno when it could not start */
#define INITX_MB_STAGE	      0x0c /* which step failed, 0 none */
#define INITX_MB_START_RESULT 0x10 /* init's own start: 0 or negative errno */
#define INITX_MB_START_STAGE  0x14 /* init phase reached */
#define INITX_MB_COMMAND_ID   0x18 /* 0: the base protocol */
#define INITX_MB_TERM_SIGNAL  0x1c /* signal that ended the command, 0 if it exited */
#define INITX_MB_OUT	      0x20 /* bytes its stdout (or terminal) sent to the host, mod 2^32 */
#define INITX_MB_ERR	      0x24 /* the same of its stderr */

/* Words that are read. */
#define INITX_MB_CLOCK	      0x40 /* the host's wall clock: low half of its nanoseconds ... */
#define INITX_MB_CLOCK_HIGH   0x44 /* ... and the high half of what was read last; 0 both: no clock */
#define INITX_MB_RENEW	      0x48 /* once 1 after HELD in a machine that goes on from a checkpoint, else 0 */
#define INITX_MB_REHEARSE     0x50 /* the signal at which the machine will be saved, or 0 */
#define INITX_REHEARSAL_ID    0xfffffff0u /* of the command that is the rehearsal; no host gives it */
#define INITX_MB_SEED	      0x4c /* then the next of INITX_SEED_WORDS random words */
#define INITX_SEED_WORDS      16

#define INITX_SIG_DONE	      0x444f4e45u /* payload or command finished */
#define INITX_SIG_ALIKE	      0x414c494bu /* what all containers share is made: the early snapshot point */
#define INITX_SIG_READY	      0xdeadbeefu /* in the command loop: the late snapshot point */
#define INITX_SIG_USER	      0x55534552u /* payload wants its next chunk of data */
#define INITX_SIG_ACCEPTED    0x41434345u /* command copied, slot free */
#define INITX_SIG_HELD	      0x48454c44u /* no other process runs: the point of a checkpoint */

/* Program block at config + 0: header, then u32 relocations, then code. */
#define INITX_PROGRAM_MAGIC   0xcafebabeu
#define INITX_PROGRAM_AREA    0x400000u /* executable mapping it is copied to */

struct initx_program {
	uint32_t magic;
	uint32_t code_len;
	uint32_t n_relocs;
	uint32_t data_offset; /* from the config start, 0 none */
	uint32_t data_length;
	uint32_t flags; /* 0 */
	uint64_t wall_sec;
	uint64_t wall_nsec;
};

/* File transfer: the data region. */
#define INITX_CHUNK_MAX		  65535u
#define INITX_CHUNK_REGION	  (2u + INITX_CHUNK_MAX)

/* Command block at config + 0x100000: header, then path NUL, arguments, environment. */
#define INITX_COMMAND_OFFSET	  0x100000u
#define INITX_COMMAND_MAGIC	  0x434d4452u /* "CMDR" */
#define INITX_AHEAD_MAGIC	  0x41484452u /* what can be done of the first one before READY */
#define INITX_COMMAND_MAX	  0x2ffff0u   /* bytes behind the header */
#define INITX_COMMAND_MAX_STRINGS 65535u

struct initx_command {
	uint32_t magic;
	uint32_t path_len; /* without the NUL */
	uint32_t argc;	   /* counts argv[0]; 0: argv is the path alone */
	uint32_t envc;
};

/* Extension record, 8-byte aligned (from the block's start) behind the last string. */
#define INITX_RECORD_MAGIC   0x58444d43u /* "CMDX" */
#define INITX_RECORD_VERSION 1u

struct initx_record {
	uint32_t magic;
	uint32_t version;
	uint32_t total; /* bytes, this header included */
	uint32_t id;	/* command id, not 0 */
};

#define INITX_ITEM_REQUIRED 1u /* flag: refuse the command when the type is unknown */

struct initx_item {
	uint16_t type;
	uint16_t flags;
	uint32_t length; /* of the payload, which is padded to 8 */
};

/* Item types. Strings carry no NUL unless said; they are NUL-terminated by the padding or the
 * guest. */
#define INITX_ITEM_CWD		1  /* string */
#define INITX_ITEM_IDS		2  /* u32 uid, gid, umask (INITX_KEEP: leave) */
#define INITX_ITEM_GROUPS	3  /* u32 each */
#define INITX_ITEM_CAPS		4  /* u64 bounding, effective, inheritable, permitted, ambient */
#define INITX_ITEM_RLIMIT	5  /* each: u32 resource, u32 0, u64 soft, u64 hard */
#define INITX_ITEM_NO_NEW_PRIVS 6  /* empty */
#define INITX_ITEM_OOM_SCORE	7  /* decimal text for oom_score_adj */
#define INITX_ITEM_SECCOMP	8  /* u32 flags, u32 count, then count sock_filter of 8 bytes */
#define INITX_ITEM_TERMINAL	9  /* u32 rows, columns, vsock port (both directions); and its owner */
#define INITX_ITEM_STDIO	10 /* three times u32 kind, u32 vsock port */
#define INITX_ITEM_UNSHARE	11 /* u32 CLONE_NEW flags for new namespaces */
#define INITX_ITEM_ENTER	12 /* u32 CLONE_NEW flags, u32 command id whose namespaces to enter */
#define INITX_ITEM_MOUNT	13 /* u32 flags, u32 0, then source, target, type, data, each with its NUL */
#define INITX_ITEM_MASKED	14 /* string with NUL */
#define INITX_ITEM_READONLY	15 /* string with NUL */
#define INITX_ITEM_SYSCTL	16 /* path below /proc/sys with NUL, value with NUL */
#define INITX_ITEM_DEVICE	17 /* u32 mode with type, major, minor, uid, gid, 0; path with NUL */
#define INITX_ITEM_HOSTNAME	18 /* string */
#define INITX_ITEM_SIGMASK	19 /* u64 */
#define INITX_ITEM_SCHEDULER	20 /* u32 policy, u32 priority */
#define INITX_ITEM_IOPRIO	21 /* u32 */
#define INITX_ITEM_AFFINITY	22 /* mask bytes */
#define INITX_ITEM_DOMAINNAME	23 /* string */
#define INITX_ITEM_NICE		24 /* i32 */
#define INITX_ITEM_STATUS                                                       \
	25 /* u32 vsock port: the exit is reported there too, behind all output \
	    */
#define INITX_ITEM_SYMLINK    26 /* target with NUL, path with NUL */
#define INITX_ITEM_CGROUP     27 /* run in the container's cgroup: its file and the value, with NULs */
#define INITX_ITEM_COPY_UP    28 /* as MOUNT; begins with a copy of what it covers; u32 flags, u32 0 or: */
#define INITX_ITEM_UNMOUNT    29 /* path with NUL, whose directory goes too */
#define INITX_ITEM_HOOK	      30 /* u32 timeout in seconds, argc, envc, 0; path, argv, envp with NULs */
#define INITX_ITEM_HOOK_STATE 31 /* text for the hooks' standard input */
#define INITX_ITEM_UIDMAP     32 /* text of uid_map, for a new user namespace (UNSHARE) */
#define INITX_ITEM_GIDMAP     33 /* text of gid_map */
#define INITX_ITEM_FDS	      34 /* each: u32 descriptor, u32 vsock port: a stream to the host */
#define INITX_ITEM_AHEAD      35 /* empty: what stands before this may have been done ahead */
#define INITX_ITEM_FILES      36 /* paths with NULs: to be read ahead */
#define INITX_ITEM_MAX_	      37

#define INITX_FDS_MAX	      64  /* entries of INITX_ITEM_FDS */
#define INITX_FDS_BELOW	      512 /* their descriptors are */

#define INITX_COPY_UP_OWNER   1u /* COPY_UP: with owner and mode of the directory too */

#define INITX_KEEP	      0xffffffffu

#define INITX_STDIO_NULL     0
#define INITX_STDIO_PIPE     1 /* relayed to the vsock port */
#define INITX_STDIO_TERMINAL 2
#define INITX_STDIO_STDOUT   3 /* for 2: the same pipe as 1 */
#define INITX_STDIO_CONSOLE  4 /* the guest's console */

/* What a status connection (INITX_ITEM_STATUS) carries, once. */
struct initx_status {
	uint32_t id;
	int32_t result;
	uint32_t stage;
	uint32_t term_signal;
};

/* Steps of a command, in INITX_MB_STAGE when one fails. */
#define INITX_STEP_BLOCK      1 /* the block breaks a rule */
#define INITX_STEP_RECORD     2
#define INITX_STEP_STREAMS    3 /* pipes, terminal, connections */
#define INITX_STEP_FORK	      4
#define INITX_STEP_NAMESPACES 5
#define INITX_STEP_STDIO      6
#define INITX_STEP_MOUNT      7
#define INITX_STEP_SYSCTL     8
#define INITX_STEP_DEVICE     9
#define INITX_STEP_HOSTNAME   10
#define INITX_STEP_LIMITS     11
#define INITX_STEP_IDS	      12
#define INITX_STEP_CAPS	      13
#define INITX_STEP_SECCOMP    14
#define INITX_STEP_CWD	      15
#define INITX_STEP_EXEC	      16
#define INITX_STEP_MASK	      17
#define INITX_STEP_CGROUP     18
#define INITX_STEP_HOOK	      19

/* Vsock. */
#define INITX_HOST_CID	      2
#define INITX_GUEST_CID	      3
#define INITX_DOORBELL_PORT   1024

/* First u32 of a doorbell connection; each is answered with an i32. */
#define INITX_BELL_BELL	      0x4c4c4542u /* look at the command slot */
#define INITX_BELL_KILL	      0x4c4c494bu /* u32 id, signal, flags */
#define INITX_BELL_WINS	      0x5a495357u /* u32 id, rows, columns */
#define INITX_BELL_TIME	      0x454d4954u /* the time fields were renewed */
#define INITX_BELL_SEED	      0x44454553u /* 64 bytes for the random pool */
#define INITX_BELL_STAT	      0x53544154u /* answered with struct initx_stat */
#define INITX_BELL_SYNC	      0x434e5953u
#define INITX_BELL_HOLD	      0x444c4f48u /* say HELD; answered when the guest has gone on */
#define INITX_BELL_NET	      0x5754454eu /* "NETW": u32 length, then records of struct initx_net */
#define INITX_BELL_LIMITS     0x544d494cu /* "LIMT": i32 processes, i64 bytes: 0 leave, -1 no limit */

#define INITX_KILL_GROUP      1u /* flags: the whole process group */
#define INITX_KILL_ALL	      2u /* every process of the container */

/* A network record: behind it an rtnetlink request that wants an answer, a multiple of 4 bytes. */
struct initx_net {
	char ifname[16];   /* its index goes into the request */
	uint32_t index_at; /* offset in the request, 0: nowhere */
	uint32_t len;	   /* of the request */
};

#define INITX_NET_MAX 4096u /* bytes of all records */

struct initx_stat {
	int32_t result;
	uint32_t n_processes;
	uint64_t mem_total, mem_free; /* bytes */
	uint64_t uptime_sec;
	uint64_t load_1min; /* 1/65536 */
};

/* Timeslice events: a u32 stored at offset 0 of the timeslice page. */
#define INITX_TS_INIT_START   0
#define INITX_TS_INIT_DEV     1
#define INITX_TS_INIT_MOUNTS  2
#define INITX_TS_INIT_SHM     3
#define INITX_TS_INIT_MODULES 4
#define INITX_TS_INIT_CONSOLE 5
#define INITX_TS_INIT_SETSID  6
#define INITX_TS_INIT_DUP     8
#define INITX_TS_INIT_MEM     9
#define INITX_TS_INIT_MAILBOX 10
#define INITX_TS_INIT_TS      11
#define INITX_TS_INIT_CONFIG  12
#define INITX_TS_INIT_AREA    13
#define INITX_TS_INIT_TIME    14
#define INITX_TS_INIT_LOOP    15
#define INITX_TS_COPY	      16
#define INITX_TS_RELOCATE     17
#define INITX_TS_ISB	      18
#define INITX_TS_CALL	      19
#define INITX_TS_PAYLOAD_DONE 20
#define INITX_TS_START	      50
#define INITX_TS_DIRS	      51
#define INITX_TS_VIRTIOFS     52
#define INITX_TS_FILESYSTEMS  54
#define INITX_TS_ROOT	      55
#define INITX_TS_DEVPTS	      56
#define INITX_TS_BINFMT	      57
#define INITX_TS_HOSTNAME     58
#define INITX_TS_LOOPBACK     59
#define INITX_TS_HOSTS	      60
#define INITX_TS_NETWORK      61
#define INITX_TS_CWD	      62
#define INITX_TS_PRIVS	      63
#define INITX_TS_EXEC	      64
#define INITX_TS_COMPLETE     65
#define INITX_TS_FORK_START   66
#define INITX_TS_FORK_DONE    67
#define INITX_TS_WAIT_START   68
#define INITX_TS_WAIT_DONE    69
#define INITX_TS_LOOP	      70
#define INITX_TS_CMD_READ     71
#define INITX_TS_CMD_EXEC     72
#define INITX_TS_CMD_DONE     73
#define INITX_TS_MAX_	      256

_Static_assert(sizeof(struct initx_program) == 40, "program header");
_Static_assert(sizeof(struct initx_command) == 16, "command header");
_Static_assert(sizeof(struct initx_record) == 16, "record header");
_Static_assert(sizeof(struct initx_item) == 8, "item header");
_Static_assert(sizeof(struct initx_status) == 16, "status");
_Static_assert(sizeof(struct initx_stat) == 40, "stat reply");
_Static_assert(sizeof(struct initx_net) == 24, "network record");
_Static_assert(INITX_COMMAND_OFFSET + sizeof(struct initx_command) + INITX_COMMAND_MAX ==
		       INITX_CONFIG_SIZE,
	       "the command block fills the region");

#endif
