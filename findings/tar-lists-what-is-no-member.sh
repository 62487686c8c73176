#!/bin/bash
# GNU tar 1.34 (Debian 12), `tar -x` with --verbose
#
# Expected: --verbose lists the members that tar extracts, one a line, and a second --verbose adds to each line its mode, owner, size
# and date. So a count of the lines is a count of the members.
# Behaviour: with the second --verbose there is also a line in the same stream for each directory that tar makes on its own because
# the archive has none: a mode, blanks, and "Creating directory: " with the name. It comes behind the member that needed it.
#
# Output seen:
#   one --verbose: d/e/f
#   two: drwxr-xr-x Creating directory: d
#   two: drwxr-xr-x Creating directory: d/e
#   lines for one member: 3
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/common.sh"

need tar tar 1.34+dfsg

mkdir -p "$work/d/e"
umask 022
echo content >"$work/d/e/f"
tar -C "$work" -cf "$work/packed.tar" d/e/f
# extract OPTION...: what tar prints.
extract() {
	rm -rf "$work/out"
	mkdir "$work/out"
	LC_ALL=C tar -C "$work/out" -xf "$work/packed.tar" "$@"
}
expect "one --verbose" d/e/f "$(extract --verbose)"
mapfile -t lines < <(extract --verbose --verbose | tr -s ' ')
expect "two" "drwxr-xr-x Creating directory: d" "${lines[1]-}"
expect "two" "drwxr-xr-x Creating directory: d/e" "${lines[2]-}"
expect "lines for one member" 3 "${#lines[@]}"
finish
