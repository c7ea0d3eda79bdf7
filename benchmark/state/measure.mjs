// What all cases in JavaScript share.
import { readFileSync } from 'node:fs';

/** The generator of both sides: 32 bits, from a seed, so that both play the same game. */
export const random = (seed) => {
  let s = seed >>> 0;
  return () => {
    s = (Math.imul(s, 1664525) + 1013904223) >>> 0;
    return s / 2 ** 32;
  };
};

/** Nanoseconds that all threads of the process have run. */
const cpuTime = () => {
  const { user, system } = process.cpuUsage();
  return (user + system) * 1000;
};

/** A fixed loop, as the one of measure.go; how long it takes tells how quiet the machine is. */
const scratch = new Uint32Array(1 << 16);
let sink;
const calibrate = () => {
  const from = cpuTime();
  let [a, b, c, d] = [1, 2, 3, 4];
  for (let i = 0; i < 2e6; i++) {
    a = (Math.imul(a, 1664525) + i) | 0;
    b = (Math.imul(b, 22695477) + scratch[a >>> 16]) | 0;
    c = ((c ^ (c >>> 13)) + i) | 0;
    d = (d + (scratch[b >>> 16] ^ c)) | 0;
    scratch[c >>> 16] = d;
  }
  sink = a + b + c + d;
  return cpuTime() - from;
};

const median = (list) => list.sort((a, b) => a - b)[Math.floor(list.length / 2)];

/** Returns the nanoseconds of one call of f: the median of rounds, with the calibration loop between them. */
export const measure = (f, { warm, rounds, round }) => {
  const timed = (milliseconds) => {
    const from = cpuTime();
    let calls = 0;
    for (let batch = 1, last = from; ; ) {
      for (let i = 0; i < batch; i++) f();
      calls += batch;
      const now = cpuTime();
      if (now - from >= milliseconds * 1e6) return (now - from) / calls;
      if (now - last < 200e3) batch *= 2;
      last = now;
    }
  };
  timed(warm);
  calibrate();
  const times = [];
  const calibrations = [];
  for (let i = 0; i < rounds; i++) {
    calibrations.push(calibrate());
    times.push(timed(round));
  }
  return { ns: median(times), calibration: median(calibrations) };
};

export const readMessages = (file) => JSON.parse(readFileSync(file, 'utf8'));
