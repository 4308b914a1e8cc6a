#!/usr/bin/python3
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Compares our converter with Google's on every good Envoy file of the corpus and on a table of small documents.

usage: oracle.py CONF_CHECK PROTO_DIR DATA_DIR          (exit code 77: python3-protobuf is not installed)
Both read the document; the packed bytes must hold the same message, and Google's parser must take our JSON back.
Google's is stricter about YAML in two ways that are taken out before: no anchors, and text where text is expected.
"""
import glob
import json
import os
import subprocess
import sys
import tempfile

try:
    import yaml
    from google.protobuf import (any_pb2, descriptor_pb2, descriptor_pool, duration_pb2, empty_pb2, field_mask_pb2,
                                 json_format, message_factory, struct_pb2, timestamp_pb2, wrappers_pb2)
except ImportError:
    print('python3-protobuf or python3-yaml is not installed')
    sys.exit(77)

SMALL = [
    ('google.protobuf.Struct', '{"a": [1, -2.5, 1e300, "x", null, true, {"b": {}}], "c": "\\u00fc\\n\\ud83d\\ude80"}'),
    ('google.protobuf.Value', '[[], {}, ""]'),
    ('google.protobuf.ListValue', '[1, [2, [3]]]'),
    ('google.protobuf.FieldMask', '"aB.cD,e"'),
    ('google.protobuf.Duration', '"-1.000000001s"'),
    ('google.protobuf.Duration', '"315576000000s"'),
    ('google.protobuf.Timestamp', '"2024-02-29T23:59:59.123456789Z"'),
    ('google.protobuf.Timestamp', '"2024-02-29T23:59:59+23:30"'),
    ('google.protobuf.Int64Value', '"-9223372036854775808"'),
    ('google.protobuf.UInt64Value', '"18446744073709551615"'),
    ('google.protobuf.DoubleValue', '0.30000000000000004'),
    ('google.protobuf.DoubleValue', '"-Infinity"'),
    ('google.protobuf.FloatValue', '1.5e+38'),
    ('google.protobuf.BytesValue', '"AAEC/w=="'),
    ('google.protobuf.BytesValue', '"AAEC_w"'),
    ('google.protobuf.Any', '{"@type": "a/google.protobuf.Any", "value": {"@type": "a/google.protobuf.Duration", "value": "1s"}}'),
    ('envoy.config.cluster.v3.Cluster', '{"type": "LOGICAL_DNS", "lbPolicy": 3, "connectTimeout": "0.5s", "respectDnsTtl": true}'),
    ('envoy.config.route.v3.HeaderMatcher', '{"name": "a", "rangeMatch": {"start": "-5", "end": 10}, "invertMatch": true}'),
    ('envoy.config.route.v3.HeaderMatcher', '{"name": "a", "present_match": false}'),
]
# What Google's parser refuses, ours has to refuse too.
BAD = [
    ('google.protobuf.Duration', '"1"'), 
    ('google.protobuf.Duration', '"315576000001s"'), ('google.protobuf.Timestamp', '"2024-02-30T00:00:00Z"'),
    ('google.protobuf.Timestamp', '"2024-02-29"'), ('google.protobuf.Int32Value', '2147483648'),
    ('google.protobuf.Int32Value', '1.5'), ('google.protobuf.UInt32Value', '-1'),
    ('google.protobuf.FloatValue', '1e39'), ('google.protobuf.BoolValue', '"true"'), ('google.protobuf.BoolValue', '1'),
    ('google.protobuf.Any', '{"value": 1}'), ('google.protobuf.Any', '{"@type": "a/no.such.Type"}'),
    ('envoy.config.cluster.v3.Cluster', '{"nope": 1}'), ('envoy.config.cluster.v3.Cluster', '{"type": "NOPE"}'),
    ('envoy.config.cluster.v3.Cluster', '{"name": "a", "name": "b"}'),
    ('envoy.config.core.v3.DataSource', '{"inline_string": "a", "inline_bytes": "YQ=="}'),
    ('envoy.config.route.v3.VirtualHost', '{"domains": "a"}'),
    ('envoy.config.route.v3.VirtualHost', '{"domains": {}}'),
    ('google.protobuf.Struct', '[]'),
]


def pool_of(proto_dir):
    with tempfile.NamedTemporaryFile(suffix='.desc') as out:
        files = sorted(f for f in os.listdir(proto_dir) if f.endswith('.proto'))
        subprocess.run(['protoc', '-o', out.name, '--proto_path=' + proto_dir] + files, check=True,
                       stderr=subprocess.DEVNULL)
        files = descriptor_pb2.FileDescriptorSet.FromString(open(out.name, 'rb').read())
    pool = descriptor_pool.DescriptorPool()
    # Google's parser knows the well-known types by the names of their own files.
    known = []
    for module in (any_pb2, duration_pb2, empty_pb2, field_mask_pb2, struct_pb2, timestamp_pb2, wrappers_pb2):
        known.append(descriptor_pb2.FileDescriptorProto.FromString(module.DESCRIPTOR.serialized_pb))
        pool.Add(known[-1])
    for f in files.file:
        if f.name != 'google_protobuf.proto':
            if 'google_protobuf.proto' in f.dependency:
                f.dependency.remove('google_protobuf.proto')
                f.dependency.extend(k.name for k in known)
            pool.Add(f)
    return pool


class Oracle:
    def __init__(self, check, proto_dir):
        self.check = check
        self.pool = pool_of(proto_dir)
        self.factory = message_factory.MessageFactory(self.pool)
        self.failed = 0
        self.done = 0

    def new(self, type_name):
        return self.factory.GetPrototype(self.pool.FindMessageTypeByName(type_name))()

    def run(self, mode, type_name, path):
        return subprocess.run([self.check, mode, type_name, path], stdout=subprocess.PIPE, timeout=60, check=False)

    def fail(self, what, why):
        self.failed += 1
        print('not ok: %s: %s' % (what, why))

    def compare(self, what, type_name, text, path):
        self.done += 1
        theirs = json_format.Parse(text, self.new(type_name), descriptor_pool=self.pool)
        packed = self.run('-p', type_name, path)
        printed = self.run('-j', type_name, path)
        if packed.returncode != 0 or printed.returncode != 0:
            self.fail(what, printed.stdout.decode())
            return
        ours = self.new(type_name)
        ours.ParseFromString(packed.stdout)
        back = json_format.Parse(printed.stdout.decode(), self.new(type_name), descriptor_pool=self.pool)
        want = json_format.MessageToDict(theirs, descriptor_pool=self.pool)
        for name, got in (('bytes', ours), ('JSON', back)):
            if json_format.MessageToDict(got, descriptor_pool=self.pool) != want:
                self.fail(what, '%s differ: %s' % (name, got))

    def refuse(self, type_name, text, path):
        self.done += 1
        try:
            json_format.Parse(text, self.new(type_name), descriptor_pool=self.pool)
            self.fail(text, 'is taken by the oracle')
        except (json_format.ParseError, ValueError):
            pass
        if self.run('-j', type_name, path).returncode == 0:
            self.fail(text, 'is taken by us')


def as_text(value):
    """The one liberty with types: enumerations in lower case, as some of Envoy's files have them."""
    if isinstance(value, dict):
        return {str(k): as_text(v) for k, v in value.items() if not str(k).startswith('!')}
    if isinstance(value, list):
        return [as_text(v) for v in value]
    return {'auto': 'AUTO', 'strict_dns': 'STRICT_DNS', 'round_robin': 'ROUND_ROBIN'}.get(value, value) \
        if isinstance(value, str) else value


class Loader(yaml.SafeLoader):
    pass


Loader.add_constructor('!ignore', lambda loader, node: '!' + loader.construct_scalar(node))


def plain_durations(value):
    """{seconds: 1}, which Google's parser does not take."""
    if isinstance(value, dict):
        if set(value) == {'seconds'}:
            return '%ds' % value['seconds']
        return {k: plain_durations(v) for k, v in value.items()}
    return [plain_durations(v) for v in value] if isinstance(value, list) else value


def main(check, proto_dir, data_dir):
    oracle = Oracle(check, proto_dir)
    for path in sorted(glob.glob(os.path.join(data_dir, 'envoy/*'))):
        doc = plain_durations(as_text(yaml.load(open(path, encoding='utf-8'), Loader)))
        oracle.compare(path, 'envoy.config.bootstrap.v3.Bootstrap', json.dumps(doc), path)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, 'doc.json')
        for type_name, text in SMALL + BAD:
            with open(path, 'w', encoding='utf-8') as f:
                f.write(text)
            if (type_name, text) in SMALL:
                oracle.compare(text, type_name, text, path)
            else:
                oracle.refuse(type_name, text, path)
    print('%d compared, %d failed' % (oracle.done, oracle.failed))
    return 1 if oracle.failed else 0


if __name__ == '__main__':
    sys.exit(main(*sys.argv[1:4]))
