#!/usr/bin/python3
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Writes jwt.json, tokens and what a verifier must say of them at a fixed time, and tokens.json, those of auth.json.

Valid tokens come from three foreign implementations (Debian: python3-jwt, python3-jose, jose), hostile ones are put
together by hand. Keys are read from keys.json, or made and written there. Running it again gives other signatures of
ECDSA and the same cases.
"""
import base64
import hashlib
import hmac
import json
import os
import subprocess
import tempfile

import jwt as pyjwt
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils
from jose import jwt as pyjose

HERE = os.path.dirname(os.path.abspath(__file__))
NOW = 1700000000
HASH = {"256": hashlib.sha256, "384": hashlib.sha384, "512": hashlib.sha512}
ORDER = {"ES256": 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551,
         "ES384": 0xffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973}
SIZE = {"ES256": 32, "ES384": 48}


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def to_bytes(x):
    if isinstance(x, bytes):
        return x
    if isinstance(x, str):
        return x.encode()
    return json.dumps(x, separators=(",", ":")).encode()


# ---- keys

def make_keys():
    def pem(key):
        return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                 serialization.NoEncryption()).decode()
    return {"secret": b64(os.urandom(48)), "previous": b64(os.urandom(48)), "expired": b64(os.urandom(48)),
            "rsa": pem(rsa.generate_private_key(65537, 2048)), "rsa_other": pem(rsa.generate_private_key(65537, 2048)),
            "rsa_small": pem(rsa.generate_private_key(65537, 1024)),
            "p256": pem(ec.generate_private_key(ec.SECP256R1())), "p256_other": pem(ec.generate_private_key(ec.SECP256R1())),
            "p384": pem(ec.generate_private_key(ec.SECP384R1())), "k1": pem(ec.generate_private_key(ec.SECP256K1()))}


def load_keys():
    path = os.path.join(HERE, "keys.json")
    if not os.path.exists(path):
        with open(path, "w", encoding="utf-8") as f:
            json.dump(make_keys(), f, indent=1)
            f.write("\n")
    with open(path, encoding="utf-8") as f:
        return json.load(f)


KEYS = load_keys()
SECRET = KEYS["secret"]


def private(name):
    return serialization.load_pem_private_key(KEYS[name].encode(), None)


def public_pem(name):
    return private(name).public_key().public_bytes(serialization.Encoding.PEM,
                                                   serialization.PublicFormat.SubjectPublicKeyInfo).decode()


def number(n, size=None):
    return b64(n.to_bytes(size or (n.bit_length() + 7) // 8, "big"))


def jwk(name, with_private=False, **more):
    key = private(name)
    if isinstance(key, rsa.RSAPrivateKey):
        n = key.private_numbers()
        out = {"kty": "RSA", "n": number(n.public_numbers.n), "e": number(n.public_numbers.e)}
        if with_private:
            out.update(d=number(n.d), p=number(n.p), q=number(n.q), dp=number(n.dmp1), dq=number(n.dmq1),
                       qi=number(n.iqmp))
    else:
        size = (key.key_size + 7) // 8
        n = key.private_numbers()
        out = {"kty": "EC", "crv": "P-256" if size == 32 else "P-384", "x": number(n.public_numbers.x, size),
               "y": number(n.public_numbers.y, size)}
        if with_private:
            out["d"] = number(n.private_value, size)
    return {**out, **more}


# ---- signatures

def hs(alg, signed, secret):
    return hmac.new(to_bytes(secret), signed, HASH[alg[2:]]).digest()


def rs(signed, key="rsa", digest=None, pad=None):
    return private(key).sign(signed, pad or padding.PKCS1v15(), digest or hashes.SHA256())


def es(alg, signed, key=None):
    key = key or {"ES256": "p256", "ES384": "p384"}[alg]
    der = private(key).sign(signed, ec.ECDSA(hashes.SHA256() if alg == "ES256" else hashes.SHA384()))
    r, s = utils.decode_dss_signature(der)
    return r.to_bytes(SIZE[alg], "big") + s.to_bytes(SIZE[alg], "big")


def signature(alg, signed, key=None):
    if alg.startswith("HS"):
        return hs(alg, signed, SECRET if key is None else key)
    if alg == "RS256":
        return rs(signed, key or "rsa")
    return es(alg, signed, key)


def token(payload, header=None, alg="HS256", key=None, sig=None):
    """header and payload: bytes, text or something for JSON; sig: bytes, or what makes them of the signed part."""
    h = b64(to_bytes({"alg": alg, "typ": "JWT"} if header is None else header))
    p = b64(to_bytes(payload))
    signed = (h + "." + p).encode()
    s = signature(alg, signed, key) if sig is None else sig(signed) if callable(sig) else sig
    return h + "." + p + "." + b64(s)


GOOD = {"sub": "alice", "exp": NOW + 300}
VECTORS = []


def add(name, tok, status, policy="HS256", now=NOW):
    VECTORS.append({"name": name, "policy": policy, "status": status, "token": tok, **({"now": now} if now != NOW else {})})


# ---- valid ones of others

def jose_tool(payload, key, header):
    with tempfile.TemporaryDirectory() as d:
        for name, what in (("p", payload), ("k", key)):
            with open(os.path.join(d, name), "w", encoding="utf-8") as f:
                json.dump(what, f)
        out = subprocess.run(["jose", "jws", "sig", "-I", os.path.join(d, "p"), "-k", os.path.join(d, "k"), "-c", "-s",
                              json.dumps({"protected": header})], capture_output=True, check=True, timeout=20)
        return out.stdout.decode().strip()


PAYLOADS = [("plain", GOOD), ("with nbf and iat", {**GOOD, "nbf": NOW - 5, "iat": NOW - 5, "jti": "x1"}),
            ("lists and objects", {**GOOD, "roles": ["a", "b"], "o": {"a": {"b": [1, 2.5, None, True]}}}),
            ("text in UTF-8", {**GOOD, "sub": "Zoë", "name": "日本語 \U0001f600 \"q\" \\ / \n"}),
            ("time with a fraction", {**GOOD, "exp": NOW + 300.25})]


def foreign():
    for alg in ("HS256", "HS384", "HS512", "RS256", "ES256", "ES384"):
        key_name = {"RS256": "rsa", "ES256": "p256", "ES384": "p384"}.get(alg)
        key = KEYS[key_name] if key_name else SECRET
        as_jwk = jwk(key_name, True, alg=alg) if key_name else {"kty": "oct", "alg": alg, "k": b64(SECRET.encode())}
        for what, payload in PAYLOADS:
            add("python3-jwt: %s, %s" % (alg, what), pyjwt.encode(payload, key, algorithm=alg), "ok", alg)
            add("python3-jose: %s, %s" % (alg, what), pyjose.encode(payload, key, algorithm=alg), "ok", alg)
            add("jose: %s, %s" % (alg, what), jose_tool(payload, as_jwk, {"alg": alg, "typ": "JWT"}), "ok", alg)
        add("python3-jwt: %s with kid" % alg, pyjwt.encode(GOOD, key, algorithm=alg, headers={"kid": "../../x"}), "ok", alg)


# ---- shape and base64url

def shape():
    good = token(GOOD)
    h, p, s = good.split(".")
    for name, t in [("empty", ""), ("one dot", "."), ("two dots", ".."), ("three dots", "..."), ("no dot", "abc"),
                    ("two parts", h + "." + p), ("four parts", good + ".e30"), ("dot at the end", good + "."),
                    ("dot in front", "." + good), ("five parts, as an encrypted token", ".".join([h, p, s, p, s])),
                    ("no header", "." + p + "." + s), ("no payload", h + ".." + s), ("no signature", h + "." + p + "."),
                    ("scheme inside", "Bearer " + good), ("in quotes", '"' + good + '"'), ("escaped dots", good.replace(".", "%2E")),
                    ("JSON serialisation", json.dumps({"protected": h, "payload": p, "signature": s})),
                    ("token twice", good + good), ("comma behind", good + ","), 
                    ("other dots", good.replace(".", "․"))]:
        add("shape: " + name, t, "malformed")
    add("shape: blank in the middle", h + ". " + p + "." + s, "signature")
    for i, part in enumerate(("header", "payload", "signature")):
        for name, change in [("padding", lambda x: x + "="), ("two paddings", lambda x: x + "=="), ("plus", lambda x: "+" + x[1:]),
                             ("slash", lambda x: "/" + x[1:]), ("line end inside", lambda x: x[:4] + "\n" + x[4:]),
                             ("line end behind", lambda x: x + "\n"), ("blank in front", lambda x: " " + x),
                             ("tab behind", lambda x: x + "\t"), ("letter outside ASCII", lambda x: x[:3] + "é" + x[3:]),
                             ("escape", lambda x: x[:4] + "%41" + x[5:]), ("star", lambda x: x[:2] + "*" + x[3:]),
                             ("length of 4n+1", lambda x: x[:len(x) // 4 * 4] + "A")]:
            parts = [h, p, s]
            parts[i] = change(parts[i])
            signed = (parts[0] + "." + parts[1]).encode()
            if i < 2:  # signed as it stands: only the encoding is wrong
                parts[2] = b64(hs("HS256", signed, SECRET))
            add("base64url: %s in the %s" % (name, part), ".".join(parts), "malformed")
    # The last letter of 43 carries two bits of nothing.
    last = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    for k in (1, 2, 3):
        add("base64url: second spelling %d of the signature" % k, h + "." + p + "." + s[:-1] + last[last.index(s[-1]) + k],
            "malformed")
    h2 = b64(b'{"alg":"HS256"}' + b" ")
    add("base64url: second spelling of the header", token_parts(h2[:-1] + last[last.index(h2[-1]) + 1], p), "malformed")
    p2 = b64(json.dumps(GOOD).encode().ljust(40))
    add("base64url: second spelling of the payload", token_parts(h, p2[:-1] + last[last.index(p2[-1]) + 1]), "malformed")


def token_parts(h, p, secret=None):
    return h + "." + p + "." + b64(hs("HS256", (h + "." + p).encode(), secret or SECRET))


# ---- header

def header():
    for name, text in [("not JSON", "alg=HS256"), ("empty", ""), ("a list", '["HS256"]'), ("a string", '"HS256"'), ("null", "null"),
                       ("a number", "1"), ("byte order mark", b'\xef\xbb\xbf{"alg":"HS256"}'), ("text behind", '{"alg":"HS256"}x'),
                       ("two documents", '{"alg":"HS256"}{"alg":"HS256"}'), ("comma at the end", '{"alg":"HS256",}'),
                       ("single quotes", "{'alg':'HS256'}"), ("no quotes", "{alg:HS256}"), ("a comment", '{"alg":"HS256"/**/}'),
                       ("cut off", '{"alg":"HS256"'), ("NUL behind", b'{"alg":"HS256"}\0'), ("UTF-16", '{"alg":"HS256"}'.encode("utf-16")),
                       ("alg twice, none first", '{"alg":"none","alg":"HS256"}'), ("alg twice, none last", '{"alg":"HS256","alg":"none"}'),
                       ("alg twice, the same", '{"alg":"HS256","alg":"HS256"}'), ("alg twice, escaped", '{"alg":"HS256","\\u0061lg":"none"}'),
                       ("alg twice, both escaped", '{"al\\u0067":"HS256","\\u0061lg":"none"}'),
                       ("typ twice", '{"alg":"HS256","typ":"JWT","typ":"JWT"}'), ("a name twice further down", '{"alg":"HS256","x":{"a":1,"a":2}}'),
                       ("bad UTF-8", b'{"alg":"HS256","x":"\xc0\xaf"}'), ("surrogate in UTF-8", b'{"alg":"HS256","x":"\xed\xa0\x80"}'),
                       ("lone surrogate", '{"alg":"HS256","x":"\\ud800"}'), ("surrogates the wrong way round", '{"alg":"HS256","x":"\\udc00\\ud800"}'),
                       ("control character", b'{"alg":"HS256","x":"\x01"}'), ("NUL escaped", '{"alg":"HS256\\u0000"}'),
                       ("odd escape", '{"alg":"HS256","x":"\\x41"}'), ("17 levels", '{"alg":"HS256","x":' + "[" * 16 + "]" * 16 + "}"),
                       ("too many members", json.dumps({"alg": "HS256", **{"m%d" % i: 1 for i in range(40)}})),
                       ("NaN", '{"alg":"HS256","x":NaN}'), ("number with a plus", '{"alg":"HS256","x":+1}'),
                       ("number with a zero in front", '{"alg":"HS256","x":01}'), ("kid is a number", '{"alg":"HS256","kid":1}'),
                       ("kid is null", '{"alg":"HS256","kid":null}'), ("kid is a list", '{"alg":"HS256","kid":["a"]}')]:
        add("header: " + name, token(GOOD, text), "malformed")
    for name, alg in [("none", "none"), ("None", "None"), ("NONE", "NONE"), ("nOnE", "nOnE"), ("empty", ""), ("lower case", "hs256"),
                      ("blank behind", "HS256 "), ("blank in front", " HS256"), ("HS384", "HS384"), ("HS512", "HS512"), ("RS256", "RS256"),
                      ("ES256", "ES256"), ("PS256", "PS256"), ("EdDSA", "EdDSA"), ("HS257", "HS257"), ("HS2560", "HS2560"), ("HS25", "HS25"),
                      ("null", None), ("a number", 256), ("true", True), ("a list", ["HS256"]), ("an object", {"HS256": 1}), ("full width", "ＨＳ256")]:
        add("alg: %s, signed with our secret" % name, token(GOOD, {"alg": alg, "typ": "JWT"}), "algorithm")
    for alg in ("none", "None", "NONE", "nOnE"):
        t = token(GOOD, {"alg": alg})
        add("alg: %s, no signature" % alg, t[:t.rindex(".") + 1], "malformed")
        add("alg: %s, a signature of one letter pair" % alg, t[:t.rindex(".") + 1] + "AA", "algorithm")
    add("alg: absent", token(GOOD, {"typ": "JWT"}), "algorithm")
    add("alg: in capitals", token(GOOD, {"ALG": "HS256"}), "algorithm")
    add("alg: only further down", token(GOOD, {"x": {"alg": "HS256"}}), "algorithm")
    add("alg: escaped but the same", token(GOOD, '{"alg":"\\u0048S256"}'), "ok")
    add("header: blanks around", token(GOOD, ' \n{ "alg" : "HS256" , "typ":"JWT" }\r\n\t'), "ok")
    add("header: 16 levels", token(GOOD, '{"alg":"HS256","x":' + "[" * 15 + "]" * 15 + "}"), "ok")
    add("header: typ of another kind", token(GOOD, {"alg": "HS256", "typ": "at+jwt"}), "ok")
    for name, crit in [("exp", ["exp"]), ("b64", ["b64"]), ("empty", []), ("unknown", ["x"]), ("null", None)]:
        add("crit: " + name, token(GOOD, {"alg": "HS256", "crit": crit, "b64": False, "x": 1}), "critical")
    other = "attacker's own secret, long enough for all"
    oct_key = {"kty": "oct", "k": b64(other.encode())}
    for name, more in [("jwk", {"jwk": oct_key}), ("jku", {"jku": "https://evil.example/jwks"}), ("x5u", {"x5u": "https://evil.example/c"}),
                       ("x5c", {"x5c": ["AAAA"]}), ("kid is a file", {"kid": "/dev/null"}), ("kid is SQL", {"kid": "x' UNION SELECT 'a"}),
                       ("kid runs a command", {"kid": "|id"})]:
        add("key: %s in the header, signed with it" % name, token(GOOD, {"alg": "HS256", **more}, key=other), "signature")
    add("key: jwk in the header, signed with ours", token(GOOD, {"alg": "HS256", "jwk": oct_key}), "ok")


# ---- payload and time

def payload():
    for name, text in [("not JSON", "sub=alice"), ("a list", "[]"), ("a string", '"x"'), ("null", "null"), ("a number", "1700000300"),
                       ("text behind", json.dumps(GOOD) + "x"), ("cut off", json.dumps(GOOD)[:-1]), ("exp twice", '{"exp":1,"exp":1700000300}'),
                       ("exp twice, escaped", '{"exp":1700000300,"e\\u0078p":1}'), ("sub twice", '{"sub":"a","sub":"b","exp":1700000300}'),
                       ("a name twice further down", '{"exp":1700000300,"a":[{"b":1,"b":1}]}'), ("bad UTF-8", b'{"exp":1700000300,"a":"\xff"}'),
                       ("lone surrogate", '{"exp":1700000300,"a":"\\udfff"}'), ("control character", b'{"exp":1700000300,"a":"\n"}'),
                       ("NUL escaped", '{"exp":1700000300,"sub":"a\\u0000b"}'), ("17 levels", '{"exp":1700000300,"a":' + "[" * 16 + "]" * 16 + "}"),
                       ("more than 256 nodes", '{"exp":1700000300,"a":[' + ",".join("1" * 253) + "]}"),
                       ("exp is NaN", '{"exp":NaN}'), ("exp is Infinity", '{"exp":Infinity}'), ("exp in hex", '{"exp":0x6553f100}'),
                       ("exp with a zero in front", '{"exp":01700000300}'), ("exp with a plus", '{"exp":+1700000300}'), ("exp ends in a point", '{"exp":1700000300.}'),
                       ("exp with an empty exponent", '{"exp":17e}'), ("compressed", __import__("zlib").compress(to_bytes(GOOD)))]:
        add("payload: " + name, token(text), "malformed")
    add("payload: 16 levels", token('{"exp":1700000300,"a":' + "[" * 15 + "]" * 15 + "}"), "ok")
    add("payload: 256 nodes", token('{"exp":1700000300,"a":[' + ",".join("1" * 251) + "]}"), "ok")
    for name, p in [("empty", {}), ("no exp", {"sub": "a"}), ("exp in capitals", {"EXP": NOW + 9}), ("exp further down", {"a": {"exp": NOW + 9}})]:
        add("payload: " + name, token(p), "no_expiry")
    for what in ("exp", "nbf"):
        for name, v in [("text", '"1700000300"'), ("empty text", '""'), ("true", "true"), ("null", "null"), ("a list", "[1700000300]"),
                        ("an object", "{}"), ("too large", "1e400"), ("beyond all years", "9007199254740994"), ("far below", "-1e300")]:
            text = '{"exp":%s}' % v if what == "exp" else '{"exp":1700000300,"nbf":%s}' % v
            add("time: %s is %s" % (what, name), token(text), "claims")
    for name, v, status in [("-61", NOW - 61, "expired"), ("-60", NOW - 60, "ok"), ("-59", NOW - 59, "ok"), ("-60.5", NOW - 60.5, "expired"),
                            ("long ago", 1, "expired"), ("0", 0, "expired"), ("-1", -1, "expired"), ("far ahead", 9007199254740992, "ok"),
                            ("as an exponent", 1.7000003e9, "ok")]:
        add("time: exp %s" % name, token({"sub": "a", "exp": v}), status)
    add("time: exp written with an exponent", token('{"exp":17000003e2}'), "ok")
    add("time: exp written with a negative exponent", token('{"exp":170000030000e-2}'), "ok")
    add("time: exp so small that it is 0", token('{"exp":1e-400}'), "expired")
    for name, v, status in [("+61", NOW + 61, "not_yet"), ("+60", NOW + 60, "ok"), ("+59", NOW + 59, "ok"), ("+60.5", NOW + 60.5, "not_yet"),
                            ("far ahead", 9007199254740992, "not_yet"), ("-1", -1, "ok"), ("0", 0, "ok")]:
        add("time: nbf %s" % name, token({**GOOD, "nbf": v}), status)
    add("time: before 1970", token({"exp": 5}), "ok", now=-10)
    add("time: iat is text", token({**GOOD, "iat": "yesterday"}), "ok")
    # n-1, n, n+1 characters
    for n in (8191, 8192, 8193):
        pad = 0
        while True:
            t = token({**GOOD, "pad": "x" * pad})
            if len(t) >= n:
                break
            pad += max(1, (n - len(t)) * 3 // 4 - 2)
        if len(t) != n:  # base64 goes in steps: the header makes up for it
            for extra in range(1, 9):
                for less in range(0, 9):
                    t = token({**GOOD, "pad": "x" * (pad - less)}, {"alg": "HS256", "typ": "J" * extra})
                    if len(t) == n:
                        break
                if len(t) == n:
                    break
        assert len(t) == n, (n, len(t))
        add("size: %d characters" % n, t, "ok" if n <= 8192 else "too_long")
    add("size: 100,000 dots", "." * 100000, "too_long")


# ---- signatures

def flip(data, at, bit):
    return data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1:]


def signatures():
    good = token(GOOD)
    h, p, s = good.split(".")
    raw = base64.urlsafe_b64decode(s + "=")
    for i in range(32):
        add("signature: bit %d of byte %d" % (i % 8, i), h + "." + p + "." + b64(flip(raw, i, i % 8)), "signature")
    for name, sig in [("one byte", b"\0"), ("one byte less", raw[:-1]), ("one byte more", raw + b"\0"), ("zeros", bytes(32)), ("ones", b"\xff" * 32),
                      ("twice", raw + raw), ("first half", raw[:16]), ("reversed", raw[::-1]), ("in hex", raw.hex().encode())]:
        add("signature: " + name, h + "." + p + "." + b64(sig), "signature")
    add("signature: longer than any", h + "." + p + "." + b64(bytes(2000)), "malformed")
    for name, key in [("another secret", "x" * 48), ("the empty secret", ""), ("the secret without its end", SECRET[:-1]), ("the secret and a line end", SECRET + "\n"),
                      ("the secret decoded", base64.urlsafe_b64decode(SECRET)), ("the secret in capitals", SECRET.upper()), ("its SHA-256", hashlib.sha256(SECRET.encode()).digest()),
                      ("zeros", bytes(64))]:
        add("signature: with " + name, token(GOOD, key=key), "signature")
    add("signature: of the decoded parts", token(GOOD, sig=lambda x: hs("HS256", to_bytes({"alg": "HS256", "typ": "JWT"}) + b"." + to_bytes(GOOD), SECRET)), "signature")
    add("signature: of the payload alone", token(GOOD, sig=lambda x: hs("HS256", p.encode(), SECRET)), "signature")
    add("signature: of another payload", h + "." + b64(to_bytes({**GOOD, "sub": "admin"})) + "." + s, "signature")
    add("signature: of another header", b64(b'{"typ":"JWT","alg":"HS256"}') + "." + p + "." + s, "signature")
    add("signature: SHA-256 without a key", token(GOOD, sig=lambda x: hashlib.sha256(x).digest()), "signature")
    add("signature: SHA-256 of secret and text", token(GOOD, sig=lambda x: hashlib.sha256(SECRET.encode() + x).digest()), "signature")
    add("signature: HS384 under the header HS256", token(GOOD, sig=lambda x: hs("HS384", x, SECRET)), "signature")
    add("signature: HS512 under the header HS256", token(GOOD, sig=lambda x: hs("HS512", x, SECRET)), "signature")
    add("signature: HS384 cut to 32 bytes", token(GOOD, sig=lambda x: hs("HS384", x, SECRET)[:32]), "signature")
    for alg in ("HS384", "HS512"):
        add("algorithm: HS256 token where %s is wanted" % alg, token(GOOD), "algorithm", alg)
        add("algorithm: %s header, HS256 signature" % alg, token(GOOD, {"alg": alg}, sig=lambda x: hs("HS256", x, SECRET)), "signature", alg)
        add("algorithm: %s token with the last bit flipped" % alg, token(GOOD, alg=alg, sig=lambda x, a=alg: flip(hs(a, x, SECRET), 31, 0)), "signature", alg)
    add("rotation: the previous secret in its time", token(GOOD, key=KEYS["previous"]), "ok", "rotated")
    add("rotation: the current secret", token(GOOD), "ok", "rotated")
    add("rotation: a secret whose time is over", token(GOOD, key=KEYS["expired"]), "signature", "rotated")
    add("rotation: the last second of the previous secret", token({"exp": NOW + 900}, key=KEYS["previous"]), "ok", "rotated", NOW + 300)
    add("rotation: a second later", token({"exp": NOW + 900}, key=KEYS["previous"]), "signature", "rotated", NOW + 301)
    add("rotation: the previous secret where it is not listed", token(GOOD, key=KEYS["previous"]), "signature")
    add("no secret: signed with the empty one", token(GOOD, key=""), "no_key", "no_secret")
    add("no secret: signed with zeros", token(GOOD, key=bytes(32)), "no_key", "no_secret")


# ---- public keys

def rsa_cases():
    pem = public_pem("rsa")
    key = private("rsa")
    n = key.public_key().public_numbers().n
    der = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    for name, k in [("the PEM text", pem), ("the PEM text without its last line end", pem.strip()), ("the DER bytes", der), ("the modulus", n.to_bytes(256, "big")),
                    ("the modulus in base64url", number(n)), ("the JWK", json.dumps(jwk("rsa")))]:
        for policy in ("RS256", "RS256_jwks"):
            add("confusion: HS256 with %s (%s)" % (name, policy), token(GOOD, key=k), "algorithm", policy)
        add("confusion: RS256 header, HMAC with %s" % name, token(GOOD, {"alg": "RS256"}, sig=lambda x, k=k: hs("HS256", x, k)), "signature", "RS256")
    for alg in ("none", "HS256", "HS512", "RS384", "RS512", "PS256", "ES256", "rs256"):
        add("RS256: alg %s, signature of RS256" % alg, token(GOOD, {"alg": alg}, alg="RS256"), "algorithm", "RS256")
    add("RS256: PSS signature", token(GOOD, alg="RS256", sig=lambda x: rs(x, pad=padding.PSS(padding.MGF1(hashes.SHA256()), 32))), "signature", "RS256")
    add("RS256: SHA-512 inside", token(GOOD, alg="RS256", sig=lambda x: rs(x, digest=hashes.SHA512())), "signature", "RS256")
    add("RS256: SHA-1 inside", token(GOOD, alg="RS256", sig=lambda x: rs(x, digest=hashes.SHA1())), "signature", "RS256")
    add("RS256: another key", token(GOOD, alg="RS256", key="rsa_other"), "signature", "RS256")
    add("RS256: a key of 1024 bits", token(GOOD, alg="RS256", key="rsa_small"), "signature", "RS256")
    for name, f in [("zeros", lambda s: bytes(256)), ("one", lambda s: bytes(255) + b"\1"), ("modulus", lambda s: n.to_bytes(256, "big")),
                    ("signature plus modulus", lambda s: (int.from_bytes(s, "big") + n).to_bytes(257, "big")), ("a zero in front", lambda s: b"\0" + s),
                    ("a zero behind", lambda s: s + b"\0"), ("a byte less", lambda s: s[:-1]), ("first bit", lambda s: flip(s, 0, 0)), ("last byte", lambda s: s[:-1] + bytes([s[-1] ^ 1])),
                    ("negated", lambda s: (n - int.from_bytes(s, "big")).to_bytes(256, "big")), ("ones", lambda s: b"\xff" * 256)]:
        add("RS256: signature: " + name, token(GOOD, alg="RS256", sig=lambda x, f=f: f(rs(x))), "signature", "RS256")
    # A signature of all but the padding: the message in the low bytes of a cube is an old forgery for e = 3.
    info = bytes.fromhex("3031300d060960864801650304020105000420")
    add("RS256: padding without its length", token(GOOD, alg="RS256", sig=lambda x: (b"\0\1\xff\0" + info + hashlib.sha256(x).digest()).ljust(256, b"\0")), "signature", "RS256")


def ec_cases():
    for alg in ("ES256", "ES384"):
        size, order = SIZE[alg], ORDER[alg]

        def num(v, size=size):
            return v.to_bytes(size, "big")

        def split(s, size=size):
            return int.from_bytes(s[:size], "big"), int.from_bytes(s[size:], "big")
        for name, sig in [("r and s are 0", bytes(2 * size)), ("r and s are 1", num(1) + num(1)), ("r and s are the order", num(order) * 2), ("r is the order, s is 1", num(order) + num(1)),
                          ("ones", b"\xff" * 2 * size), ("empty but for a byte", b"\0")]:
            add("%s: %s" % (alg, name), token(GOOD, alg=alg, sig=sig), "signature", alg)
        for name, f in [("r is 0", lambda s: bytes(size) + s[size:]), ("s is 0", lambda s: s[:size] + bytes(size)), ("r and s exchanged", lambda s: s[size:] + s[:size]),
                        ("a byte less", lambda s: s[:-1]), ("a byte more", lambda s: s + b"\0"), ("zeros in front", lambda s: b"\0" + s[:size] + b"\0" + s[size:]),
                        ("as DER", lambda s: utils.encode_dss_signature(*split(s))), ("r plus the order", lambda s: (num((split(s)[0] + order) % (1 << 8 * size))) + s[size:]),
                        ("last bit", lambda s: s[:-1] + bytes([s[-1] ^ 1])), ("first bit", lambda s: flip(s, 0, 7)), ("twice", lambda s: s + s), ("r alone", lambda s: s[:size])]:
            add("%s: %s" % (alg, name), token(GOOD, alg=alg, sig=lambda x, f=f: f(es(alg, x))), "signature", alg)
        add("%s: s negated, which is as good" % alg, token(GOOD, alg=alg, sig=lambda x: (lambda s: s[:size] + num(order - split(s)[1]))(es(alg, x))), "ok", alg)
        for other in ("none", "HS256", "RS256", "ES512", "ES256K", "ES384" if alg == "ES256" else "ES256"):
            add("%s: alg %s" % (alg, other), token(GOOD, {"alg": other}, alg=alg), "algorithm", alg)
        pem = public_pem("p256" if alg == "ES256" else "p384")
        add("confusion: HS256 with the PEM text (%s)" % alg, token(GOOD, key=pem), "algorithm", alg)
        add("confusion: %s header, HMAC with the PEM text" % alg, token(GOOD, {"alg": alg}, sig=lambda x: hs("HS256", x, pem)), "signature", alg)
    add("ES256: another key", token(GOOD, alg="ES256", key="p256_other"), "signature", "ES256")
    add("ES256: the curve secp256k1", token(GOOD, alg="ES256", key="k1"), "signature", "ES256")
    add("ES256: signature of ES384", token(GOOD, {"alg": "ES256"}, alg="ES384"), "signature", "ES256")


def key_sets():
    for policy, alg, key, other in (("RS256_jwks", "RS256", "rsa", "rsa_other"), ("ES256_jwks", "ES256", "p256", "p256_other")):
        add(policy + ": kid of the key", token(GOOD, {"alg": alg, "kid": "one"}, alg=alg, key=key), "ok", policy)
        add(policy + ": no kid", token(GOOD, {"alg": alg}, alg=alg, key=key), "ok", policy)
        add(policy + ": no kid, second key", token(GOOD, {"alg": alg}, alg=alg, key=other), "ok", policy)
        add(policy + ": kid of the second key", token(GOOD, {"alg": alg, "kid": "zwölf"}, alg=alg, key=other), "ok", policy)
        add(policy + ": kid of the other key", token(GOOD, {"alg": alg, "kid": "zwölf"}, alg=alg, key=key), "signature", policy)
        add(policy + ": unknown kid", token(GOOD, {"alg": alg, "kid": "two"}, alg=alg, key=key), "no_key", policy)
        add(policy + ": empty kid", token(GOOD, {"alg": alg, "kid": ""}, alg=alg, key=key), "no_key", policy)
        add(policy + ": kid begins like the key's", token(GOOD, {"alg": alg, "kid": "on"}, alg=alg, key=key), "no_key", policy)
        add(policy + ": own key in jwk", token(GOOD, {"alg": alg, "kid": "one", "jwk": jwk("rsa_small" if alg == "RS256" else "k1")}, alg=alg,
                                              key="rsa_small" if alg == "RS256" else "k1"), "signature", policy)


    for n, status in ((3, "ok"), (4, "ok"), (5, "signature")):
        add("tries: no kid, key %d" % n, token(GOOD, {"alg": "ES256"}, alg="ES256"), status, "ES256_%d" % n)
        add("tries: kid of key %d" % n, token(GOOD, {"alg": "ES256", "kid": "last"}, alg="ES256"), "ok", "ES256_%d" % n)
    add("tries: a kid that five keys have", token(GOOD, {"alg": "ES256", "kid": "same"}, alg="ES256"), "signature", "ES256_same")


# ---- who and for whom

def claims():
    iss = {**GOOD, "iss": "https://id.example", "aud": "api", "role": "admin", "n": 5, "ok": True, "tags": ["x", "admin", 7]}
    for name, change, status in [
            ("all as wanted", {}, "ok"), ("second issuer", {"iss": "other"}, "ok"), ("no issuer", {"iss": None}, "issuer"), ("issuer with a slash more", {"iss": "https://id.example/"}, "issuer"),
            ("issuer in a list", {"iss": ["https://id.example"]}, "issuer"), ("issuer in capitals", {"iss": "HTTPS://ID.EXAMPLE"}, "issuer"), ("issuer cut", {"iss": "https://id.exampl"}, "issuer"),
            ("audience in a list", {"aud": ["x", "api"]}, "ok"), ("audience not in the list", {"aud": ["x", "apis"]}, "audience"), ("empty list", {"aud": []}, "audience"),
            ("audience with a number beside", {"aud": ["api", 1]}, "audience"), ("no audience", {"aud": None}, "audience"), ("audience is an object", {"aud": {"api": 1}}, "audience"),
            ("other audience", {"aud": "ap"}, "audience"), ("role missing", {"role": None}, "required_claim"), ("other role", {"role": "Admin"}, "required_claim"), ("role in a list", {"role": ["user", "admin"]}, "ok"),
            ("role in an object", {"role": {"admin": True}}, "required_claim"), ("number as wanted", {"n": 5}, "ok"), ("other number", {"n": 50}, "required_claim"), ("number as text", {"n": "5"}, "ok"),
            ("false instead of true", {"ok": False}, "required_claim"), ("present, of any kind", {"tags": {}}, "ok"), ("any kind but null", {"tags": None}, "required_claim")]:
        p = {k: v for k, v in {**iss, **change}.items() if v is not None}
        if name == "any kind but null":
            p["tags"] = None
        add("claims: " + name, token(p), status, "claims")
    add("claims: escaped", token('{"exp":1700000300,"iss":"https:\\/\\/id.ex\\u0061mple","aud":"\\u0061pi","r\\u006fle":"adm\\u0069n","n":5,"ok":true,"tags":1}'), "ok", "claims")
    add("claims: nothing is wanted, all is odd", token({**GOOD, "iss": 5, "aud": {}, "role": None}), "ok")


def policies():
    jwks = {"keys": [jwk("rsa", kid="one", use="sig", alg="RS256"), jwk("p256", kid="one"), {"kty": "OKP", "crv": "Ed25519", "x": "AAAA"},
                     jwk("rsa_other", kid="zwölf"), jwk("p256_other", kid="zwölf", key_ops=["verify"]), jwk("rsa_small", use="enc", kid="one"),
                     {"kty": "unheard of"}]}
    out = {a: {"jwt_algorithm": a, "jwt_secret": SECRET} for a in ("HS256", "HS384", "HS512")}
    out.update({"RS256": {"jwt_algorithm": "RS256", "jwt_public_key": public_pem("rsa")},
                "ES256": {"jwt_algorithm": "ES256", "jwt_public_key": public_pem("p256")},
                "ES384": {"jwt_algorithm": "ES384", "jwt_jwks": {"keys": [jwk("p384")]}},
                "RS256_jwks": {"jwt_algorithm": "RS256", "jwt_jwks": jwks},
                "ES256_jwks": {"jwt_algorithm": "ES256", "jwt_jwks": json.dumps(jwks)},
                "no_secret": {"jwt_secret": ""},
                "rotated": {"jwt_secret": SECRET, "jwt_secrets_previous": [
                    {"secret": KEYS["expired"], "valid_until": "2023-11-14T22:13:19Z"},
                    {"secret": KEYS["previous"], "valid_until": "2023-11-14T22:18:20Z"}]},
                "claims": {"jwt_secret": SECRET, "jwt_issuers": ["https://id.example", "other"], "jwt_audiences": ["api"],
                           "jwt_required_claims": {"role": "admin", "n": "5", "ok": "true", "tags": ""}}})
    for n in (3, 4, 5):
        others = [jwk("p256_other", kid="other %d" % i) for i in range(n - 1)]
        out["ES256_%d" % n] = {"jwt_algorithm": "ES256", "jwt_jwks": {"keys": others + [jwk("p256", kid="last")]}}
    out["ES256_same"] = {"jwt_algorithm": "ES256", "jwt_jwks": {"keys": [jwk("p256_other", kid="same")] * 4 + [jwk("p256", kid="same")]}}
    return out


def named_tokens():
    """For auth.json, whose fields say {name}."""
    def hs256(**claims):
        return token({"exp": NOW + 300, **claims})
    return {"alice": hs256(sub="alice"), "bob": hs256(sub="bob"), "no_sub": hs256(), "number_sub": hs256(sub=42),
            "bool_sub": hs256(sub=True), "empty_sub": hs256(sub=""), "list_sub": hs256(sub=["alice"]),
            "utf8_sub": token({"exp": NOW + 300, "sub": "Zo\u00eb"}), "escaped_sub": token('{"exp":1700000300,"sub":"al\\u0069ce"}'),
            "crlf_sub": hs256(sub="a\r\nx-auth-role: admin"), "tab_sub": hs256(sub="a\tb"), "blank_sub": hs256(sub=" alice"),
            "blank_end_sub": hs256(sub="alice "), "long_sub": hs256(sub="s" * 4096), "longer_sub": hs256(sub="s" * 4097),
            "claims": hs256(sub="alice", email="a@b.example", level=3, staff=True, roles=["x"], nothing=None),
            "short_lived": token({"sub": "alice", "exp": NOW + 10}), "leeway": token({"sub": "alice", "exp": NOW - 60}),
            "over": token({"sub": "alice", "exp": NOW - 61}), "early": token({"sub": "alice", "exp": NOW + 900, "nbf": NOW + 61}),
            "no_exp": token({"sub": "alice"}), "forged": token({"sub": "alice", "exp": NOW + 300}, key="wrong" * 10),
            "none": token({"sub": "alice", "exp": NOW + 300}, {"alg": "none"}),
            "previous": token({"sub": "alice", "exp": NOW + 900}, key=KEYS["previous"]),
            "rs256": token({"sub": "alice", "exp": NOW + 300}, alg="RS256"), "es384": token({"sub": "alice", "exp": NOW + 300}, alg="ES384"),
            "secret": SECRET, "previous_secret": KEYS["previous"], "rsa_public": public_pem("rsa"),
            "p256_public": public_pem("p256"), "p384_public": public_pem("p384"), "rsa_private": KEYS["rsa"],
            "rsa_small_public": public_pem("rsa_small"), "rsa_jwks": json.dumps({"keys": [jwk("rsa")]}),
            "private_jwks": json.dumps({"keys": [jwk("p256"), jwk("rsa", True)]})}


def main():
    for part in (foreign, shape, header, payload, signatures, rsa_cases, ec_cases, key_sets, claims):
        part()
    names = [v["name"] for v in VECTORS]
    assert len(set(names)) == len(names), sorted(n for n in names if names.count(n) > 1)
    bad = sum(v["status"] != "ok" for v in VECTORS)
    with open(os.path.join(HERE, "jwt.json"), "w", encoding="utf-8") as f:
        f.write('{"now": %d,\n"policies": %s,\n"vectors": [\n' % (NOW, json.dumps(policies(), indent=1)))
        f.write(",\n".join(json.dumps(v) for v in VECTORS))
        f.write("\n]}\n")
    with open(os.path.join(HERE, "tokens.json"), "w", encoding="utf-8") as f:
        json.dump(named_tokens(), f, indent=1)
        f.write("\n")
    print("%d vectors, %d of them hostile" % (len(VECTORS), bad))


if __name__ == "__main__":
    main()
