# SPDX-License-Identifier: AGPL-3.0-or-later
"""HTTP/2 by hand: frames from hyperframe, heads from hpack, no state machine that would object."""
import socket
import struct
import time

import hpack

from . import wire

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONT = range(10)
ES, ACK, EH, PADDED = 1, 1, 4, 8
NO_ERROR, PROTOCOL, INTERNAL, FLOW, _, CLOSED, SIZE, REFUSED, CANCEL, COMPRESSION = range(10)
CALM = 11
NAMES = ["DATA", "HEADERS", "PRIORITY", "RST_STREAM", "SETTINGS", "PUSH_PROMISE", "PING", "GOAWAY",
         "WINDOW_UPDATE", "CONTINUATION"]


class Frame:
    def __init__(self, kind, flags, stream, payload):
        self.kind, self.flags, self.stream, self.payload = kind, flags, stream, payload
        self.fields = None

    @property
    def code(self):
        return struct.unpack(">I", self.payload[4:8] if self.kind == GOAWAY else self.payload[:4])[0]

    def __repr__(self):
        name = NAMES[self.kind] if self.kind < len(NAMES) else str(self.kind)
        return "%s(stream %d, flags %x, %r)" % (name, self.stream, self.flags, self.fields or self.payload[:40])


def frame(kind, flags=0, stream=0, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def raw_block(fields):
    """Literals without table and without Huffman: what hpack would refuse or clean passes."""
    def text(s):
        s = s if isinstance(s, bytes) else s.encode("latin-1")
        n = len(s)
        if n < 127:
            return bytes([n]) + s
        out, n = b"\x7f", n - 127
        while n >= 128:
            out, n = out + bytes([n % 128 + 128]), n // 128
        return out + bytes([n]) + s
    return b"".join(b"\0" + text(k) + text(v) for k, v in fields)


class Exchange:
    """What has come on one stream."""

    def __init__(self):
        self.infos, self.fields, self.trailers = [], None, None
        self.body = bytearray()
        self.ended = False
        self.reset = None

    @property
    def status(self):
        return int(dict(self.fields)[":status"]) if self.fields else None

    def get(self, name):
        return dict(self.fields or []).get(name)

    @property
    def over(self):
        return self.ended or self.reset is not None


class Client:
    def __init__(self, port, settings=(), window=1 << 24, auto=True, begin=True, rcvbuf=None, timeout=10.0):
        self.sock = socket.socket()
        if rcvbuf:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        self.sock.settimeout(timeout)
        self.sock.connect(("127.0.0.1", port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.timeout, self.auto = timeout, auto
        self.buf = bytearray()
        self.frames, self.streams = [], {}
        self.decoder, self.encoder = hpack.Decoder(), hpack.Encoder()
        self.decoder.max_header_list_size = 1 << 20
        self.next = 1
        self.goaway = None
        self.closed = False
        self.settings_seen = False
        if begin:
            self.send(PREFACE + self.settings(settings) +
                      (frame(WINDOW, 0, 0, struct.pack(">I", window)) if window else b""))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()

    @staticmethod
    def settings(pairs):
        return frame(SETTINGS, 0, 0, b"".join(struct.pack(">HI", k, v) for k, v in pairs))

    # -- sending

    def send(self, data):
        self.sock.sendall(data)

    def block(self, fields, stream, end=True, raw=True):
        b = raw_block(fields) if raw else self.encoder.encode(fields)
        parts = [b[i:i + 16384] for i in range(0, len(b), 16384)] or [b""]
        out = b""
        for i, p in enumerate(parts):
            flags = EH if i == len(parts) - 1 else 0
            out += frame(CONT if i else HEADERS, flags | (ES if end and not i else 0), stream, p)
        return out

    @staticmethod
    def head(method="GET", path="/", fields=(), authority="test"):
        return [(":method", method), (":scheme", "http"), (":path", path),
                (":authority", authority)] + list(fields)

    def ask(self, method="GET", path="/", fields=(), body=None, end=True, authority="test", trailers=None):
        stream, self.next = self.next, self.next + 2
        self.streams[stream] = Exchange()
        out = self.block(self.head(method, path, fields, authority), stream, end and body is None and not trailers)
        if body is not None:
            last = end and not trailers
            for i in range(0, max(len(body), 1), 16384):
                piece = body[i:i + 16384]
                out += frame(DATA, ES if last and i + 16384 >= len(body) else 0, stream, piece)
        if trailers:
            out += self.block(trailers, stream, True)
        self.send(out)
        return stream

    # -- receiving

    def _parse(self):
        while len(self.buf) >= 9:
            n = int.from_bytes(self.buf[:3], "big")
            if len(self.buf) < 9 + n:
                return
            f = Frame(self.buf[3], self.buf[4], int.from_bytes(self.buf[5:9], "big") & 0x7fffffff,
                      bytes(self.buf[9:9 + n]))
            del self.buf[:9 + n]
            self._take(f)

    def _take(self, f):
        self.frames.append(f)
        x = self.streams.setdefault(f.stream, Exchange()) if f.stream else None
        if f.kind == SETTINGS and not f.flags & ACK:
            self.settings_seen = True
            if self.auto:
                self.send(frame(SETTINGS, ACK))
        elif f.kind == PING and not f.flags & ACK and self.auto:
            self.send(frame(PING, ACK, 0, f.payload))
        elif f.kind == GOAWAY:
            self.goaway = f
        elif f.kind == HEADERS:
            assert f.flags & EH, "a head of the proxy in several frames"
            f.fields = self.decoder.decode(f.payload)
            status = dict(f.fields).get(":status", "")
            if x.fields is not None:
                x.trailers = f.fields
            elif status.startswith("1"):
                x.infos.append(f.fields)
            else:
                x.fields = f.fields
            x.ended |= bool(f.flags & ES)
        elif f.kind == DATA:
            x.body += f.payload
            x.ended |= bool(f.flags & ES)
            if self.auto and f.payload and not x.ended:
                self.send(frame(WINDOW, 0, f.stream, struct.pack(">I", len(f.payload))))
        elif f.kind == RST:
            x.reset = f.code

    def pump(self, timeout):
        """One read; False at the end of the connection or when nothing came."""
        self.sock.settimeout(timeout)
        try:
            data = self.sock.recv(262144)
        except (socket.timeout, BlockingIOError):
            return False
        except ConnectionError:
            data = b""
        if not data:
            self.closed = True
            return False
        self.buf += data
        try:
            self._parse()
        except (BrokenPipeError, ConnectionError):
            pass
        return True

    def until(self, condition, what="", timeout=None):
        deadline = time.monotonic() + (timeout or self.timeout)
        while not condition():
            left = deadline - time.monotonic()
            if self.closed or left <= 0:
                raise wire.Late("%s: %s, frames %r" % (what, "closed" if self.closed else "late", self.frames[-8:]))
            self.pump(min(left, 1.0))

    def wait(self, stream, timeout=None):
        x = self.streams[stream]
        self.until(lambda: x.over, "stream %d" % stream, timeout)
        return x

    def request(self, *args, **kw):
        return self.wait(self.ask(*args, **kw))

    def expect_goaway(self, code=None, timeout=None):
        self.until(lambda: self.goaway and (code is None or self.goaway.code == code), "GOAWAY %r" % code, timeout)
        return self.goaway

    def expect_close(self, timeout=None):
        deadline = time.monotonic() + (timeout or self.timeout)
        while not self.closed:
            if time.monotonic() > deadline:
                raise wire.Late("not closed, frames %r" % self.frames[-8:])
            self.pump(0.5)

    def quiet(self, seconds=0.1):
        """Takes what comes for so long."""
        deadline = time.monotonic() + seconds
        while not self.closed and time.monotonic() < deadline:
            self.pump(max(deadline - time.monotonic(), 0.001))

    def ping(self):
        """A round trip: what was sent before has been looked at."""
        mark = b"%08d" % len(self.frames)
        self.send(frame(PING, 0, 0, mark))
        self.until(lambda: any(f.kind == PING and f.flags & ACK and f.payload == mark for f in self.frames), "PING")

    def of(self, kind):
        return [f for f in self.frames if f.kind == kind]
