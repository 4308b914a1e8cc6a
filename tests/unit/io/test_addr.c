/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "base/hash.h"
#include "io/addr.h"
#include "t.h"
#include "unit/io/util.h"

static bool ip_ok(const char *text, const char *expect)
{
    struct mp_addr a;
    char out[MP_ADDR_TEXT_MAX];
    if (mp_is_err(mp_addr_parse_ip(mp_str_c(text), 7, &a)) || a.port != 7) {
        return false;
    }
    return mp_addr_format_ip(&a, out) == strlen(expect) && strcmp(out, expect) == 0;
}

static bool ip_refused(const char *text)
{
    struct mp_addr a = {.family = 99};
    return mp_is_err(mp_addr_parse_ip(mp_str_c(text), 7, &a)) && a.family == 99;
}

static void ip_accepts(void)
{
    T_OK(ip_ok("1.2.3.4", "1.2.3.4"));
    T_OK(ip_ok("0.0.0.0", "0.0.0.0"));
    T_OK(ip_ok("255.255.255.255", "255.255.255.255"));
    T_OK(ip_ok("::1", "::1"));
    T_OK(ip_ok("[::1]", "::1"));
    T_OK(ip_ok("::", "::"));
    T_OK(ip_ok("2001:DB8:0:0:1:0:0:1", "2001:db8::1:0:0:1"));
    T_OK(ip_ok("::ffff:1.2.3.4", "::ffff:1.2.3.4"));
    T_OK(ip_ok("fe80::1%2", "fe80::1%2"));
    T_OK(ip_ok("[fe80::1%4294967295]", "fe80::1%4294967295"));
}

static void ip_refuses(void)
{
    static const char *const bad[] = {
        "",
        "1",
        "1.2.3",
        "1.2.3.4.5",
        "1.2.3.256",
        "01.2.3.4",
        "1.2.3.4 ",
        " 1.2.3.4",
        "1.2.3.-4",
        "0x1.2.3.4",
        "1.2.3.4:",
        "[1.2.3.4]",
        "[::1",
        "::1]",
        "[]",
        ":",
        ":::",
        "1::2::3",
        "12345::",
        "::g",
        "fe80::1%",
        "fe80::1%0",
        "fe80::1%01",
        "fe80::1%eth0",
        "fe80::1%4294967296",
        "::1%1%1",
        "1.2.3.4%1",
        "localhost",
        "::1.2.3",
        "1:2:3:4:5:6:7",
        "1..2.3",
        "1.2.3.4\n",
        "1:2:3:4:5:6:7:8:9",
        "0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000",
    };
    for (size_t i = 0; i < MP_COUNTOF(bad); i++) {
        if (!ip_refused(bad[i])) {
            printf("# accepted: %s\n", bad[i]);
            T_OK(!"refused");
        }
    }
    struct mp_addr a;
    T_OK(mp_is_err(mp_addr_parse_ip(MP_STR("1.2.3.4\0"), 0, &a)));
    T_OK(mp_is_err(mp_addr_parse_ip(mp_str(NULL, 0), 0, &a)));
}

static bool addr_ok(const char *text, const char *expect)
{
    struct mp_addr a;
    char out[MP_ADDR_TEXT_MAX];
    if (mp_is_err(mp_addr_parse(mp_str_c(text), &a))) {
        return false;
    }
    return mp_addr_format(&a, out) == strlen(expect) && strcmp(out, expect) == 0;
}

static void addr_accepts(void)
{
    T_OK(addr_ok("1.2.3.4:80", "1.2.3.4:80"));
    T_OK(addr_ok("1.2.3.4:0", "1.2.3.4:0"));
    T_OK(addr_ok("1.2.3.4:65535", "1.2.3.4:65535"));
    T_OK(addr_ok("[::1]:80", "[::1]:80"));
    T_OK(addr_ok("[fe80::1%3]:80", "[fe80::1%3]:80"));
    T_OK(addr_ok("unix:/run/x.sock", "/run/x.sock"));
    T_OK(addr_ok("@name", "@name"));
    T_OK(addr_ok("unix:@name", "@name"));
}

static void addr_refuses(void)
{
    static const char *const bad[] = {
        "",
        "1.2.3.4",
        "1.2.3.4:",
        "1.2.3.4:65536",
        "1.2.3.4:080",
        ":80",
        "::1",
        "::1:80",
        "[::1]",
        "[::1]:",
        "[::1]80",
        "[::1:80",
        "::1]:80",
        "1.2.3.4:80:80",
        "[1.2.3.4]:80",
        "[::1]:+1",
        "1.2.3.4: 80",
        "localhost:80",
        "unix:",
        "unix:x",
        "unix:/",
        "@",
        "1.2.3.4:99999999999999999999",
    };
    for (size_t i = 0; i < MP_COUNTOF(bad); i++) {
        struct mp_addr a = {.family = 99};
        if (!mp_is_err(mp_addr_parse(mp_str_c(bad[i]), &a)) || a.family != 99) {
            printf("# accepted: %s\n", bad[i]);
            T_OK(!"refused");
        }
    }
}

static void unix_limits(void)
{
    char text[5 + MP_ADDR_UNIX_MAX + 2] = "unix:/";
    struct mp_addr a;
    memset(text + 6, 'x', sizeof text - 6);
    for (size_t n = MP_ADDR_UNIX_MAX - 2; n <= MP_ADDR_UNIX_MAX; n++) {
        text[5 + n] = '\0';
        mp_err e = mp_addr_parse(mp_str(text, 5 + n), &a);
        T_EQ(e.code, n < MP_ADDR_UNIX_MAX ? MP_E_OK : MP_E_LIMIT);
        text[5 + n] = 'x';
    }
    /* The text goes on after n: not usable as a C string. */
    T_EQ(mp_addr_parse(mp_str("unix:/abc", 8), &a).code, MP_E_INVALID);
    T_OK(mp_is_err(mp_addr_parse(mp_str("unix:/a\0b", 9), &a)));
    T_OK(mp_is_err(mp_addr_parse(mp_str("@a\0b", 4), &a)));
}

static void equality_and_hash(void)
{
    struct mp_addr a = addr_of("1.2.3.4:80"), b = addr_of("1.2.3.4:80"), c = addr_of("1.2.3.4:81");
    struct mp_addr d = addr_of("[::1]:80"), e = addr_of("[::1%1]:80"), f = addr_of("1.2.3.5:80");
    char path1[] = "unix:/a/b", path2[] = "unix:/a/b";
    struct mp_addr u = addr_of(path1), v = addr_of(path2), w = addr_of("unix:/a/c");
    T_OK(mp_addr_eq(&a, &b));
    T_OK(mp_addr_hash(&a) == mp_addr_hash(&b));
    T_OK(!mp_addr_eq(&a, &c));
    T_OK(mp_addr_ip_eq(&a, &c));
    T_OK(mp_addr_hash(&a) != mp_addr_hash(&c));
    T_OK(!mp_addr_ip_eq(&a, &f));
    T_OK(!mp_addr_eq(&a, &d));
    T_OK(!mp_addr_eq(&d, &e));
    T_OK(mp_addr_hash(&d) != mp_addr_hash(&e));
    T_OK(mp_addr_eq(&u, &v));
    T_OK(mp_addr_hash(&u) == mp_addr_hash(&v));
    T_OK(!mp_addr_eq(&u, &w));
    T_OK(!mp_addr_eq(&u, &a));
    /* Bytes behind an IPv4 address do not count. */
    b.ip[9] = 1;
    T_OK(mp_addr_eq(&a, &b));
    T_OK(mp_addr_hash(&a) == mp_addr_hash(&b));
}

static void format_extremes(void)
{
    char out[MP_ADDR_TEXT_MAX];
    struct mp_addr none = {.family = MP_ADDR_NONE};
    T_EQ(mp_addr_format(&none, out), 0);
    T_OK(out[0] == '\0');
    struct mp_addr longest =
        addr_of("[1111:2222:3333:4444:5555:6666:255.255.255.255%4294967295]:65535");
    T_EQ(longest.family, MP_ADDR_IP6);
    T_OK(mp_addr_format(&longest, out) < sizeof out);
    T_OK(strcmp(out, "[1111:2222:3333:4444:5555:6666:ffff:ffff%4294967295]:65535") == 0);
    char path[300];
    memset(path, 'p', sizeof path);
    path[sizeof path - 1] = '\0';
    struct mp_addr foreign = {.family = MP_ADDR_UNIX, .path = path};
    T_EQ(mp_addr_format(&foreign, out), MP_ADDR_TEXT_MAX - 1);
}

static bool has(const char *cidr, const char *ip)
{
    struct mp_cidr c;
    struct mp_addr a;
    if (mp_is_err(mp_cidr_parse(mp_str_c(cidr), &c)) ||
        mp_is_err(mp_addr_parse_ip(mp_str_c(ip), 0, &a))) {
        printf("# not parsed: %s %s\n", cidr, ip);
        exit(1);
    }
    return mp_cidr_has(&c, &a);
}

static void cidr_matches(void)
{
    T_OK(has("10.0.0.0/8", "10.255.0.1"));
    T_OK(!has("10.0.0.0/8", "11.0.0.1"));
    T_OK(has("10.1.2.3/8", "10.9.9.9"));
    T_OK(has("0.0.0.0/0", "255.1.2.3"));
    T_OK(!has("0.0.0.0/0", "::1"));
    T_OK(has("192.168.0.128/25", "192.168.0.128"));
    T_OK(!has("192.168.0.128/25", "192.168.0.127"));
    T_OK(has("1.2.3.4", "1.2.3.4"));
    T_OK(!has("1.2.3.4", "1.2.3.5"));
    T_OK(has("1.2.3.4/31", "1.2.3.5"));
    T_OK(!has("1.2.3.4/31", "1.2.3.6"));
    T_OK(has("::/0", "ffff::"));
    T_OK(!has("::/0", "1.2.3.4"));
    T_OK(has("2001:db8::/33", "2001:db8:7fff::1"));
    T_OK(!has("2001:db8::/33", "2001:db8:8000::1"));
    T_OK(has("::1", "::1"));
    T_OK(!has("::1/128", "::2"));
    T_OK(has("::1/127", "::"));
    /* Mapped addresses are IPv4 on both sides. */
    T_OK(has("10.0.0.0/8", "::ffff:10.1.1.1"));
    T_OK(!has("10.0.0.0/8", "::ffff:11.1.1.1"));
    T_OK(has("::ffff:10.0.0.0/104", "10.1.1.1"));
    T_OK(!has("::ffff:10.0.0.0/104", "11.1.1.1"));
    struct mp_cidr c;
    struct mp_addr u = addr_of("@x");
    T_OK(!mp_is_err(mp_cidr_parse(MP_STR("10.1.2.3/9"), &c)));
    T_OK(!mp_cidr_has(&c, &u));
    T_EQ(c.base.ip[1], 0);
    T_EQ(c.bits, 9);
}

static void cidr_refuses(void)
{
    static const char *const bad[] = {"",        "/8",     "10.0.0.0/",    "10.0.0.0/33", "::/129",
                                      "10/8",    "::1/-1", "10.0.0.0/8/8", "10.0.0.0/08", "[::1/8",
                                      "::1%1/8", "x/8",    "10.0.0.0 /8"};
    for (size_t i = 0; i < MP_COUNTOF(bad); i++) {
        struct mp_cidr c;
        if (!mp_is_err(mp_cidr_parse(mp_str_c(bad[i]), &c))) {
            printf("# accepted: %s\n", bad[i]);
            T_OK(!"refused");
        }
    }
    struct mp_cidr c;
    T_OK(!mp_is_err(mp_cidr_parse(MP_STR("10.0.0.0/32"), &c)));
    T_OK(!mp_is_err(mp_cidr_parse(MP_STR("::/128"), &c)));
}

int main(void)
{
    mp_hash_set_key(1, 2);
    T_RUN(ip_accepts);
    T_RUN(ip_refuses);
    T_RUN(addr_accepts);
    T_RUN(addr_refuses);
    T_RUN(unix_limits);
    T_RUN(equality_and_hash);
    T_RUN(format_extremes);
    T_RUN(cidr_matches);
    T_RUN(cidr_refuses);
    return T_DONE();
}
