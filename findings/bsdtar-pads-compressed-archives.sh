#!/bin/bash
# bsdtar 3.6.2 (Debian 12), zstd 1.5.4, GNU tar 1.34: `bsdtar -c --zstd` into a pipe
#
# Expected: what bsdtar compresses is one frame of zstd, whatever it is written to, so `zstd -d` and GNU tar take it.
# Behaviour: into a pipe bsdtar fills its output to 10,240 bytes, and the zeros stand behind the compressed data. gzip passes over
# zeros there, so a tar.gz goes well. zstd takes them for a second frame of an unknown format: it fails after all of the content is
# out, and with it GNU tar. Into a regular file nothing is added. `bsdtar -c | zstd` is right.
#
# Output seen:
#   into a pipe: 10240 bytes, tar -x: status 2, extracts a
#   into a file: less, tar -x: status 0, extracts a
#   gzip, into a pipe: 10240 bytes, tar -x: status 0, extracts a
#   compressed by zstd: less, tar -x: status 0, extracts a
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/common.sh"

need bsdtar libarchive-tools 3.6.2
need zstd zstd 1.5.4+dfsg2
need tar tar 1.34+dfsg

echo hello >"$work/a"

# try OPTION: what tar does with the archive, whose size tells whether it was filled up.
try() {
	local status=0 size
	size=$(stat -c %s "$work/packed")
	((size == 10240)) || size=less
	rm -rf "$work/out"
	mkdir "$work/out"
	tar "$1" -xf "$work/packed" -C "$work/out" 2>"$work/said" || status=$?
	echo "${size/%0/0 bytes}, tar -x: status $status, extracts $(cd "$work/out" && echo *)"
}
cd "$work"
bsdtar -c --zstd -f - a | cat >packed
expect "into a pipe" "10240 bytes, tar -x: status 2, extracts a" "$(try --zstd)"
bsdtar -c --zstd -f packed a
expect "into a file" "less, tar -x: status 0, extracts a" "$(try --zstd)"
bsdtar -c --gzip -f - a | cat >packed
expect "gzip, into a pipe" "10240 bytes, tar -x: status 0, extracts a" "$(try --gzip)"
bsdtar -c -f - a | zstd -q >packed
expect "compressed by zstd" "less, tar -x: status 0, extracts a" "$(try --zstd)"
finish
