/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "base/mem.h"
#include "base/rand.h"
#include "base/timerwheel.h"
#include "t.h"

static struct mp_wheel w;
static int fired;
static uint64_t fired_at;

static void note(struct mp_timer *t)
{
    fired++;
    fired_at = w.now_ms;
}

static void basics(void)
{
    struct mp_timer t;
    mp_wheel_init(&w, 1000);
    mp_timer_init(&t, note);
    fired = 0;
    T_OK(!mp_timer_is_set(&t));
    T_EQ(mp_wheel_next(&w, 500), 500);
    mp_wheel_remove(&w, &t); /* idle: harmless */
    T_EQ(w.n, 0);
    mp_wheel_set(&w, &t, 1100);
    T_OK(mp_timer_is_set(&t));
    T_EQ(w.n, 1);
    T_OK(mp_wheel_next(&w, 500) <= 100);
    mp_wheel_advance(&w, 1099);
    T_EQ(fired, 0);
    T_EQ(mp_wheel_next(&w, 500), 1);
    mp_wheel_advance(&w, 1100);
    T_EQ(fired, 1);
    T_OK(!mp_timer_is_set(&t));
    T_EQ(w.n, 0);
    mp_wheel_advance(&w, 5000);
    T_EQ(fired, 1);
}

static void past_and_now(void)
{
    struct mp_timer t;
    mp_wheel_init(&w, 1000);
    mp_timer_init(&t, note);
    static const uint64_t ats[] = {0, 1, 999, 1000};
    for (size_t i = 0; i < MP_COUNTOF(ats); i++) {
        fired = 0;
        mp_wheel_set(&w, &t, ats[i]);
        T_OK(mp_timer_is_set(&t));
        T_EQ(mp_wheel_next(&w, 500), 0);
        mp_wheel_advance(&w, 1000); /* the same time again */
        T_EQ(fired, 1);
    }
    fired = 0;
    mp_wheel_set(&w, &t, 5);
    mp_wheel_set(&w, &t, 3);   /* again, both past */
    mp_wheel_advance(&w, 900); /* a clock that went back */
    T_EQ(fired, 1);
    T_EQ(w.now_ms, 1000);
    mp_wheel_set(&w, &t, 1001);
    mp_wheel_advance(&w, 1000);
    T_EQ(fired, 1); /* never early */
    mp_wheel_advance(&w, 1001);
    T_EQ(fired, 2);
}

static void lazy_moves(void)
{
    struct mp_timer t;
    mp_wheel_init(&w, 0);
    mp_timer_init(&t, note);
    fired = 0;
    mp_wheel_set(&w, &t, 50);
    mp_wheel_set(&w, &t, 5000); /* later: one store */
    T_EQ(t.slot_ms, 50);
    mp_wheel_advance(&w, 50);
    T_EQ(fired, 0);
    T_EQ(t.slot_ms, 5000);
    mp_wheel_set(&w, &t, 60); /* earlier: moved at once */
    T_EQ(t.slot_ms, 60);
    mp_wheel_advance(&w, 60);
    T_EQ(fired, 1);
    /* Unset lazily: falls out at its slot, without a call. */
    mp_wheel_set(&w, &t, 100);
    mp_timer_unset(&t);
    T_OK(!mp_timer_is_set(&t));
    T_EQ(w.n, 1);
    mp_wheel_advance(&w, 100);
    T_EQ(w.n, 0);
    T_EQ(fired, 1);
    /* Unset and set again before that. */
    mp_wheel_set(&w, &t, 200);
    mp_timer_unset(&t);
    mp_wheel_set(&w, &t, 300);
    mp_wheel_advance(&w, 299);
    T_EQ(fired, 1);
    mp_wheel_advance(&w, 300);
    T_EQ(fired, 2);
    mp_wheel_set(&w, &t, 400);
    mp_timer_unset(&t);
    mp_wheel_set(&w, &t, 0);
    mp_wheel_advance(&w, 300);
    T_EQ(fired, 3);
    mp_wheel_set(&w, &t, 400);
    mp_timer_unset(&t);
    mp_wheel_remove(&w, &t);
    T_EQ(w.n, 0);
    T_EQ(mp_wheel_next(&w, 1000), 1000);
}

/* Each boundary of the levels, from several starts: not early, not late, with one jump. */
static void boundaries(void)
{
    static const uint64_t starts[] = {
        0, 1, 63, 64, 4095, 4096, 262143, 68719476735u, 68719476736u, 68719476737u, 1795233300123u};
    for (size_t s = 0; s < MP_COUNTOF(starts); s++) {
        for (int bit = 0; bit <= 40; bit++) {
            for (int off = -1; off <= 1; off++) {
                uint64_t delay = ((uint64_t)1 << bit) + (uint64_t)off;
                struct mp_timer t;
                mp_timer_init(&t, note);
                mp_wheel_init(&w, starts[s]);
                fired = 0;
                uint64_t at = starts[s] + delay;
                mp_wheel_set(&w, &t, at);
                if (delay > 0) {
                    mp_wheel_advance(&w, at - 1);
                    T_EQ(fired, 0);
                }
                mp_wheel_advance(&w, MP_MAX(at, (uint64_t)1));
                T_EQ(fired, 1);
                T_EQ(w.n, 0);
                for (int l = 0; l < MP_WHEEL_LEVELS; l++) {
                    T_OK(w.occupied[l] == 0);
                }
                /* And by following mp_wheel_next alone. */
                mp_timer_init(&t, note);
                mp_wheel_init(&w, starts[s]);
                mp_wheel_set(&w, &t, at);
                int wakes = 0;
                while (fired == 1) {
                    uint64_t next = mp_wheel_next(&w, UINT64_MAX);
                    T_OK(w.now_ms + next <= MP_MAX(at, (uint64_t)1));
                    mp_wheel_advance(&w, w.now_ms + next);
                    T_OK(++wakes < 40);
                }
                T_EQ(fired_at, MP_MAX(at, (uint64_t)1));
            }
        }
    }
}

static void far_away(void)
{
    struct mp_timer t;
    mp_timer_init(&t, note);
    mp_wheel_init(&w, 1795233300123u);
    fired = 0;
    mp_wheel_set(&w, &t, UINT64_MAX);
    for (int i = 0; i < 100; i++) {
        mp_wheel_advance(&w, w.now_ms + 86400000u * 365);
    }
    T_EQ(fired, 0);
    T_EQ(w.n, 1);
    mp_wheel_set(&w, &t, w.now_ms + 10);
    mp_wheel_advance(&w, w.now_ms + 10);
    T_EQ(fired, 1);
}

/* Callbacks that change the wheel. */
struct node {
    struct mp_timer t;
    struct node *peer;
    int count;
};

static void again_now(struct mp_timer *t)
{
    struct node *n = MP_CONTAINER_OF(t, struct node, t);
    n->count++;
    mp_wheel_set(&w, t, w.now_ms);
}

static void again_later(struct mp_timer *t)
{
    struct node *n = MP_CONTAINER_OF(t, struct node, t);
    n->count++;
    mp_wheel_set(&w, t, w.now_ms + 10);
}

static void kill_peer_and_self(struct mp_timer *t)
{
    struct node *n = MP_CONTAINER_OF(t, struct node, t);
    if (n->peer) {
        mp_wheel_remove(&w, &n->peer->t);
        n->peer->peer = NULL;
        free(n->peer);
    }
    mp_wheel_remove(&w, t);
    fired++;
    free(n);
}

static void unset_peer(struct mp_timer *t)
{
    struct node *n = MP_CONTAINER_OF(t, struct node, t);
    n->count++;
    mp_timer_unset(&n->peer->t);
}

static void pull_peer(struct mp_timer *t)
{
    struct node *n = MP_CONTAINER_OF(t, struct node, t);
    n->count++;
    mp_wheel_set(&w, &n->peer->t, 5);
}

static void push_peer(struct mp_timer *t)
{
    struct node *n = MP_CONTAINER_OF(t, struct node, t);
    n->count++;
    mp_wheel_set(&w, &n->peer->t, w.now_ms + 1);
}

static void callbacks_rearm(void)
{
    struct node n = {.count = 0};
    mp_wheel_init(&w, 1000);
    mp_timer_init(&n.t, again_now);
    mp_wheel_set(&w, &n.t, 1000);
    mp_wheel_advance(&w, 1000);
    T_EQ(n.count, 1); /* once an advance, it does not hang */
    mp_wheel_advance(&w, 1000);
    T_EQ(n.count, 2);
    mp_wheel_advance(&w, 1001); /* in the slot left over, and once more at the end */
    T_EQ(n.count, 4);
    mp_wheel_set(&w, &n.t, 2000);
    mp_wheel_advance(&w, 100000000);
    T_EQ(n.count, 6);
    T_EQ(mp_wheel_next(&w, 99), 0);
    mp_wheel_remove(&w, &n.t);
    /* A period is kept across a jump. */
    mp_timer_init(&n.t, again_later);
    n.count = 0;
    mp_wheel_init(&w, 0);
    mp_wheel_set(&w, &n.t, 10);
    mp_wheel_advance(&w, 1000);
    T_EQ(n.count, 100);
    T_EQ(n.t.at_ms, 1010);
    mp_wheel_remove(&w, &n.t);
}

static void callbacks_on_peers(void)
{
    mp_wheel_init(&w, 0);
    fired = 0;
    /* Both due in the same slot; the first frees the second and itself. */
    struct node *a = mp_xcalloc(1, sizeof(*a)), *b = mp_xcalloc(1, sizeof(*b));
    mp_timer_init(&a->t, kill_peer_and_self);
    mp_timer_init(&b->t, kill_peer_and_self);
    a->peer = b;
    b->peer = a;
    mp_wheel_set(&w, &a->t, 100);
    mp_wheel_set(&w, &b->t, 100);
    mp_wheel_advance(&w, 200);
    T_EQ(fired, 1);
    T_EQ(w.n, 0);

    struct node x = {.peer = NULL}, y = {.peer = NULL};
    static void (*const effects[])(struct mp_timer *) = {unset_peer, pull_peer, push_peer};
    static const int expected[] = {0, 1, 1};
    for (size_t i = 0; i < MP_COUNTOF(effects); i++) {
        mp_wheel_init(&w, 0);
        fired = 0;
        x = (struct node){.peer = &y};
        mp_timer_init(&x.t, effects[i]);
        mp_timer_init(&y.t, note);
        mp_wheel_set(&w, &x.t, 100);
        mp_wheel_set(&w, &y.t, 100);
        mp_wheel_advance(&w, 100);
        T_EQ(x.count, 1);
        /* Pulled to a time past: at the end of this advance; it is the same slot, so the next. */
        T_EQ(fired, 0);
        mp_wheel_advance(&w, 101);
        T_EQ(fired, expected[i]);
        T_EQ(w.n, 0);
    }
    /* A peer far away that is pulled to the past in the middle of a jump fires in the same one. */
    mp_wheel_init(&w, 0);
    fired = 0;
    x = (struct node){.peer = &y};
    mp_timer_init(&x.t, pull_peer);
    mp_timer_init(&y.t, note);
    mp_wheel_set(&w, &x.t, 100);
    mp_wheel_set(&w, &y.t, 1000000);
    mp_wheel_advance(&w, 5000);
    T_EQ(fired, 1);
    T_EQ(fired_at, 5000);
}

/* Against a plain table of deadlines. */
#define TIMERS 300
static struct mp_timer timers[TIMERS];
static uint64_t model[TIMERS]; /* 0: not set */
static uint64_t model_now, last_slot;
static int model_bad, model_fired;
static struct mp_rand rnd;

static uint64_t random_delay(void)
{
    return mp_rand_u64(&rnd) >> (24 + mp_rand_below(&rnd, 40));
}

static void model_set(int i, uint64_t at)
{
    mp_wheel_set(&w, &timers[i], at);
    model[i] = MP_MAX(at, (uint64_t)1);
}

static void model_fire(struct mp_timer *t)
{
    int i = (int)(t - timers);
    model_fired++;
    /* Set in the model, due, in order, not early by the wheel's own clock. */
    if (model[i] == 0 || model[i] > w.now_ms || w.now_ms > model_now || w.now_ms < last_slot ||
        mp_timer_is_set(t)) {
        model_bad++;
    }
    last_slot = w.now_ms;
    model[i] = 0;
    int other = (int)mp_rand_below(&rnd, TIMERS);
    switch (mp_rand_below(&rnd, 8)) {
    case 0: /* after the end of this advance, so that nothing may be left due there */
        model_set(i, model_now + 1 + random_delay());
        break;
    case 1:
        model_set(other, model_now + 1 + random_delay());
        break;
    case 2:
        mp_wheel_remove(&w, &timers[other]);
        model[other] = 0;
        break;
    case 3:
        mp_timer_unset(&timers[other]);
        model[other] = 0;
        break;
    case 4: /* within this advance */
        if (w.now_ms < model_now) {
            model_set(other, w.now_ms + 1 + random_delay() % (model_now - w.now_ms));
        }
        break;
    default:
        break;
    }
}

static void random_model(void)
{
    for (uint64_t seed = 0; seed < 4; seed++) {
        mp_rand_seed(&rnd, seed);
        model_now = seed == 0 ? 0 : mp_rand_u64(&rnd) >> 22;
        mp_wheel_init(&w, model_now);
        model_bad = model_fired = 0;
        for (int i = 0; i < TIMERS; i++) {
            mp_timer_init(&timers[i], model_fire);
            model[i] = 0;
        }
        for (int step = 0; step < 100000; step++) {
            int i = (int)mp_rand_below(&rnd, TIMERS);
            switch (mp_rand_below(&rnd, 8)) {
            case 0:
            case 1:
            case 2:
                model_set(i, model_now + random_delay());
                break;
            case 3:
                mp_timer_unset(&timers[i]);
                model[i] = 0;
                break;
            case 4:
                mp_wheel_remove(&w, &timers[i]);
                model[i] = 0;
                break;
            default: {
                uint64_t first = UINT64_MAX;
                for (int k = 0; k < TIMERS; k++) {
                    first = model[k] ? MP_MIN(first, model[k]) : first;
                }
                uint64_t next = mp_wheel_next(&w, UINT64_MAX / 2);
                T_OK(first == UINT64_MAX || model_now + next <= MP_MAX(first, model_now) ||
                     model_now == 0);
                uint64_t step_ms = mp_rand_below(&rnd, 3) ? next % 100000000 : random_delay();
                last_slot = model_now;
                model_now += mp_rand_below(&rnd, 5) ? MP_MIN(step_ms, (uint64_t)3000) : step_ms;
                mp_wheel_advance(&w, model_now);
                T_EQ(w.now_ms, model_now);
                for (int k = 0; k < TIMERS; k++) {
                    T_OK(model[k] == 0 || model[k] > model_now || model_now == 0);
                }
                break;
            }
            }
            T_EQ(model_bad, 0);
            T_OK(timers[i].at_ms == model[i]);
        }
        T_OK(model_fired > 1000);
        uint32_t linked = 0;
        for (int i = 0; i < TIMERS; i++) {
            linked += timers[i].link.next != &timers[i].link;
            mp_wheel_remove(&w, &timers[i]);
        }
        T_OK(linked > 0);
        T_EQ(w.n, 0);
        for (int l = 0; l < MP_WHEEL_LEVELS; l++) {
            T_OK(w.occupied[l] == 0); /* each removal gave its bit back */
        }
    }
}

int main(void)
{
    T_RUN(basics);
    T_RUN(past_and_now);
    T_RUN(lazy_moves);
    T_RUN(boundaries);
    T_RUN(far_away);
    T_RUN(callbacks_rearm);
    T_RUN(callbacks_on_peers);
    T_RUN(random_model);
    return T_DONE();
}
