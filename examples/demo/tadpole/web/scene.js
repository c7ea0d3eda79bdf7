// Draws the pond on a canvas. All shapes are made here; there are no pictures.
import { Body } from './body.js';
import { flower, light, pad } from './sprites.js';

const TURN = 2 * Math.PI;
const TILE = 400; // edge of a tile of the ground
const COARSE = 10; // pixels of the window for one of the light, which has no edges

/** Returns a source of random numbers, the same ones for the same seed (mulberry32). */
function random(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** What a pond of a radius contains: it is the same for every player. */
function furnish(radius) {
  const next = random(7);
  const place = (least, most) => {
    const r = radius * Math.sqrt(least ** 2 + next() * (most ** 2 - least ** 2));
    const a = next() * TURN;
    return { x: r * Math.cos(a), y: r * Math.sin(a) };
  };
  const many = (n, make) => Array.from({ length: n }, make);
  const shore = new Path2D();
  shore.rect(-3 * radius, -3 * radius, 6 * radius, 6 * radius);
  for (let i = 0; i < 720; i++) {
    const a = (i / 720) * TURN;
    const r = radius + 46 + 16 * Math.sin(9 * a) + 10 * Math.sin(23 * a + 1) + 5 * Math.sin(61 * a);
    shore[i === 0 ? 'moveTo' : 'lineTo'](r * Math.cos(a), r * Math.sin(a));
  }
  shore.closePath();
  return {
    radius,
    shore,
    mud: many(500, () => ({
      ...place(0, 1.02),
      size: 60 + next() * 170,
      turn: next() * TURN,
      flat: 0.4 + next() * 0.5,
      tone: next(),
    })),
    pebbles: many(2600, () => ({ ...place(0, 1.01), size: 2 + next() ** 3 * 13, turn: next() * TURN, tone: next() })),
    weeds: many(260, () => ({
      ...place(0.25, 1.01),
      size: 60 + next() * 90,
      phase: next() * TURN,
      blades: 3 + Math.floor(next() * 4),
    })),
    grass: many(1500, () => ({ ...place(1.025, 1.13), size: 22 + next() * 46, phase: next() * TURN, tone: next() })),
    pads: many(110, () => ({
      ...place(0.2, 0.99),
      size: 40 + next() * 50,
      turn: next() * TURN,
      phase: next() * TURN,
      blooms: next() < 0.3,
    })),
    motes: many(1600, () => ({
      ...place(0, 1),
      size: 0.8 + next() * 1.8,
      phase: next() * TURN,
      depth: 0.8 + next() * 0.35,
    })),
  };
}

/** Draws a blade of grass from a point by a vector. It is widest in the middle, and bends. */
function blade(c, x, y, dx, dy, half) {
  c.beginPath();
  c.moveTo(x, y);
  c.quadraticCurveTo(x + dx * 0.3 - half, y + dy * 0.55, x + dx, y + dy);
  c.quadraticCurveTo(x + dx * 0.3 + half, y + dy * 0.55, x, y);
  c.fill();
}

/** A canvas with the pond. */
export class Scene {
  #canvas;
  #context;
  #bodies = new Map(); // by id
  #rings = []; // { x, y, since, size }
  #furniture;
  #tiles = new Map(); // of the ground, by place
  #glare = document.createElement('canvas'); // a small picture of the light
  #zoom;
  #time = 0;
  #pace = 16; // milliseconds from frame to frame, on average
  #detail = 1; // pixels of the canvas for one of the screen, along an edge
  #pressed = false;

  constructor(canvas) {
    this.#canvas = canvas;
    this.#context = canvas.getContext('2d', { alpha: false });
  }

  /** Returns the tadpoles of the page before the player has entered. */
  dream(now) {
    return Array.from({ length: 14 }, (_, i) => {
      const t = now / (5200 + i * 310) + i * 2.4;
      return {
        id: i + 1,
        name: '',
        says: '',
        x: 250 * Math.sin(t + i) + 90 * Math.sin(2.3 * t),
        y: 230 * Math.cos(0.8 * t + 2 * i) + 60 * Math.sin(1.7 * t),
      };
    });
  }

  /** Draws a frame. `at` is the middle of the window, `pointer` where the player presses. */
  draw(now, { tadpoles, at, radius, sight, pointer }) {
    const seconds = Math.min(0.1, (now - this.#time) / 1000);
    this.#time = now;
    this.#adapt(seconds * 1000);
    const ratio = Math.min(2, devicePixelRatio) * this.#detail;
    const width = innerWidth;
    const height = innerHeight;
    if (width === 0 || height === 0) return;
    if (this.#canvas.width !== Math.round(width * ratio) || this.#canvas.height !== Math.round(height * ratio)) {
      this.#canvas.width = Math.round(width * ratio);
      this.#canvas.height = Math.round(height * ratio);
    }
    if (this.#furniture?.radius !== radius) {
      this.#furniture = furnish(radius);
      this.#tiles.clear();
    }
    // The corners of the window are within sight.
    const zoom = Math.hypot(width, height) / 2 / (sight - 40);
    const before = this.#zoom ?? zoom * 1.5;
    this.#zoom = Math.max(zoom, before + (zoom - before) * Math.min(1, seconds * 6)); // no further out, also in a larger window

    const c = this.#context;
    const view = {
      scale: this.#zoom,
      x: at.x,
      y: at.y,
      wide: width / 2 / this.#zoom,
      high: height / 2 / this.#zoom,
      sees: (x, y, size) => Math.abs(x - at.x) < view.wide + size && Math.abs(y - at.y) < view.high + size,
    };
    const world = (depth = 1) => {
      const s = this.#zoom * ratio;
      c.setTransform(s, 0, 0, s, (width / 2) * ratio - at.x * depth * s, (height / 2) * ratio - at.y * depth * s);
    };
    world();
    this.#ground(c, view);
    this.#weeds(c, view, now);
    this.#motes(c, view, now, world);
    world();
    this.#light(c, view, now);
    this.#press(at, pointer, now);
    this.#swim(c, view, tadpoles, now, seconds);
    this.#surface(c, view, now);
    this.#shore(c, view, now);
    c.setTransform(ratio, 0, 0, ratio, 0, 0);
    this.#write(c, view, tadpoles, now, width, height);
  }

  /** Draws fewer pixels on a device that shows fewer than 20 frames a second. */
  #adapt(took) {
    this.#pace += (took - this.#pace) / 10;
    if (this.#pace < 50 || this.#detail < 0.4) return;
    this.#detail *= 0.7;
    this.#pace = 16;
  }

  /** Draws the ground in tiles, each of which is made once. */
  #ground(c, { x, y, wide, high }) {
    const [left, right] = [Math.floor((x - wide) / TILE), Math.floor((x + wide) / TILE)];
    const [top, bottom] = [Math.floor((y - high) / TILE), Math.floor((y + high) / TILE)];
    for (let i = left; i <= right; i++) {
      for (let j = top; j <= bottom; j++) {
        const tile = this.#tiles.get(`${i} ${j}`) ?? this.#makeTile(i, j);
        this.#tiles.delete(`${i} ${j}`); // the oldest tile is the first one
        this.#tiles.set(`${i} ${j}`, tile);
        c.drawImage(tile, i * TILE - 1, j * TILE - 1, TILE + 2, TILE + 2);
      }
    }
    while (this.#tiles.size > 40) this.#tiles.delete(this.#tiles.keys().next().value);
  }

  #makeTile(i, j) {
    const tile = document.createElement('canvas');
    const c = tile.getContext('2d', { alpha: false });
    const scale = Math.min(2, devicePixelRatio * 1.2);
    tile.width = tile.height = Math.round((TILE + 2) * scale);
    c.setTransform(scale, 0, 0, scale, scale * (1 - i * TILE), scale * (1 - j * TILE));
    const inside = (x, y, size) =>
      Math.abs(x - (i + 0.5) * TILE) < TILE / 2 + 1 + size && Math.abs(y - (j + 0.5) * TILE) < TILE / 2 + 1 + size;
    const { radius, mud, pebbles } = this.#furniture;
    const water = c.createRadialGradient(0, 0, 0, 0, 0, radius * 1.03);
    water.addColorStop(0, '#03181f');
    water.addColorStop(0.6, '#04222a');
    water.addColorStop(0.9, '#07353a');
    water.addColorStop(1, '#0e4e4b');
    c.fillStyle = water;
    c.fillRect(i * TILE - 1, j * TILE - 1, TILE + 2, TILE + 2);
    for (const { x, y, size, turn, flat, tone } of mud) {
      if (!inside(x, y, size)) continue;
      c.save();
      c.translate(x, y);
      c.rotate(turn);
      c.globalAlpha = tone < 0.6 ? 0.55 : 0.16;
      c.drawImage(light(tone < 0.6 ? '#010c11' : '#2a7f78'), -size, -size * flat, 2 * size, 2 * size * flat);
      c.restore();
    }
    for (const { x, y, size, turn, tone } of pebbles) {
      if (!inside(x, y, size)) continue;
      c.fillStyle = `rgb(${60 + 70 * tone} ${120 + 60 * tone} ${118 + 50 * tone} / ${0.08 + 0.12 * tone})`;
      c.beginPath();
      c.ellipse(x, y, size, size * 0.75, turn, 0, TURN);
      c.fill();
    }
    return tile;
  }

  #weeds(c, view, now) {
    for (const { x, y, size, phase, blades } of this.#furniture.weeds) {
      if (!view.sees(x, y, size)) continue;
      for (let i = 0; i < blades; i++) {
        const lean = (i - (blades - 1) / 2) * 0.38 + Math.sin(now / 1500 + phase + i) * 0.2;
        const long = size * (0.65 + 0.35 * Math.sin(i * 2.1 + phase) ** 2);
        c.fillStyle = i % 2 ? 'rgb(20 92 78 / 50%)' : 'rgb(34 122 88 / 42%)';
        blade(c, x + i * 4, y, lean * long, -long, 8);
      }
    }
  }

  /** Motes float at several depths, so that they pass at several speeds. */
  #motes(c, view, now, world) {
    for (const depth of [0.9, 1.1]) {
      world(depth);
      for (const mote of this.#furniture.motes) {
        if (mote.depth < 0.975 !== depth < 1) continue;
        const x = mote.x + 14 * Math.sin(now / 4000 + mote.phase);
        const y = mote.y + 14 * Math.cos(now / 5000 + mote.phase);
        if (Math.abs(x - view.x * depth) > view.wide || Math.abs(y - view.y * depth) > view.high) continue;
        c.fillStyle = `rgb(170 255 235 / ${0.1 + 0.16 * Math.sin(now / 900 + mote.phase * 5) ** 2})`;
        c.beginPath();
        c.arc(x, y, mote.size, 0, TURN);
        c.fill();
      }
    }
  }

  /** Light from above, in large spots that wander. They are drawn small and then enlarged. */
  #light(c, view, now) {
    const g = this.#glare.getContext('2d');
    const width = Math.ceil((2 * view.wide * view.scale) / COARSE);
    const height = Math.ceil((2 * view.high * view.scale) / COARSE);
    if (this.#glare.width !== width || this.#glare.height !== height) {
      this.#glare.width = width;
      this.#glare.height = height;
    }
    const scale = view.scale / COARSE;
    g.setTransform(1, 0, 0, 1, 0, 0);
    g.clearRect(0, 0, width, height);
    g.setTransform(scale, 0, 0, scale, (view.wide - view.x) * scale, (view.high - view.y) * scale);
    g.globalCompositeOperation = 'lighter';
    const cell = 460;
    for (let i = Math.floor((view.x - view.wide) / cell) - 1; i <= (view.x + view.wide) / cell + 1; i++) {
      for (let j = Math.floor((view.y - view.high) / cell) - 1; j <= (view.y + view.high) / cell + 1; j++) {
        const phase = i * 12.9898 + j * 78.233;
        const x = (i + 0.5 + 0.4 * Math.sin(now / 7000 + phase)) * cell;
        const y = (j + 0.5 + 0.4 * Math.cos(now / 8300 + phase * 1.7)) * cell;
        const size = 300 + 120 * Math.sin(phase * 3.1);
        g.globalAlpha = 0.06 + 0.06 * Math.sin(now / 3100 + phase * 2.3) ** 2;
        g.drawImage(light('#3fd6c4'), x - size, y - size, 2 * size, 2 * size);
      }
    }
    c.globalCompositeOperation = 'lighter';
    const grown = COARSE / view.scale;
    c.drawImage(this.#glare, view.x - view.wide, view.y - view.high, width * grown, height * grown);
    c.globalCompositeOperation = 'source-over';
  }

  /** A press makes a ring on the water. */
  #press(at, pointer, now) {
    if (pointer && !this.#pressed) {
      this.#rings.push({ x: at.x + pointer.x / this.#zoom, y: at.y + pointer.y / this.#zoom, since: now, size: 46 });
    }
    this.#pressed = pointer !== undefined;
  }

  #swim(c, view, tadpoles, now, seconds) {
    const gone = new Set(this.#bodies.keys());
    for (const t of tadpoles) {
      gone.delete(t.id);
      let body = this.#bodies.get(t.id);
      if (!body) this.#bodies.set(t.id, (body = new Body(t, now)));
      if (body.say(t.says, now)) this.#rings.push({ x: t.x, y: t.y, since: now, size: 90 });
      body.move(t.x, t.y, seconds);
    }
    for (const id of gone) this.#bodies.delete(id);

    this.#rings = this.#rings.filter(({ since }) => now - since < 1200);
    for (const { x, y, since, size } of this.#rings) {
      const part = (now - since) / 1200;
      c.strokeStyle = `rgb(190 255 240 / ${0.35 * (1 - part) ** 2})`;
      c.lineWidth = 2.5 * (1 - part) + 0.5;
      for (const delay of [0, 0.25]) {
        c.beginPath();
        c.arc(x, y, Math.max(0, part - delay) * size, 0, TURN);
        c.stroke();
      }
    }
    const near = [...this.#bodies.values()].filter((body) => view.sees(body.x, body.y, 70));
    c.globalCompositeOperation = 'lighter';
    for (const body of near) body.glow(c, now);
    c.globalCompositeOperation = 'source-over';
    for (const body of near) body.draw(c, now);
  }

  /** Lily pads float above the tadpoles. */
  #surface(c, view, now) {
    for (const { x, y, size, turn, phase, blooms } of this.#furniture.pads) {
      if (!view.sees(x, y, size * 1.2)) continue;
      const angle = turn + 0.06 * Math.sin(now / 3000 + phase);
      const bob = 3 * Math.sin(now / 2300 + phase);
      c.save();
      c.translate(x + bob, y - bob);
      c.rotate(angle);
      // One above the player's tadpole is clearer.
      c.globalAlpha = 0.9 - 0.5 * Math.min(1, Math.max(0, 1.5 - Math.hypot(x - view.x, y - view.y) / size));
      c.drawImage(pad(), -size, -size, 2 * size, 2 * size);
      if (blooms) c.drawImage(flower(), -size * 0.42, -size * 0.5, size * 0.84, size * 0.84);
      c.restore();
    }
  }

  #shore(c, view, now) {
    const { radius, shore } = this.#furniture;
    if (Math.hypot(view.x, view.y) + Math.hypot(view.wide, view.high) < radius) return;
    c.lineJoin = 'round';
    for (const [width, color] of [
      [70, 'rgb(120 220 190 / 7%)'],
      [34, 'rgb(140 235 200 / 9%)'],
      [12, 'rgb(190 255 225 / 14%)'],
    ]) {
      c.lineWidth = width;
      c.strokeStyle = color;
      c.stroke(shore);
    }
    c.fillStyle = '#0a130d';
    c.fill(shore, 'evenodd');
    c.lineWidth = 9;
    c.strokeStyle = '#1c2a17';
    c.stroke(shore);
    for (const { x, y, size, phase, tone } of this.#furniture.grass) {
      if (!view.sees(x, y, size)) continue;
      for (let i = -1; i <= 1; i++) {
        const lean = i * 0.45 + 0.16 * Math.sin(now / 1900 + phase + i);
        c.fillStyle = `rgb(${22 + 24 * tone} ${44 + 34 * tone} ${24 + 12 * tone} / 90%)`;
        blade(c, x + i * 4, y, lean * size, -size * (1 - 0.2 * Math.abs(i)), 5);
      }
    }
  }

  /** Names and bubbles, in pixels of the window. */
  #write(c, view, tadpoles, now, width, height) {
    const place = ({ x, y }) => [width / 2 + (x - view.x) * view.scale, height / 2 + (y - view.y) * view.scale];
    c.textAlign = 'center';
    c.textBaseline = 'middle';
    c.lineJoin = 'round';
    for (const { id, name, own } of tadpoles) {
      const body = this.#bodies.get(id);
      if (!name || !view.sees(body.x, body.y, 60)) continue;
      const [x, y] = place(body);
      c.font = `${own ? 700 : 500} 12px system-ui, sans-serif`;
      c.globalAlpha = body.shown(now);
      c.lineWidth = 3;
      c.strokeStyle = 'rgb(1 18 24 / 55%)';
      c.strokeText(name, x, y + 24 * view.scale + 6);
      c.fillStyle = own ? '#fff4cf' : 'rgb(214 245 238 / 78%)';
      c.fillText(name, x, y + 24 * view.scale + 6);
    }
    c.globalAlpha = 1;
    for (const { id } of tadpoles) {
      const body = this.#bodies.get(id);
      if (!view.sees(body.x, body.y, 160)) continue;
      const [x, y] = place(body);
      body.bubble(c, x, y - 22 * view.scale, now);
    }
  }
}

/** Draws where the player is in the pond, and how far the player sees. */
export function drawMap(canvas, at, { radius, sight }) {
  const ratio = Math.min(2, devicePixelRatio);
  const size = Math.round(canvas.clientWidth * ratio);
  if (size === 0) return; // it is hidden
  if (canvas.width !== size) canvas.width = canvas.height = size;
  const c = canvas.getContext('2d');
  const scale = (size / 2 - 3 * ratio) / radius;
  c.setTransform(1, 0, 0, 1, size / 2, size / 2);
  c.clearRect(-size / 2, -size / 2, size, size);
  c.beginPath();
  c.arc(0, 0, radius * scale, 0, TURN);
  c.fillStyle = 'rgb(4 30 38 / 70%)';
  c.fill();
  c.lineWidth = 1.5 * ratio;
  c.strokeStyle = 'rgb(150 240 225 / 30%)';
  c.stroke();
  c.save();
  c.clip();
  c.beginPath();
  c.arc(at.x * scale, at.y * scale, sight * scale, 0, TURN);
  c.fillStyle = 'rgb(94 234 212 / 22%)';
  c.fill();
  c.restore();
  c.beginPath();
  c.arc(at.x * scale, at.y * scale, 2.5 * ratio, 0, TURN);
  c.fillStyle = '#fff4cf';
  c.fill();
}
