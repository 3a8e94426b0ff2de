/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decoded and translated code as a file, for machines that begin where this one is now.
 *
 * Theory of operation. Saving: all live blocks of 64-bit code are built once more in an arena of
 * their own, linked with one another, and translated if they have run often enough. What is written
 * is that arena with offsets for
 * pointers. Host code has none: it reaches the arena, from which it keeps its distance, by
 * distances. Loading: host code is mapped, blocks are read to where those of a fresh vCPU go, bases
 * are added, and the blocks are entered in the tables and their pages marked, as if this process
 * had made them. From there on they are blocks like any other: writes to their pages withdraw them,
 * and what the machine adds is never written back. The file is good for exactly the program that
 * wrote it, on a host CPU with the same features, for a guest with the same. It is host code: only
 * what nobody else could write may be loaded. What is damaged is refused, and the machine begins
 * without it.
 */
#ifndef SOFT_IMAGE_H
#define SOFT_IMAGE_H

#include "soft/cpu.h"

/**
 * block_image_save() - Write the vCPU's blocks to a fresh, empty file
 *
 * Context: the vCPU is stopped.
 * Return: 0; -ENOMEM; -EOPNOTSUPP this program has no build id; what writing gives.
 */
int block_image_save(struct cpu *cpu, int fd, struct err *err);

/**
 * block_image_load() - Begin with the blocks of a file
 * @fd:	Trusted to be written by block_image_save(), but perhaps damaged
 *
 * Context: any thread, before any vCPU of the machine has run; memory is as it was saved.
 * Return: 0; -ESTALE written by another program or for another CPU; -EBADMSG damaged; -ENOMEM; what
 * reading gives. On failure there are no blocks.
 */
int block_image_load(struct cpu *cpu, int fd, struct err *err);

/**
 * block_image_check() - Is a file whole, and could a machine of this program begin with it?
 *
 * Reads all of it. A guest with other CPU features may refuse it still.
 *
 * Context: any thread.
 * Return: 0; as block_image_load().
 */
int block_image_check(int fd, struct err *err);

#endif
