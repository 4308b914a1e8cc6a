/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "base/buf.h"

#include "base/assert.h"

/* Blocks of one addition are at most this large: a 16 KiB block of the pool with its header. */
#define BLOCK_MAX ((size_t)16384)

struct mp_buf_block {
    struct mp_buf_block *next;
    size_t size;       /* as the pool gave it */
    size_t start, end; /* of the bytes held, inside data */
    char data[];
};

static size_t room_of(const struct mp_buf_block *k)
{
    return k ? k->size - sizeof(*k) - k->end : 0;
}

/* A block with room for want bytes, or for what fits into BLOCK_MAX when it may be split. */
static struct mp_buf_block *block_new(struct mp_blocks *blocks, size_t want, bool may_split)
{
    if (want > SIZE_MAX - sizeof(struct mp_buf_block)) {
        return NULL;
    }
    size_t size = want + sizeof(struct mp_buf_block);
    if (may_split) {
        size = MP_MIN(size, BLOCK_MAX);
    }
    struct mp_buf_block *k = mp_blocks_get(blocks, &size);
    if (k) {
        *k = (struct mp_buf_block){.size = size};
    }
    return k;
}

static void chain_free(struct mp_blocks *blocks, struct mp_buf_block *k)
{
    while (k) {
        struct mp_buf_block *next = k->next;
        mp_blocks_put(blocks, k, k->size);
        k = next;
    }
}

static void append_block(struct mp_buf *b, struct mp_buf_block *k)
{
    struct mp_buf_block **link = b->tail ? &b->tail->next : &b->head;
    *link = k;
    b->tail = k;
}

static void fill(struct mp_buf *b, const char *p, size_t n)
{
    memcpy(b->tail->data + b->tail->end, p, n);
    b->tail->end += n;
    b->n += n;
}

void mp_buf_fini(struct mp_buf *b, struct mp_blocks *blocks)
{
    chain_free(blocks, b->head);
    mp_buf_init(b);
}

bool mp_buf_add(struct mp_buf *b, struct mp_blocks *blocks, const void *p, size_t n)
{
    if (n == 0) {
        return true;
    }
    const char *bytes = p;
    size_t first = MP_MIN(n, room_of(b->tail));
    /* All new blocks before the first byte: on failure nothing has changed. */
    struct mp_buf chain;
    mp_buf_init(&chain);
    for (size_t left = n - first; left > 0; left -= MP_MIN(left, room_of(chain.tail))) {
        struct mp_buf_block *k = block_new(blocks, left, true);
        if (!k) {
            chain_free(blocks, chain.head);
            return false;
        }
        append_block(&chain, k);
    }
    if (first > 0) {
        fill(b, bytes, first);
        bytes += first;
    }
    size_t left = n - first;
    for (struct mp_buf_block *k = chain.head, *next; k; k = next) {
        next = k->next;
        append_block(b, k);
        size_t part = MP_MIN(left, room_of(k));
        fill(b, bytes, part);
        bytes += part;
        left -= part;
    }
    return true;
}

char *mp_buf_reserve(struct mp_buf *b, struct mp_blocks *blocks, size_t n)
{
    if (!b->tail || room_of(b->tail) < n) {
        struct mp_buf_block *k = block_new(blocks, n, false);
        if (!k) {
            return NULL;
        }
        append_block(b, k);
    }
    return b->tail->data + b->tail->end;
}

void mp_buf_commit(struct mp_buf *b, size_t n)
{
    if (n > 0) {
        MP_ASSERT(n <= room_of(b->tail));
        b->tail->end += n;
        b->n += n;
    }
}

/* Blocks without bytes exist: a reservation that was not committed, or was too small for the next.
 */
int mp_buf_peek(const struct mp_buf *b, struct iovec *iov, int max)
{
    int count = 0;
    for (struct mp_buf_block *k = b->head; k && count < max; k = k->next) {
        if (k->end > k->start) {
            iov[count++] = (struct iovec){k->data + k->start, k->end - k->start};
        }
    }
    return count;
}

struct mp_str mp_buf_front(const struct mp_buf *b)
{
    struct iovec piece;
    if (mp_buf_peek(b, &piece, 1) == 0) {
        return mp_str(NULL, 0);
    }
    return mp_str(piece.iov_base, piece.iov_len);
}

void mp_buf_consume(struct mp_buf *b, struct mp_blocks *blocks, size_t n)
{
    MP_ASSERT(n <= b->n);
    b->n -= n;
    if (b->n == 0) {
        /* An idle buffer holds no memory. */
        mp_buf_fini(b, blocks);
        return;
    }
    while (n > 0 || b->head->start == b->head->end) {
        struct mp_buf_block *k = b->head;
        size_t part = MP_MIN(n, k->end - k->start);
        k->start += part;
        n -= part;
        if (k->start == k->end) {
            b->head = k->next;
            mp_blocks_put(blocks, k, k->size);
        }
    }
}

void mp_buf_move(struct mp_buf *to, struct mp_buf *from)
{
    if (!from->head) {
        return;
    }
    struct mp_buf_block **link = to->tail ? &to->tail->next : &to->head;
    *link = from->head;
    to->tail = from->tail;
    to->n += from->n;
    mp_buf_init(from);
}
