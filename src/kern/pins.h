/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The folder of a BPF file system in which maps and links outlive the process. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#define MP_PIN_PATH_MAX 512

/* base/v<MP_GUARD_ABI>, made with all its parents; mounts the file system where it is usually
 * mounted. False: *ret_why says why there is none. */
bool mp_pins_open(const char *base, char dir[MP_PIN_PATH_MAX], const char **ret_why);
/* dir/name; false: too long. */
bool mp_pins_path(const char *dir, const char *name, char out[MP_PIN_PATH_MAX]);
/* Removes dir when it is empty. */
void mp_pins_close(const char *dir);
