/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "codec/chunk.h"
#include "unit/codec/codec_help.h"
#include "unit/t.h"

/* Malformed bodies are in tests/data/smuggling.json; here is what the decoder does to the buffer.
 */

static void test_in_place(void)
{
    char buf[] = "3\r\nabc\r\nA;x=\"y\"\r\n0123456789\r\n1\r\n!\r\n0;z\r\nT: u\r\n\r\nnext";
    struct mp_chunk_dec d;
    size_t payload, used;
    mp_chunk_dec_init(&d);
    T_EQ(mp_chunk_decode(&d, buf, sizeof(buf) - 1, &payload, &used), MP_H1_OK);
    T_EQ(payload, 14);
    T_OK(memcmp(buf, "abc0123456789!", 14) == 0);
    T_OK(memcmp(buf + used, "T: u\r\n\r\nnext", 12) == 0);
    /* The end stays the end. */
    T_EQ(mp_chunk_decode(&d, buf, 5, &payload, &used), MP_H1_OK);
    T_EQ(payload, 0);
    T_EQ(used, 0);
}

static void test_plain_data_is_not_moved(void)
{
    char head[] = "5\r\n";
    char data[] = "ab";
    struct mp_chunk_dec d;
    size_t payload, used;
    mp_chunk_dec_init(&d);
    T_EQ(mp_chunk_decode(&d, head, 3, &payload, &used), MP_H1_MORE);
    T_EQ(payload, 0);
    T_EQ(used, 3);
    T_EQ(mp_chunk_decode(&d, data, 2, &payload, &used), MP_H1_MORE);
    T_EQ(payload, 2);
    T_EQ(used, 2);
    T_EQ(d.left, 3);
    T_EQ(mp_chunk_decode(&d, data, 0, &payload, &used), MP_H1_MORE);
    T_EQ(payload + used, 0);
}

static void test_error_keeps_what_came_before(void)
{
    char buf[] = "3\r\nabc\r\n2\r\nxyz";
    struct mp_chunk_dec d;
    size_t payload, used;
    mp_chunk_dec_init(&d);
    T_EQ(mp_chunk_decode(&d, buf, sizeof(buf) - 1, &payload, &used), MP_H1_ERR_BAD_CHUNK_END);
    T_EQ(payload, 5);
    T_OK(memcmp(buf, "abcxy", 5) == 0);
    T_EQ(used, 13);
    /* A failed decoder stays failed. */
    T_EQ(mp_chunk_decode(&d, buf, 1, &payload, &used), MP_H1_ERR_BAD_CHUNK_END);
    T_EQ(payload + used, 0);
}

/* A made-up body in every size of pieces gives the same bytes. */
static void test_every_piece_size(void)
{
    char in[4096], want[4096], out[4096];
    size_t n = 0, want_n = 0, out_n, used;
    for (size_t k = 1; k < 60; k += 3) {
        char head[MP_CHUNK_HEAD_MAX];
        size_t head_n = mp_chunk_head(head, k);
        memcpy(in + n, head, head_n);
        n += head_n;
        for (size_t i = 0; i < k; i++) {
            in[n++] = want[want_n++] = (char)(k * 7 + i);
        }
        in[n++] = '\r';
        in[n++] = '\n';
    }
    memcpy(in + n, MP_CHUNK_LAST, sizeof(MP_CHUNK_LAST) - 1);
    n += sizeof(MP_CHUNK_LAST) - 1;
    for (size_t step = 1; step <= n; step++) {
        T_EQ(help_body(in, n, step, out, &out_n, &used), MP_H1_OK);
        T_EQ(out_n, want_n);
        T_OK(memcmp(out, want, want_n) == 0);
        T_EQ(used, n);
    }
    for (size_t cut = 0; cut < n; cut++) {
        T_EQ(help_body(in, cut, 0, out, &out_n, &used), MP_H1_MORE);
        T_OK(out_n <= want_n && memcmp(out, want, out_n) == 0);
    }
}

static void test_head(void)
{
    static const struct {
        uint64_t n;
        const char *text;
    } rows[] = {{1, "1\r\n"},
                {9, "9\r\n"},
                {15, "f\r\n"},
                {16, "10\r\n"},
                {255, "ff\r\n"},
                {256, "100\r\n"},
                {16384, "4000\r\n"},
                {UINT32_MAX, "ffffffff\r\n"},
                {UINT64_C(1) << 32, "100000000\r\n"},
                {UINT64_MAX, "ffffffffffffffff\r\n"},
                {0, "0\r\n"}};
    for (size_t i = 0; i < MP_COUNTOF(rows); i++) {
        char out[MP_CHUNK_HEAD_MAX];
        size_t n = mp_chunk_head(out, rows[i].n);
        T_EQ(n, strlen(rows[i].text));
        T_OK(memcmp(out, rows[i].text, n) == 0);
    }
}

int main(void)
{
    T_RUN(test_in_place);
    T_RUN(test_plain_data_is_not_moved);
    T_RUN(test_error_keeps_what_came_before);
    T_RUN(test_every_piece_size);
    T_RUN(test_head);
    return T_DONE();
}
