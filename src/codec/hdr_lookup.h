/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The perfect hash behind mp_hdr_id_of, for the field parser, which has the name in a register. */
#pragma once
#include <stdint.h>
#include "codec/hdr.h"
#include "codec/tables.h"

_Static_assert(MP_HDR_HASH_NAMES == MP_HDR_COUNT - 1, "tables.h is made from hdr.def");

extern const uint8_t mp_hdr_slots[256];
struct mp_hdr_name {
    uint8_t n;
    char name[MP_HDR_NAME_MAX > 30 ? MP_HDR_NAME_MAX + 1 : 31]; /* padded with NUL */
};
/* The entry of MP_HDR_OTHER has n 0, which equals no name. */
extern const struct mp_hdr_name mp_hdr_names[MP_HDR_COUNT];

/* The only id that this name can have. n > 0. Case does not matter. */
static inline unsigned mp_hdr_candidate(const char *name, size_t n)
{
    uint32_t key = (uint32_t)(n & 0xff) | (uint32_t)((uint8_t)name[0] | 0x20) << 8 |
                   (uint32_t)((uint8_t)name[n / 2] | 0x20) << 16 |
                   (uint32_t)((uint8_t)name[n - 1] | 0x20) << 24;
    return mp_hdr_slots[(key * MP_HDR_HASH_MUL) >> 24];
}
