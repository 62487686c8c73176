#!/bin/bash
# Linux 6.18.44, a pseudoterminal that goes from canonical to raw mode, by Python's pty and tty modules
#
# Expected: in canonical mode ^D (VEOF) ends a line and is no input; in raw mode it is the byte 04, which programs with a line editor
# take for the end. So a ^D that was typed before the program has changed the mode is one or the other.
# Behaviour: it is read as the byte 00 when it was typed in canonical mode and is read in raw mode. Line editors ignore it or beep: who
# types ^D for a program that has not shown its prompt yet has typed nothing. Letters that wait are read as they are.
#
# Output seen:
#   ^D, typed in raw mode: 04
#   ^D, typed in canonical mode and read in raw mode: 00
#   a letter, typed in canonical mode and read in raw mode: 61
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/common.sh"

echo "Linux $(uname -r)"

cat >"$work/terminal.py" <<'END'
import os, pty, select, sys, termios, tty

typed, mode = bytes.fromhex(sys.argv[1]), sys.argv[2]
master, slave = pty.openpty()
if mode == "raw":
    tty.setraw(slave, termios.TCSADRAIN)
os.write(master, typed)
if mode == "canonical":
    tty.setraw(slave, termios.TCSADRAIN)   # which keeps what waits
print(os.read(slave, 100).hex() if select.select([slave], [], [], 10)[0] else "nothing")
END

ask() {
	timeout -k 1 30 /usr/bin/python3 "$work/terminal.py" "$@"
}
expect "^D, typed in raw mode" 04 "$(ask 04 raw)"
expect "^D, typed in canonical mode and read in raw mode" 00 "$(ask 04 canonical)"
expect "a letter, typed in canonical mode and read in raw mode" 61 "$(ask 61 canonical)"
finish
