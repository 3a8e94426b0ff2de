#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# usage: build.sh CC OUTPUT SOURCE...: a freestanding program as a payload of bootx.
set -eu
dir=$(cd "$(dirname "$0")" && pwd)
cc=$1 out=$2
shift 2
exec "$cc" -std=gnu17 -O1 -g -ffreestanding -fno-pic -fno-pie -static -nostdlib -mno-red-zone \
	-mgeneral-regs-only -mcmodel=small -fno-stack-protector -fno-asynchronous-unwind-tables \
	-fcf-protection=none -Wall -Wextra -Werror -Wl,--build-id=none -Wl,-z,noexecstack \
	-Wl,-z,max-page-size=4096 -I"$dir" -I"$dir/.." -T "$dir/../payload.ld" -o "$out" "$dir/start.c" "$@"
