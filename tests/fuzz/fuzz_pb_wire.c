/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Any bytes as a message. The first byte chooses the type and whether what is not declared is
 * allowed. What is taken must pack, print, and read again as the same.
 */
#include "unit/conf/conf_test.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const types[] = {
    "envoy.config.bootstrap.v3.Bootstrap",
    "envoy.config.cluster.v3.Cluster",
    "envoy.config.listener.v3.Listener",
    "envoy.config.route.v3.RouteConfiguration",
    "google.protobuf.Any",
    "google.protobuf.Struct",
    "google.protobuf.Value",
    "marchproxy.config.v1.SimpleFile",
};

static bool reads_back(const struct mp_sb *json, const ProtobufCMessageDescriptor *d,
                       struct mp_arena *arena)
{
    struct mp_yaml *y;
    struct mp_pb_read_opts opts = {0};
    ProtobufCMessage *m;
    struct mp_sb again;
    bool same = true;
    if (mp_is_err(mp_yaml_parse(mp_sb_str(json), NULL, &y))) {
        return true; /* equal keys in a map, numbers no YAML has: legal on the wire, not in a
                        document */
    }
    mp_sb_init(&again, 64 << 20);
    if (!mp_is_err(mp_pb_from_yaml(y, NULL, d, &opts, arena, NULL, &m))) {
        struct mp_str packed = mp_pb_pack(m, arena);
        MP_ASSERT(packed.p);
        mp_pb_to_json(m, 0, &again);
        same = mp_str_eq(mp_sb_str(json), mp_sb_str(&again));
    }
    mp_sb_fini(&again);
    mp_yaml_free(y);
    return same;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0 || size > 65536) {
        return 0;
    }
    const ProtobufCMessageDescriptor *d =
        mp_pb_find_type(mp_str_c(types[data[0] % MP_COUNTOF(types)]));
    struct mp_pb_read_opts opts = {.allow_unsupported = data[0] & 0x80};
    struct mp_arena arena;
    struct mp_diag diag;
    struct mp_sb sb;
    ProtobufCMessage *m = NULL, *again;
    mp_diag_init(&diag, NULL);
    mp_sb_init(&sb, 64 << 20);
    mp_arena_init(&arena, NULL, 0, &mp_block_source_heap, 4096, 256 << 20);
    mp_err err =
        mp_pb_unpack(d, mp_str((const char *)data + 1, size - 1), &opts, "p", &arena, &diag, &m);
    MP_ASSERT(mp_is_err(err) == (m == NULL));
    MP_ASSERT(mp_is_err(err) == (diag.errors > 0));
    if (m) {
        struct mp_str packed = mp_pb_pack(m, &arena);
        MP_ASSERT(packed.p);
        MP_ASSERT(!mp_is_err(mp_pb_unpack(d, packed, &opts, "p", &arena, NULL, &again)));
        mp_pb_to_json(m, 0, &sb);
        MP_ASSERT(sb.overflow || opts.allow_unsupported || reads_back(&sb, d, &arena));
    }
    mp_diag_format(&diag, &sb);
    mp_arena_fini(&arena);
    mp_sb_fini(&sb);
    mp_diag_fini(&diag);
    return 0;
}
