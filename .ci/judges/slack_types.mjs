// Has Slack's own TypeScript types look at bodies.
//
//     node slack_types.mjs NPM BODIES    NPM: where node_modules is; BODIES: slack.ndjson
//
// A planted wrong body stands under @ts-expect-error, which is an error itself where nothing is wrong.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const [npm, file] = process.argv.slice(2);
const CHUNK = 500;
const place = join(npm, "slack_types");
rmSync(place, { recursive: true, force: true });
mkdirSync(place);

const HEAD = `import type { KnownBlock } from "@slack/types";
import type { IncomingWebhookSendArguments } from "@slack/webhook";
`;

// A bot names its channel; for the rest its message is that of a webhook.
function literal(line) {
  const { channel, ...message } = JSON.parse(line);
  assert.ok(channel === undefined || typeof channel === "string");
  return JSON.stringify(message);
}

const lines = readFileSync(file, "utf8").trimEnd().split("\n");
for (let begin = 0; begin < lines.length; begin += CHUNK) {
  const text = lines.slice(begin, begin + CHUNK).map(
    (line, index) => `const m${index} = ${literal(line)} satisfies IncomingWebhookSendArguments;\nexport const b${index}: KnownBlock[] = m${index}.blocks;\n`,
  );
  writeFileSync(join(place, `bodies_${begin}.ts`), HEAD + text.join(""));
}

const good = { type: "section", text: { type: "mrkdwn", verbatim: true, text: "x" } };
const planted = [
  { type: "header", text: { type: "mrkdwn", text: "x" } },
  { type: "sektion", text: good.text },
  { ...good, colour: "red" },
  { type: "context", elements: good.text },
  { type: "section", text: { ...good.text, verbatim: "yes" } },
];
const wrong = planted.map(
  (block, index) => `// @ts-expect-error\nexport const w${index} = ${JSON.stringify({ text: "x", blocks: [block] })} satisfies IncomingWebhookSendArguments;\n`,
);
wrong.push(`// @ts-expect-error\nexport const other = ${JSON.stringify({ text: "x", blocks: [good], as_bot: true })} satisfies IncomingWebhookSendArguments;\n`);
wrong.push(`export const right = ${JSON.stringify({ text: "x", blocks: [good] })} satisfies IncomingWebhookSendArguments;\n`);
writeFileSync(join(place, "planted.ts"), HEAD + wrong.join(""));

writeFileSync(
  join(place, "tsconfig.json"),
  JSON.stringify({
    compilerOptions: { strict: true, noEmit: true, skipLibCheck: true, module: "node16", moduleResolution: "node16", types: [] },
    include: ["*.ts"],
  }),
);
const told = spawnSync(process.execPath, [join(npm, "node_modules/typescript/bin/tsc"), "--project", place], { encoding: "utf8" });
assert.equal(told.status, 0, `${told.error ?? ""}${told.stdout}`.slice(0, 4000));
console.log(`${lines.length} bodies of slack.ndjson are right by @slack/types and @slack/webhook, which refuse ${wrong.length - 1} planted ones`);
