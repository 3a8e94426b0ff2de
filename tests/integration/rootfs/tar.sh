#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The whole /usr of a Debian base system, and one file of each special kind, through tar on a server's
# mount; compared from behind it.   tar.sh FUSE_ON [fuse_on options...]
set -eu
fuse_on=$1
shift
if [ "$(id -u)" != 0 ] || [ ! -c /dev/fuse ]; then
	echo "SKIP: needs root and /dev/fuse"
	exit 77
fi
for c in rsync setfattr setcap cpio dpkg-query; do
	command -v $c > /dev/null || { echo "SKIP: no $c"; exit 77; }
done
. "$(dirname "$0")/roundtrip.sh"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT INT TERM
mkdir -p "$work/dir/usr" "$work/dir/copy" "$work/mnt"
debian_base_usr | tree_copy "$work/dir/usr"
make_special "$work/dir/usr/special"
"$fuse_on" "$@" "$work/dir" "$work/mnt" sh -ec '
	cd "$1"
	keep="--xattrs --xattrs-include=* --numeric-owner -S"
	tar $keep -cf usr.tar -C usr .
	tar $keep -xpf usr.tar -C copy
	rm usr.tar' - "$work/mnt"
round_trip_is_exact "$work/dir/usr" "$work/dir/copy"
