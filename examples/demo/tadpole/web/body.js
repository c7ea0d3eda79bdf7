// The body of a tadpole. Only its place comes from the server: where it looks and how its tail moves follow from that.
import { head, light } from './sprites.js';

const COLORS = [
  { bright: '#d8fff4', color: '#4fdcc3', dark: '#128577' },
  { bright: '#ffe9cf', color: '#f79a5b', dark: '#a1491a' },
  { bright: '#e2f0ff', color: '#68aef5', dark: '#24599f' },
  { bright: '#ffdde6', color: '#f4758f', dark: '#9c2b4b' },
  { bright: '#f3ffd6', color: '#a9d94f', dark: '#55801a' },
  { bright: '#efe3ff', color: '#a88bf2', dark: '#5438a8' },
  { bright: '#fff6d0', color: '#f0c94c', dark: '#94701a' },
  { bright: '#d9fbff', color: '#45cbe6', dark: '#116f8b' },
];

const JOINTS = 9; // of the tail
const LINK = 6; // between two of them
const HEAD = 13; // how far the head reaches forward
const FADE = 350; // milliseconds in which a tadpole appears
const FAST = 330; // more than a tadpole swims in a second
const FAR = 250; // a tadpole that moves further at once starts with a straight tail

export class Body {
  #colors;
  #own;
  #since;
  #heading;
  #speed = 0; // per second
  #phase = Math.random() * 7;
  #tail = [];
  #given; // the last place
  #off = { x: 0, y: 0 }; // how far it is drawn from there
  #words; // { text, since, lines, width } of the bubble

  constructor({ id, x, y, own, says }, now) {
    this.x = x;
    this.y = y;
    this.#given = { x, y };
    this.#own = own;
    this.#colors = COLORS[id % COLORS.length];
    this.#heading = (id * 2.4) % (2 * Math.PI);
    this.#since = now;
    this.say(says, now);
    this.#straighten();
  }

  #straighten() {
    this.#tail = Array.from({ length: JOINTS }, (_, i) => ({
      x: this.x - Math.cos(this.#heading) * (8 + i * LINK),
      y: this.y - Math.sin(this.#heading) * (8 + i * LINK),
    }));
  }

  /** How visible it is: 0 to 1. */
  shown(now) {
    return Math.min(1, (now - this.#since) / FADE);
  }

  /** Moves it to a place. After the network has stalled, that is far, and it glides there. */
  move(x, y, seconds) {
    const [ax, ay] = [this.#given.x - x, this.#given.y - y];
    const away = Math.hypot(ax, ay);
    if (away > FAST * seconds + 5 && away < FAR) {
      this.#off.x += ax;
      this.#off.y += ay;
    }
    const left = Math.exp(-7 * seconds);
    this.#off.x *= left;
    this.#off.y *= left;
    this.#given = { x, y };
    this.#swim(x + this.#off.x, y + this.#off.y, seconds);
  }

  #swim(x, y, seconds) {
    const dx = x - this.x;
    const dy = y - this.y;
    const length = Math.hypot(dx, dy);
    this.x = x;
    this.y = y;
    if (seconds <= 0) return;
    if (length > FAR) return this.#straighten();
    this.#speed += (length / seconds - this.#speed) * Math.min(1, seconds * 8);
    if (length / seconds > 8) {
      let turn = Math.atan2(dy, dx) - this.#heading;
      turn -= 2 * Math.PI * Math.round(turn / (2 * Math.PI));
      this.#heading += turn * Math.min(1, seconds * 9);
    }
    this.#phase += seconds * (3 + this.#speed * 0.085);
    // Each joint follows the one before it, on a cord.
    let before = { x: x - Math.cos(this.#heading) * 8, y: y - Math.sin(this.#heading) * 8 };
    this.#tail[0] = before;
    for (const joint of this.#tail.slice(1)) {
      const long = Math.hypot(joint.x - before.x, joint.y - before.y) || 1;
      joint.x = before.x + ((joint.x - before.x) / long) * LINK;
      joint.y = before.y + ((joint.y - before.y) / long) * LINK;
      before = joint;
    }
  }

  glow(c, now) {
    const size = this.#own ? 92 : 62;
    c.globalAlpha = this.shown(now) * (this.#own ? 0.5 : 0.3);
    c.drawImage(light(this.#colors.color), this.x - size, this.y - size, 2 * size, 2 * size);
    c.globalAlpha = 1;
  }

  draw(c, now) {
    c.globalAlpha = this.shown(now) * 0.35;
    this.#drawTail(c, 8.5, 2.5, this.#colors.bright); // the fin
    c.globalAlpha = this.shown(now);
    this.#drawTail(c, 5.5, 0.4, this.#colors.color);
    const beat = 1 + 0.03 * Math.sin(this.#phase * 1.3);
    c.save();
    c.translate(this.x, this.y);
    c.rotate(this.#heading + 0.05 * Math.sin(this.#phase));
    c.drawImage(head(this.#colors), -HEAD - 3, -HEAD * beat - 3, 2 * HEAD + 6, 2 * (HEAD * beat + 3));
    c.restore();
    c.globalAlpha = 1;
  }

  /** Draws the tail, from one half width to another. A wave runs along it. */
  #drawTail(c, from, to, color) {
    const left = [];
    const right = [];
    const power = 0.5 + Math.min(1, this.#speed / 180) * 0.9;
    for (let i = 0; i < JOINTS; i++) {
      const a = this.#tail[Math.max(0, i - 1)];
      const b = this.#tail[Math.min(JOINTS - 1, i + 1)];
      const long = Math.hypot(b.x - a.x, b.y - a.y) || 1;
      const nx = -(b.y - a.y) / long;
      const ny = (b.x - a.x) / long;
      const wave = Math.sin(this.#phase - i * 0.75) * i * power;
      const half = from + (to - from) * (i / (JOINTS - 1)) ** 0.8;
      const { x, y } = this.#tail[i];
      left.push([x + nx * (wave + half), y + ny * (wave + half)]);
      right.unshift([x + nx * (wave - half), y + ny * (wave - half)]);
    }
    const outline = [...left, ...right];
    c.fillStyle = color;
    c.beginPath();
    c.moveTo(...outline[0]);
    for (let i = 1; i < outline.length - 1; i++) {
      const [x, y] = outline[i];
      const [nextX, nextY] = outline[i + 1];
      c.quadraticCurveTo(x, y, (x + nextX) / 2, (y + nextY) / 2);
    }
    c.lineTo(...outline.at(-1));
    c.closePath();
    c.fill();
  }

  /** Takes what the tadpole says. It reports whether that is new. */
  say(text, now) {
    if (text === (this.#words?.text ?? '')) return false;
    this.#words = text ? { text, since: now } : undefined;
    return text !== '';
  }

  /** Draws the bubble, whose tip is at a point of the window. */
  bubble(c, x, y, now) {
    const words = this.#words;
    if (!words) return;
    c.font = '500 14px system-ui, sans-serif';
    words.lines ??= wrap(c, words.text, 190);
    words.width ??= Math.max(...words.lines.map((line) => c.measureText(line).width));
    const wide = words.width / 2 + 13;
    const high = words.lines.length * 19 + 14;
    const part = Math.min(1, (now - words.since) / 220);
    const grown = 1 - (1 - part) ** 3 + 0.12 * Math.sin(part * Math.PI);
    c.save();
    c.translate(x, y);
    c.scale(grown, grown);
    c.globalAlpha = part;
    c.fillStyle = 'rgb(0 10 14 / 30%)';
    c.beginPath();
    c.roundRect(-wide - 2, -high - 7, 2 * wide + 4, high + 3, 16); // its shadow
    c.fill();
    c.fillStyle = this.#own ? '#fff6d9' : '#e6fbf5';
    c.beginPath();
    c.roundRect(-wide, -high - 8, 2 * wide, high, 14);
    c.moveTo(8, -9);
    c.lineTo(0, 0);
    c.lineTo(-8, -9);
    c.fill();
    c.fillStyle = '#06323a';
    words.lines.forEach((line, i) => c.fillText(line, 0, -high - 8 + 7 + 10 + i * 19));
    c.restore();
  }
}

/** Returns the lines of a text. A line ends at a space, or within a word that is too long. */
function wrap(c, text, most) {
  const lines = [];
  let line = '';
  for (const letter of text) {
    if (c.measureText(line + letter).width <= most) {
      line += letter;
      continue;
    }
    const space = line.lastIndexOf(' ');
    lines.push(space > 0 ? line.slice(0, space) : line);
    line = ((space > 0 ? line.slice(space + 1) : '') + letter).trimStart();
  }
  if (line) lines.push(line);
  return lines;
}
