# SPDX-License-Identifier: AGPL-3.0-or-later
"""Certificates made for one test, and clients over TLS."""
import datetime
import ipaddress
import os
import socket
import ssl

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

TLS = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3."
NOW = datetime.datetime.utcnow
DAY = datetime.timedelta(days=1)


def _name(text):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def new_key(kind="ec"):
    if kind == "rsa":
        return rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return ec.generate_private_key(ec.SECP384R1() if kind == "p384" else ec.SECP256R1())


class Cert:
    def __init__(self, cert, key, folder, name):
        self.cert, self.key = cert, key
        self.chain = os.path.join(folder, name + ".pem")
        self.key_path = os.path.join(folder, name + ".key")
        self.write(cert, key)

    def write(self, cert, key, password=None):
        """Replaces both files, as certificate tools do: written aside and renamed."""
        how = serialization.BestAvailableEncryption(password) if password \
            else serialization.NoEncryption()
        for path, content in ((self.key_path, key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, how)),
                (self.chain, cert.public_bytes(serialization.Encoding.PEM))):
            with open(path + ".new", "wb") as f:
                f.write(content)
            os.rename(path + ".new", path)

    @property
    def serial(self):
        return self.cert.serial_number

    def fingerprint(self):
        return self.cert.fingerprint(hashes.SHA256()).hex()

    def config(self):
        return {"certificate_chain": {"filename": self.chain},
                "private_key": {"filename": self.key_path}}


class Authority:
    """A CA in a folder."""

    def __init__(self, folder, name="ca"):
        self.folder = str(folder)
        self.key = new_key()
        self.name = _name(name)
        self.cert = (x509.CertificateBuilder().subject_name(self.name).issuer_name(self.name)
                     .public_key(self.key.public_key()).serial_number(x509.random_serial_number())
                     .not_valid_before(NOW() - DAY).not_valid_after(NOW() + DAY)
                     .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
                     .sign(self.key, hashes.SHA256()))
        self.path = os.path.join(self.folder, name + "-ca.pem")
        with open(self.path, "wb") as f:
            f.write(self.cert.public_bytes(serialization.Encoding.PEM))

    def sign(self, cn, sans=(), kind="ec", days=1, uris=()):
        key = new_key(kind)
        names = []
        for s in sans:
            try:
                names.append(x509.IPAddress(ipaddress.ip_address(s)))
            except ValueError:
                names.append(x509.DNSName(s))
        names += [x509.UniformResourceIdentifier(u) for u in uris]
        until = NOW() + days * DAY
        b = (x509.CertificateBuilder().subject_name(_name(cn)).issuer_name(self.name)
             .public_key(key.public_key()).serial_number(x509.random_serial_number())
             .not_valid_before(min(NOW(), until) - DAY).not_valid_after(until))
        if names:
            b = b.add_extension(x509.SubjectAlternativeName(names), False)
        return b.sign(self.key, hashes.SHA256()), key

    def issue(self, file, cn, *args, **kw):
        cert, key = self.sign(cn, *args, **kw)
        return Cert(cert, key, self.folder, file)

    def crl(self, *revoked):
        b = (x509.CertificateRevocationListBuilder().issuer_name(self.name)
             .last_update(NOW() - DAY).next_update(NOW() + DAY))
        for cert in revoked:
            b = b.add_revoked_certificate(
                x509.RevokedCertificateBuilder().serial_number(cert.serial)
                .revocation_date(NOW() - DAY).build())
        path = os.path.join(self.folder, "crl.pem")
        with open(path, "wb") as f:
            f.write(b.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
        return path


def downstream(certs, alpn=("http/1.1",), common=None, **fields):
    """A transport_socket for listeners."""
    c = {"tls_certificates": [x.config() for x in certs], "alpn_protocols": list(alpn)}
    c.update(common or {})
    return {"name": "envoy.transport_sockets.tls",
            "typed_config": {"@type": TLS + "DownstreamTlsContext", "common_tls_context": c,
                             **fields}}


def upstream(common=None, **fields):
    return {"name": "envoy.transport_sockets.tls",
            "typed_config": {"@type": TLS + "UpstreamTlsContext",
                             "common_tls_context": common or {}, **fields}}


def client_context(ca=None, cert=None, alpn=(), version=None):
    c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if ca is None:
        c.check_hostname = False
        c.verify_mode = ssl.CERT_NONE
    else:
        c.load_verify_locations(ca.path)
    if cert is not None:
        c.load_cert_chain(cert.chain, cert.key_path)
    if alpn:
        c.set_alpn_protocols(list(alpn))
    if version is not None:
        c.minimum_version = c.maximum_version = version
    return c


def connect(port, context, name="localhost", timeout=10.0):
    raw = socket.create_connection(("127.0.0.1", port), timeout=timeout)
    try:
        return context.wrap_socket(raw, server_hostname=name)
    except Exception:
        raw.close()
        raise


def get(sock, target="/", host="localhost", close=False):
    """(status line, head, body) of a response with content-length."""
    sock.sendall(("GET %s HTTP/1.1\r\nHost: %s\r\n%s\r\n"
                  % (target, host, "Connection: close\r\n" if close else "")).encode())
    data = b""
    while b"\r\n\r\n" not in data:
        piece = sock.recv(65536)
        if not piece:
            raise EOFError(data)
        data += piece
    head, body = data.split(b"\r\n\r\n", 1)
    lines = head.decode().split("\r\n")
    fields = {}
    for line in lines[1:]:
        k, v = line.split(":", 1)
        fields[k.lower()] = v.strip()
    n = int(fields.get("content-length", 0))
    while len(body) < n:
        piece = sock.recv(65536)
        if not piece:
            raise EOFError(body)
        body += piece
    return lines[0], fields, body
