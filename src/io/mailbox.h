/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Messages between threads: many senders, one receiver (the owner of the loop). The only way,
 * beside the publication of a snapshot, in which threads meet. Messages of one sender arrive in
 * order.
 */
#pragma once
#include "io/loop.h"

struct mp_msg {
    struct mp_msg *next;
    /* Runs on the receiver's thread and owns the message (usually frees it). */
    void (*deliver)(struct mp_msg *m, void *receiver);
};
struct mp_mailbox {
    struct mp_msg *head; /* atomic; newest first */
    struct mp_loop *loop;
    void *receiver;
};
/* Installs itself as the loop's on_wake. */
void mp_mailbox_init(struct mp_mailbox *mb, struct mp_loop *loop, void *receiver);
/* Any thread. m must stay valid until delivered. */
void mp_mailbox_post(struct mp_mailbox *mb, struct mp_msg *m);
/* Delivers everything that has arrived; called by the loop, and once more before the loop is freed.
 */
void mp_mailbox_drain(struct mp_mailbox *mb);
