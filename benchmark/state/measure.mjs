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

/** A fixed loop; how long it takes tells how quiet the machine is. */
let sink;
const calibrate = () => {
  const from = cpuTime();
  let x = 1;
  for (let i = 0; i < 8e6; i++) x = (Math.imul(x ^ (x >>> 13), 0x5bd1e995) + i) | 0;
  sink = x;
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
