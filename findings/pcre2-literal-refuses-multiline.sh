#!/bin/bash
# PCRE2 10.42 (Debian 12), pcre2_compile(3) with PCRE2_LITERAL
#
# Expected: PCRE2_LITERAL, which makes a pattern a fixed text, is one more option beside those that a program always sets. What
# means nothing to a fixed text, such as PCRE2_MULTILINE (where ^ and $ match), changes nothing.
# Behaviour: the pattern does not compile, "invalid option bits with PCRE2_LITERAL". Only some options may stand beside
# it: PCRE2_CASELESS and PCRE2_UTF may; PCRE2_MULTILINE, PCRE2_DOTALL and even PCRE2_NEVER_BACKSLASH_C, which only forbids, may not.
#
# Output seen:
#   LITERAL: compiles
#   LITERAL|CASELESS|UTF: compiles
#   LITERAL|MULTILINE: invalid option bits with PCRE2_LITERAL
#   LITERAL|DOTALL: invalid option bits with PCRE2_LITERAL
#   LITERAL|NEVER_BACKSLASH_C: invalid option bits with PCRE2_LITERAL
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/common.sh"

need /usr/bin/python3 libpcre2-8-0 10.42

places=(/usr/lib)
[[ ! -d $work/root ]] || places=("$work/root/usr/lib")
library=$(find "${places[@]}" -name libpcre2-8.so.0 | head -n 1)

cat >"$work/compile.py" <<'END_OF_PROGRAM'
import ctypes, sys

OPTIONS = {"LITERAL": 0x02000000, "CASELESS": 0x8, "UTF": 0x00080000, "MULTILINE": 0x400, "DOTALL": 0x20, "NEVER_BACKSLASH_C": 0x00100000}

library, names = sys.argv[1:]
pcre2 = ctypes.CDLL(library)
pcre2.pcre2_compile_8.restype = ctypes.c_void_p
pcre2.pcre2_compile_8.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint32, ctypes.POINTER(ctypes.c_int),
                                  ctypes.POINTER(ctypes.c_size_t), ctypes.c_void_p]
error, offset = ctypes.c_int(), ctypes.c_size_t()
options = sum(OPTIONS[name] for name in names.split("|"))
if pcre2.pcre2_compile_8(b"text", 4, options, ctypes.byref(error), ctypes.byref(offset), None):
    print("compiles")
else:
    message = ctypes.create_string_buffer(200)
    pcre2.pcre2_get_error_message_8(error, message, ctypes.c_size_t(len(message)))
    print(message.value.decode())
END_OF_PROGRAM

try() {
	timeout 20 /usr/bin/python3 "$work/compile.py" "$library" "$1"
}
for options in LITERAL "LITERAL|CASELESS|UTF"; do
	expect "$options" compiles "$(try "$options")"
done
for options in "LITERAL|MULTILINE" "LITERAL|DOTALL" "LITERAL|NEVER_BACKSLASH_C"; do
	expect "$options" "invalid option bits with PCRE2_LITERAL" "$(try "$options")"
done
finish
