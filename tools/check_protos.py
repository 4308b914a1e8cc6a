#!/usr/bin/env python3
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Compares our message declarations (proto/) with the published ones.

Every message, field (name, number, type, label, oneof) and enum value that we declare must exist with the same meaning
in the descriptors of npm @grpc/grpc-js-xds and in the well-known types of libprotobuf-dev. With --write-known the table
of published fields that we do not declare is written: it lets an error name a field of which only the number is known,
and tells "not supported" from "misspelled".

usage: check_protos.py [--deps DIR] [--write-known]
DIR is the deps folder of the npm package; without it the package is fetched into a temporary folder.
"""
import argparse
import os
import re
import subprocess
import sys
import tempfile

NPM = '@grpc/grpc-js-xds@1.14.1'
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PROTO = os.path.join(ROOT, 'proto')
KNOWN = os.path.join(PROTO, 'known.tsv')
TYPES = {1: 'double', 2: 'float', 3: 'int64', 4: 'uint64', 5: 'int32', 6: 'fixed64', 7: 'fixed32', 8: 'bool',
         9: 'string', 10: 'group', 11: 'message', 12: 'bytes', 13: 'uint32', 14: 'enum', 15: 'sfixed32',
         16: 'sfixed64', 17: 'sint32', 18: 'sint64'}


def fields(data):
    """The fields of one message on the wire: (number, value)."""
    pos = 0

    def varint():
        nonlocal pos
        value = shift = 0
        while True:
            byte = data[pos]
            pos += 1
            value |= (byte & 0x7f) << shift
            if byte < 0x80:
                return value
            shift += 7

    while pos < len(data):
        key = varint()
        wire = key & 7
        if wire == 0:
            yield key >> 3, varint()
        elif wire == 2:
            size = varint()
            yield key >> 3, data[pos:pos + size]
            pos += size
        else:
            size = 8 if wire == 1 else 4
            yield key >> 3, data[pos:pos + size]
            pos += size


def group(data):
    out = {}
    for number, value in fields(data):
        out.setdefault(number, []).append(value)
    return out


def text(values):
    return values[0].decode() if values else ''


class Schema:
    def __init__(self):
        self.messages = {}
        self.enums = {}

    def add_file(self, data):
        f = group(data)
        package = text(f.get(2))
        for m in f.get(4, []):
            self.add_message(package, m)
        for e in f.get(5, []):
            self.add_enum(package, e)

    def add_message(self, prefix, data):
        m = group(data)
        name = prefix + '.' + text(m.get(1))
        oneofs = [text(group(o).get(1)) for o in m.get(8, [])]
        out = {}
        for raw in m.get(2, []):
            f = group(raw)
            index = f.get(9)
            out[text(f.get(1))] = {
                'number': f[3][0],
                'repeated': f[4][0] == 3,
                'type': TYPES[f[5][0]],
                'of': text(f.get(6)).lstrip('.'),
                'oneof': oneofs[index[0]] if index else '',
            }
        self.messages[name] = out
        for sub in m.get(3, []):
            self.add_message(name, sub)
        for e in m.get(4, []):
            self.add_enum(name, e)

    def add_enum(self, prefix, data):
        e = group(data)
        values = [group(v) for v in e.get(2, [])]
        self.enums[prefix + '.' + text(e.get(1))] = {text(v.get(1)): v.get(2, [0])[0] for v in values}


def load(paths, files):
    with tempfile.NamedTemporaryFile(suffix='.desc') as out:
        cmd = ['protoc', '-o', out.name, '--include_imports'] + ['--proto_path=' + p for p in paths] + files
        done = subprocess.run(cmd, stderr=subprocess.PIPE, text=True, check=False)
        if done.returncode != 0:
            sys.exit('check_protos: protoc failed\n' + done.stderr)
        schema = Schema()
        for number, value in fields(open(out.name, 'rb').read()):
            if number == 1:
                schema.add_file(value)
        return schema


def patched_rules(deps, folder):
    """The package's validate.proto is older than its users: it lacks a rule, which is of no interest here."""
    os.makedirs(os.path.join(folder, 'validate'))
    rules = open(os.path.join(deps, 'protoc-gen-validate/validate/validate.proto'), encoding='utf-8').read()
    if 'StringRules {' in rules and 'ignore_empty' not in rules.split('StringRules {')[1].split('\n}')[0]:
        rules = rules.replace('message StringRules {', 'message StringRules {\n optional bool ignore_empty = 1000;')
    with open(os.path.join(folder, 'validate/validate.proto'), 'w', encoding='utf-8') as f:
        f.write(rules)


def published(deps, packages, folder):
    """The published files of our packages; the validation options need descriptor.proto from the system."""
    patched_rules(deps, folder)
    top = os.path.join(deps, 'envoy-api')
    files = []
    for where, _, names in os.walk(top):
        for name in names:
            if not name.endswith('.proto'):
                continue
            path = os.path.join(where, name)
            found = re.search(r'^package\s+([\w.]+);', open(path, encoding='utf-8').read(), re.M)
            if found and found.group(1) in packages:
                files.append(os.path.relpath(path, top))
    paths = [top, os.path.join(deps, 'googleapis'), os.path.join(deps, 'xds'),
             folder, '/usr/include']
    wkt = ['google/protobuf/%s.proto' % n
           for n in ('any', 'duration', 'empty', 'field_mask', 'struct', 'timestamp', 'wrappers')]
    return load(paths, sorted(files) + wkt)


def compare(ours, theirs):
    errors = []
    for name, declared in sorted(ours.messages.items()):
        if name.startswith('marchproxy.'):
            continue
        if name not in theirs.messages:
            errors.append('message %s is not published' % name)
            continue
        for field, mine in declared.items():
            other = theirs.messages[name].get(field)
            if other is None:
                errors.append('%s.%s is not published' % (name, field))
            elif other != mine:
                errors.append('%s.%s: ours %s, published %s' % (name, field, mine, other))
    for name, declared in sorted(ours.enums.items()):
        if name.startswith('marchproxy.'):
            continue
        if name not in theirs.enums:
            errors.append('enum %s is not published' % name)
            continue
        for value, number in declared.items():
            if theirs.enums[name].get(value) != number:
                errors.append('%s.%s = %d: published %s' % (name, value, number, theirs.enums[name].get(value)))
    return errors


def known_table(ours, theirs):
    lines = ['# SPDX-License-Identifier: AGPL-3.0-or-later',
             '# Fields that the published API has and we do not declare: message, number, name.',
             '# Written by tools/check_protos.py --write-known.']
    for name in sorted(ours.messages):
        declared = ours.messages[name]
        other = theirs.messages.get(name, {})
        rest = sorted((f['number'], field) for field, f in other.items() if field not in declared)
        lines += ['%s\t%d\t%s' % (name, number, field) for number, field in rest]
    return '\n'.join(lines) + '\n'


def main():
    args = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    args.add_argument('--deps')
    args.add_argument('--write-known', action='store_true')
    opts = args.parse_args()
    if not os.path.exists('/usr/include/google/protobuf/descriptor.proto'):
        sys.exit('check_protos: /usr/include/google/protobuf is missing: apt-get install libprotobuf-dev')
    ours = load([PROTO], sorted(f for f in os.listdir(PROTO) if f.endswith('.proto')))
    packages = {n.rsplit('.', 1)[0] for n in ours.messages} | {n.rsplit('.', 1)[0] for n in ours.enums}
    with tempfile.TemporaryDirectory() as folder:
        deps = opts.deps
        if not deps:
            subprocess.run(['npm', 'install', '--silent', '--no-audit', '--no-fund', NPM], cwd=folder, check=True,
                           timeout=300)
            deps = os.path.join(folder, 'node_modules/@grpc/grpc-js-xds/deps')
        theirs = published(deps, packages, folder)
    errors = compare(ours, theirs)
    for e in errors:
        print('check_protos: ' + e)
    table = known_table(ours, theirs)
    if opts.write_known:
        open(KNOWN, 'w', encoding='utf-8').write(table)
    elif not os.path.exists(KNOWN) or open(KNOWN, encoding='utf-8').read() != table:
        errors.append('known.tsv')
        print('check_protos: proto/known.tsv is out of date: run tools/check_protos.py --write-known')
    n_fields = sum(len(f) for m, f in ours.messages.items() if not m.startswith('marchproxy.'))
    print('check_protos: %d messages, %d fields, %d enums compared, %d differences'
          % (len(ours.messages), n_fields, len(ours.enums), len(errors)))
    return 1 if errors else 0


if __name__ == '__main__':
    sys.exit(main())
