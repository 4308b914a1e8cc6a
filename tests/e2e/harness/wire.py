# SPDX-License-Identifier: AGPL-3.0-or-later
"""HTTP/1.1 on raw sockets: a strict reader and a client that sends exactly the bytes it is given."""
import re
import select
import socket
import struct
import time

TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+\Z")
STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9][0-9]) ([\t\x20-\x7e\x80-\xff]*)\Z")
REQUEST_LINE = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+) ([\x21-\x7e]+) HTTP/1\.([01])\Z")
CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
HEX = re.compile(rb"[0-9A-Fa-f]{1,16}\Z")
LINE_MAX = 256 * 1024


class WireError(AssertionError):
    """The peer sent something that RFC 9112 does not allow."""


class Closed(WireError):
    """The peer closed the connection (EOF) where more was due."""


class Reset(Closed):
    """The peer reset the connection."""


class Late(WireError):
    """Nothing came in the time allowed."""


class Message:
    """A request or a response. Header names are lower case; order is kept."""

    def __init__(self):
        self.headers = []
        self.body = b""
        self.trailers = []
        self.framing = "none"  # none, length, chunked, close
        self.length = 0
        self.raw_head = b""
        self.minor = 1

    def get(self, name, default=None):
        """The only value of a field; a repeated one is an error of the test or of the peer."""
        found = self.all(name)
        if len(found) > 1:
            raise WireError("field %s occurs %d times" % (name, len(found)))
        return found[0] if found else default

    def all(self, name):
        return [v for n, v in self.headers if n == name.lower()]

    def has(self, name):
        return bool(self.all(name))


class Request(Message):
    method = ""
    target = ""

    def __repr__(self):
        return "<%s %s %r>" % (self.method, self.target, self.headers)


class Response(Message):
    def __init__(self):
        super().__init__()
        self.status = 0
        self.reason = ""
        self.interim = []

    def __repr__(self):
        return "<%d %r %d bytes>" % (self.status, self.headers, len(self.body))


class Reader:
    """Buffered, bounded, strict. on_bytes sees everything that arrives."""

    def __init__(self, sock, timeout=10.0, on_bytes=None):
        self.sock = sock
        self.timeout = timeout
        self.buf = bytearray()
        self.eof = False
        self.on_bytes = on_bytes

    def fill(self, deadline, size=65536):
        """One recv; False at EOF."""
        if self.eof:
            return False
        left = deadline - time.monotonic()
        if left <= 0:
            raise Late("no more bytes in time; have %r" % bytes(self.buf[:400]))
        self.sock.settimeout(left)
        try:
            data = self.sock.recv(size)
        except TimeoutError:
            raise Late("no more bytes in time; have %r" % bytes(self.buf[:400])) from None
        except ConnectionError as e:
            self.eof = True
            raise Reset(str(e)) from None
        if not data:
            self.eof = True
            return False
        if self.on_bytes:
            self.on_bytes(data)
        self.buf += data
        return True

    def _deadline(self, timeout):
        return time.monotonic() + (self.timeout if timeout is None else timeout)

    def take(self, n):
        data = bytes(self.buf[:n])
        del self.buf[:n]
        return data

    def line(self, timeout=None):
        """One line without its CRLF."""
        deadline = self._deadline(timeout)
        start = 0
        while True:
            at = self.buf.find(b"\n", start)
            if at >= 0:
                line = self.take(at + 1)
                if not line.endswith(b"\r\n"):
                    raise WireError("bare LF after %r" % line[-80:])
                if b"\r" in line[:-2]:
                    raise WireError("bare CR in %r" % line[:200])
                return line[:-2]
            start = len(self.buf)
            if start > LINE_MAX:
                raise WireError("endless line")
            if not self.fill(deadline):
                raise Closed("EOF in a line; have %r" % bytes(self.buf[:400]))

    def exactly(self, n, timeout=None):
        deadline = self._deadline(timeout)
        while len(self.buf) < n:
            if not self.fill(deadline):
                raise Closed("EOF after %d of %d bytes" % (len(self.buf), n))
        return self.take(n)

    def until_eof(self, timeout=None):
        deadline = self._deadline(timeout)
        while self.fill(deadline):
            pass
        return self.take(len(self.buf))

    def fields(self, timeout=None):
        out = []
        while True:
            line = self.line(timeout)
            if not line:
                return out
            name, colon, value = line.partition(b":")
            if not colon or not TOKEN.match(name):
                raise WireError("bad field line %r" % line[:200])
            if CONTROL.search(value):
                raise WireError("control character in field %r" % line[:200])
            out.append((name.decode().lower(), value.strip(b" \t").decode("latin-1")))

    def chunked(self, timeout=None):
        """The payload pieces, then (None, trailers)."""
        while True:
            size = self.line(timeout)
            if not HEX.match(size):
                raise WireError("bad chunk size line %r" % size[:100])
            n = int(size, 16)
            if n == 0:
                yield None, self.fields(timeout)
                return
            yield self.exactly(n, timeout), None
            if self.exactly(2, timeout) != b"\r\n":
                raise WireError("chunk data not followed by CRLF")

    def _framing(self, m, bodiless, close_ok):
        lengths = m.all("content-length")
        codings = m.all("transfer-encoding")
        if len(lengths) > 1 or len(codings) > 1 or (lengths and codings):
            raise WireError("ambiguous framing: %r %r" % (lengths, codings))
        if lengths:
            if not re.fullmatch(r"[0-9]{1,19}", lengths[0]):
                raise WireError("bad content-length %r" % lengths[0])
            m.length = int(lengths[0])
        if codings and codings[0].lower() != "chunked":
            raise WireError("transfer-encoding %r" % codings[0])
        if bodiless:
            m.framing = "none"
            return
        if codings:
            m.framing = "chunked"
            return
        if lengths:
            m.framing = "length"
            return
        m.framing = "close" if close_ok else "none"

    def body(self, m, timeout=None):
        """Reads the body of a message whose head has been read."""
        if m.framing == "length":
            m.body = self.exactly(m.length, timeout)
            return m
        if m.framing == "close":
            m.body = self.until_eof(timeout)
            return m
        if m.framing == "chunked":
            parts = []
            for data, trailers in self.chunked(timeout):
                if data is None:
                    m.trailers = trailers
                else:
                    parts.append(data)
            m.body = b"".join(parts)
        return m

    def request_head(self, timeout=None):
        line = self.line(timeout)
        match = REQUEST_LINE.match(line)
        if not match:
            raise WireError("bad request line %r" % line[:200])
        m = Request()
        m.method, m.target, m.minor = match[1].decode(), match[2].decode(), int(match[3])
        m.headers = self.fields(timeout)
        if m.minor == 1 and len(m.all("host")) != 1:
            raise WireError("an HTTP/1.1 request has one Host: %r" % m.all("host"))
        self._framing(m, False, False)
        return m

    def request(self, timeout=None):
        return self.body(self.request_head(timeout), timeout)

    def response_head(self, method="GET", timeout=None):
        """The next head, interim or final."""
        line = self.line(timeout)
        match = STATUS_LINE.match(line)
        if not match:
            raise WireError("bad status line %r" % line[:200])
        m = Response()
        m.minor, m.status, m.reason = int(match[1]), int(match[2]), match[3].decode("latin-1")
        m.headers = self.fields(timeout)
        if m.status < 200 or m.status == 204:
            if m.has("content-length") or m.has("transfer-encoding"):
                raise WireError("%d with framing fields" % m.status)
        bodiless = m.status < 200 or m.status in (204, 304) or method == "HEAD"
        tunnel = method == "CONNECT" and 200 <= m.status < 300
        self._framing(m, bodiless or tunnel, True)
        return m

    def response(self, method="GET", timeout=None):
        """The next final response with its body; interim ones are in .interim."""
        interim = []
        while True:
            m = self.response_head(method, timeout)
            if m.status >= 200 or m.status == 101:
                break
            interim.append(m)
        m.interim = interim
        return self.body(m, timeout)


def chunk(*parts, trailers=(), last=True):
    """The parts as a chunked body."""
    out = [b"%x\r\n%s\r\n" % (len(p), p) for p in parts if p]
    if last:
        out.append(b"0\r\n")
        out += [b"%s: %s\r\n" % (_b(n), _b(v)) for n, v in trailers]
        out.append(b"\r\n")
    return b"".join(out)


def _b(x):
    return x if isinstance(x, bytes) else str(x).encode("latin-1")


def head(start, headers):
    return b"".join([_b(start), b"\r\n"] + [b"%s: %s\r\n" % (_b(n), _b(v)) for n, v in headers] +
                    [b"\r\n"])


def reply(status=200, body=b"", headers=(), length=True, reason="Whatever"):
    """A response as bytes; length=False leaves the framing to headers."""
    fields = list(headers)
    if length:
        fields.append(("content-length", len(body)))
    return head("HTTP/1.1 %d %s" % (status, reason), fields) + _b(body)


class Client:
    """A TCP (or Unix) client that sends what it is told to and nothing else."""

    def __init__(self, port=None, host="127.0.0.1", timeout=10.0, rcvbuf=None, path=None):
        if path is not None:
            self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            address = path
        else:
            self.sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET,
                                      socket.SOCK_STREAM)
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            address = (host, port)
        if rcvbuf:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        self.sock.settimeout(timeout)
        self.sock.connect(address)
        self.timeout = timeout
        self.received = bytearray()
        self.reader = Reader(self.sock, timeout, self.received.extend)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    @property
    def local_port(self):
        return self.sock.getsockname()[1]

    def send(self, data):
        """All of it. A peer that has closed already is no error here: its answer counts."""
        self.sock.settimeout(self.timeout)
        try:
            self.sock.sendall(_b(data))
        except (BrokenPipeError, ConnectionResetError):
            return False
        return True

    def drip(self, data, pause, size=1):
        for i in range(0, len(data), size):
            if not self.send(data[i:i + size]):
                return False
            if self.readable(pause):
                return False
        return True

    def readable(self, wait):
        """Whether bytes or EOF arrive within wait seconds."""
        return bool(self.reader.buf) or bool(select.select([self.sock], [], [], wait)[0])

    def ask(self, method="GET", target="/", headers=(), body=None, host="test", minor=1):
        """Sends one well-formed request."""
        fields = ([("Host", host)] if host is not None else []) + list(headers)
        if body is not None:
            fields.append(("Content-Length", len(body)))
        return self.send(head("%s %s HTTP/1.%d" % (method, target, minor), fields) + (body or b""))

    def request(self, method="GET", target="/", headers=(), body=None, host="test", minor=1,
                timeout=None):
        self.ask(method, target, headers, body, host, minor)
        return self.reader.response(method, timeout)

    def get(self, target="/", **kw):
        return self.request("GET", target, **kw)

    def response(self, method="GET", timeout=None):
        return self.reader.response(method, timeout)

    def expect_close(self, timeout=None):
        """EOF or reset, and nothing before it."""
        try:
            rest = self.reader.until_eof(timeout)
        except Reset:
            rest = bytes(self.reader.buf)
        assert rest == b"", "bytes before the close: %r" % rest[:400]

    def drain(self, timeout=None):
        """Everything until the connection ends, however it ends."""
        try:
            self.reader.until_eof(timeout)
        except Reset:
            pass
        return bytes(self.received)

    def expect_alive(self, wait=0.05):
        assert not self.readable(wait), "unexpected bytes or close: %r" % self.received[-400:]

    def shutdown_write(self):
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self):
        abort(self.sock)

    def close(self):
        self.sock.close()


def abort(sock):
    """Closes with RST."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    except OSError:
        pass
    sock.close()


def parse_all(data, method="GET"):
    """The final responses in data; what is not a whole one is an error."""
    left, right = socket.socketpair()
    with left, right:
        left.sendall(data)
        left.shutdown(socket.SHUT_WR)
        reader = Reader(right, 5)
        out = []
        while reader.buf or reader.fill(time.monotonic() + 5):
            out.append(reader.response(method))
        return out


def until(check, timeout=5.0, what="condition"):
    """Polls check() until it is true; returns its value."""
    deadline = time.monotonic() + timeout
    while True:
        value = check()
        if value:
            return value
        if time.monotonic() > deadline:
            raise Late("%s not reached in %.1f s" % (what, timeout))
        time.sleep(0.01)
