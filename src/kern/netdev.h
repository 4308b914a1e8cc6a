/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* What is asked of a network interface before a program is attached to it. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct mp_netdev {
    int ifindex; /* 0: there is none of that name */
    uint32_t mtu;
    char driver[32]; /* empty: it does not say */
    bool offloads;   /* it sends frames unsegmented, or without checksums */
};
struct mp_netdev mp_netdev_look(const char *name);
