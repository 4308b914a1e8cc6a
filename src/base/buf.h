/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* A queue of bytes in blocks of a worker's pool: unsent output, a body held back by a filter. One
 * thread. Growth is bounded by the users' watermarks, not here.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <sys/uio.h>
#include "base/slab.h"
#include "base/str.h"

struct mp_buf_block;
struct mp_buf {
    struct mp_buf_block *head, *tail;
    size_t n; /* bytes held */
};

static inline void mp_buf_init(struct mp_buf *b)
{
    b->head = b->tail = NULL;
    b->n = 0;
}
void mp_buf_fini(struct mp_buf *b, struct mp_blocks *blocks);
/* False (nothing added) when the pool is exhausted. */
MP_MUST_USE bool mp_buf_add(struct mp_buf *b, struct mp_blocks *blocks, const void *p, size_t n);
/* Room for n contiguous bytes at the end, or NULL; commit what was written. */
char *mp_buf_reserve(struct mp_buf *b, struct mp_blocks *blocks, size_t n);
void mp_buf_commit(struct mp_buf *b, size_t n);
/* Fills iov with up to max pieces from the front; returns the count. */
int mp_buf_peek(const struct mp_buf *b, struct iovec *iov, int max);
/* First contiguous piece (empty when n is 0). */
struct mp_str mp_buf_front(const struct mp_buf *b);
void mp_buf_consume(struct mp_buf *b, struct mp_blocks *blocks, size_t n);
/* Appends all of from, which is empty afterwards. */
void mp_buf_move(struct mp_buf *to, struct mp_buf *from);
