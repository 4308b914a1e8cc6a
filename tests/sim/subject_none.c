/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include <stddef.h>
#include "sim_subject.h"

const struct sim_subject *sim_subject_default(void)
{
    return NULL;
}
