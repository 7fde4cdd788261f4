"""A control socket that lies: it says that it is process PID, and tells what it hears. A program.

    fake_master.py SOCKET PID UID OWNER

It becomes user UID (as root) before it listens; the socket's file is UID's, or with OWNER `ours`
of the user who started it. It prints "ready", and then a line for whatever anybody sends to it.
"""

import os
import socket
import struct
import sys
import threading

HELLO = struct.pack(">III", 8, 1, 4)


def become(uid: int) -> None:
    if uid != os.getuid():
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)


def answer(connection: socket.socket, pid: int) -> None:
    connection.sendall(HELLO)
    while data := connection.recv(65536):
        print("heard", data.hex(), flush=True)
        while len(data) >= 12:
            size, kind, request = struct.unpack(">III", data[:12])
            if kind == 0x10000004:  # are you alive?
                connection.sendall(struct.pack(">IIII", 12, 0x80000005, request, pid))
            data = data[4 + size :]


def main(path: str, pid: int, uid: int, owner: str) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        if owner == "ours":
            listener.bind(path)
            become(uid)
        else:
            become(uid)
            listener.bind(path)
            os.chmod(path, 0o777)
        listener.listen(50)
        print("ready", flush=True)
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=answer, args=(connection, pid), daemon=True).start()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
