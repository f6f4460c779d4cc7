# SPDX-License-Identifier: BSD-3-Clause
"""A virtual machine with a guest in it, as companions see them, byte by byte (proto/vfio_user.h, proto/apple_dma.h).

    guest.py map SOCKET LENGTH...  is a guest with a driver of version 2: maps LENGTH bytes (at most 512 KiB in all) one
                                   after the other, prints where the device is and each status, and stays until its
                                   standard input ends
    guest.py qemu WORD...          is a QEMU with that command line; attaches to its companions and ends. Its guest has a
                                   driver when GUEST_DRIVER is set"""
import json
import os
import socket
import struct
import sys

VERSION, DMA_MAP, REGION_READ, REGION_WRITE = 1, 2, 9, 10
REPLY, ERROR = 1, 0x20
REG_MANAGED_BDF, REG_STATUS, REG_COMMAND_LOW, REG_COMMAND_HIGH, REG_DOORBELL = 0x04, 0x0C, 0x10, 0x14, 0x18
MAP = 1
RAM = 0x40000000
RAM_SIZE = 1 << 20
REQUESTS, RESPONSES, BUFFERS = 0x1000, 0x2000, 0x80000


class Machine:
    def __init__(self, path):
        self.peer = socket.socket(socket.AF_UNIX)
        self.peer.connect(path)
        self.memory = os.memfd_create("guest")
        os.ftruncate(self.memory, RAM_SIZE)
        self.ask(VERSION, struct.pack("<HH", 0, 0) + b"{}\0")
        self.ask(DMA_MAP, struct.pack("<IIQQQ", 32, 3, 0, RAM, RAM_SIZE), [self.memory])

    def receive(self, size):
        data = b""
        while len(data) < size:
            more = self.peer.recv(size - len(data))
            if not more:
                sys.exit("the server hung up")
            data += more
        return data

    def ask(self, command, body, fds=()):
        message = struct.pack("<HHIII", 7, command, 16 + len(body), 0, 0) + body
        socket.send_fds(self.peer, [message], fds)
        _, _, size, flags, error = struct.unpack("<HHIII", self.receive(16))
        answer = self.receive(size - 16)
        if flags & ERROR or not flags & REPLY:
            sys.exit("command %d: flags 0x%x, error %d" % (command, flags, error))
        return answer

    def write(self, register, value):
        self.ask(REGION_WRITE, struct.pack("<QIII", register, 0, 4, value))

    def read(self, register):
        return struct.unpack_from("<I", self.ask(REGION_READ, struct.pack("<QII", register, 0, 4)), 16)[0]

    def start(self):
        self.write(REG_COMMAND_LOW, RAM)
        self.write(REG_COMMAND_HIGH, 0)

    def map(self, gpa, length):
        os.pwrite(self.memory, struct.pack("<QII", gpa, length, 0), REQUESTS)
        os.pwrite(self.memory, struct.pack("<IIIIQQ", MAP, 1, 0, 0, RAM + REQUESTS, RAM + RESPONSES), 0)
        self.write(REG_DOORBELL, 1)
        return self.read(REG_STATUS)


def sockets(words, what):
    devices = [json.loads(word) for word in words if word.startswith("{")]
    return [d["socket"]["path"] for d in devices if d.get("id", "").endswith(what)]


def main():
    if sys.argv[1] == "qemu":
        # A companion lets its guest do nothing unless the same process has the device.
        devices = [Machine(path) for path in sockets(sys.argv[2:], "-device")]
        for path in sockets(sys.argv[2:], "-companion"):
            machine = Machine(path)
            if "GUEST_DRIVER" in os.environ:
                machine.start()
        return
    _device = Machine(sys.argv[2].removesuffix(".companion"))
    machine, at, said = Machine(sys.argv[2]), RAM + BUFFERS, []
    said.append("%x" % machine.read(REG_MANAGED_BDF))
    machine.start()
    for length in map(int, sys.argv[3:]):
        said.append(str(machine.map(at, length)))
        at += length
    print(*said, flush=True)
    sys.stdin.read()


main()
