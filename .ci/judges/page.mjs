// Looks at the status page with a real browser: axe-core, widths, colour schemes, the keyboard, no request to
// anywhere else, and a relay that is watched while it works.
//
//   node page.mjs NPM-DIRECTORY PROGRAM PICTURES    pictures of all states go into the directory PICTURES
//
// The states are those of tests/golden/page-*.html, served with the style sheet, the script and the headers of the
// relay; the live part is a running relay. axe-core must also find what is wrong in a page that is spoiled.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { appendFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';

const [npm, program, pictures] = process.argv.slice(2);
const require = createRequire(join(resolve(npm), 'node_modules', 'x.js'));
const { chromium } = require('playwright-core');
const axe = readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');
const root = resolve(import.meta.dirname, '../..');
const POLICY = "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'; object-src 'none'";
const WIDTHS = { desktop: { width: 1280, height: 900 }, phone: { width: 375, height: 740 } };
const executablePath = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find((path) => {
  try { return readFileSync(path, { flag: 'r' }).length > 0; } catch { return false; }
});
assert(executablePath, 'there is no Chromium: apt-get install -y --no-install-recommends chromium fonts-noto-color-emoji fonts-dejavu');
mkdirSync(pictures, { recursive: true });

const part = (name) => readFileSync(join(root, 'src/admin/page', name));
const golden = (name) => readFileSync(join(root, 'tests/golden', `page-${name}.html`), 'utf8');
const assets = { 'style.css': 'text/css', 'page.js': 'text/javascript', 'icon.svg': 'image/svg+xml' };

// Serves the golden pages: /STATE/ and what belongs to it.
const server = createServer((request, response) => {
  const [, state, ...rest] = new URL(request.url, 'http://x').pathname.split('/');
  const name = rest.join('/');
  const headers = { 'content-security-policy': POLICY, 'x-content-type-options': 'nosniff' };
  if (name === '' || name.startsWith('change/')) {
    let page = golden(name === '' && state !== 'spoiled' ? state : 'full');
    if (name !== '') page = golden('change');
    if (new URL(request.url, 'http://x').searchParams.get('part')) page = page.slice(page.indexOf('<div class="detail">'), page.indexOf('</main>'));
    if (state === 'spoiled') page = page.replace('<html lang="en">', '<html>').replace('>Search <input', '><input');
    response.writeHead(200, { ...headers, 'content-type': 'text/html; charset=utf-8' }).end(page);
  } else if (assets[name]) {
    response.writeHead(200, { ...headers, 'content-type': assets[name] }).end(part(name));
  } else if (name === 'page/live') {
    response.writeHead(200, { ...headers, 'content-type': 'text/event-stream' });
    response.write('event: parts\ndata: {}\n\n');
  } else {
    response.writeHead(404, headers).end();
  }
});
await new Promise((done) => server.listen(0, '127.0.0.1', done));
const base = `http://127.0.0.1:${server.address().port}`;

const profile = mkdtempSync(join(tmpdir(), 'page-'));
const browser = await chromium.launchPersistentContext(join(profile, 'browser'), {
  executablePath,
  headless: true,
  args: ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
});

// A page that tells of every request and of every complaint.
async function open(address, { scheme = 'light', size = 'desktop' } = {}) {
  const page = await browser.newPage();
  const origin = new URL(address).origin;
  const wrong = [];
  page.on('request', (request) => { if (new URL(request.url()).origin !== origin) wrong.push(request.url()); });
  page.on('console', (said) => { if (said.type() === 'error') wrong.push(said.text()); });
  page.on('pageerror', (error) => wrong.push(String(error)));
  await page.setViewportSize(WIDTHS[size]);
  await page.emulateMedia({ colorScheme: scheme, reducedMotion: 'reduce' });
  await page.goto(address);
  return { page, wrong };
}

async function complaints(page) {
  // The policy of the page lets nobody add a script; the one who judges is no part of it.
  const session = await page.context().newCDPSession(page);
  await session.send('Runtime.evaluate', { expression: axe });
  const judged = await session.send('Runtime.evaluate', {
    expression: "axe.run({ runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] }).then((r) => JSON.stringify(r.violations.map((v) => [v.id, v.nodes.map((n) => n.html + ' ' + n.failureSummary)])))",
    awaitPromise: true,
    returnByValue: true,
  });
  return JSON.parse(judged.result.value);
}

const isWide = (page) => page.evaluate(() => document.documentElement.scrollWidth > innerWidth);

let looked = 0;
for (const state of ['full', 'stuck', 'empty', 'change']) {
  for (const scheme of ['light', 'dark']) {
    for (const size of Object.keys(WIDTHS)) {
      const address = state === 'change' ? `${base}/full/change/x` : `${base}/${state}/`;
      const { page, wrong } = await open(address, { scheme, size });
      if (state !== 'change') await page.waitForFunction(() => document.getElementById('live').textContent.includes('live'));
      const found = await complaints(page);
      assert.deepEqual(found, [], `${state} ${scheme} ${size}: ${JSON.stringify(found, null, 1)}`);
      assert(!(await isWide(page)), `${state} ${size} is wider than its window`);
      await page.screenshot({ path: join(pictures, `${state}-${scheme}-${size}.png`), fullPage: true });
      assert.deepEqual(wrong, [], `${state} ${scheme} ${size}`);
      await page.close();
      looked += 1;
    }
  }
}

// Unfolded by the keyboard alone, and still without a complaint.
{
  const { page, wrong } = await open(`${base}/full/`);
  await page.keyboard.press('Tab');
  assert.equal(await page.evaluate(() => document.activeElement.className), 'skip');
  await page.focus('ol.changes > li > a');
  await page.keyboard.press('Enter');
  await page.waitForSelector('ol.changes .detail table.rows');
  assert.deepEqual(await complaints(page), []);
  await page.screenshot({ path: join(pictures, 'unfolded-light-desktop.png'), fullPage: true });
  await page.keyboard.press(' ');
  assert.equal(await page.locator('.detail').count(), 0);
  assert.deepEqual(wrong, []);
  await page.close();
}

// What is wrong must be found.
{
  const { page } = await open(`${base}/spoiled/`);
  const found = (await complaints(page)).map(([id]) => id);
  assert(found.includes('html-has-lang'), `axe-core finds nothing wrong in a spoiled page: ${found}`);
  await page.close();
}

// A relay that works, watched: an event shows without anything being pressed, and a link leads to one flag.
const place = join(profile, 'relay');
mkdirSync(place);
const log = join(place, 'audit.log');
const event = (key) => JSON.stringify({
  version: '0.2', type: 'flag', action: 'created', status: 'success',
  metadata: { actor: { authentication: 'oidc', email: 'ann@example.com', name: 'Ann' } },
  payload: { key, name: key, namespace_key: 'default', enabled: true }, timestamp: new Date().toISOString(),
}) + '\n';
writeFileSync(log, event('checkout'));
writeFileSync(join(place, 'relay.yaml'), `
data_dir: ${place}/data
environments: {production: [default]}
sources: {flipt: {type: file, path: ${log}}}
destinations: {archive: {type: file, path: ${place}/archive.ndjson}}
routes: {all: {to: [archive]}}
health: {listen: "127.0.0.1:0"}
admin: {listen: "127.0.0.1:0"}
log: {format: json}
`);
const relay = spawn(resolve(program), ['run', '--config', join(place, 'relay.yaml')], { stdio: ['ignore', 'inherit', 'pipe'], env: {} });
const over = new Promise((done) => relay.on('exit', done));
try {
  const address = await new Promise((done, fail) => {
    const end = setTimeout(() => fail(new Error('the relay never listened')), 60_000);
    createInterface({ input: relay.stderr }).on('line', (line) => {
      const said = line.startsWith('{') ? JSON.parse(line) : {};
      if (said.message === 'listening' && said.what === 'admin') { clearTimeout(end); done(`http://${said.address}/`); }
    });
  });
  const { page, wrong } = await open(address);
  await page.waitForSelector('text=checkout');
  await page.waitForFunction(() => document.getElementById('live').textContent === '● live');
  appendFileSync(log, event('search-ranking'));
  await page.waitForSelector('ol.changes >> text=search-ranking', { timeout: 60_000 });
  assert.deepEqual(await complaints(page), []);
  await page.goto(`${address}#flag/production/checkout`);
  await page.waitForURL('**/?environment=production&flag=checkout#changes');
  assert.equal(await page.locator('ol.changes > li').count(), 1);
  await page.locator('ol.changes > li > a').click();
  await page.waitForSelector('.detail pre');
  assert.deepEqual(wrong, []);
} finally {
  relay.kill('SIGTERM');
  await over;
}
await browser.close();
server.closeAllConnections();
server.close();
rmSync(profile, { recursive: true, force: true });
console.log(`axe-core and a browser have nothing to say of ${looked} pages; a change showed by itself`);
