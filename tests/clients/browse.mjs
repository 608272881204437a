/**
 * Does in a browser what a test wants: actions come as JSON on standard input, what they find goes back as JSON.
 *
 * node browse.mjs FOLDER_OF_NODE_MODULES CHROMIUM ADDRESS
 */

import { createRequire } from 'node:module';
import { text } from 'node:stream/consumers';

const [modules, executablePath, address] = process.argv.slice(2);
const { chromium } = createRequire(`${modules}/`)('playwright-core');
const browser = await chromium.launch({ executablePath, args: ['--no-sandbox'] });
const page = await browser.newPage({ viewport: { width: 1100, height: 820 } });
const complaints = [];
page.on('console', (message) => {
  const missing = message.text().startsWith('Failed to load resource'); // which the page itself tells
  if (message.type() === 'error' && !missing) complaints.push(message.text());
});
page.on('pageerror', (error) => complaints.push(error.message));

/** Those that look at the page give back what they find. */
const ACTIONS = {
  opened: async () => {
    await opened();
  },
  open: async (url) => {
    await page.fill('#url', new URL(url, address).href);
    await page.click('#open');
    await opened();
  },
  choose: async (folder) => {
    await page.setInputFiles('#folder', folder);
    await opened();
  },
  set: async (selector, value) => {
    const change = (input, value) => {
      input[input.type === 'checkbox' ? 'checked' : 'value'] = value;
      input.dispatchEvent(new Event('input', { bubbles: true }));
    };
    await page.$eval(selector, change, value);
  },
  click: (selector) => page.click(selector),
  until: async (text) => {
    await page.waitForFunction(
      (text) => document.querySelector('#status').textContent.startsWith(text),
      text,
    );
  },
  press: async (...keys) => {
    await page.focus('#veil');
    for (const key of keys) await page.keyboard.press(key);
  },
  drag: async (...path) => {
    const { x, y, width, height } = await page.locator('#veil').boundingBox();
    for (const [index, [right, down]] of path.entries()) {
      await page.mouse.move(x + right * width, y + down * height, { steps: 8 });
      if (index === 0) await page.mouse.down();
    }
    await page.mouse.up();
  },
  text: (selector) => page.textContent(selector),
  fault: () => page.waitForSelector('#fault:not([hidden])').then((fault) => fault.textContent()),
  pixels: () =>
    page.$eval('#picture', (canvas) => {
      const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
      return Array.from(data);
    }),
  picture: async (path, width, height, colorScheme) => {
    await page.emulateMedia({ colorScheme });
    await page.setViewportSize({ width, height });
    await page.screenshot({ path, fullPage: width < 600 });
  },
  overflow: () => page.evaluate(() => document.documentElement.scrollWidth - innerWidth),
};

const opened = () =>
  page.waitForFunction(() => {
    const [drawing, fault] = ['#drawing', '#fault'].map((selector) => document.querySelector(selector));
    return !drawing.disabled || !fault.hidden;
  });

const found = [];
try {
  await page.goto(address);
  for (const [name, ...options] of JSON.parse(await text(process.stdin))) {
    const answer = await ACTIONS[name](...options);
    if (answer !== undefined) found.push(answer);
  }
} finally {
  await browser.close();
}
process.stdout.write(JSON.stringify({ found, complaints }));
