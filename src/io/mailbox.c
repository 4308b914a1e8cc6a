/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Senders push onto a stack; the receiver takes the whole stack by one exchange, so there is no ABA
 * case, and turns it round.
 */
#include "io/mailbox.h"

static void on_wake(void *arg)
{
    mp_mailbox_drain(arg);
}

void mp_mailbox_init(struct mp_mailbox *mb, struct mp_loop *loop, void *receiver)
{
    mb->head = NULL;
    mb->loop = loop;
    mb->receiver = receiver;
    mp_loop_set_on_wake(loop, on_wake, mb);
}

void mp_mailbox_post(struct mp_mailbox *mb, struct mp_msg *m)
{
    struct mp_msg *head = __atomic_load_n(&mb->head, __ATOMIC_RELAXED);
    do {
        m->next = head;
    } while (!__atomic_compare_exchange_n(&mb->head, &head, m, true, __ATOMIC_RELEASE,
                                          __ATOMIC_RELAXED));
    /* Also when the stack was not empty: whoever filled it may not have come to wake the loop yet.
     */
    mp_loop_wake(mb->loop);
}

void mp_mailbox_drain(struct mp_mailbox *mb)
{
    struct mp_msg *newest = __atomic_exchange_n(&mb->head, NULL, __ATOMIC_ACQUIRE);
    struct mp_msg *oldest = NULL;
    while (newest) {
        struct mp_msg *next = newest->next;
        newest->next = oldest;
        oldest = newest;
        newest = next;
    }
    while (oldest) {
        struct mp_msg *m = oldest;
        oldest = m->next;
        m->deliver(m, mb->receiver);
    }
}
