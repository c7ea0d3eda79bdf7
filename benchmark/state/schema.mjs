// The cases of cases.go with @colyseus/schema. The argument is a case as JSON; the result is one line of JSON.
import { schema, t, Encoder, Decoder, StateView } from '@colyseus/schema';
import { writeFileSync } from 'node:fs';
import { measure, random, readMessages } from './measure.mjs';

Encoder.BUFFER_SIZE = 4 * 1024 * 1024;

const spec = JSON.parse(process.argv[2]);
const FIELDS = { number: () => t.number(), uint8: () => t.uint8(), int16: () => t.int16(), float32: () => t.float32() };

const world = ({ entities, field, views }) => {
  const Player = schema({ name: t.string(), x: FIELDS[field](), y: FIELDS[field]() }, 'Player');
  const players = t.map(Player);
  const State = schema({ players: views ? players.view() : players }, 'State');
  const state = new State();
  const list = [];
  for (let i = 0; i < entities; i++) {
    const p = new Player();
    p.name = `player ${i}`;
    p.x = p.y = 0;
    list.push(p);
    state.players.set(`${i}`, p);
  }
  return { State, state, list, encoder: new Encoder(state) };
};

/** Moves entities from..to as the case says; the Go side makes the same moves. */
const mover = (spec, list) => {
  const next = random(1);
  if (spec.move === 'jump') {
    return (from, to) => {
      for (let i = from; i < to; i++) {
        list[i].x = Math.floor(next() * spec.range);
        list[i].y = Math.floor(next() * spec.range);
      }
    };
  }
  const scale = spec.field === 'int16' ? 10 : 1;
  const at = list.map(() => [next() * spec.range, next() * spec.range]);
  const home = at.map(([x, y]) => [x, y]);
  let tick = 0;
  const show = (v) => (scale === 10 ? Math.round(v * 10) : Math.round(v * 100) / 100);
  return () => {
    tick++;
    for (let i = 0; i < list.length; i++) {
      for (let axis = 0; axis < 2; axis++) {
        const step = (next() * 2 - 1) * spec.speed;
        // Entities that stay around home keep every view as it is.
        const v = spec.still ? home[i][axis] + step / 50 : at[i][axis] + step;
        at[i][axis] = Math.min(spec.range, Math.max(0, v));
      }
      list[i].x = show(at[i][0]);
      list[i].y = show(at[i][1]);
    }
  };
};

const encodeAll = () => {
  const { list, encoder } = world(spec);
  const move = mover(spec, list);
  move(0, list.length);
  return { bytes: encoder.encodeAll().length };
};

const patches = () => {
  const { list, encoder } = world(spec);
  const move = mover(spec, list);
  move(0, list.length);
  encoder.encodeAll();
  encoder.discardChanges();
  let bytes = 0;
  const rounds = spec.changed === 1 ? list.length : 20;
  for (let i = 0; i < rounds; i++) {
    const from = spec.changed === 1 ? i : 0;
    move(from, from + spec.changed);
    bytes += encoder.encode().length;
    encoder.discardChanges();
  }
  return { bytes: bytes / rounds };
};

const ticks = () => {
  const { list, encoder } = world(spec);
  const move = mover(spec, list);
  encoder.encodeAll();
  encoder.discardChanges();
  const stride = Math.floor(list.length / Math.max(1, spec.changed));
  // Made before, so that the generator is not measured.
  const next = random(2);
  const numbers = Array.from({ length: 1 << 12 }, () => Math.floor(next() * spec.range));
  let at = 0;
  return measure(() => {
    for (let i = 0; i < spec.changed; i++) {
      const p = list[i * stride];
      p.x = numbers[at & 0xfff];
      p.y = numbers[(at + 1) & 0xfff];
      at += 2;
    }
    encoder.encode();
    encoder.discardChanges();
  }, spec);
};

/** A grid of cells as wide as a search reaches, with typed arrays: the search that a program would write. */
const grid = (list, radius, range, scale) => {
  const cells = Math.max(1, Math.floor(range / (radius * 1.08)));
  const cellOf = (v) => Math.min(cells - 1, Math.floor(v / scale / (range / cells)));
  const heads = new Int32Array(cells * cells);
  const nexts = new Int32Array(list.length);
  return {
    build() {
      heads.fill(-1);
      for (let i = 0; i < list.length; i++) {
        const c = cellOf(list[i].x) * cells + cellOf(list[i].y);
        nexts[i] = heads[c];
        heads[c] = i;
      }
    },
    find(x, y, seen, now) {
      const cx = cellOf(x);
      const cy = cellOf(y);
      const near = (radius * scale) ** 2;
      const far = near * 1.08 * 1.08;
      for (let gx = Math.max(0, cx - 1); gx <= Math.min(cells - 1, cx + 1); gx++) {
        for (let gy = Math.max(0, cy - 1); gy <= Math.min(cells - 1, cy + 1); gy++) {
          for (let i = heads[gx * cells + gy]; i >= 0; i = nexts[i]) {
            const dx = list[i].x - x;
            const dy = list[i].y - y;
            const d = dx * dx + dy * dy;
            if (d <= near || (d <= far && seen[i])) now[i] = 1;
          }
        }
      }
    },
  };
};

const viewed = () => {
  const { list, encoder } = world({ ...spec, views: true });
  const move = mover(spec, list);
  const scale = spec.field === 'int16' ? 10 : 1;
  const search = grid(list, spec.radius, spec.range, scale);
  move();
  const views = list.map(() => ({ view: new StateView(), seen: new Uint8Array(list.length), now: new Uint8Array(list.length) }));
  const look = () => {
    search.build();
    views.forEach((v, i) => {
      v.now.fill(0);
      search.find(list[i].x, list[i].y, v.seen, v.now);
      for (let j = 0; j < list.length; j++) {
        if (v.now[j] && !v.seen[j]) v.view.add(list[j]);
        else if (!v.now[j] && v.seen[j]) v.view.remove(list[j]);
      }
      [v.seen, v.now] = [v.now, v.seen];
    });
  };
  const flush = (count) => {
    const it = { offset: 0 };
    encoder.encode(it);
    const shared = it.offset;
    let bytes = 0;
    for (const { view } of views) {
      bytes += encoder.encodeView(view, shared, it).length;
      it.offset = shared;
    }
    encoder.discardChanges();
    return bytes;
  };
  look();
  {
    const it = { offset: 0 };
    encoder.encodeAll(it);
    const shared = it.offset;
    for (const { view } of views) {
      encoder.encodeAllView(view, shared, it);
      it.offset = shared;
    }
    encoder.discardChanges();
  }
  const visible = views.reduce((n, v) => n + v.seen.reduce((a, b) => a + b, 0), 0) / views.length;
  if (spec.kind === 'view bytes') {
    let bytes = 0;
    for (let i = 0; i < 20; i++) {
      move();
      look();
      bytes += flush();
    }
    return { bytes: bytes / 20 / views.length, visible };
  }
  const result = measure(() => {
    move();
    look();
    flush();
  }, spec);
  return { ...result, visible };
};

/** Encodes what the case "decode" decodes in another process. */
const encoded = () => {
  const { list, encoder } = world(spec);
  const move = mover(spec, list);
  move(0, list.length);
  const messages = [Buffer.from(encoder.encodeAll()).toString('base64')];
  encoder.discardChanges();
  for (let i = 0; i < spec.messages; i++) {
    move(0, spec.changed);
    messages.push(Buffer.from(encoder.encode()).toString('base64'));
    encoder.discardChanges();
  }
  writeFileSync(spec.file, JSON.stringify(messages));
  return {};
};

const decoded = () => {
  const { State } = world({ ...spec, entities: 0 });
  const messages = readMessages(spec.file).map((m) => new Uint8Array(Buffer.from(m, 'base64')));
  const decoder = new Decoder(new State());
  decoder.decode(messages[0]);
  let i = 0;
  return measure(() => {
    i = i + 1 < messages.length ? i + 1 : 1;
    decoder.decode(messages[i]);
  }, spec);
};

const run = {
  'initial bytes': encodeAll, 'patch bytes': patches, ticks, 'view bytes': viewed, views: viewed, encode: encoded,
  decode: decoded,
}[spec.kind];
console.log(JSON.stringify(run()));
