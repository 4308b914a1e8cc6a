/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include <time.h>
#include "io/mailbox.h"
#include "io/thread.h"
#include "t.h"
#include "unit/io/util.h"

enum { SENDERS = 4, MESSAGES = 100000 };

struct numbered {
    struct mp_msg m;
    uint32_t sender, number;
};
struct receiver {
    struct mp_mailbox mb;
    struct mp_loop *loop;
    uint32_t next[SENDERS];
    uint32_t total, disorder;
};
struct sender {
    struct receiver *to;
    uint32_t id, count, pause_every;
    struct numbered *msgs;
};

static void deliver(struct mp_msg *m, void *arg)
{
    struct numbered *n = MP_CONTAINER_OF(m, struct numbered, m);
    struct receiver *r = arg;
    r->disorder += n->number != r->next[n->sender];
    r->next[n->sender] = n->number + 1;
    r->total++;
    memset(n, 0xee, sizeof *n); /* ours from here: a later touch by the sender is a race */
}

static void send_all(void *arg)
{
    struct sender *s = arg;
    for (uint32_t i = 0; i < s->count; i++) {
        s->msgs[i] = (struct numbered){.m.deliver = deliver, .sender = s->id, .number = i};
        mp_mailbox_post(&s->to->mb, &s->msgs[i].m);
        if (s->pause_every && i % s->pause_every == 0) {
            /* Lets the receiver fall asleep, so that both ways of waking occur. */
            struct timespec ts = {0, 200000};
            nanosleep(&ts, NULL);
        }
    }
}

static void four_senders(void)
{
    struct receiver *r = calloc(1, sizeof *r);
    struct sender s[SENDERS];
    struct mp_thread *t[SENDERS];
    T_OK(r);
    r->loop = mp_loop_new();
    mp_mailbox_init(&r->mb, r->loop, r);
    for (uint32_t i = 0; i < SENDERS; i++) {
        s[i] = (struct sender){r, i, MESSAGES, i == 0 ? 1000 : 0,
                               calloc(MESSAGES, sizeof(struct numbered))};
        T_OK(s[i].msgs);
        T_OK(!mp_is_err(mp_thread_start("sender", -1, send_all, &s[i], &t[i])));
    }
    /* Only messages end a wait: a lost wake-up would show as a timeout of 10 s here. */
    uint64_t t0 = mp_loop_clock_ns(r->loop);
    while (r->total < SENDERS * MESSAGES) {
        uint64_t before = mp_loop_clock_ns(r->loop);
        mp_loop_turn(r->loop, 10000);
        T_OK(mp_loop_clock_ns(r->loop) - before < 9000000000ull);
    }
    T_OK(mp_loop_clock_ns(r->loop) - t0 < 120000000000ull);
    for (uint32_t i = 0; i < SENDERS; i++) {
        mp_thread_join(t[i]);
        T_EQ(r->next[i], MESSAGES);
        free(s[i].msgs);
    }
    T_EQ(r->disorder, 0);
    mp_loop_free(r->loop);
    free(r);
}

/* One message at a time against a sleeping loop. */
static void ping_sleeping_loop(void)
{
    struct receiver *r = calloc(1, sizeof *r);
    struct sender s = {r, 0, 2000, 10, calloc(2000, sizeof(struct numbered))};
    struct mp_thread *t;
    T_OK(r && s.msgs);
    r->loop = mp_loop_new();
    mp_mailbox_init(&r->mb, r->loop, r);
    T_OK(!mp_is_err(mp_thread_start("sender", -1, send_all, &s, &t)));
    while (r->total < s.count) {
        uint64_t before = mp_loop_clock_ns(r->loop);
        mp_loop_turn(r->loop, 10000);
        T_OK(mp_loop_clock_ns(r->loop) - before < 9000000000ull);
    }
    mp_thread_join(t);
    T_EQ(r->disorder, 0);
    free(s.msgs);
    mp_loop_free(r->loop);
    free(r);
}

static struct receiver *echo_to;
static struct numbered echo_second;
static void deliver_and_post(struct mp_msg *m, void *arg)
{
    (void)m;
    (void)arg;
    mp_mailbox_post(&echo_to->mb, &echo_second.m);
}

/* A message posted while delivering arrives in a later turn, not lost and not in this drain. */
static void post_from_deliver(void)
{
    struct receiver r = {.loop = mp_loop_new()};
    struct mp_msg first = {.deliver = deliver_and_post};
    mp_mailbox_init(&r.mb, r.loop, &r);
    echo_to = &r;
    echo_second = (struct numbered){.m.deliver = deliver};
    mp_mailbox_post(&r.mb, &first);
    mp_loop_turn(r.loop, 1000);
    T_EQ(r.total, 0);
    mp_loop_turn(r.loop, 1000);
    T_EQ(r.total, 1);
    mp_mailbox_drain(&r.mb);
    mp_loop_free(r.loop);
}

static void drain_by_hand(void)
{
    struct receiver r = {.loop = mp_loop_new()};
    struct numbered m[3];
    mp_mailbox_init(&r.mb, r.loop, &r);
    for (uint32_t i = 0; i < 3; i++) {
        m[i] = (struct numbered){.m.deliver = deliver, .number = i};
        mp_mailbox_post(&r.mb, &m[i].m);
    }
    mp_mailbox_drain(&r.mb);
    T_EQ(r.total, 3);
    T_EQ(r.disorder, 0);
    mp_loop_turn(r.loop, 1000);
    T_EQ(r.total, 3);
    mp_loop_free(r.loop);
}

int main(void)
{
    T_RUN(four_senders);
    T_RUN(ping_sleeping_loop);
    T_RUN(post_from_deliver);
    T_RUN(drain_by_hand);
    return T_DONE();
}
