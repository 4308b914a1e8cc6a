/* SPDX-License-Identifier: GPL-2.0-only */
/* What a TCP segment towards a server carries, by its first bytes. Only counted: a verdict on
 * payload would be evaded by cutting it into other segments. */
#pragma once
#include "bpf/lib/parse.h"

#define MP_HEAD_BYTES 16
#define MP_SCAN_BYTES 512

enum mp_class {
    MP_CLASS_NONE,
    MP_CLASS_HTTP,
    MP_CLASS_HTTPS,
    MP_CLASS_HTTP2,
    MP_CLASS_GRPC,
    MP_CLASS_WEBSOCKET,
    MP_CLASS_MAYBE_WEBSOCKET /* a GET: its header has to be looked at */
};

#define MP_WORD(a, b, c, d) ((__u32)(a) | (__u32)(b) << 8 | (__u32)(c) << 16 | (__u32)(d) << 24)

MP_AI enum mp_class class_of_plain(const __u8 *b, __u32 n)
{
    if (n < 4) {
        return MP_CLASS_NONE;
    }
    switch (MP_WORD(b[0], b[1], b[2], b[3])) {
    case MP_WORD('G', 'E', 'T', ' '):
        return MP_CLASS_MAYBE_WEBSOCKET;
    case MP_WORD('P', 'O', 'S', 'T'):
    case MP_WORD('P', 'U', 'T', ' '):
    case MP_WORD('D', 'E', 'L', 'E'):
    case MP_WORD('H', 'E', 'A', 'D'):
    case MP_WORD('O', 'P', 'T', 'I'):
    case MP_WORD('P', 'A', 'T', 'C'):
        return MP_CLASS_HTTP;
    case MP_WORD('P', 'R', 'I', ' '):
        return MP_CLASS_HTTP2;
    default:
        break;
    }
    /* A SETTINGS frame: type 4 behind a length, of stream 0. */
    if (n >= 9 && b[0] == 0 && b[3] == 4 && (b[5] | b[6] | b[7] | b[8]) == 0) {
        return MP_CLASS_HTTP2;
    }
    return MP_CLASS_NONE;
}

MP_AI enum mp_class class_of_tls(const __u8 *b, __u32 n)
{
    if (n >= 3 && (b[0] == 0x16 || b[0] == 0x17) && b[1] == 3 && b[2] >= 1 && b[2] <= 4) {
        return MP_CLASS_HTTPS;
    }
    return MP_CLASS_NONE;
}

/* b: the first bytes of the payload, zero beyond its end; n: how many of them there are. */
MP_AI enum mp_class class_of(__be16 dport, const __u8 *b, __u32 n)
{
    switch (bpf_ntohs(dport)) {
    case 50051:
        return n > 0 ? MP_CLASS_GRPC : MP_CLASS_NONE;
    case 80:
    case 8080:
        return class_of_plain(b, n);
    case 443:
    case 8443:
        return class_of_tls(b, n);
    case 10000: {
        enum mp_class c = class_of_plain(b, n);
        return c != MP_CLASS_NONE ? c : class_of_tls(b, n);
    }
    default:
        return MP_CLASS_NONE;
    }
}

MP_AI int is_looked_at(__be16 dport)
{
    switch (bpf_ntohs(dport)) {
    case 80:
    case 443:
    case 8080:
    case 8443:
    case 10000:
    case 50051:
        return 1;
    default:
        return 0;
    }
}

/* The last eight bytes as a number, letters made small by setting one bit (which ':' has, and which
 * makes '*' of the end of a line): a header's name is found with one comparison a byte. */
#define MP_UPGRADE                                                                       \
    ('*' * (1ull << 56) | 'u' * (1ull << 48) | 'p' * (1ull << 40) | 'g' * (1ull << 32) | \
     'r' * (1ull << 24) | 'a' * (1ull << 16) | 'd' * (1ull << 8) | 'e')

MP_AI int has_upgrade(const __u8 *b, __u32 n)
{
    __u64 last = 0;
    for (__u32 i = 0; i < MP_SCAN_BYTES; i++) {
        if (i >= n) {
            break;
        }
        if (last == MP_UPGRADE && b[i] == ':') {
            return 1;
        }
        last = last << 8 | b[i] | 0x20;
    }
    return 0;
}

MP_AI void count_class(enum mp_class c)
{
    struct mp_guard_stats *s = map_first(&stats_map);
    if (!s) {
        return;
    }
    switch (c) {
    case MP_CLASS_HTTP:
        s->http_packets++;
        break;
    case MP_CLASS_HTTPS:
        s->https_packets++;
        break;
    case MP_CLASS_HTTP2:
        s->http2_packets++;
        break;
    case MP_CLASS_GRPC:
        s->grpc_packets++;
        break;
    case MP_CLASS_WEBSOCKET:
        s->websocket_packets++;
        break;
    default:
        break;
    }
}

struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, __u8[MP_SCAN_BYTES]);
} guard_scan_map SEC(".maps");

/* The payload may lie anywhere in the frame, most of all when the frame is not segmented yet: it is
 * copied out. load: the program type's helper for that. */
#define MP_CLASSIFY_PAYLOAD(load, frame, off, there, dport)                           \
    do {                                                                              \
        __u8 head_[MP_HEAD_BYTES] = {0};                                              \
        __u8 *buf_ = map_first(&guard_scan_map);                                      \
        __u32 n_ = (there) < MP_HEAD_BYTES ? (there) : MP_HEAD_BYTES;                 \
        if (!buf_ || n_ < 1 || load(frame, off, head_, n_) != 0) {                    \
            break;                                                                    \
        }                                                                             \
        enum mp_class c_ = class_of(dport, head_, n_);                                \
        if (c_ == MP_CLASS_MAYBE_WEBSOCKET) {                                         \
            n_ = (there) < MP_SCAN_BYTES ? (there) : MP_SCAN_BYTES;                   \
            int more_ = n_ > 0 && load(frame, off, buf_, n_) == 0;                    \
            c_ = more_ && has_upgrade(buf_, n_) ? MP_CLASS_WEBSOCKET : MP_CLASS_HTTP; \
        }                                                                             \
        count_class(c_);                                                              \
    } while (0)
