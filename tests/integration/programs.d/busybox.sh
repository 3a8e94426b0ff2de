# SPDX-License-Identifier: Apache-2.0
# usage: busybox.sh BUSYBOX: deterministic work through busybox's own applets; the output is the verdict.
b=$1
d=$(mktemp -d)
cd "$d" || exit 1
"$b" awk 'BEGIN { s = 12345; for (i = 0; i < 40000; i++) { s = (s * 1103515245 + 12345) % 2147483648; printf "%d %x %s\n", s, s % 65536, substr("abcdefghijklmnopqrstuvwxyz", s % 20 + 1, 5) } }' >data
"$b" sha256sum <data
"$b" md5sum <data
"$b" sha512sum <data
"$b" sort data | "$b" sha256sum
"$b" sort -n -k1,1 data | "$b" sha256sum
"$b" sort -r -k3,3 -k2,2 data | "$b" sha256sum
"$b" gzip -9c data | "$b" sha256sum
"$b" gzip -c data | "$b" gunzip | "$b" cmp - data && echo gzip round trip
"$b" bzip2 -c data | "$b" bunzip2 | "$b" cmp - data && echo bzip2 round trip
"$b" awk '{ n[$3]++; s += $1 / 3.0 } END { for (k in n) print k, n[k]; printf "%.6f %.10g %e\n", s, s / 7, s * 1e-9 }' data | "$b" sort | "$b" sha256sum
"$b" awk '{ s += $1 * 0.001 } END { printf "%.9f %.3f\n", s, s / 3 }' data
"$b" sed -n 's/\([0-9]*\) \([0-9a-f]*\) \(.*\)/\3-\2-\1/p' data | "$b" md5sum
"$b" grep -c 'cde' data
"$b" tr a-z A-Z <data | "$b" crc32
"$b" od -An -tx4 data | "$b" tail -n 3
"$b" dd if=data bs=997 count=300 2>/dev/null | "$b" sha1sum
"$b" tar cf - data 2>/dev/null | "$b" tar xOf - data | "$b" cmp - data && echo tar round trip
"$b" xxd data | "$b" sha256sum
"$b" factor 9999999967 123456789012345 1000000016000000063
echo '2 100 ^ p 17 k 2 v p' | "$b" dc
rm -rf "$d"
