/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "kern/program.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/log.h"
#include "guard.skel.h"
#include "kern/netdev.h"
#include "kern/pins.h"

#define LINKS_MAX       16
#define REASON_MAX      240
#define TCX_INGRESS     46        /* BPF_TCX_INGRESS, of kernels newer than the headers */
#define LINK_TYPE_XDP   6         /* BPF_LINK_TYPE_XDP */
#define LINK_TYPE_TCX   11        /* BPF_LINK_TYPE_TCX */
#define XDP_HAS_FRAGS   (1u << 5) /* BPF_F_XDP_HAS_FRAGS */
#define CLSACT_HANDLE   0x6d70    /* "mp" */
#define CLSACT_PRIORITY 1

struct link {
    char interface[IF_NAMESIZE];
    int ifindex;
    int fd; /* -1: none, or a filter of clsact */
    enum mp_link_kind kind;
    char reason[REASON_MAX];
    char pin[MP_PIN_PATH_MAX]; /* empty: not pinned */
    bool taken_over;
};
struct mp_program {
    struct mp_guard_bpf *o;
    char dir[MP_PIN_PATH_MAX]; /* empty: nothing is pinned */
    struct link links[LINKS_MAX];
    uint32_t n_links;
    struct mp_guard_config config; /* as it is in the map */
    int cpus;
    bool veth; /* one of the cards is virtual: see mp_program_set_limits */
};

const char *mp_link_kind_name(enum mp_link_kind kind)
{
    static const char *const names[] = {"none", "native", "skb", "hw", "tcx", "clsact"};
    return names[kind];
}

/* libbpf's words: the last warning is the cause that we show. */
static char last_words[200];
__attribute__((format(printf, 2, 0))) static int listen_to_libbpf(enum libbpf_print_level level,
                                                                  const char *fmt, va_list args)
{
    if (level == LIBBPF_WARN) {
        vsnprintf(last_words, sizeof(last_words), fmt, args);
        last_words[strcspn(last_words, "\n")] = '\0';
    }
    return 0;
}

/* ---- maps ---- */

static bool is_same_map(int fd, const struct bpf_map *map)
{
    struct bpf_map_info info = {0};
    uint32_t n = sizeof(info);
    return bpf_obj_get_info_by_fd(fd, &info, &n) == 0 && info.type == bpf_map__type(map) &&
           info.key_size == bpf_map__key_size(map) && info.value_size == bpf_map__value_size(map) &&
           info.max_entries == bpf_map__max_entries(map);
}

static void reuse_maps(struct mp_program *p, struct mp_program *before)
{
    struct bpf_map *map, *old;
    bpf_object__for_each_map(map, p->o->obj)
    {
        char path[MP_PIN_PATH_MAX];
        if (bpf_map__is_internal(map)) {
            continue;
        }
        int fd = -1;
        old = before != NULL ? bpf_object__find_map_by_name(before->o->obj, bpf_map__name(map))
                             : NULL;
        if (old != NULL) {
            fd = dup(bpf_map__fd(old));
        } else if (p->dir[0] != '\0' && mp_pins_path(p->dir, bpf_map__name(map), path)) {
            fd = bpf_obj_get(path);
            if (fd >= 0 && !is_same_map(fd, map)) {
                mp_log(MP_LOG_WARNING, "a pinned map is of another size, a new one takes its place",
                       kv_c("map", bpf_map__name(map)));
                (void)unlink(path);
                close(fd);
                fd = -1;
            }
        }
        if (fd >= 0) {
            (void)bpf_map__reuse_fd(map, fd);
            close(fd);
        }
    }
}

static void pin_maps(struct mp_program *p)
{
    struct bpf_map *map;
    bpf_object__for_each_map(map, p->o->obj)
    {
        char path[MP_PIN_PATH_MAX];
        if (p->dir[0] != '\0' && !bpf_map__is_internal(map) &&
            mp_pins_path(p->dir, bpf_map__name(map), path) && access(path, F_OK) != 0 &&
            bpf_obj_pin(bpf_map__fd(map), path) != 0) {
            mp_log(MP_LOG_WARNING, "cannot pin a map", kv_c("path", path),
                   kv_c("error", strerror(errno)));
        }
    }
}

static void unpin_maps(struct mp_program *p)
{
    struct bpf_map *map;
    bpf_object__for_each_map(map, p->o->obj)
    {
        char path[MP_PIN_PATH_MAX];
        if (p->dir[0] != '\0' && !bpf_map__is_internal(map) &&
            mp_pins_path(p->dir, bpf_map__name(map), path)) {
            (void)unlink(path);
        }
    }
}

/* ---- loading ---- */

static int load_once(struct mp_program *p, struct mp_program *before, bool xdp, bool tcx,
                     bool frags)
{
    p->o = mp_guard_bpf__open();
    if (p->o == NULL) {
        return -errno;
    }
    p->o->rodata->mp_has_frags = frags;
    bpf_program__set_autoload(p->o->progs.guard_xdp, xdp);
    bpf_program__set_autoload(p->o->progs.guard_tcx, tcx);
    if (!frags) {
        bpf_program__set_flags(p->o->progs.guard_xdp,
                               bpf_program__flags(p->o->progs.guard_xdp) & ~XDP_HAS_FRAGS);
    }
    reuse_maps(p, before);
    int rc = mp_guard_bpf__load(p->o);
    if (rc != 0) {
        mp_guard_bpf__destroy(p->o);
        p->o = NULL;
    }
    return rc;
}

static const char *load_cure(int err)
{
    switch (err) {
    case EPERM:
    case EACCES:
        return "start as root, or with CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN";
    case ENOMEM:
        return "give the service more memory: the maps take about 150 MB";
    default:
        return "marchctl kernel says what this kernel lacks; it must be 5.15 or newer";
    }
}

static bool load(struct mp_program *p, struct mp_program *before, bool xdp, bool tcx)
{
    libbpf_set_print(listen_to_libbpf);
    last_words[0] = '\0';
    int rc = load_once(p, before, xdp, tcx, true);
    if (rc == -EINVAL && xdp) {
        rc = load_once(p, before, xdp, tcx, false); /* before 5.18 */
    }
    if (rc != 0) {
        mp_log(MP_LOG_WARNING, "Cannot attach XDP program: it cannot be loaded",
               kv_c("cause", strerror(-rc)), kv_c("detail", last_words),
               kv_c("cure", load_cure(-rc)));
    }
    return rc == 0;
}

/* ---- links ---- */

static uint32_t id_of_program(int fd)
{
    struct bpf_prog_info info = {0};
    uint32_t n = sizeof(info);
    return bpf_obj_get_info_by_fd(fd, &info, &n) == 0 ? info.id : 0;
}

/* The interface a link is on (0: none any more), and its program. */
static int link_ifindex(int fd, uint32_t type, uint32_t *ret_prog)
{
    struct bpf_link_info info = {0};
    uint32_t n = sizeof(info);
    if (bpf_obj_get_info_by_fd(fd, &info, &n) != 0 || info.type != type) {
        return -1;
    }
    *ret_prog = info.prog_id;
    return (int)info.xdp.ifindex; /* tcx has it at the same place */
}

static enum mp_link_kind kind_on(int ifindex)
{
    LIBBPF_OPTS(bpf_xdp_query_opts, q);
    if (bpf_xdp_query(ifindex, 0, &q) != 0) {
        return MP_LINK_NONE;
    }
    return q.attach_mode == XDP_ATTACHED_DRV   ? MP_LINK_NATIVE
           : q.attach_mode == XDP_ATTACHED_SKB ? MP_LINK_SKB
           : q.attach_mode == XDP_ATTACHED_HW  ? MP_LINK_HW
                                               : MP_LINK_NONE;
}

static int prog_fd(const struct mp_program *p, enum mp_link_kind kind)
{
    bool tcx = kind == MP_LINK_TCX || kind == MP_LINK_CLSACT;
    return bpf_program__fd(tcx ? p->o->progs.guard_tcx : p->o->progs.guard_xdp);
}

/* A link that a former process left: our program takes the place of its, with no packet between. */
static bool take_over(struct mp_program *p, struct link *l, enum mp_link_kind kind)
{
    uint32_t prog;
    int fd = l->pin[0] != '\0' ? bpf_obj_get(l->pin) : -1;
    if (fd < 0) {
        return false;
    }
    bool xdp = kind != MP_LINK_TCX;
    int on = link_ifindex(fd, xdp ? LINK_TYPE_XDP : LINK_TYPE_TCX, &prog);
    if (on == l->ifindex && (!xdp || kind_on(on) == kind) &&
        bpf_link_update(fd, prog_fd(p, kind), NULL) == 0) {
        l->fd = fd;
        l->kind = kind;
        l->taken_over = true;
        return true;
    }
    /* Of another mode, or of an interface that is gone. */
    (void)unlink(l->pin);
    if (on > 0) {
        (void)bpf_link_detach(fd);
    }
    close(fd);
    return false;
}

static int attach_clsact(struct mp_program *p, struct link *l)
{
    LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = l->ifindex, .attach_point = BPF_TC_INGRESS);
    LIBBPF_OPTS(bpf_tc_opts, o, .prog_fd = prog_fd(p, MP_LINK_TCX), .handle = CLSACT_HANDLE,
                .priority = CLSACT_PRIORITY, .flags = BPF_TC_F_REPLACE);
    int rc = bpf_tc_hook_create(&hook);
    return rc != 0 && rc != -EEXIST ? rc : bpf_tc_attach(&hook, &o);
}

static void detach_clsact(struct link *l)
{
    LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = l->ifindex, .attach_point = BPF_TC_INGRESS);
    LIBBPF_OPTS(bpf_tc_opts, o, .handle = CLSACT_HANDLE, .priority = CLSACT_PRIORITY);
    (void)bpf_tc_detach(&hook, &o);
}

/* 0 or a negative errno. */
static int attach_as(struct mp_program *p, struct link *l, enum mp_link_kind kind)
{
    static const uint32_t flags[] = {[MP_LINK_NATIVE] = XDP_FLAGS_DRV_MODE,
                                     [MP_LINK_SKB] = XDP_FLAGS_SKB_MODE,
                                     [MP_LINK_HW] = XDP_FLAGS_HW_MODE,
                                     [MP_LINK_TCX] = 0};
    char name[IF_NAMESIZE + 8];
    snprintf(name, sizeof(name), "%s_%s", kind == MP_LINK_TCX ? "tcx" : "xdp", l->interface);
    if (p->dir[0] == '\0' || !mp_pins_path(p->dir, name, l->pin)) {
        l->pin[0] = '\0';
    }
    if (take_over(p, l, kind)) {
        return 0;
    }
    LIBBPF_OPTS(bpf_link_create_opts, o, .flags = flags[kind]);
    int fd = bpf_link_create(prog_fd(p, kind), l->ifindex,
                             kind == MP_LINK_TCX ? (enum bpf_attach_type)TCX_INGRESS : BPF_XDP, &o);
    if (fd < 0) {
        int err = errno;
        l->pin[0] = '\0';
        if (kind == MP_LINK_TCX && err == EINVAL && attach_clsact(p, l) == 0) {
            l->kind = MP_LINK_CLSACT; /* before 6.6 */
            return 0;
        }
        return -err;
    }
    l->fd = fd;
    l->kind = kind;
    if (l->pin[0] != '\0' && bpf_obj_pin(fd, l->pin) != 0) {
        mp_log(MP_LOG_WARNING, "cannot pin the link", kv_c("path", l->pin),
               kv_c("error", strerror(errno)));
        l->pin[0] = '\0';
    }
    return 0;
}

static const char *attach_cure(int err)
{
    switch (err) {
    case EPERM:
    case EACCES:
        return "start as root, or with CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN";
    case EBUSY:
    case EEXIST:
        return "another program is attached: ip link set dev IFACE xdp off removes it";
    case EOPNOTSUPP:
        return "the driver has no XDP: use mode: skb";
    case ENODEV:
        return "name an interface that exists (ip link)";
    default:
        return "use mode: skb, or look into the kernel's log";
    }
}

/* Is the mode one in which this interface would lose packets? */
static bool would_lose(const struct mp_netdev *d, enum mp_link_kind kind)
{
    return kind == MP_LINK_NATIVE && strcmp(d->driver, "veth") == 0 && d->offloads;
}

static enum mp_link_kind wanted_kind(const struct mp_conf_xdp *conf)
{
    static const enum mp_link_kind kinds[] = {[MP_XDP_NATIVE] = MP_LINK_NATIVE,
                                              [MP_XDP_SKB] = MP_LINK_SKB,
                                              [MP_XDP_HW] = MP_LINK_HW,
                                              [MP_XDP_TCX] = MP_LINK_TCX};
    return kinds[conf->mode];
}

static enum mp_link_kind next_kind(enum mp_link_kind kind)
{
    return kind == MP_LINK_HW       ? MP_LINK_NATIVE
           : kind == MP_LINK_NATIVE ? MP_LINK_SKB
                                    : MP_LINK_NONE;
}

static void attach(struct mp_program *p, struct link *l, enum mp_link_kind kind)
{
    int rc = -ENODEV;
    while (l->ifindex > 0 && kind != MP_LINK_NONE) {
        rc = attach_as(p, l, kind);
        if (rc == 0 || rc == -EPERM || rc == -EACCES || rc == -EBUSY) {
            break;
        }
        size_t n = strlen(l->reason);
        snprintf(l->reason + n, sizeof(l->reason) - n, "%s%s: %s", n > 0 ? "; " : "",
                 mp_link_kind_name(kind), strerror(-rc));
        kind = next_kind(kind);
    }
    if (rc != 0) {
        char event[120];
        snprintf(event, sizeof(event), "Cannot attach XDP program: interface %s", l->interface);
        mp_log(MP_LOG_WARNING, event, kv_c("cause", strerror(-rc)), kv_c("detail", l->reason),
               kv_c("cure", attach_cure(-rc)));
        if (l->reason[0] == '\0') {
            snprintf(l->reason, sizeof(l->reason), "%s", strerror(-rc));
        }
        return;
    }
    mp_log(MP_LOG_INFO, "the guard is attached", kv_c("interface", l->interface),
           kv_c("mode", mp_link_kind_name(l->kind)), kv_bool("taken_over", l->taken_over),
           kv_bool("pinned", l->pin[0] != '\0'), kv_c("reason", l->reason));
}

static void release(struct mp_program *p, struct link *l, bool keep)
{
    if (l->kind == MP_LINK_CLSACT && !keep) {
        detach_clsact(l);
    }
    if (l->fd >= 0) {
        if (!keep) {
            if (l->pin[0] != '\0') {
                (void)unlink(l->pin);
            }
            (void)bpf_link_detach(l->fd); /* also when the pin is not ours to remove any more */
        }
        close(l->fd);
    }
    l->fd = -1;
    l->kind = MP_LINK_NONE;
}

/* Another process has put its program in the place of ours: nothing here is ours any more. */
static bool is_ours(const struct mp_program *p, const struct link *l)
{
    uint32_t prog = 0;
    if (l->fd < 0) {
        return l->kind == MP_LINK_CLSACT;
    }
    return link_ifindex(l->fd, l->kind == MP_LINK_TCX ? LINK_TYPE_TCX : LINK_TYPE_XDP, &prog) >=
               0 &&
           prog == id_of_program(prog_fd(p, l->kind));
}

/* ---- life ---- */

static void plan_links(struct mp_program *p, const struct mp_conf_xdp *conf, bool *xdp, bool *tcx,
                       enum mp_link_kind kinds[LINKS_MAX])
{
    p->config.mss4 = 8960;
    p->config.mss6 = 8940;
    for (uint32_t i = 0; i < conf->n_interfaces && p->n_links < LINKS_MAX; i++) {
        struct link *l = &p->links[p->n_links];
        struct mp_netdev d = mp_netdev_look(conf->interfaces[i].p);
        snprintf(l->interface, sizeof(l->interface), "%s", conf->interfaces[i].p);
        l->fd = -1;
        l->ifindex = d.ifindex;
        p->veth |= strcmp(d.driver, "veth") == 0;
        kinds[p->n_links] = wanted_kind(conf);
        if (would_lose(&d, kinds[p->n_links])) {
            kinds[p->n_links] = MP_LINK_TCX;
            snprintf(
                l->reason, sizeof(l->reason),
                "native: a virtual link with offloads would lose TCP (ethtool -K %s tx off tso "
                "off gso off, on both ends, allows it)",
                conf->interfaces[i].p);
        }
        *xdp |= kinds[p->n_links] != MP_LINK_TCX;
        *tcx |= kinds[p->n_links] == MP_LINK_TCX;
        p->config.mss4 = (uint16_t)MP_MIN(p->config.mss4, MP_MAX(d.mtu, 576) - 40);
        p->config.mss6 = (uint16_t)MP_MIN(p->config.mss6, MP_MAX(d.mtu, 1280) - 60);
        p->n_links++;
    }
}

/* Interfaces that the new configuration does not name. */
static void release_old(struct mp_program *p, struct mp_program *before)
{
    for (uint32_t i = 0; before != NULL && i < before->n_links; i++) {
        struct link *l = &before->links[i];
        bool stays = false;
        for (uint32_t k = 0; k < p->n_links; k++) {
            stays |= p->links[k].ifindex == l->ifindex && p->links[k].kind == l->kind;
        }
        /* A link that stays is pinned, or has been made anew above. */
        release(before, l, stays && l->pin[0] != '\0');
    }
    if (before != NULL) {
        mp_guard_bpf__destroy(before->o);
        free(before);
    }
}

struct mp_program *mp_program_start(const struct mp_conf_xdp *conf, struct mp_program *before)
{
    enum mp_link_kind kinds[LINKS_MAX];
    bool xdp = false, tcx = false;
    const char *why = "";
    struct mp_program *p = calloc(1, sizeof(*p));
    MP_ASSERT(p != NULL);
    plan_links(p, conf, &xdp, &tcx, kinds);
    if (!mp_pins_open(conf->pin_path.p, p->dir, &why)) {
        mp_log(MP_LOG_WARNING, "nothing is pinned: the guard ends with the process",
               kv_c("pin_path", conf->pin_path.p), kv_c("cause", why));
        p->dir[0] = '\0';
    }
    if (!load(p, before, xdp, tcx)) {
        free(p);
        return before;
    }
    p->cpus = libbpf_num_possible_cpus();
    pin_maps(p);
    mp_program_set_limits(p, conf);
    /* Without a pin the old link must go first. */
    for (uint32_t i = 0; before != NULL && i < before->n_links; i++) {
        if (before->links[i].pin[0] == '\0') {
            release(before, &before->links[i], false);
        }
    }
    for (uint32_t i = 0; i < p->n_links; i++) {
        attach(p, &p->links[i], kinds[i]);
    }
    release_old(p, before);
    return p;
}

struct mp_program *mp_program_stop(struct mp_program *p, bool keep)
{
    if (p == NULL) {
        return NULL;
    }
    bool others = false;
    for (uint32_t i = 0; i < p->n_links; i++) {
        bool ours = is_ours(p, &p->links[i]);
        others |= !ours && p->links[i].fd >= 0;
        release(p, &p->links[i], keep || !ours);
    }
    if (!keep && !others) {
        unpin_maps(p);
        if (p->dir[0] != '\0') {
            mp_pins_close(p->dir);
        }
    }
    mp_guard_bpf__destroy(p->o);
    free(p);
    return NULL;
}

uint32_t mp_program_links(const struct mp_program *p)
{
    return p != NULL ? p->n_links : 0;
}

struct mp_link_state mp_program_link(const struct mp_program *p, uint32_t i)
{
    const struct link *l = &p->links[i];
    return (struct mp_link_state){l->interface, l->kind, l->reason, l->pin[0] != '\0',
                                  l->taken_over};
}

/* ---- configuration and lists in the maps ---- */

static void put_config(struct mp_program *p)
{
    uint32_t zero = 0;
    (void)bpf_map_update_elem(bpf_map__fd(p->o->maps.guard_config_map), &zero, &p->config, BPF_ANY);
}

void mp_program_set_limits(struct mp_program *p, const struct mp_conf_xdp *conf)
{
    uint32_t zero = 0;
    struct mp_guard_rate rate = {.window_ns = conf->window_ns,
                                 .max_packets = conf->max_packets,
                                 .enabled = conf->rate_enabled};
    p->config.syn_window_ns = conf->syn_window_ns;
    p->config.syn_max = conf->syn_max;
    p->config.syn_enabled = conf->syn_enabled;
    p->config.flood_syns = conf->flood_syns;
    p->config.cookies = (uint32_t)conf->cookies; /* enum mp_guard_cookies has the same order */
    if (p->veth && conf->cookies == MP_COOKIES_FLOOD) {
        /* What XDP sends back over veth is delivered late when the other end has no XDP program,
         * which we cannot see. The stack answers, as behind tcx. */
        p->config.cookies = MP_GUARD_COOKIES_OFF;
    }
    /* Lists of a former process are looked at until ours are in place. */
    p->config.deny4 = p->config.deny6 = p->config.allow4 = p->config.allow6 = 1;
    (void)bpf_map_update_elem(bpf_map__fd(p->o->maps.rate_limit_config_map), &zero, &rate, BPF_ANY);
    put_config(p);
}

/* Keys of the lists, for both families. */
static struct mp_guard_prefix6 key_of(const struct mp_conf_prefix *p)
{
    struct mp_guard_prefix6 k = {.prefixlen = p->bits};
    memcpy(k.addr, p->addr, p->ip6 ? 16 : 4);
    return k;
}

static int map_of(const struct mp_program *p, bool deny, bool ip6)
{
    return bpf_map__fd(deny ? (ip6 ? p->o->maps.deny6_map : p->o->maps.deny4_map)
                            : (ip6 ? p->o->maps.allow6_map : p->o->maps.allow4_map));
}

static void put_entry(void *arg, bool deny, const struct mp_list_entry *e)
{
    struct mp_program *p = arg;
    struct mp_guard_prefix6 k = key_of(&e->prefix);
    struct mp_guard_denial d = {0};
    int map = map_of(p, deny, e->prefix.ip6);
    if (!deny) {
        struct mp_guard_allowance a = {.origin = e->origin};
        (void)bpf_map_update_elem(map, &k, &a, BPF_ANY);
        return;
    }
    struct mp_guard_denial before;
    if (bpf_map_lookup_elem(map, &k, &before) == 0) {
        d.hits = before.hits; /* a lookup finds the longest prefix: perhaps a shorter one's */
    }
    d.expires_ns = e->expires_ns;
    d.since_ns = e->since_ns;
    d.origin = e->origin;
    d.reason = e->reason;
    (void)bpf_map_update_elem(map, &k, &d, BPF_ANY);
}

static void del_entry(void *arg, bool deny, const struct mp_conf_prefix *prefix)
{
    struct mp_guard_prefix6 k = key_of(prefix);
    (void)bpf_map_delete_elem(map_of(arg, deny, prefix->ip6), &k);
}

static void put_counts(void *arg, const uint32_t deny[2], const uint32_t allow[2])
{
    struct mp_program *p = arg;
    p->config.deny4 = deny[0];
    p->config.deny6 = deny[1];
    p->config.allow4 = allow[0];
    p->config.allow6 = allow[1];
    put_config(p);
}

struct mp_lists_sink mp_program_sink(struct mp_program *p)
{
    return (struct mp_lists_sink){put_entry, del_entry, put_counts, p};
}

static struct mp_conf_prefix prefix_of(const struct mp_guard_prefix6 *k, bool ip6)
{
    struct mp_conf_prefix p = {.ip6 = ip6, .bits = (uint8_t)k->prefixlen};
    memcpy(p.addr, k->addr, ip6 ? 16 : 4);
    return p;
}

void mp_program_import(struct mp_program *p, struct mp_lists *lists)
{
    for (int i = 0; i < 4; i++) {
        bool deny = i < 2, ip6 = i % 2 == 1;
        int map = map_of(p, deny, ip6);
        struct mp_guard_prefix6 k, *at = NULL;
        struct mp_guard_denial d = {0}; /* begins as an allowance does not: read apart */
        struct mp_guard_allowance a = {0};
        while (bpf_map_get_next_key(map, at, &k) == 0) {
            at = &k;
            if (bpf_map_lookup_elem(map, &k, deny ? (void *)&d : (void *)&a) != 0) {
                continue;
            }
            struct mp_list_entry e = {.prefix = prefix_of(&k, ip6),
                                      .origin = (deny ? d.origin : a.origin) & MP_LIST_DYNAMIC,
                                      .reason = d.reason,
                                      .since_ns = d.since_ns,
                                      .expires_ns = d.expires_ns};
            if (e.origin != 0 && mp_is_err(mp_lists_add(lists, deny, &e))) {
                break; /* the list is full */
            }
        }
    }
}

struct collect {
    struct mp_conf_prefix *v;
    uint32_t n, cap;
};
static void collect(void *arg, const struct mp_list_entry *e)
{
    struct collect *c = arg;
    if (c->n < c->cap) {
        c->v[c->n++] = e->prefix;
    }
}
static int by_bytes(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct mp_conf_prefix));
}

void mp_program_prune(struct mp_program *p, struct mp_lists *lists)
{
    for (int i = 0; i < 4; i++) {
        bool deny = i < 2, ip6 = i % 2 == 1;
        int map = map_of(p, deny, ip6);
        struct collect c = {.cap = 2 * MP_LIST_MAX};
        c.v = calloc(c.cap, sizeof(*c.v));
        MP_ASSERT(c.v != NULL);
        mp_lists_walk(lists, deny, collect, &c);
        qsort(c.v, c.n, sizeof(*c.v), by_bytes);
        struct mp_guard_prefix6 k, next;
        bool more = bpf_map_get_next_key(map, NULL, &k) == 0;
        while (more) {
            more = bpf_map_get_next_key(map, &k, &next) == 0;
            struct mp_conf_prefix prefix = prefix_of(&k, ip6);
            if (bsearch(&prefix, c.v, c.n, sizeof(prefix), by_bytes) == NULL) {
                (void)bpf_map_delete_elem(map, &k);
            }
            k = next;
        }
        free(c.v);
    }
}

/* ---- reading ---- */

bool mp_program_stats(struct mp_program *p, struct mp_guard_stats *stats,
                      struct mp_guard_counters *counters)
{
    uint32_t zero = 0;
    struct mp_guard_counters *c = calloc((size_t)p->cpus, sizeof(*c));
    struct mp_guard_stats *s = calloc((size_t)p->cpus, sizeof(*s));
    MP_ASSERT(c != NULL);
    MP_ASSERT(s != NULL);
    memset(stats, 0, sizeof(*stats));
    memset(counters, 0, sizeof(*counters));
    bool ok = bpf_map_lookup_elem(bpf_map__fd(p->o->maps.guard_stats_map), &zero, c) == 0 &&
              bpf_map_lookup_elem(bpf_map__fd(p->o->maps.stats_map), &zero, s) == 0;
    for (int i = 0; ok && i < p->cpus; i++) {
        for (int k = 0; k < MP_GUARD_COUNTERS_N; k++) {
            counters->n[k] += c[i].n[k];
        }
        for (size_t k = 0; k < sizeof(*stats) / sizeof(uint64_t); k++) {
            ((__u64 *)stats)[k] += ((__u64 *)&s[i])[k];
        }
    }
    free(c);
    free(s);
    return ok;
}

uint64_t mp_program_hits(struct mp_program *p, const struct mp_conf_prefix *prefix)
{
    struct mp_guard_prefix6 k = key_of(prefix);
    struct mp_guard_denial d;
    return bpf_map_lookup_elem(map_of(p, true, prefix->ip6), &k, &d) == 0 ? d.hits : 0;
}
