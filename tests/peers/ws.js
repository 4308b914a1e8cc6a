// SPDX-License-Identifier: AGPL-3.0-or-later
// WebSocket with npm ws: `ws.js server` prints its port and serves; `ws.js client URL` runs the checks.
'use strict';
const assert = require('assert');
const crypto = require('crypto');
const http = require('http');
const WebSocket = require('ws');

function serve() {
    const server = http.createServer((request, response) => response.end('plain'));
    const wss = new WebSocket.WebSocketServer({
        server,
        handleProtocols: protocols => (protocols.has('chat') ? 'chat' : false),
        perMessageDeflate: true,
        maxPayload: 64 << 20,
        verifyClient: (info, done) => done(info.req.url !== '/refused', 401, 'no'),
    });
    wss.on('connection', (ws, request) => {
        ws.on('ping', data => ws.send('ping seen: ' + data));
        ws.on('message', (data, binary) => {
            const text = binary ? '' : data.toString();
            if (text.startsWith('close ')) {
                ws.close(Number(text.split(' ')[1]), 'as you wish');
            } else if (text === 'terminate') {
                ws.terminate();
            } else if (text === 'ping me') {
                ws.ping('are you there', undefined, () => {});
                ws.once('pong', answer => ws.send('pong seen: ' + answer));
            } else if (text === 'headers') {
                ws.send(JSON.stringify(request.headers));
            } else {
                ws.send(data, { binary });
            }
        });
        ws.on('close', (code, reason) => console.log(JSON.stringify({ closed: code, reason: reason.toString() })));
        ws.on('error', e => console.log(JSON.stringify({ error: e.message })));
    });
    server.listen(0, '127.0.0.1', () => console.log(JSON.stringify({ port: server.address().port })));
}

function open(url, protocols, options) {
    return new Promise((resolve, reject) => {
        const ws = new WebSocket(url, protocols, { rejectUnauthorized: false, ...options });
        ws.inbox = [];
        ws.waiting = [];
        ws.on('message', (data, binary) => {
            const waits = ws.waiting.shift();
            if (waits) {
                waits({ data, binary });
            } else {
                ws.inbox.push({ data, binary });
            }
        });
        ws.next = () => new Promise(done => (ws.inbox.length ? done(ws.inbox.shift()) : ws.waiting.push(done)));
        ws.ended = new Promise(done => ws.on('close', (code, reason) => done({ code, reason: reason.toString() })));
        ws.once('open', () => resolve(ws));
        ws.once('error', reject);
    });
}

const checks = {
    async text(url) {
        const ws = await open(url);
        ws.send('grüße');
        const m = await ws.next();
        assert.deepStrictEqual([m.data.toString(), m.binary], ['grüße', false]);
        ws.close();
    },
    async binary(url) {
        const ws = await open(url, undefined, { perMessageDeflate: false });
        for (const size of [0, 1, 125, 126, 65535, 65536, 10 << 20]) {
            const data = crypto.randomBytes(size);
            ws.send(data);
            const m = await ws.next();
            assert.ok(m.binary && m.data.equals(data), 'message of ' + size);
        }
        ws.close();
    },
    async fragmented(url) {
        const ws = await open(url, undefined, { perMessageDeflate: false });
        for (let i = 0; i < 100; i++) {
            ws.send('part ' + i + ';', { fin: i === 99 });
            if (i === 50) {
                ws.ping('between');
            }
        }
        assert.strictEqual((await ws.next()).data.toString(), 'ping seen: between');
        assert.ok((await ws.next()).data.toString().endsWith('part 98;part 99;'));
        ws.close();
    },
    async compressed(url) {
        const ws = await open(url, undefined, { perMessageDeflate: true });
        assert.ok(ws.extensions.includes('permessage-deflate'));
        ws.send('a'.repeat(1 << 20));
        assert.strictEqual((await ws.next()).data.length, 1 << 20);
        ws.close();
    },
    async ping_and_pong(url) {
        const ws = await open(url);
        const pong = new Promise(done => ws.once('pong', d => done(d.toString())));
        ws.ping('hello');
        assert.strictEqual(await pong, 'hello');
        assert.strictEqual((await ws.next()).data.toString(), 'ping seen: hello');
        ws.send('ping me');
        assert.strictEqual((await ws.next()).data.toString(), 'pong seen: are you there');
        ws.close();
    },
    async close_codes(url) {
        for (const code of [1000, 1001, 1008, 1011, 3000, 4999]) {
            const ws = await open(url);
            ws.send('close ' + code);
            assert.deepStrictEqual(await ws.ended, { code, reason: 'as you wish' });
        }
        const mine = await open(url);
        mine.close(4001, 'mine');
        assert.deepStrictEqual(await mine.ended, { code: 4001, reason: 'mine' });
        const cut = await open(url);
        cut.send('terminate');
        assert.strictEqual((await cut.ended).code, 1006);
    },
    async subprotocol_and_headers(url) {
        const ws = await open(url, ['other', 'chat'], { headers: { 'X-Mine': 'yes' } });
        assert.strictEqual(ws.protocol, 'chat');
        ws.send('headers');
        const seen = JSON.parse((await ws.next()).data.toString());
        assert.strictEqual(seen['x-mine'], 'yes');
        assert.ok(seen['x-request-id']);
        ws.close();
    },
    async refused(url) {
        await assert.rejects(open(url.replace('/chat', '/refused')), /Unexpected server response: 401/);
        await assert.rejects(open(url.replace('/chat', '/plain')), /Unexpected server response: 403/);
    },
    async many_at_once(url) {
        const all = await Promise.all(Array.from({ length: 50 }, () => open(url)));
        all.forEach((ws, i) => ws.send('n' + i));
        const got = await Promise.all(all.map(ws => ws.next()));
        got.forEach((m, i) => assert.strictEqual(m.data.toString(), 'n' + i));
        all.forEach(ws => ws.close());
        await Promise.all(all.map(ws => ws.ended));
    },
};

async function run(url) {
    let failed = 0;
    for (const [name, check] of Object.entries(checks)) {
        try {
            await check(url);
            console.log(JSON.stringify({ check: name, ok: true }));
        } catch (e) {
            failed++;
            console.log(JSON.stringify({ check: name, ok: false, why: String(e.stack) }));
        }
    }
    process.exit(failed ? 1 : 0);
}

if (process.argv[2] === 'server') {
    serve();
} else {
    run(process.argv[3]);
}
