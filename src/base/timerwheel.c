/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Time is read as digits of 6 bits. An entry lies on the level of the highest digit in which its
 * slot time differs from now, under that digit of the slot time. So on each level every entry has a
 * digit after now's (level 0: at or after), all of level n comes before all of level n + 1, and the
 * first set bit of the lowest occupied level is the next event. On the levels above 0 an event is a
 * cascade: the entries move down, by their true deadline. Where nothing is due, now simply jumps.
 *
 * The top level alone wraps: its entries lie 1 to 63 digits ahead, later deadlines wait at 63.
 */
#include "base/timerwheel.h"

#include "base/assert.h"

#define TOP        (MP_WHEEL_LEVELS - 1)
#define DIGIT_MASK ((uint64_t)MP_WHEEL_SLOTS - 1)

void mp_wheel_init(struct mp_wheel *w, uint64_t now_ms)
{
    *w = (struct mp_wheel){.now_ms = now_ms, .target_ms = now_ms};
    for (int level = 0; level < MP_WHEEL_LEVELS; level++) {
        for (int i = 0; i < MP_WHEEL_SLOTS; i++) {
            mp_list_init(&w->slots[level][i]);
        }
    }
}

void mp_timer_init(struct mp_timer *t, void (*fire)(struct mp_timer *t))
{
    *t = (struct mp_timer){.fire = fire};
    mp_list_init(&t->link);
}

static void insert(struct mp_wheel *w, struct mp_timer *t, uint64_t slot_ms)
{
    uint64_t differ = slot_ms ^ w->now_ms;
    int level = differ ? (63 - __builtin_clzll(differ)) / MP_WHEEL_BITS : 0;
    if (level >= TOP) {
        level = TOP;
        uint64_t far = ((w->now_ms >> (TOP * MP_WHEEL_BITS)) + DIGIT_MASK) << (TOP * MP_WHEEL_BITS);
        slot_ms = MP_MIN(slot_ms, far);
    }
    uint64_t digit = slot_ms >> (level * MP_WHEEL_BITS) & DIGIT_MASK;
    t->slot_ms = slot_ms;
    mp_list_push_back(&w->slots[level][digit], &t->link);
    w->occupied[level] |= (uint64_t)1 << digit;
    w->n++;
}

/* The entry becomes idle. An emptied slot gives its bit back. */
static void unlink_timer(struct mp_wheel *w, struct mp_timer *t)
{
    struct mp_list *head = t->link.next;
    bool last = head == t->link.prev;
    mp_list_remove(&t->link);
    w->n--;
    /* The head may also be the list that mp_wheel_advance works on. */
    struct mp_list *first = &w->slots[0][0];
    uintptr_t offset = (uintptr_t)head - (uintptr_t)first;
    if (last && offset < sizeof(w->slots)) {
        size_t i = offset / sizeof(*head);
        w->occupied[i / MP_WHEEL_SLOTS] &= ~((uint64_t)1 << i % MP_WHEEL_SLOTS);
    }
}

void mp_wheel_set_slow(struct mp_wheel *w, struct mp_timer *t, uint64_t at_ms)
{
    if (t->link.next != &t->link) {
        unlink_timer(w, t);
    }
    t->at_ms = MP_MAX(at_ms, (uint64_t)1); /* 0 stands for unset */
    /* What is due already waits for the end of a running advance, or for the next one: a callback
     * that sets itself to now does not keep the advance from ending. */
    insert(w, t, t->at_ms > w->now_ms ? t->at_ms : MP_MAX(w->target_ms, (uint64_t)1));
}

void mp_wheel_remove(struct mp_wheel *w, struct mp_timer *t)
{
    t->at_ms = 0;
    if (t->link.next != &t->link) {
        unlink_timer(w, t);
    }
}

/* The next slot that has entries: its level and index, and when it comes up. False: none. */
static bool next_event(const struct mp_wheel *w, int *level, unsigned *index, uint64_t *at_ms)
{
    for (int l = 0; l < MP_WHEEL_LEVELS; l++) {
        if (w->occupied[l] == 0) {
            continue;
        }
        uint64_t now = w->now_ms >> (l * MP_WHEEL_BITS);
        unsigned digit = (unsigned)(now & DIGIT_MASK);
        /* Bit k of ahead is the slot k digits after now's. Only the top level wraps. */
        uint64_t bits = w->occupied[l];
        uint64_t ahead = digit ? bits >> digit | bits << (MP_WHEEL_SLOTS - digit) : bits;
        unsigned distance = (unsigned)__builtin_ctzll(ahead);
        *level = l;
        *index = (unsigned)((digit + distance) & DIGIT_MASK);
        *at_ms = (now + distance) << (l * MP_WHEEL_BITS);
        return true;
    }
    return false;
}

static void run_slot(struct mp_wheel *w, int level, unsigned index)
{
    struct mp_list due;
    mp_list_init(&due);
    mp_list_splice(&due, &w->slots[level][index]);
    w->occupied[level] &= ~((uint64_t)1 << index);
    /* Callbacks may unlink entries of this list: always take the first. */
    for (struct mp_list *node = mp_list_pop_front(&due); node; node = mp_list_pop_front(&due)) {
        struct mp_timer *t = MP_CONTAINER_OF(node, struct mp_timer, link);
        w->n--;
        if (t->at_ms == 0) {
            continue; /* unset meanwhile */
        }
        if (level > 0 || t->at_ms > w->now_ms) {
            /* Cascade, or moved later. The slot is after the deadline when that was past already.
             */
            insert(w, t, MP_MAX(t->at_ms, t->slot_ms));
            continue;
        }
        t->at_ms = 0;
        t->fire(t);
    }
}

void mp_wheel_advance(struct mp_wheel *w, uint64_t now_ms)
{
    MP_ASSERT(!w->advancing);
    w->advancing = true;
    w->target_ms = MP_MAX(now_ms, w->now_ms);
    int level;
    unsigned index;
    uint64_t at_ms;
    while (next_event(w, &level, &index, &at_ms) && at_ms <= w->target_ms) {
        w->now_ms = MP_MAX(at_ms, w->now_ms);
        run_slot(w, level, index);
        /* The last slot runs once: what its callbacks put there is for the next advance. */
        if (level == 0 && at_ms == w->target_ms) {
            break;
        }
    }
    w->now_ms = w->target_ms;
    w->advancing = false;
}

uint64_t mp_wheel_next(const struct mp_wheel *w, uint64_t max_ms)
{
    int level;
    unsigned index;
    uint64_t at_ms;
    if (!next_event(w, &level, &index, &at_ms)) {
        return max_ms;
    }
    return MP_MIN(at_ms - w->now_ms, max_ms);
}
