/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The table of verified tokens by itself: bounds, threads, what is left behind. Its times are
 * tested with auth.json. */
#include "fake_core.h"
#include "filters/guest_native.h"
#include "filters/http/auth.h"
#include "t.h"

static struct fc_conf conf;
static struct mp_stream *stream;
static struct mp_guest guest;
static const struct mp_auth *a;
static const struct mp_auth_now now = {.mono_ns = 1000, .wall_s = 1000};

static void open_cache(unsigned entries)
{
    char text[128];
    snprintf(text, sizeof(text), "{\"jwt_secret\": \"x\", \"jwt_cache_entries\": %u}", entries);
    if (!fc_conf_load(&conf, &mp_conf_filter_auth, mp_str_c(text))) {
        abort();
    }
    stream = fc_stream_new(&conf, "GET", "/", "a");
    guest = (struct mp_guest){.filter = stream->filter};
    a = conf.parsed;
}

static void close_cache(void)
{
    fc_stream_free(stream);
    fc_conf_free(&conf);
}

static struct mp_str name(unsigned i)
{
    static char text[32];
    return mp_str(text, (size_t)snprintf(text, sizeof(text), "token-%u", i));
}

static void bounded(void)
{
    for (unsigned entries = 1; entries <= 64; entries *= 4) {
        open_cache(entries);
        unsigned kept = 0;
        for (unsigned i = 0; i < 1000; i++) {
            mp_auth_cache_put(a, &guest, name(i), now, 2000, name(i));
            T_OK(mp_auth_cache_get(a, &guest, name(i), now).p);
        }
        for (unsigned i = 0; i < 1000; i++) {
            struct mp_str v = mp_auth_cache_get(a, &guest, name(i), now);
            kept += v.p != NULL;
            T_OK(!v.p || mp_str_eq(v, name(i)));
        }
        T_OK(kept <= (entries + 3) / 4 * 4);
        T_OK(kept >= (entries + 3) / 4);
        close_cache();
    }
}

/* The oldest of a full set goes. */
static void replacement(void)
{
    open_cache(4);
    for (unsigned i = 0; i < 5; i++) {
        struct mp_auth_now t = {.mono_ns = 1000 + i, .wall_s = 1000};
        mp_auth_cache_put(a, &guest, name(i), t, 2000, MP_STR("v"));
    }
    T_OK(!mp_auth_cache_get(a, &guest, name(0), now).p);
    for (unsigned i = 1; i < 5; i++) {
        T_OK(mp_auth_cache_get(a, &guest, name(i), now).p);
    }
    /* The same token does not take a second slot. */
    struct mp_auth_now later = {.mono_ns = 5000, .wall_s = 1000};
    mp_auth_cache_put(a, &guest, name(2), later, 2000, MP_STR("new"));
    T_OK(mp_str_eq(mp_auth_cache_get(a, &guest, name(2), now), MP_STR("new")));
    for (unsigned i = 1; i < 5; i++) {
        T_OK(mp_auth_cache_get(a, &guest, name(i), now).p);
    }
    close_cache();
}

static void slot_size(void)
{
    static char text[MP_AUTH_SLOT_TEXT + 2];
    memset(text, 'x', sizeof(text));
    open_cache(4);
    for (size_t n = MP_AUTH_SLOT_TEXT - 1; n <= MP_AUTH_SLOT_TEXT + 1; n++) {
        mp_auth_cache_put(a, &guest, mp_str(text, n - 8), now, 2000, mp_str(text, 8));
        T_EQ(mp_auth_cache_get(a, &guest, mp_str(text, n - 8), now).p != NULL,
             n <= MP_AUTH_SLOT_TEXT);
        mp_auth_cache_put(a, &guest, mp_str(text, n), now, 2000, mp_str(text, 0));
        T_EQ(mp_auth_cache_get(a, &guest, mp_str(text, n), now).p != NULL, n <= MP_AUTH_SLOT_TEXT);
    }
    close_cache();
}

static void times(void)
{
    open_cache(4);
    mp_auth_cache_put(a, &guest, MP_STR("t"), now, 1000, MP_STR("v")); /* over already */
    T_OK(!mp_auth_cache_get(a, &guest, MP_STR("t"), now).p);
    mp_auth_cache_put(a, &guest, MP_STR("t"), now, 1001, MP_STR("v"));
    T_OK(mp_auth_cache_get(a, &guest, MP_STR("t"), now).p);
    T_OK(!mp_auth_cache_get(a, &guest, MP_STR("t"), (struct mp_auth_now){1000, 1001}).p);
    mp_auth_cache_put(a, &guest, MP_STR("u"), now, 9999, MP_STR("v"));
    uint64_t end = 1000 + MP_AUTH_CACHE_TTL_NS;
    T_OK(mp_auth_cache_get(a, &guest, MP_STR("u"), (struct mp_auth_now){end - 1, 1000}).p);
    T_OK(!mp_auth_cache_get(a, &guest, MP_STR("u"), (struct mp_auth_now){end, 1000}).p);
    close_cache();
}

static void threads_have_their_own(void)
{
    open_cache(4);
    mp_auth_cache_put(a, &guest, MP_STR("t"), now, 2000, MP_STR("v"));
    stream->writer = 1;
    T_OK(!mp_auth_cache_get(a, &guest, MP_STR("t"), now).p);
    stream->writer = 0;
    T_OK(mp_auth_cache_get(a, &guest, MP_STR("t"), now).p);
    close_cache();
}

static void similar_tokens(void)
{
    open_cache(64);
    mp_auth_cache_put(a, &guest, MP_STR("token"), now, 2000, MP_STR("v"));
    T_OK(!mp_auth_cache_get(a, &guest, MP_STR("tokem"), now).p);
    T_OK(!mp_auth_cache_get(a, &guest, MP_STR("toke"), now).p);
    T_OK(!mp_auth_cache_get(a, &guest, MP_STR("tokenv"), now).p);
    T_OK(!mp_auth_cache_get(a, &guest, MP_STR(""), now).p);
    close_cache();
}

int main(void)
{
    fc_init();
    T_RUN(bounded);
    T_RUN(replacement);
    T_RUN(slot_size);
    T_RUN(times);
    T_RUN(threads_have_their_own);
    T_RUN(similar_tokens);
    fc_fini();
    return T_DONE();
}
