# SPDX-License-Identifier: Apache-2.0
# Ciphers, digests and signatures through openssl's own implementations; the output is the verdict.
set -e
d=$(mktemp -d)
cd "$d"
i=0
while [ $i -lt 2000 ]; do echo "line $i of the text"; i=$((i + 1)); done >data
for h in md5 sha1 sha256 sha384 sha512 sha3-256 blake2b512 sm3; do openssl dgst -"$h" <data; done
key=000102030405060708090a0b0c0d0e0f
iv=0f0e0d0c0b0a09080706050403020100
for c in aes-128-cbc aes-128-ctr aes-128-ecb camellia-128-cbc aria-128-cbc; do
	[ "$c" = aes-128-ecb ] && v= || v="-iv $iv"
	openssl enc -"$c" -K $key $v -in data -out enc
	openssl dgst -sha256 <enc
	openssl enc -d -"$c" -K $key $v -in enc | cmp - data && echo "$c round trip"
done
openssl enc -chacha20 -K $key$key -iv $iv -in data | openssl dgst -sha256
openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:1024 -out rsa.pem 2>/dev/null
openssl pkey -in rsa.pem -check -noout
openssl pkey -in rsa.pem -pubout -out rsa.pub
openssl dgst -sha256 -sign rsa.pem -out sig data
openssl dgst -sha256 -verify rsa.pub -signature sig data
for a in ED25519 X25519; do openssl genpkey -algorithm $a -out k.pem; openssl pkey -in k.pem -noout && echo "$a key"; done
openssl ecparam -name prime256v1 -genkey -noout -out ec.pem
openssl dgst -sha256 -sign ec.pem -out sig data
openssl ec -in ec.pem -pubout -out ec.pub 2>/dev/null
openssl dgst -sha256 -verify ec.pub -signature sig data
openssl prime 1000000007 | sed 's/.*is/is/'
openssl prime -generate -bits 128 | wc -l
cd / && rm -rf "$d"
