/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Header conditions of filters: the routes' matcher, without regular expressions. */
#include "core/filter.h"
#include "core/route_int.h"

static enum route_subject subject_of(struct mp_str name)
{
    static const struct {
        struct mp_str name;
        enum route_subject subject;
    } parts[] = {{MP_STR(":method"), ROUTE_METHOD},
                 {MP_STR(":path"), ROUTE_PATH},
                 {MP_STR(":authority"), ROUTE_AUTHORITY},
                 {MP_STR("host"), ROUTE_AUTHORITY},
                 {MP_STR(":scheme"), ROUTE_SCHEME}};
    for (size_t i = 0; i < MP_COUNTOF(parts); i++) {
        if (mp_str_eq(name, parts[i].name)) {
            return parts[i].subject;
        }
    }
    return ROUTE_FIELD;
}

bool mp_filter_headers_match(const struct mp_conf_header_match *list, uint32_t n,
                             const struct mp_req_head *h)
{
    const struct route_request q = {.head = h};
    for (uint32_t i = 0; i < n; i++) {
        MP_DEBUG_ASSERT(list[i].kind != MP_MATCH_REGEX);
        struct route_condition c = {.conf = &list[i],
                                    .subject = (uint8_t)subject_of(list[i].name),
                                    .id = (uint8_t)mp_hdr_id_of(list[i].name.p, list[i].name.n)};
        const struct route_entry e = {.conditions = &c, .n_conditions = 1};
        if (mp_route_conditions_hold(&e, &q) != MP_REGEX_YES) {
            return false;
        }
    }
    return true;
}
