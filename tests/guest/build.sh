#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# usage: build.sh CC SOURCE OUTPUT: one guest test program, a static ELF with a PVH entry.
set -eu
dir=$(cd "$(dirname "$0")" && pwd)
exec "$1" -std=gnu17 -O1 -g -ffreestanding -fno-pic -fno-pie -static -nostdlib -mno-red-zone \
	-mgeneral-regs-only -mcmodel=small -fno-stack-protector -fno-asynchronous-unwind-tables \
	-fcf-protection=none -Wall -Wextra -Werror -Wno-unused-parameter -Wl,--build-id=none -Wl,-z,noexecstack \
	-Wl,--no-warn-rwx-segments -I"$dir/lib" -T "$dir/lib/link.ld" -o "$3" "$dir/lib/start.S" "$dir/lib/guest.c" "$2"
