#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Processes on the mount and on the directory behind it change one tree at the same time; nothing is
# lost, and the server's tables return to their size (fuse_on fails else).
#   churn.sh FUSE_ON CHURN PROCESSES FILES_EACH
set -u
fuse_on=$1 churn=$2 n=$3 files=$4
if [ "$(id -u)" != 0 ] || [ ! -c /dev/fuse ]; then
	echo "SKIP: needs root and /dev/fuse"
	exit 77
fi
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT INT TERM
mkdir "$work/dir" "$work/mnt" "$work/dir/guest" "$work/dir/host"
"$churn" "$work/dir/host" 2 "$files" &
host=$!
"$fuse_on" -j -w 4 "$work/dir" "$work/mnt" "$churn" "$work/mnt/guest" "$n" "$files"
status=$?
wait $host || status=1
[ $status = 77 ] && exit 77
left=$(find "$work/dir" -mindepth 2)
[ -z "$left" ] || { echo "left over: $left"; status=1; }
exit $status
