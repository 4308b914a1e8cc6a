/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "filters/settings.h"

#include <stdio.h>

struct mp_str *mp_settings_texts(char *const *list, size_t n, struct mp_guest_setup *s)
{
    struct mp_str *out = mp_guest_setup_alloc(s, n * sizeof(*out));
    for (size_t i = 0; i < n; i++) {
        out[i] = mp_str_c(list[i]);
    }
    return out;
}

struct mp_str *mp_settings_list(const Google__Protobuf__ListValue *list, const char *field,
                                size_t *ret_n, struct mp_guest_setup *s)
{
    size_t n = list ? list->n_values : 0;
    struct mp_str *out = mp_guest_setup_alloc(s, n * sizeof(*out));
    *ret_n = 0;
    for (size_t i = 0; i < n; i++) {
        const Google__Protobuf__Value *v = list->values[i];
        if (v->kind_case != GOOGLE__PROTOBUF__VALUE__KIND_STRING_VALUE) {
            char at[64];
            snprintf(at, sizeof(at), "%s[%zu]", field, i);
            mp_guest_refuse(s, at, NULL, "text is expected");
            continue;
        }
        out[(*ret_n)++] = mp_str_c(v->string_value);
    }
    return out;
}
