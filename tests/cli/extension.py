# SPDX-License-Identifier: BSD-3-Clause
"""Others at an extension's socket, byte by byte (proto/dext_socket.h), so that the command's own code is not its own
witness. Each says "ready" and stays until its standard input ends.

    extension.py hold SOCKET N     claims the N-th device, as a virtual machine does
    extension.py hang-up SOCKET    listens at SOCKET and hangs up on everybody"""
import socket
import struct
import sys
import threading

HELLO, LIST, OPEN, CALL = 1, 2, 3, 4
CLAIM = 1


def receive(peer, size):
    data = b""
    while len(data) < size:
        more = peer.recv(size - len(data))
        if not more:
            sys.exit("the other end hung up")
        data += more
    return data


def ask(peer, kind, body):
    peer.sendall(struct.pack("<IHHII", 16 + len(body), kind, 0, 1, 0) + body)
    size, _, _, _, status = struct.unpack("<IHHII", receive(peer, 16))
    answer = receive(peer, size - 16)
    if status:
        sys.exit("message %d: status 0x%x" % (kind, status))
    return answer


def ready():
    print("ready", flush=True)
    sys.stdin.read()


def hold(path, number):
    peer = socket.socket(socket.AF_UNIX)
    peer.connect(path)
    ask(peer, HELLO, struct.pack("<II", 1, 0))
    ids = ask(peer, LIST, b"")
    ask(peer, OPEN, ids[8 * number : 8 * number + 8])
    ask(peer, CALL, struct.pack("<6I", CLAIM, 0, 0, 0, 0, 0))
    ready()


def hang_up(path):
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()

    def serve():
        while True:
            listener.accept()[0].close()

    threading.Thread(target=serve, daemon=True).start()
    ready()


if sys.argv[1] == "hold":
    hold(sys.argv[2], int(sys.argv[3]))
else:
    hang_up(sys.argv[2])
