// SPDX-License-Identifier: AGPL-3.0-or-later
// gRPC with npm @grpc/grpc-js, bytes as messages: `grpc.js server` prints its port and serves;
// `grpc.js client ADDRESS` runs the checks; `grpc.js hold ADDRESS N` keeps N streams talking until stdin ends.
'use strict';
const assert = require('assert');
const crypto = require('crypto');
const grpc = require('@grpc/grpc-js');

const MAX = 64 << 20;
const same = x => x;
const method = (name, up, down) => ({
    path: '/test.Peer/' + name,
    requestStream: up,
    responseStream: down,
    requestSerialize: same,
    requestDeserialize: same,
    responseSerialize: same,
    responseDeserialize: same,
});
const service = {
    Unary: method('Unary', false, false),
    Collect: method('Collect', true, false),
    Count: method('Count', false, true),
    Talk: method('Talk', true, true),
    Fail: method('Fail', false, false),
    FailLate: method('FailLate', false, true),
    Slow: method('Slow', false, false),
    Watch: method('Watch', false, true),
    Flaky: method('Flaky', false, false),
};
const options = {
    'grpc.max_receive_message_length': MAX,
    'grpc.max_send_message_length': MAX,
    'grpc.enable_retries': 0,
    'grpc.service_config_disable_resolution': 1,
};

// ---- server ----

let cancelled = 0;
let deadline = 0;
let flaky = 0;

function reflect(call) {
    const out = new grpc.Metadata();
    for (const [key, value] of Object.entries(call.metadata.getMap())) {
        if (key.startsWith('x-')) {
            call.metadata.get(key).forEach(v => out.add(key, v));
        }
    }
    return out;
}

const handlers = {
    Unary(call, done) {
        call.sendMetadata(reflect(call));
        const trailer = new grpc.Metadata();
        trailer.set('x-trailer', 'end');
        trailer.set('x-trailer-bin', Buffer.from([0, 1, 255]));
        done(null, call.request, trailer);
    },
    Collect(call, done) {
        let n = 0;
        const hash = crypto.createHash('sha256');
        call.on('data', d => {
            n += d.length;
            hash.update(d);
        });
        call.on('end', () => done(null, Buffer.from(n + ' ' + hash.digest('hex'))));
    },
    async Count(call) {
        const [n, size] = call.request.toString().split(' ').map(Number);
        const piece = Buffer.alloc(size || 1, 7);
        for (let i = 0; i < n; i++) {
            piece.writeUInt8(i & 255, 0);
            if (!call.write(Buffer.from(piece))) {
                await new Promise(done => call.once('drain', done));
            }
        }
        call.end();
    },
    Talk(call) {
        call.on('data', d => call.write(d));
        call.on('end', () => call.end());
        call.on('error', () => {});
    },
    Fail(call, done) {
        const trailer = new grpc.Metadata();
        trailer.set('x-why', 'because');
        done({ code: Number(call.request.toString()), details: 'ünhappy 100% "so"', metadata: trailer });
    },
    FailLate(call) {
        call.write(Buffer.from('first'));
        call.emit('error', { code: grpc.status.DATA_LOSS, details: 'lost' });
    },
    Slow(call, done) {
        deadline = call.getDeadline() - Date.now();
        const timer = setTimeout(() => done(null, Buffer.from('late')), 20000);
        call.on('cancelled', () => {
            cancelled++;
            clearTimeout(timer);
        });
    },
    Watch(call) {
        call.write(Buffer.from('begun'));
        call.on('cancelled', () => cancelled++);
    },
    Flaky(call, done) {
        flaky++;
        if (flaky % 2) {
            done({ code: grpc.status.UNAVAILABLE, details: 'try again' });
        } else {
            done(null, Buffer.from('at last'));
        }
    },
};
// Answers of the server about itself.
const query = { path: '/test.Peer/Query', ...method('Query', false, false) };
service.Query = query;
handlers.Query = (call, done) => done(null, Buffer.from(JSON.stringify({ cancelled, deadline, flaky })));

function serve() {
    const server = new grpc.Server(options);
    server.addService(service, handlers);
    server.bindAsync('127.0.0.1:0', grpc.ServerCredentials.createInsecure(), (e, port) => {
        assert.ifError(e);
        console.log(JSON.stringify({ port }));
    });
}

// ---- client ----

const Client = grpc.makeGenericClientConstructor(service, 'Peer');

function unary(client, name, request, metadata = new grpc.Metadata(), o = {}) {
    return new Promise((resolve, reject) => {
        const result = {};
        const call = client[name](request, metadata, o, (e, value) => {
            if (e) {
                reject(e);
            } else {
                result.value = value;
                resolve(result);
            }
        });
        call.on('metadata', m => (result.metadata = m));
        call.on('status', s => (result.status = s));
        result.call = call;
    });
}

const soon = ms => ({ deadline: Date.now() + ms });

async function until(check) {
    for (let i = 0; i < 200; i++) {
        if (await check()) {
            return;
        }
        await new Promise(done => setTimeout(done, 50));
    }
    throw new Error('not in time');
}

const ask = async client => JSON.parse((await unary(client, 'Query', Buffer.alloc(0))).value.toString());

const checks = {
    async unary(client) {
        for (const size of [0, 1, 1000, 70000]) {
            const data = crypto.randomBytes(size);
            assert.ok((await unary(client, 'Unary', data)).value.equals(data));
        }
    },
    async metadata(client) {
        const m = new grpc.Metadata();
        m.set('x-plain', 'value with spaces');
        m.add('x-many', 'one');
        m.add('x-many', 'two');
        m.set('x-data-bin', Buffer.from([0, 200, 13, 10, 255]));
        const got = await unary(client, 'Unary', Buffer.from('x'), m);
        assert.deepStrictEqual(got.metadata.get('x-plain'), ['value with spaces']);
        assert.strictEqual(got.metadata.get('x-many').join(', '), 'one, two');
        assert.ok(got.metadata.get('x-data-bin')[0].equals(Buffer.from([0, 200, 13, 10, 255])));
        await new Promise(done => setImmediate(done));
        assert.deepStrictEqual(got.status.metadata.get('x-trailer'), ['end']);
        assert.ok(got.status.metadata.get('x-trailer-bin')[0].equals(Buffer.from([0, 1, 255])));
    },
    async client_stream(client) {
        const hash = crypto.createHash('sha256');
        const answer = await new Promise((resolve, reject) => {
            const call = client.Collect((e, v) => (e ? reject(e) : resolve(v.toString())));
            for (let i = 0; i < 300; i++) {
                const d = crypto.randomBytes(i * 37);
                hash.update(d);
                call.write(d);
            }
            call.end();
        });
        assert.strictEqual(answer, (299 * 300) / 2 * 37 + ' ' + hash.digest('hex'));
    },
    async server_stream(client) {
        let n = 0;
        for await (const d of client.Count(Buffer.from('1000 3000'))) {
            assert.strictEqual(d.readUInt8(0), n++ & 255);
            assert.strictEqual(d.length, 3000);
        }
        assert.strictEqual(n, 1000);
    },
    async bidi_stream(client) {
        const call = client.Talk();
        const inbox = call[Symbol.asyncIterator]();
        for (let i = 0; i < 100; i++) {
            call.write(Buffer.from('turn ' + i)); // each waits for its answer: nothing is held back
            assert.strictEqual((await inbox.next()).value.toString(), 'turn ' + i);
        }
        call.end();
        assert.ok((await inbox.next()).done);
    },
    async many_bidi_streams(client) {
        await Promise.all(Array.from({ length: 60 }, () => checks.bidi_stream(client)));
    },
    async large_messages(client) {
        const data = crypto.randomBytes(20 << 20);
        assert.ok((await unary(client, 'Unary', data)).value.equals(data));
    },
    async slow_reader(client) {
        const call = client.Count(Buffer.from('2000 10000'));
        let n = 0;
        for await (const d of call) {
            n += d.length;
            if (n % 2000000 === 0) {
                await new Promise(done => setTimeout(done, 30));
            }
        }
        assert.strictEqual(n, 20000000);
    },
    async error_codes(client) {
        for (let code = 1; code <= 16; code++) {
            const e = await unary(client, 'Fail', Buffer.from(String(code))).then(() => null, x => x);
            assert.strictEqual(e.code, code);
            assert.strictEqual(e.details, 'ünhappy 100% "so"');
            assert.deepStrictEqual(e.metadata.get('x-why'), ['because']);
        }
    },
    async error_after_data(client) {
        const got = [];
        const e = await new Promise(resolve => {
            const call = client.FailLate(Buffer.alloc(0));
            call.on('data', d => got.push(d.toString()));
            call.on('error', resolve);
        });
        assert.deepStrictEqual([got, e.code, e.details], [['first'], grpc.status.DATA_LOSS, 'lost']);
    },
    async unknown_method(client) {
        const e = await new Promise(resolve =>
            client.makeUnaryRequest('/test.Peer/Nothing', same, same, Buffer.alloc(0), x => resolve(x)));
        assert.strictEqual(e.code, grpc.status.UNIMPLEMENTED);
    },
    async deadlines(client) {
        const before = (await ask(client)).cancelled;
        const e = await unary(client, 'Slow', Buffer.alloc(0), undefined, soon(500)).then(() => null, x => x);
        assert.strictEqual(e.code, grpc.status.DEADLINE_EXCEEDED);
        await until(async () => (await ask(client)).cancelled > before);
        const told = (await ask(client)).deadline;
        assert.ok(told > 0 && told <= 500, 'the server was told ' + told);
    },
    async cancellation(client) {
        const before = (await ask(client)).cancelled;
        const code = await new Promise(resolve => {
            const call = client.Watch(Buffer.alloc(0));
            call.on('data', () => call.cancel());
            call.on('error', e => resolve(e.code));
        });
        assert.strictEqual(code, grpc.status.CANCELLED);
        await until(async () => (await ask(client)).cancelled > before);
    },
};

async function run(address, only) {
    let failed = 0;
    const client = new Client(address, grpc.credentials.createInsecure(), options);
    for (const [name, check] of Object.entries(checks)) {
        if (only && only !== name) {
            continue;
        }
        const began = Date.now();
        try {
            await Promise.race([check(client),
                new Promise((_, no) => setTimeout(() => no(new Error(name + ' took too long')), 30000).unref())]);
            console.log(JSON.stringify({ check: name, ok: true, ms: Date.now() - began }));
        } catch (e) {
            failed++;
            console.log(JSON.stringify({ check: name, ok: false, why: String(e.stack) }));
        }
    }
    process.exit(failed ? 1 : 0);
}

// One call whose outcome is printed: for errors that the proxy makes.
async function once(address, name, ms) {
    const client = new Client(address, grpc.credentials.createInsecure(), options);
    const o = ms ? soon(Number(ms)) : {};
    const e = await unary(client, name, Buffer.from('x'), undefined, o).then(() => null, x => x);
    console.log(JSON.stringify(e ? { code: e.code, details: e.details } : { code: 0 }));
    process.exit(0);
}

const [, , mode, address, ...rest] = process.argv;
if (mode === 'server') {
    serve();
} else if (mode === 'client') {
    run(address, rest[0]);
} else {
    once(address, ...rest);
}
