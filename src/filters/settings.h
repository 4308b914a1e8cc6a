/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Parts of protobuf configurations that several filters have. What is returned borrows its text
 * from the message. */
#pragma once
#include "filters/guest_native.h"
#include "google_protobuf.pb-c.h"

struct mp_str *mp_settings_texts(char *const *list, size_t n, struct mp_guest_setup *s);
/* A list of nothing but strings; NULL message: none. */
struct mp_str *mp_settings_list(const Google__Protobuf__ListValue *list, const char *field,
                                size_t *ret_n, struct mp_guest_setup *s);
