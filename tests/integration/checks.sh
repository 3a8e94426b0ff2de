# SPDX-License-Identifier: Apache-2.0
# Shared by the suites: counting checks, waiting, what machines need. Source it from bash.

passed=0 failed=0
ok() { passed=$((passed + 1)); }
fail() {
	failed=$((failed + 1))
	echo "FAIL $*"
}
is() { [ "$2" = "$3" ] && ok || fail "$1: got '$2', wanted '$3'"; } # NAME GOT WANTED
skip() {
	echo "SKIP: $*"
	exit 77
}
verdict() {
	echo "$passed checks passed, $failed failed"
	[ "$failed" = 0 ]
}

# In front of what must end: a suite goes on when it hangs. A starved machine takes minutes for what takes a second.
patience='timeout -k 5 900'

# until_true [TRIES] COMMAND...: tries ten times a second. No check may depend on how fast a machine is: two
# minutes are for what has failed; TRIES is for where either answer will do.
until_true() {
	local tries=1200
	case $1 in [0-9]*) tries=$1 && shift ;; esac
	until "$@"; do
		tries=$((tries - 1))
		[ $tries -gt 0 ] || return 1
		sleep 0.1
	done
}

# comes_to_rest PID TICKS SECONDS: in one such stretch of the next ones it uses no more CPU time; sets $used.
comes_to_rest() {
	local tries before
	for tries in 1 2 3 4 5 6 7 8 9 10; do
		before=$(awk '{ print $14 + $15 }' "/proc/$1/stat")
		sleep "$3"
		used=$(($(awk '{ print $14 + $15 }' "/proc/$1/stat") - before))
		[ $used -gt "$2" ] || return 0
	done
	return 1
}

# Root, busybox, and a kernel for the containers of $husk, or the suite is skipped. Sets $busybox and $store.
needs_machines() {
	[ "$(id -u)" = 0 ] || skip 'needs root'
	busybox=$(command -v busybox) || skip 'busybox is not installed'
	store=${HUSK_KERNEL_STORE:-/var/lib/husk/kernels}
	if [ -z "$(HUSK_KERNEL_STORE=$store "$husk" kernel list 2>/dev/null)" ]; then
		[ -f "${HUSK_TEST_KERNEL:-}" ] || skip 'no kernel in the store'
		store=$(dirname "$(dirname "$(realpath "$HUSK_TEST_KERNEL")")")
	fi
	export HUSK_KERNEL_STORE=$store
	"$husk" kernel list | grep -qv 'no modules' || skip 'the kernel has no modules'
}
