# SPDX-License-Identifier: AGPL-3.0-or-later
"""A scripted HTTP/2 upstream: a thread per connection that shows requests as they come."""
import socket
import struct
import threading
import time

from . import h2wire, wire
from .h2wire import DATA, EH, ES, GOAWAY, HEADERS, PREFACE, RST, SETTINGS, WINDOW, frame


class Asked:
    """A request; fields is None until its head is there."""

    def __init__(self, stream):
        self.stream, self.fields, self.trailers = stream, None, None
        self.body = bytearray()
        self.ended, self.reset = False, None

    def get(self, name, default=None):
        return dict(self.fields).get(name, default)


class Conn(h2wire.Client):
    """One connection from the proxy."""

    def __init__(self, origin, sock, index):
        self.sock, self.origin, self.index = sock, origin, index
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.timeout, self.auto = 20.0, True
        self.buf, self.frames, self.streams = bytearray(), [], {}
        self.decoder, self.encoder = h2wire.hpack.Decoder(), h2wire.hpack.Encoder()
        self.goaway, self.closed, self.settings_seen = None, False, False
        self.asked, self.ready = {}, []
        while len(self.buf) < len(PREFACE):
            assert self.sock.recv_into, "open"
            data = self.sock.recv(65536)
            if not data:
                self.closed = True
                return
            self.buf += data
        assert self.buf.startswith(PREFACE), bytes(self.buf[:40])
        del self.buf[:len(PREFACE)]
        self.send(self.settings(origin.settings))
        self.send(frame(WINDOW, 0, 0, struct.pack(">I", 1 << 24)))
        self._parse()

    def _take(self, f):
        self.frames.append(f)
        a = self.asked.setdefault(f.stream, Asked(f.stream)) if f.stream else None
        if f.kind == SETTINGS and not f.flags & 1:
            self.send(frame(SETTINGS, 1))
        elif f.kind == h2wire.PING and not f.flags & 1 and self.auto:
            self.send(frame(h2wire.PING, 1, 0, f.payload))
        elif f.kind == HEADERS:
            assert f.flags & EH
            f.fields = self.decoder.decode(f.payload)
            if a.fields is None:
                a.fields = f.fields
                self.origin.note(a)
            else:
                a.trailers = f.fields
            a.ended |= bool(f.flags & ES)
        elif f.kind == DATA:
            a.body += f.payload
            a.ended |= bool(f.flags & ES)
            if self.auto and f.payload:
                self.send(frame(WINDOW, 0, f.stream, struct.pack(">I", len(f.payload))))
        elif f.kind == RST:
            a.reset = f.code
        elif f.kind == GOAWAY:
            self.goaway = f
        if a is not None and a.ended and f.kind in (HEADERS, DATA):
            self.ready.append(a)

    def next(self, timeout=20.0):
        """The next request that has come whole; None at the end of the connection."""
        deadline = time.monotonic() + timeout
        while not self.ready:
            if self.closed or time.monotonic() > deadline:
                return None
            self.pump(0.5)
        return self.ready.pop(0)

    def answer(self, a, status=200, body=b"", fields=(), trailers=None, end=True):
        out = self.block([(":status", str(status))] + list(fields), a.stream, end and not body and not trailers)
        for i in range(0, len(body), 16384):
            last = end and not trailers and i + 16384 >= len(body)
            out += frame(DATA, ES if last else 0, a.stream, body[i:i + 16384])
        if trailers:
            out += self.block(trailers, a.stream, True)
        self.send(out)


class H2Origin:
    def __init__(self, handler=None, settings=()):
        self.settings = settings
        self.handler = handler or serve
        self.sock = socket.socket()
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.sock.bind(("127.0.0.1", 0))
        self.sock.listen(128)
        self.port = self.sock.getsockname()[1]
        self.requests, self.conns, self.problems = [], [], []
        self.changed = threading.Condition()
        self.stopped = False
        threading.Thread(target=self._accept, daemon=True).start()

    def note(self, asked):
        with self.changed:
            self.requests.append(asked)
            self.changed.notify_all()

    def wait_requests(self, n, timeout=5.0):
        with self.changed:
            if not self.changed.wait_for(lambda: len(self.requests) >= n, timeout):
                raise wire.Late("%d of %d requests" % (len(self.requests), n))
            return list(self.requests)

    def _accept(self):
        while not self.stopped:
            try:
                sock, _ = self.sock.accept()
            except OSError:
                return
            threading.Thread(target=self._run, args=(sock,), daemon=True).start()

    def _run(self, sock):
        conn = None
        try:
            sock.settimeout(20)
            conn = Conn(self, sock, len(self.conns))
            self.conns.append(conn)
            self.handler(conn)
        except (OSError, TimeoutError):
            pass
        except Exception as e:  # shown by the test
            self.problems.append(repr(e))
        finally:
            sock.close()

    @property
    def last(self):
        return self.requests[-1]

    def stop(self):
        self.stopped = True
        self.sock.close()
        for c in list(self.conns):
            try:
                c.sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


def serve(conn):
    """Echoes bodies until the proxy leaves."""
    while True:
        a = conn.next(60)
        if a is None:
            return
        conn.answer(a, 200, bytes(a.body), [("x-method", a.get(":method"))])
