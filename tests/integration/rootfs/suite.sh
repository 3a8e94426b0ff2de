#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The file system suite on a server's mount, compared line by line with the same suite on the
# directory itself.   suite.sh FUSE_ON POSIX_SUITE [fuse_on options...]
set -u
fuse_on=$1 suite=$2
shift 2
if [ "$(id -u)" != 0 ] || [ ! -c /dev/fuse ]; then
	echo "SKIP: needs root and /dev/fuse"
	exit 77
fi
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT INT TERM
mkdir "$work/dir" "$work/mnt" "$work/native"
"$suite" -v "$work/native" > "$work/want" || exit 1
"$fuse_on" "$@" "$work/dir" "$work/mnt" "$suite" -v "$work/mnt" > "$work/got"
status=$?
[ $status = 77 ] && exit 77
if ! diff "$work/want" "$work/got" > "$work/diff"; then
	head -40 "$work/diff"
	status=1
fi
tail -1 "$work/got"
exit $status
