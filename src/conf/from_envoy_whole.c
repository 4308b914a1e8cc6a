/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* What must differ across the configuration: names and addresses. Called inside static_resources.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "conf/build.h"

/* One name or address and where it stands: the path below the present one. */
struct holder {
    struct mp_str text;
    const char *kind;    /* "listeners" */
    uint32_t index, sub; /* sub: of an address; UINT32_MAX: none */
};

static int by_text(const void *a, const void *b)
{
    const struct holder *x = a, *y = b;
    int c = mp_str_cmp(x->text, y->text);
    if (c == 0) {
        c = (x->index > y->index) - (x->index < y->index);
    }
    return c ? c : (x->sub > y->sub) - (x->sub < y->sub);
}

static void refuse_duplicates(struct mp_conf_build *b, struct holder *list, size_t n,
                              const char *what, const char *field)
{
    qsort(list, n, sizeof(*list), by_text);
    for (size_t i = 1; i < n; i++) {
        const struct holder *x = &list[i - 1], *y = &list[i];
        if (x->text.n == 0 || !mp_str_eq(x->text, y->text)) {
            continue;
        }
        size_t mark = mp_build_enter(b, "%s[%u]", y->kind, y->index);
        char first[128];
        snprintf(first, sizeof(first), "static_resources.%s[%u]", x->kind, x->index);
        struct mp_str shown = mp_build_str(b, mp_build_shown(b, first));
        (void)mp_build_error(b, field, NULL, "%s \"" MP_STR_FMT "\" is that of %s too", what,
                             MP_STR_ARG(y->text), shown.p);
        mp_build_leave(b, mark);
    }
}

static void check_names(struct mp_conf_build *b)
{
    const struct mp_conf *c = b->conf;
    struct holder *list = mp_xcalloc(MP_MAX(c->n_clusters, c->n_listeners) + 1, sizeof(*list));
    for (uint32_t i = 0; i < c->n_clusters; i++) {
        list[i] = (struct holder){c->clusters[i]->name, "clusters", i, 0};
    }
    refuse_duplicates(b, list, c->n_clusters, "name", "name");
    for (uint32_t i = 0; i < c->n_listeners; i++) {
        list[i] = (struct holder){c->listeners[i]->name, "listeners", i, 0};
    }
    refuse_duplicates(b, list, c->n_listeners, "name", "name");
    free(list);
}

static void check_addresses(struct mp_conf_build *b)
{
    const struct mp_conf *c = b->conf;
    size_t n = 0, max = 1;
    for (uint32_t i = 0; i < c->n_listeners; i++) {
        max += c->listeners[i]->n_addrs;
    }
    struct holder *list = mp_xcalloc(max, sizeof(*list));
    for (uint32_t i = 0; i < c->n_listeners; i++) {
        for (uint32_t j = 0; j < c->listeners[i]->n_addrs; j++) {
            const struct mp_conf_addr *a = &c->listeners[i]->addrs[j];
            if (a->is_unix || a->port != 0) { /* port 0: the system finds a free one */
                list[n++] = (struct holder){mp_build_addr_text(b, a), "listeners", i, j};
            }
        }
    }
    refuse_duplicates(b, list, n, "address", "address");
    const struct mp_conf_addr *admin = &c->admin.addr;
    if (c->admin.present && (admin->is_unix || admin->port != 0)) {
        struct mp_str text = mp_build_addr_text(b, admin);
        for (size_t i = 0; i < n; i++) {
            if (mp_str_eq(list[i].text, text)) {
                size_t mark = mp_build_enter(b, "listeners[%u]", list[i].index);
                (void)mp_build_error(b, "address", "give the admin another port",
                                     "address \"" MP_STR_FMT "\" is that of admin too",
                                     MP_STR_ARG(text));
                mp_build_leave(b, mark);
            }
        }
    }
    free(list);
}

void mp_build_check_whole(struct mp_conf_build *b)
{
    check_names(b);
    check_addresses(b);
}
