/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Compiler helpers that every folder may use. Nothing here has behaviour. */
#pragma once
#include <stddef.h>
#include <stdint.h>

#define MP_LIKELY(x)   __builtin_expect(!!(x), 1)
#define MP_UNLIKELY(x) __builtin_expect(!!(x), 0)

#define MP_COUNTOF(a)              (sizeof(a) / sizeof((a)[0]))
#define MP_PRINTF(fmt_at, args_at) __attribute__((format(printf, fmt_at, args_at)))
#define MP_MUST_USE                __attribute__((warn_unused_result))
#define MP_CACHE_LINE              64

/* The object of the given type whose member is at ptr. */
#define MP_CONTAINER_OF(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

/* Runs fn(&variable) when the variable goes out of scope. Control code only. */
#define MP_CLEANUP(fn) __attribute__((cleanup(fn)))

#define MP_MIN(a, b) ((a) < (b) ? (a) : (b))
#define MP_MAX(a, b) ((a) > (b) ? (a) : (b))
