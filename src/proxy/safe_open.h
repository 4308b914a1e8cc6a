/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Opening a file with root's rights, on a path that nobody but root can bend: each folder and each
 * symbolic link on the way lies in a folder that only root may write to. Otherwise whoever may
 * write there could have us open a file of his choice. Folders of root's in a shared folder (/tmp,
 * with the sticky bit) may be on the way.
 */
#pragma once
#include <stdbool.h>
#include <sys/types.h>

/* A descriptor, or a negative errno (EPERM: the path is not root's alone; ENXIO: no regular file,
 * and no FIFO that is read and may be appended to). append: created with mode 0640 when it is not
 * there, and then given to uid and gid. */
int mp_safe_open(const char *path, bool append, uid_t uid, gid_t gid);
