# SPDX-License-Identifier: Apache-2.0
# Shared by the benchmark scripts: tools, kernels, one line a figure. Source it from bash.

BENCH_DIR=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
TOP=$(cd "$BENCH_DIR/../.." && pwd)
HUSK=${HUSK:-$TOP/build/runtime/husk}
BENCH_TMP=$(mktemp -d)
trap 'rm -rf "$BENCH_TMP"' EXIT

bench_die() {
	echo "bench: $*" >&2
	exit 1
}

# bench_need COMMAND PACKAGE: installs the Debian package when the command is missing.
bench_need() {
	command -v "$1" >/dev/null && return
	[ "$(id -u)" = 0 ] || bench_die "$1 is missing: apt-get install $2"
	DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$2" >/dev/null ||
		bench_die "can't install $2 (for $1)"
}

# bench_one_kind_of_cgroups ARGUMENT...: crun takes no host with both; the script begins again without.
bench_one_kind_of_cgroups() {
	[ -z "${BENCH_OWN_CGROUPS:-}" ] && [ -d /sys/fs/cgroup/unified ] || return 0
	rm -rf "$BENCH_TMP"
	BENCH_OWN_CGROUPS=1 exec unshare -m "$TOP/tests/integration/cgroups-v1" "$0" "$@"
}

le32() { # FILE OFFSET
	od -An -tu4 -j"$2" -N4 "$1" | tr -d ' '
}

# bench_vmlinux BZIMAGE OUT: the ELF kernel inside, so that the peer need not decompress it either.
bench_vmlinux() {
	local setup off len magic

	setup=$(od -An -tu1 -j$((0x1f1)) -N1 "$1" | tr -d ' ')
	[ "$setup" = 0 ] && setup=4
	off=$(((setup + 1) * 512 + $(le32 "$1" $((0x248)))))
	len=$(le32 "$1" $((0x24c)))
	magic=$(od -An -tx4 -j$off -N4 "$1" | tr -d ' ')
	case $magic in
	184c2102) bench_need lz4 lz4; set -- "$1" "$2" lz4 -dc ;;
	fd2fb528) bench_need zstd zstd; set -- "$1" "$2" zstd -dc ;;
	587a37fd) set -- "$1" "$2" xz -dc --single-stream ;;
	*) set -- "$1" "$2" gzip -dc ;;
	esac
	# The last four bytes are the unpacked size, not part of the stream.
	tail -c +$((off + 1)) "$1" | head -c $((len - 4)) | "${@:3}" >"$2" 2>/dev/null
	[ "$(head -c 4 "$2" | tail -c 3)" = ELF ] || bench_die "no ELF kernel in $1"
}

# bench_conditions KERNEL MEMORY: the line that stands before the figures.
bench_conditions() {
	echo "conditions: kernel=$(basename "$1") backend=soft memory=$2 host=\"$(uname -sr)\"" \
		"cpu=\"$(awk -F': ' '/model name/ {print $2; exit}' /proc/cpuinfo)\" cores=$(nproc)" \
		"peer=\"$(qemu-system-x86_64 --version | head -1)\""
}

# bench_line NAME OURS PEER UNIT PEERNAME ROUNDS: ratio above 1 means ours is better (smaller).
bench_line() {
	awk -v n="$1" -v a="$2" -v b="$3" -v u="$4" -v p="$5" -v r="$6" 'BEGIN {
		printf "bench %s ours=%.6g%s peer=%s:%.6g%s ratio=%.2f rounds=%d\n", n, a, u, p, b, u, b / a, r }'
}

# Median of the numbers on standard input.
bench_median() {
	sort -g | awk '{v[NR] = $1} END {if (!NR) exit 1; print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2}'
}

BENCH_CMDLINE="console=ttyS0 reboot=t panic=-1 quiet cryptomgr.notests"

# More for QEMU's kernel alone, and what both kernels pass on to /init.
BENCH_QEMU_CMDLINE=
BENCH_INIT_ARGS=

# bench_husk KERNEL INITRD MEMORY and bench_qemu the same: boot, serial console on standard output.
bench_husk() {
	"$HUSK" vm --kernel "$1" --initrd "$2" --memory "$3" --cmdline "quiet -- $BENCH_INIT_ARGS" </dev/null
}

bench_qemu() {
	qemu-system-x86_64 -M microvm,acpi=off -accel tcg -cpu max -m "$3" -kernel "$1" -initrd "$2" \
		-append "$BENCH_CMDLINE $BENCH_QEMU_CMDLINE -- $BENCH_INIT_ARGS" -nodefaults -no-user-config -nographic -serial stdio \
		-no-reboot </dev/null
}
