#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# usage: build.sh BITS CC SOURCE OUTPUT: one guest test program of 64- or 32-bit code, a static ELF with a PVH
# entry.
set -eu
dir=$(cd "$(dirname "$0")" && pwd)
case $1 in
64) mode='-m64 -mno-red-zone -mcmodel=small' start=start.S lib=guest.c ;;
32) mode='-m32 -march=i686' start=start32.S lib=guest32.c ;;
esac
exec "$2" $mode -std=gnu17 -O1 -g -ffreestanding -fno-pic -fno-pie -static -nostdlib \
	-mgeneral-regs-only -fno-stack-protector -fno-asynchronous-unwind-tables \
	-fcf-protection=none -Wall -Wextra -Werror -Wno-unused-parameter -Wl,--build-id=none -Wl,-z,noexecstack \
	-Wl,--no-warn-rwx-segments -I"$dir/lib" -T "$dir/lib/link.ld" -o "$4" "$dir/lib/$start" "$dir/lib/$lib" \
	"$dir/lib/report.c" "$3"
