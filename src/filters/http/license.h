/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The license filter: what the licence allows. license_logic.c decides and checks the
 * configuration, license.c ties it to the program.
 *
 * Editions: community has no gated feature and three proxies; enterprise has every feature that is
 * not turned off and as many proxies as max_proxies says. A request for a gated path without the
 * feature is answered 402, every request 429 while more proxies run than are allowed.
 */
#pragma once
#include "filters/guest.h"
#include "filters/path.h"

#define MP_LICENSE_GATES_MAX     256
#define MP_LICENSE_FEATURES_MAX  256
#define MP_LICENSE_COMMUNITY_MAX 3

/* ---- configuration as it was written ---- */

struct mp_license_feature {
    struct mp_str name;
    bool on;
};
struct mp_license_gate_setting {
    struct mp_str prefix, feature;
};
struct mp_license_settings {
    struct mp_str license_key; /* empty: COMMUNITY */
    bool is_enterprise;
    const struct mp_license_feature *features;
    size_t n_features;
    bool has_max_proxies;
    uint32_t max_proxies, current_proxies;
    const struct mp_license_gate_setting *gates; /* none: the usual five */
    size_t n_gates;
    const struct mp_str *exempt_paths;
    size_t n_exempt_paths;
    bool has_exempt_paths;
};

/* ---- configuration as it is used ---- */

/* A path and the answer to whoever may not go there. */
struct mp_license_gate {
    struct mp_str prefix, feature;
    bool open;
    struct mp_str body;
};
struct mp_license {
    bool is_enterprise;
    uint32_t max_proxies; /* 0: no limit */
    uint32_t current_proxies;
    struct mp_str edition, masked_key;
    struct mp_license_gate *gates; /* longest prefix first */
    uint32_t n_gates;
    struct mp_str common; /* of all prefixes */
    struct mp_path_rule *exempt;
    uint32_t n_exempt;
    bool own_exempt; /* the list was given: what auth exempts does not count */
};
/* NULL: refused. */
struct mp_license *mp_license_setup(const struct mp_license_settings *in, struct mp_guest_setup *s);

enum mp_guest_verdict mp_license_on_request(const struct mp_license *l, struct mp_guest *g);
/* Where the filter is disabled: a client's own fields are removed all the same. */
void mp_license_on_disabled(struct mp_guest *g);
/* False: no room for the fields. */
bool mp_license_on_response(const struct mp_license *l, struct mp_guest *g);
void mp_license_on_trailers(struct mp_guest *g);
void mp_license_on_published(struct mp_guest_host *h, const struct mp_license *const *list,
                             uint32_t n);

/* PENG and five groups of four capitals or digits. */
bool mp_license_key_ok(struct mp_str key);
