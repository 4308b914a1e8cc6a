/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* What this kernel offers, asked once, with the rights of the start. */
#pragma once
#include <stdint.h>

struct mp_probe {
    const char *name, *state; /* state: yes, no, unknown */
    const char *without;      /* what is lost */
};
/* Before rights are given up; until then every state is unknown. */
void mp_probe_run(void);
uint32_t mp_probe_count(void);
struct mp_probe mp_probe_get(uint32_t i);
