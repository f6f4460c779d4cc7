# SPDX-License-Identifier: BSD-3-Clause
"""Runs the command on a terminal, presses Ctrl-C when its QEMU says that it is up, and checks that the command ends
with 0 and that the terminal's settings are what they were, although the stand-in for QEMU changes them and leaves them
so."""
import fcntl
import os
import pty
import sys
import termios

master, slave = pty.openpty()
before = termios.tcgetattr(slave)
child = os.fork()
if child == 0:
    os.close(master)
    os.setsid()
    fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
    for stream in range(3):
        os.dup2(slave, stream)
    os.execv(sys.argv[1], sys.argv[1:])

output = b""
while b"MACHINE-UP" not in output:
    output += os.read(master, 4096)
during = termios.tcgetattr(slave)
os.write(master, b"\x03")
_, status = os.waitpid(child, 0)
after = termios.tcgetattr(slave)
if status != 0 or during == before or after != before:
    print("# status", status, "changed", during != before, "restored", after == before, output)
    sys.exit(1)
