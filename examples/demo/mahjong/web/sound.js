// Short sounds that are made in the browser. They are off until the player turns them on.

let context;
let on = localStorage.mahjongSound === 'on';

export const soundIsOn = () => on;

export function switchSound() {
  on = !on;
  localStorage.mahjongSound = on ? 'on' : 'off';
  if (on) play('tile');
}

const NOTES = { tile: [[1400, 0, 0.04]], turn: [[660, 0, 0.12]], claim: [[520, 0, 0.1], [780, 0.1, 0.14]], win: [[523, 0, 0.15], [659, 0.13, 0.15], [784, 0.26, 0.3]] };

/** Plays the sound with a name. */
export function play(name) {
  if (!on) return;
  context ??= new AudioContext();
  for (const [frequency, at, length] of NOTES[name]) {
    const start = context.currentTime + at;
    const oscillator = new OscillatorNode(context, { frequency, type: name === 'tile' ? 'square' : 'triangle' });
    const gain = new GainNode(context, { gain: 0.12 });
    gain.gain.exponentialRampToValueAtTime(0.001, start + length);
    oscillator.connect(gain).connect(context.destination);
    oscillator.start(start);
    oscillator.stop(start + length);
  }
}
