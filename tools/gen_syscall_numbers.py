#!/usr/bin/env python3
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Writes the system calls of the architecture that the compiler builds for, by name and number.

usage: gen_syscall_numbers.py OUTPUT SYSCALLS_DEF COMPILER [ARGS...]
"""
import re
import subprocess
import sys

HEAD = """/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Made by tools/gen_syscall_numbers.py. */
#pragma once
#define MP_NR_NONE 0xffffffffu
"""


def main():
    out, listed, compiler = sys.argv[1], sys.argv[2], sys.argv[3:]
    text = subprocess.run(compiler + ["-E", "-dD", "-x", "c", "-"], input="#include <asm/unistd.h>\n",
                          capture_output=True, text=True, check=True).stdout
    numbers = {}
    for name, value in re.findall(r"^#define __NR_(\w+) (\S+)", text, re.M):
        while "__NR" in value:      # an alias of another name
            found = re.search(r"#define %s (\S+)" % re.escape(value), text)
            value = found.group(1) if found else "none"
        if value.isdigit():
            numbers[name] = int(value)
    with open(listed, encoding="utf-8") as f:
        wanted = re.findall(r"\b(?:OK|CHECK|SOFT)\((\w+)", re.sub(r"/\*.*?\*/", "", f.read(), flags=re.S))
    with open(out, "w", encoding="utf-8") as f:
        f.write(HEAD)
        for name in wanted:
            f.write("#define MP_NR_%s %s\n" % (name, numbers.get(name, "MP_NR_NONE")))
        f.write("#define MP_SYSCALLS \\\n")
        f.write(" \\\n".join('    MP_SYSCALL(%d, "%s")' % (n, name) for name, n in sorted(numbers.items(), key=lambda i: i[1])))
        f.write("\n")


if __name__ == "__main__":
    main()
