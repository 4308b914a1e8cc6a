/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Hierarchical timer wheel, milliseconds, for one thread (Varghese and Lauck 1987). Made for timers
 * that are set often and seldom fire: moving a deadline later is one store; the entry is
 * re-inserted when its old slot comes up. A timer never fires early; it fires at most one tick (1
 * ms) late plus the time the loop was busy.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "base/list.h"

struct mp_timer {
    struct mp_list link;              /* self-linked when idle */
    uint64_t at_ms;                   /* when it is due; 0: not set */
    uint64_t slot_ms;                 /* where it lies in the wheel; <= at_ms, or the next slot
                                       * to run when at_ms was past already */
    void (*fire)(struct mp_timer *t); /* the timer is unset before the call; may set it again */
};
_Static_assert(sizeof(struct mp_timer) == 40, "kept small: every idle connection has one");

#define MP_WHEEL_BITS   6
#define MP_WHEEL_SLOTS  (1 << MP_WHEEL_BITS)
#define MP_WHEEL_LEVELS 6 /* 64^6 ms = 795 days */

struct mp_wheel {
    uint64_t now_ms;    /* all slots before this have fired */
    uint64_t target_ms; /* where a running advance will end; else now_ms */
    uint64_t occupied[MP_WHEEL_LEVELS];
    struct mp_list slots[MP_WHEEL_LEVELS][MP_WHEEL_SLOTS];
    uint32_t n; /* linked entries, unset ones too */
    bool advancing;
};

void mp_wheel_init(struct mp_wheel *w, uint64_t now_ms);
void mp_timer_init(struct mp_timer *t, void (*fire)(struct mp_timer *t));
/* at_ms in the past fires on the next advance. */
void mp_wheel_set_slow(struct mp_wheel *w, struct mp_timer *t, uint64_t at_ms);
/* Sets or moves the deadline. */
static inline void mp_wheel_set(struct mp_wheel *w, struct mp_timer *t, uint64_t at_ms)
{
    if (t->link.next != &t->link && at_ms >= t->slot_ms) {
        t->at_ms = at_ms;
        return;
    }
    mp_wheel_set_slow(w, t, at_ms);
}
/* Unsets without unlinking (cheap; the entry falls out when its slot comes up). The memory must
 * stay valid until then: use mp_wheel_remove before freeing. */
static inline void mp_timer_unset(struct mp_timer *t)
{
    t->at_ms = 0;
}
static inline bool mp_timer_is_set(const struct mp_timer *t)
{
    return t->at_ms != 0;
}
void mp_wheel_remove(struct mp_wheel *w, struct mp_timer *t);
/* Fires everything due at or before now_ms, in order of slots. Callbacks may set, unset and remove
 * any timer; what they set to a time already past fires at now_ms, or with the next advance. Not to
 * be called from a callback. */
void mp_wheel_advance(struct mp_wheel *w, uint64_t now_ms);
/* Milliseconds, counted from the wheel's now_ms, until the wheel must be advanced again, at most
 * max_ms; may be earlier than the next deadline (cascades), never later. */
uint64_t mp_wheel_next(const struct mp_wheel *w, uint64_t max_ms);
