# SPDX-License-Identifier: AGPL-3.0-or-later
"""Foreign programs and servers: nginx, a name server."""
import os
import shutil
import socket
import struct
import subprocess
import threading
import time

from . import wire
from .ports import free_port


class Nginx:
    """A real nginx in one process, with all its files in its own folder."""

    def __init__(self, folder, http="", server="location / { return 200 \"nginx\"; }"):
        self.port = free_port()
        self.host = "127.0.0.1"
        self.folder = os.path.join(folder, "nginx")
        os.makedirs(os.path.join(self.folder, "html"))
        temp = "".join("%s_temp_path %s/%s;\n" % (n, self.folder, n)
                       for n in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        conf = os.path.join(self.folder, "nginx.conf")
        with open(conf, "w", encoding="ascii") as f:
            f.write("daemon off;\nmaster_process off;\npid %s/pid;\nerror_log %s/error.log;\n"
                    "events { worker_connections 2048; }\n"
                    "http {\naccess_log off;\n%s%s\n"
                    "server {\nlisten 127.0.0.1:%d;\nroot %s/html;\nkeepalive_requests 100000;\n%s\n}\n}\n"
                    % (self.folder, self.folder, temp, http, self.port, self.folder, server))
        binary = shutil.which("nginx") or "/usr/sbin/nginx"
        with open(os.path.join(self.folder, "out"), "wb") as out:
            self.process = subprocess.Popen([binary, "-p", self.folder, "-c", conf],
                                            stdout=out, stderr=out, stdin=subprocess.DEVNULL)
        self._wait()

    def _wait(self):
        deadline = time.monotonic() + 10
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                pass
            if self.process.poll() is not None or time.monotonic() > deadline:
                with open(os.path.join(self.folder, "out"), encoding="utf-8") as f:
                    raise AssertionError("nginx did not start: %s" % f.read())
            time.sleep(0.01)

    def write(self, name, data):
        with open(os.path.join(self.folder, "html", name), "wb") as f:
            f.write(data)

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(5)


class NameServer:
    """A name server on UDP and TCP 127.0.0.1 that answers A queries from a table.

    A name that is absent gets NXDOMAIN; mute makes it deaf."""

    def __init__(self, table=None, ttl=1):
        self.table = dict(table or {})
        self.ttl = ttl
        self.mute = False
        self.queries = []
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind(("127.0.0.1", 0))
        self.port = self.sock.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                data, peer = self.sock.recvfrom(4096)
            except OSError:
                return
            answer = self.answer(data)
            if answer and not self.mute:
                try:
                    self.sock.sendto(answer, peer)
                except OSError:
                    return

    def answer(self, data):
        if len(data) < 17:
            return None
        labels, at = [], 12
        while data[at]:
            labels.append(data[at + 1:at + 1 + data[at]].decode("latin-1"))
            at += 1 + data[at]
        kind = struct.unpack(">H", data[at + 1:at + 3])[0]
        question = data[12:at + 5]
        name = ".".join(labels).lower()
        self.queries.append((name, kind))
        known = name in self.table
        addresses = self.table.get(name, []) if kind == 1 else []
        flags = 0x8580 | (0 if known else 3)
        out = data[:2] + struct.pack(">HHHHH", flags, 1, len(addresses), 0, 0) + question
        for a in addresses:
            out += b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, self.ttl, 4) + socket.inet_aton(a)
        return out

    def stop(self):
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.sock.close()


def pattern(n, seed=1):
    """n bytes that repeat only every 1 MiB - 3."""
    period = (1 << 20) - 3
    block = bytes((i * 131 + (i >> 8) * 17 + seed) & 0xff for i in range(min(n, period)))
    return (block * (n // period + 1))[:n]


def wait_open(port, timeout=5.0):
    def check():
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return True
        except OSError:
            return False
    wire.until(check, timeout, "port %d open" % port)
