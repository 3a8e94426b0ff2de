#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The encoders against GNU as. usage: encode.sh ENCODE ARCH
set -eu
case $2 in
amd64) machine=x86_64 prefix=x86_64-linux-gnu- ;;
arm64) machine=aarch64 prefix=aarch64-linux-gnu- ;;
riscv64) machine=riscv64 prefix=riscv64-linux-gnu- ;;
esac
[ "$(uname -m)" = "$machine" ] && prefix=
if ! command -v "${prefix}as" >/dev/null; then
	echo "SKIP: no ${prefix}as"
	exit 77
fi
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
"$1" "$2" "$tmp/bytes" "$tmp/text.s"
"${prefix}as" -o "$tmp/text.o" "$tmp/text.s"
"${prefix}objcopy" -O binary -j .text "$tmp/text.o" "$tmp/want"
cmp "$tmp/bytes" "$tmp/want"
echo "$2: $(wc -l <"$tmp/text.s") lines, $(wc -c <"$tmp/bytes") bytes, equal"
