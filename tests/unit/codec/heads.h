/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Request heads that tests and measurements share. */
#pragma once

/* 100 bytes: what a load generator sends. */
#define HEAD_SMALL                 \
    "GET /index.html HTTP/1.1\r\n" \
    "Host: www.example.com\r\n"    \
    "User-Agent: load/1.0 xxx\r\n" \
    "Accept: text/html,*/*\r\n"    \
    "\r\n"
_Static_assert(sizeof(HEAD_SMALL) - 1 == 100, "the size that the target is stated for");

/* 492 bytes: what a browser sends. */
#define HEAD_BROWSER                                                                         \
    "GET /products/catalogue/summer?page=2&sort=price HTTP/1.1\r\n"                          \
    "Host: www.example.com\r\n"                                                              \
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n" \
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n"            \
    "Accept-Language: en-US,en;q=0.5\r\n"                                                    \
    "Accept-Encoding: gzip, deflate, br\r\n"                                                 \
    "Referer: https://www.example.com/products/\r\n"                                         \
    "Connection: keep-alive\r\n"                                                             \
    "Cookie: session=0123456789abcdef; theme=dark; region=west\r\n"                          \
    "Upgrade-Insecure-Requests: 1\r\n"                                                       \
    "Cache-Control: no-cache\r\n"                                                            \
    "\r\n"
_Static_assert(sizeof(HEAD_BROWSER) - 1 == 492, "the size that the target is stated for");
