/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* filters/guest.h inside the program: for the files that tie a filter's logic to core/filter.h. */
#pragma once
#include "core/filter.h"
#include "filters/guest.h"

struct mp_guest {
    struct mp_filter *filter;
    struct mp_resp_head *response; /* in its callback */
    struct mp_hdrs *trailers;      /* in their callback */
};
struct mp_guest_setup {
    struct mp_arena *arena;
    const struct mp_conf_where *where;
    mp_err err; /* the first refusal */
};

static inline enum mp_verdict mp_guest_verdict(enum mp_guest_verdict v)
{
    return v == MP_GUEST_CONTINUE  ? MP_VERDICT_CONTINUE
           : v == MP_GUEST_REPLIED ? MP_VERDICT_REPLY
                                   : MP_VERDICT_ABORT;
}
static inline struct mp_guest_host *mp_guest_host(struct mp_filter_host *h)
{
    return (struct mp_guest_host *)(void *)h;
}
