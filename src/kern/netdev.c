/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "kern/netdev.h"

#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

static bool is_set(int fd, struct ifreq *r, uint32_t what)
{
    struct ethtool_value v = {.cmd = what};
    r->ifr_data = (void *)&v;
    return ioctl(fd, SIOCETHTOOL, r) == 0 && v.data != 0;
}

struct mp_netdev mp_netdev_look(const char *name)
{
    struct mp_netdev d = {.ifindex = (int)if_nametoindex(name), .mtu = 1500};
    struct ifreq r = {0};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || d.ifindex == 0) {
        if (fd >= 0) {
            close(fd);
        }
        return d;
    }
    snprintf(r.ifr_name, sizeof(r.ifr_name), "%s", name);
    if (ioctl(fd, SIOCGIFMTU, &r) == 0) {
        d.mtu = (uint32_t)r.ifr_mtu;
    }
    struct ethtool_drvinfo info = {.cmd = ETHTOOL_GDRVINFO};
    r.ifr_data = (void *)&info;
    if (ioctl(fd, SIOCETHTOOL, &r) == 0) {
        snprintf(d.driver, sizeof(d.driver), "%s", info.driver);
    }
    d.offloads = is_set(fd, &r, ETHTOOL_GTSO) || is_set(fd, &r, ETHTOOL_GTXCSUM) ||
                 is_set(fd, &r, ETHTOOL_GGSO);
    close(fd);
    return d;
}
