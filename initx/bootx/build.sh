#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# usage: build.sh CC OUTPUT [KEY]
# Builds bootx with a C compiler and binutils. KEY: 64 hexadecimal digits, the Ed25519 key by which payloads
# must be signed; without it signatures are not asked for.
set -eu
dir=$(cd "$(dirname "$0")" && pwd)
base=$dir/../../base
cc=$1 out=$2 key=${3:-}
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
if [ -n "$key" ]; then
	case $key in *[!0-9a-fA-F]*) echo "build.sh: the key is not hexadecimal" >&2; exit 1 ;; esac
	[ ${#key} = 64 ] || { echo "build.sh: the key has not 64 digits" >&2; exit 1; }
	bytes=$(echo "$key" | sed 's/../0x&,/g')
else
	bytes=0
fi
echo "#include \"internal.h\"
const uint8_t bootx_key[32] = { $bytes };" >"$tmp/key.c"
"$cc" -std=gnu17 -O2 -g0 -ffreestanding -fno-builtin -fno-pic -fno-pie -static -nostdlib \
	-mno-red-zone -mgeneral-regs-only -mcmodel=kernel -fno-stack-protector -fno-asynchronous-unwind-tables \
	-fcf-protection=none -fno-strict-aliasing -Wall -Wextra -Werror -Wl,--build-id=none \
	-Wl,-z,noexecstack -Wl,-z,max-page-size=4096 -Wl,-z,norelro -Wl,--no-warn-rwx-segments \
	-I"$dir" -I"$base/include" -T "$dir/link.ld" -o "$out" \
	"$dir/start.S" "$dir"/*.c "$base/sha256.c" "$tmp/key.c"
