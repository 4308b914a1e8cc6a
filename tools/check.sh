#!/usr/bin/env bash
# SPDX-License-Identifier: AGPL-3.0-or-later
# Everything that a machine can say about the source without running it. Called by `make check`.
#
#   tools/check.sh             format, layers, scripts, pages written from the source, gcc and clang with -Werror, clang-tidy
#   tools/check.sh --analyze   clang-tidy with the static analyzer on src (make nightly)
#
# clang-tidy looks again only at files that changed, or whose headers or rules did, since they were last clean.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
failed=()

step() {
    local name=$1 output start=$SECONDS
    shift
    printf '%-34s' "$name"
    if output=$("$@" 2>&1); then
        echo "ok ($((SECONDS - start)) s)"
    else
        echo "FAILED ($((SECONDS - start)) s)"
        printf '%s\n' "$output"
        failed+=("$name")
    fi
}

sources() { git ls-files -co --exclude-standard -z -- "$@"; }
format() { sources '*.c' '*.h' | xargs -0 -r clang-format-14 --dry-run -Werror; }
shells() {
    local file
    while IFS= read -r -d '' file; do
        bash -n "$file" || return 1
    done < <(sources '*.sh' .ci/run)
    sources '*.sh' .ci/run | xargs -0 -r shellcheck -x
}
pythons() {
    sources '*.py' | xargs -0 -r /usr/bin/python3 -c '
import ast, sys
for name in sys.argv[1:]:
    with open(name, encoding="utf-8") as file:
        ast.parse(file.read(), name)'
}
# Every text file that can hold one starts with its licence.
licences() {
    local file bad=0
    while IFS= read -r -d '' file; do
        if [ -e "$file" ] && ! head -n 3 "$file" | grep -q 'SPDX-License-Identifier:'; then
            echo "$file: no SPDX-License-Identifier in the first three lines"
            bad=1
        fi
    done < <(sources '*.c' '*.h' '*.def' '*.py' '*.sh' '*.proto' '*.build' Makefile .ci/run)
    return $bad
}
build() {
    local folder=$1 cc=$2
    shift 2
    if [ ! -e "$folder/build.ninja" ]; then
        CC=$cc /usr/bin/meson setup "$folder" "$@" || return 1
    fi
    ninja -C "$folder" --quiet
}
if [ "${1:-}" = --analyze ]; then
    step "clang build" build build-clang clang-14 -Dwerror=true -Db_lundef=false
    # The simulation is left out: the analyzer cannot follow its lists.
    step "clang-tidy with analyzer" /usr/bin/python3 tools/tidy.py build-clang --all --under=src --but=sim \
        --checks='clang-analyzer-*,-clang-analyzer-security.insecureAPI.*,-clang-analyzer-optin.performance.Padding'
else
    step "format" format
    step "layers" /usr/bin/python3 tools/check_layers.py
    step "licence lines" licences
    step "pages of docs/ops" /usr/bin/python3 tools/gen_ops_docs.py --check
    step "shell scripts" shells
    step "python scripts" pythons
    step "gcc, warnings as errors" build build-test gcc -Dwerror=true
    step "clang, warnings as errors" build build-clang clang-14 -Dwerror=true -Db_lundef=false
    step "clang-tidy" /usr/bin/python3 tools/tidy.py build-clang
fi

if [ "${#failed[@]}" != 0 ]; then
    echo "failed: ${failed[*]}"
    exit 1
fi
echo "all checks passed"
