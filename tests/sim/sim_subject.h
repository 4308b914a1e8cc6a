/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* What is simulated when nothing else is said; NULL: an empty wire. */
#pragma once
#include "sim_run.h"

const struct sim_subject *sim_subject_default(void);
