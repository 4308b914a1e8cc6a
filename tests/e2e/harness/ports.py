# SPDX-License-Identifier: AGPL-3.0-or-later
"""Free ports for servers that cannot bind port 0.

The proxy binds with SO_REUSEPORT, so two tests on one port would share it silently. Each port is therefore locked by
a file for the life of the process that took it, whatever runs beside us, and lies below the range that the kernel
gives to outgoing connections.
"""
import fcntl
import os
import random
import socket

FOLDER = "/tmp/marchproxy-ports-%d" % os.getuid()
FIRST, LAST = 11000, 32000
_held = []


def free_port():
    os.makedirs(FOLDER, exist_ok=True)
    for _ in range(2000):
        port = random.randrange(FIRST, LAST)
        fd = os.open("%s/%d" % (FOLDER, port), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with socket.socket() as probe:
                probe.bind(("0.0.0.0", port))
        except OSError:
            os.close(fd)
            continue
        _held.append(fd)
        return port
    raise RuntimeError("no free port")
