/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest programs, compiled when they are needed.
 *
 * Theory of operation. The sources are part of this library; guest_compile() picks those of one
 * program and adds the protocol's numbers and the caller's values. Nothing is cached: compiling
 * takes about a millisecond.
 */
#ifndef INITX_GUEST_H
#define INITX_GUEST_H

#include "initx/proto.h"
#include "initx/rtg.h"

enum guest_program {
	GUEST_INIT,	 /* ELF: the initramfs's /init */
	GUEST_CONTAINER, /* payload: root, mounts, network, then the command loop */
	GUEST_CONTAINER_AHEAD, /* the same, before a snapshot: rehearses, and begins with the first command */
	GUEST_NOTHING,	 /* payload: returns 0 */
	GUEST_CLOCK,	 /* payload: sets the wall clock from the header */
	GUEST_WRITER,	 /* payload: writes a file from chunks; configs "path", "mode" */
	GUEST_MAX_,
};

/*
 * Values for the programs. INIT: blob "modules" (module_blob()) with flag "modules"; the regions'
 * addresses have defaults ("MAILBOX_PHYS_ADDR", "TIMESLICE_PHYS_ADDR", "CONFIG_PHYS_ADDR").
 * CONTAINER and CONTAINER_AHEAD: flags "rootfs" (mount virtio-fs tag rootfs; without it the initramfs stays the root),
 * "readonly_root", "hostname", "hosts", "resolv_conf" (each with a config of that name), "network"
 * with a blob (netmsg_bytes()), "binfmt" with a blob.
 */
struct guest_values {
	const char *const *flags;
	size_t n_flags;
	const struct rtg_config *configs;
	size_t n_configs;
	const struct rtg_blob *blobs;
	size_t n_blobs;
};

/**
 * guest_compile() - Compile one of the guest programs
 * @values:	Borrowed, or NULL for none
 * @ret:	ELF for GUEST_INIT, else a payload with its relocations; rtg_output_done()
 *
 * Context: any thread.
 * Return: 0; -EINVAL a value is missing or malformed; -E2BIG; -ENOMEM.
 */
int guest_compile(enum guest_program which, enum rtg_arch arch, const struct guest_values *values,
		  struct rtg_output *ret, struct err *err);

/* Names of the source files of a program, ended by NULL. */
const char *const *guest_program_files(enum guest_program which);

/**
 * guest_place_program() - Write a program block into the config region
 * @config:	The region, INITX_CONFIG_SIZE bytes; commands in it stay
 * @payload:	From guest_compile()
 * @data_len:	Bytes of a data region to reserve behind the code, or 0
 * @ret_data:	Its offset; NULL when @data_len is 0
 *
 * The time fields get the host's clock. The magic goes last.
 * Return: 0; -E2BIG it does not fit.
 */
int guest_place_program(uint8_t *config, const struct rtg_output *payload, uint32_t data_len,
			uint32_t *ret_data, struct err *err);

/* Renew the time fields of the config region with the host's wall clock. */
void guest_renew_time(uint8_t *config);

/* The protocol's numbers, for other programs in RTG. */
extern const struct rtg_const guest_consts[];
extern const size_t n_guest_consts;

#endif
