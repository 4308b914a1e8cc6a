/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "codec/scan.h"

/* The classes are constant expressions over the byte, so that the tables cannot go out of step with
 * the grammar that is written here once. */
#define IS_UPPER(c) ((c) >= 'A' && (c) <= 'Z')
#define IS_LOWER(c) ((c) >= 'a' && (c) <= 'z')
#define IS_ALPHA(c) (IS_UPPER(c) || IS_LOWER(c))
#define IS_DIGIT(c) ((c) >= '0' && (c) <= '9')
#define IS_HEX(c)   (IS_DIGIT(c) || ((c) >= 'A' && (c) <= 'F') || ((c) >= 'a' && (c) <= 'f'))
#define IS_TCHAR(c)                                                                        \
    (IS_ALPHA(c) || IS_DIGIT(c) || (c) == '!' || (c) == '#' || (c) == '$' || (c) == '%' || \
     (c) == '&' || (c) == '\'' || (c) == '*' || (c) == '+' || (c) == '-' || (c) == '.' ||  \
     (c) == '^' || (c) == '_' || (c) == '`' || (c) == '|' || (c) == '~')
#define IS_UNRESERVED(c) \
    (IS_ALPHA(c) || IS_DIGIT(c) || (c) == '-' || (c) == '.' || (c) == '_' || (c) == '~')
#define IS_SUB_DELIM(c)                                                                   \
    ((c) == '!' || (c) == '$' || (c) == '&' || (c) == '\'' || (c) == '(' || (c) == ')' || \
     (c) == '*' || (c) == '+' || (c) == ',' || (c) == ';' || (c) == '=')

/* Beside RFC 3986 pchar and '/': what browsers send unescaped in paths. None of it has a meaning
 * that a proxy and an upstream could read differently. */
#define IS_LOOSE(c)                                                                      \
    ((c) == ':' || (c) == '@' || (c) == '/' || (c) == '[' || (c) == ']' || (c) == '^' || \
     (c) == '{' || (c) == '|' || (c) == '}')

#define BITS(c)                                                                              \
    ((IS_TCHAR(c) ? MP_C_TCHAR : 0) |                                                        \
     ((c) == '\t' || ((c) >= 0x20 && (c) != 0x7f) ? MP_C_VALUE : 0) |                        \
     ((c) > 0x20 && (c) < 0x7f && (c) != '#' ? MP_C_TARGET : 0) |                            \
     (IS_UNRESERVED(c) || IS_SUB_DELIM(c) || IS_LOOSE(c) ? MP_C_PATH : 0) |                  \
     (IS_UNRESERVED(c) ? MP_C_UNRESERVED : 0) |                                              \
     (IS_UNRESERVED(c) || IS_SUB_DELIM(c) ? MP_C_REGNAME : 0) | (IS_HEX(c) ? MP_C_HEX : 0) | \
     (IS_DIGIT(c) ? MP_C_DIGIT : 0))
#define LOWER(c) (IS_TCHAR(c) ? (c) + (IS_UPPER(c) ? 0x20 : 0) : 0)

#define FOUR(f, c)    f((c)), f((c) + 1), f((c) + 2), f((c) + 3)
#define SIXTEEN(f, c) FOUR(f, (c)), FOUR(f, (c) + 4), FOUR(f, (c) + 8), FOUR(f, (c) + 12)
#define ALL(f)                                                                                    \
    SIXTEEN(f, 0x00), SIXTEEN(f, 0x10), SIXTEEN(f, 0x20), SIXTEEN(f, 0x30), SIXTEEN(f, 0x40),     \
        SIXTEEN(f, 0x50), SIXTEEN(f, 0x60), SIXTEEN(f, 0x70), SIXTEEN(f, 0x80), SIXTEEN(f, 0x90), \
        SIXTEEN(f, 0xa0), SIXTEEN(f, 0xb0), SIXTEEN(f, 0xc0), SIXTEEN(f, 0xd0), SIXTEEN(f, 0xe0), \
        SIXTEEN(f, 0xf0)

const uint8_t mp_ctype[256] = {ALL(BITS)};
const uint8_t mp_tchar_lower[256] = {ALL(LOWER)};
