// SPDX-License-Identifier: Apache-2.0
// A little of everything a JavaScript engine compiles: its output is the same on every machine.
'use strict';
const crypto = require('crypto');
const zlib = require('zlib');

function sieve(n) {
  const marks = new Uint8Array(n + 1);
  let count = 0;
  for (let i = 2; i <= n; i++) {
    if (marks[i]) continue;
    count++;
    for (let j = i * 2; j <= n; j += i) marks[j] = 1;
  }
  return count;
}

function mandel(size) {
  let inside = 0;
  for (let y = 0; y < size; y++)
    for (let x = 0; x < size; x++) {
      let zr = 0, zi = 0, n = 0;
      const cr = (x * 3) / size - 2, ci = (y * 2) / size - 1;
      while (n < 50 && zr * zr + zi * zi < 4) {
        [zr, zi] = [zr * zr - zi * zi + cr, 2 * zr * zi + ci];
        n++;
      }
      inside += n === 50;
    }
  return inside;
}

let big = 1n;
for (let i = 1n; i <= 200n; i++) big *= i;
const words = [];
for (let i = 0; i < 20000; i++) words.push(((i * 7919) % 10007).toString(36));
words.sort();
const tree = JSON.parse(JSON.stringify({ a: [1.5, -2e-7, 'x\u00e9'], b: { c: null } }));
const text = words.join(' ');
console.log(sieve(200000), mandel(120), big.toString().slice(0, 40));
console.log(crypto.createHash('sha256').update(text).digest('hex'));
console.log(zlib.gunzipSync(zlib.gzipSync(text)).toString() === text, JSON.stringify(tree));
console.log(text.replace(/([a-z])(\d)/g, '$2$1').match(/\b9\w+/g).length);
console.log([Math.sin(1e6), Math.pow(1.1, 100), Math.log(3), Math.hypot(3, 4), (0.1 + 0.2).toString()].join(' '));
const wasm = new WebAssembly.Module(new Uint8Array([
  0, 97, 115, 109, 1, 0, 0, 0, 1, 7, 1, 96, 2, 127, 127, 1, 127, 3, 2, 1, 0, 7, 7, 1, 3, 109, 117,
  108, 0, 0, 10, 9, 1, 7, 0, 32, 0, 32, 1, 108, 11]));
console.log(new WebAssembly.Instance(wasm).exports.mul(12345, 6789));
setTimeout(() => Promise.resolve('timer').then((v) => console.log(v)), 20);
