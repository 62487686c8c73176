"""
Runs a command as on an old kernel: old_kernel.py ERRNO COMMAND [ARGUMENT...]. All system calls that Linux 5.0 did not have
fail with ENOSYS, as it says itself, or with EPERM, as seccomp profiles say that do not know them. (clone3 always with
ENOSYS: libc takes nothing else for a reason to use the old one.)
"""

import ctypes
import errno
import os
import struct
import sys

FIRST = 424  # pidfd_send_signal, on every architecture: those that came later have the same numbers everywhere
CLONE3 = 435
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
LOAD, JUMP_IF_AT_LEAST, JUMP_IF_EQUAL, RETURN = 0x20, 0x35, 0x15, 0x06
REFUSE, ALLOW = 0x00050000, 0x7fff0000


class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]


def main():
    error = getattr(errno, sys.argv[1])
    instructions = [
        (LOAD, 0, 0, 0),  # the number of the call
        (JUMP_IF_AT_LEAST, 0, 2, FIRST),
        (JUMP_IF_EQUAL, 2, 0, CLONE3),
        (RETURN, 0, 0, REFUSE | error),
        (RETURN, 0, 0, ALLOW),
        (RETURN, 0, 0, REFUSE | errno.ENOSYS),
    ]
    code = b"".join(struct.pack("=HBBI", *instruction) for instruction in instructions)
    buffer = ctypes.create_string_buffer(code, len(code))
    program = Program(len(instructions), ctypes.addressof(buffer))
    libc = ctypes.CDLL(None, use_errno=True)
    if (libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or
            libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0)):
        raise OSError(ctypes.get_errno(), "prctl")
    os.execvp(sys.argv[2], sys.argv[2:])


main()
