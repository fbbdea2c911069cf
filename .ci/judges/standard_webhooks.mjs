// Verifies the requests that webhooks.py kept, by npm's standardwebhooks.
//
//     node standard_webhooks.mjs REQUESTS
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

// By NODE_PATH, which only `require` looks at.
const { Webhook } = createRequire(import.meta.url)("standardwebhooks");

const { secrets, wrong, requests } = JSON.parse(readFileSync(process.argv[2], "utf8"));
assert.ok(requests.length > 100 && secrets.length === 2);
for (const { headers, body } of requests) {
  for (const secret of secrets) {
    assert.deepEqual(new Webhook(secret).verify(body, headers), JSON.parse(body));
  }
}

const [{ headers, body }] = requests;
const judge = new Webhook(secrets[0]);
const then = new Date(Date.now() - 10 * 60 * 1000);
const stale = {
  ...headers,
  "webhook-timestamp": String(Math.floor(then.getTime() / 1000)),
  "webhook-signature": judge.sign(headers["webhook-id"], then, body),
};
assert.throws(() => new Webhook(wrong).verify(body, headers), /No matching signature/);
assert.throws(() => judge.verify(`${body} `, headers), /No matching signature/);
assert.throws(() => judge.verify(body, stale), /too old/);
console.log(`${requests.length} requests verify by npm's standardwebhooks; wrong secret, altered body and stale time do not`);
