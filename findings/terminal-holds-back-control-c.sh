#!/bin/bash
# Linux 6.18.44, a pseudoterminal in canonical mode, by Python's pty module
#
# Expected: ^C, written to the master of a pseudoterminal, interrupts the program in front at once, whatever else was
# typed before. That is why it exists.
# Behaviour: once more than about 4096 bytes of whole lines wait unread, the kernel takes the ^C and keeps it behind
# them. A program that does not read its input is not interrupted, and the write succeeded. ioctl(master, TIOCSIG,
# SIGINT) interrupts it all the same: who offers a terminal over a network needs a signal call besides the byte stream.
#
# Output seen:
#   ^C behind 1000 bytes of lines: killed by SIGINT
#   ^C behind 8000 bytes of lines: lives
#   TIOCSIG behind 8000 bytes of lines: killed by SIGINT
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/common.sh"

echo "Linux $(uname -r)"

cat >"$work/terminal.py" <<'END'
import fcntl, os, pty, select, signal, sys, time

TIOCSIG = 0x40045436

how, size = sys.argv[1], int(sys.argv[2])
child, master = pty.fork()
if child == 0:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.write(1, b"ready")
    time.sleep(60)
    os._exit(0)

def drain(seconds):
    """Reads the echo, so that the terminal is never held up by output."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        if select.select([master], [], [], left)[0]:
            try:
                os.read(master, 65536)
            except OSError:
                return

os.read(master, 5)
for _ in range(size // 100):
    os.write(master, b"x" * 99 + b"\n")
    drain(0.01)
if how == "^C":
    os.write(master, b"\x03")
else:
    fcntl.ioctl(master, TIOCSIG, signal.SIGINT)
drain(2)
ended, status = os.waitpid(child, os.WNOHANG)
if not ended:
    print("lives")
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
elif os.WIFSIGNALED(status):
    print("killed by", signal.Signals(os.WTERMSIG(status)).name)
else:
    print("exited")
END

ask() {
	timeout -k 1 30 /usr/bin/python3 "$work/terminal.py" "$@"
}
expect "^C behind 1000 bytes of lines" "killed by SIGINT" "$(ask ^C 1000)"
expect "^C behind 8000 bytes of lines" "lives" "$(ask ^C 8000)"
expect "TIOCSIG behind 8000 bytes of lines" "killed by SIGINT" "$(ask TIOCSIG 8000)"
finish
