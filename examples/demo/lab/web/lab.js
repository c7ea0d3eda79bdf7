// The page of the lag lab. One client plays behind a simulated network. A second one watches the same room without it, so
// that the page can draw where the server has everything.
import { $, connect } from './common.js';
import { Network } from './netsim.js';
import { RoomClient } from './room.js';

const SPEED = 6; // of the ship in a tick, as in main.go
const RADIUS = 16; // of a target
const SHOTS = 60; // the shots that count
const INPUTS = 100; // the inputs that count
const FLASH = 500; // milliseconds for which the result of a shot shows

const canvas = $('field');
const draw = canvas.getContext('2d');
const { width, height } = canvas;
const network = new Network();

let room; // the player's room, behind the network
let live; // the same room, without the network
let me; // our ship, predicted
let targets; // interpolated
let sent = new Map(); // by number of an input: where the page showed our ship, with prediction and without
let errors = []; // of the latest inputs: [with, without]
let shots = []; // the latest results
let trips = []; // their round trips
let flashes = []; // [x, y, result, time]
const held = new Set(); // arrow keys

const client = connect(location.host, RoomClient, { WebSocket: network.WebSocket });
const watcher = new RoomClient(`${location.protocol.replace('http', 'ws')}//${location.host}/nano`);

client.addEventListener('status', ({ state, resumed }) => state === 'connected' && !resumed && enter());
watcher.addEventListener('status', ({ state, resumed }) => state === 'connected' && !resumed && watch());
watcher.connect().catch(() => {}); // the other client shows it

async function enter() {
  try {
    room = await client.joinOrCreate('lab');
    sent.clear();
    room.addEventListener('change', measure);
    me = room.predict('ships', room.player, { step: move, fields: ['x', 'y'] });
    targets = room.smooth('targets', ['x', 'y']);
    $('problem').hidden = true;
    watch();
  } catch (error) {
    $('problem').textContent = error.message;
    $('problem').hidden = false;
  }
}

async function watch() {
  if (!room || !watcher.connected) return;
  await live?.leave().catch(() => {}); // a room of an earlier session
  live = await watcher.spectate(room.id).catch(() => undefined);
}

/** Does what the server does for an input. */
function move(ship, { dx, dy }) {
  ship.x = Math.min(Math.max(ship.x + dx * SPEED, 0), width);
  ship.y = Math.min(Math.max(ship.y + dy * SPEED, 0), height);
}

const far = (a, b) => Math.hypot(a.x - b.x, a.y - b.y);

/** Compares the server's ship with what the page showed after the same input. */
function measure() {
  const shown = sent.get(room.ack);
  const ship = room.state.ships[room.player];
  if (!shown || !ship) return;
  for (const number of sent.keys()) if (number <= room.ack) sent.delete(number);
  errors = [...errors, [far(shown.predicted, ship), far(shown.plain, ship)]].slice(-INPUTS);
}

/** Steers, once a tick. */
function steer() {
  if (!me?.value || !client.connected) return;
  let [dx, dy] = [held.has('ArrowRight') - held.has('ArrowLeft'), held.has('ArrowDown') - held.has('ArrowUp')];
  if ($('pilot').checked && held.size === 0) {
    const time = performance.now() / 1000;
    const to = { x: width * (0.5 + 0.35 * Math.sin(time / 1.7)), y: height * (0.5 + 0.35 * Math.sin(time / 1.1)) };
    [dx, dy] = [to.x - me.value.x, to.y - me.value.y].map((d) => (Math.abs(d) < SPEED ? 0 : Math.sign(d)));
  }
  const { x, y } = room.state.ships[room.player];
  const number = me.input('steer', { dx, dy });
  sent.set(number, { predicted: { x: me.value.x, y: me.value.y }, plain: { x, y } });
  if (sent.size > 500) sent.delete(sent.keys().next().value);
}

/** Shoots at a point of the field. */
async function shoot(x, y) {
  if (!targets || !client.connected) return;
  const began = performance.now();
  const counted = shots;
  const result = await room.request('shoot', { x, y, seen: targets.tick(began) }).catch(() => undefined);
  if (!result) return;
  flashes.push([x, y, result, performance.now()]);
  if (counted !== shots) return; // it began before the sliders moved
  shots.push(result);
  trips.push(performance.now() - began);
  if (shots.length > SHOTS) shots.shift();
  if (trips.length > SHOTS) trips.shift();
}

/** Shoots at the middle of a target on the screen. */
function fire() {
  const list = [...(targets?.at(performance.now()).values() ?? [])];
  const target = list[Math.floor(Math.random() * list.length)];
  if ($('fire').checked && target) shoot(target.x, target.y);
}

const mean = (list) => list.reduce((sum, n) => sum + n, 0) / list.length;
const share = (list) => list.filter(Boolean).length / list.length;

function show(id, value, text, most = 1) {
  $(id).textContent = Number.isFinite(value) ? text(value) : '–';
  $(`${id}-bar`).style.setProperty('--part', Number.isFinite(value) ? value / most : 0);
}

function numbers() {
  const [near, off] = [mean(errors.map(([a]) => a)), mean(errors.map(([, b]) => b))];
  const most = Math.max(near, off, 20) || 20;
  show('error-with', near, (n) => `${n.toFixed(1)} px`, most);
  show('error-without', off, (n) => `${n.toFixed(1)} px`, most);
  show('hits-with', share(shots.map((s) => s.with)), (n) => `${Math.round(n * 100)} %`);
  show('hits-without', share(shots.map((s) => s.without)), (n) => `${Math.round(n * 100)} %`);
  const late = shots.filter((s) => s.late).length;
  $('shots').textContent =
    shots.length === 0 ? 'No shots' : `${shots.length} shots${late > 0 ? `, ${late} too late` : ''}`;
  const middle = trips.toSorted((a, b) => a - b)[trips.length >> 1];
  $('rtt').textContent = middle === undefined ? '–' : Math.round(middle);
}

/** Sets the network as the sliders say. */
function set() {
  const [latency, jitter, loss] = ['latency', 'jitter', 'loss'].map((id) => Number($(id).value));
  network.set({ latency, jitter, loss: loss / 100 });
  $('latency-text').textContent = `${latency} ms`;
  $('jitter-text').textContent = `up to ${jitter} ms`;
  $('loss-text').textContent = `${loss} %`;
  errors = [];
  shots = [];
  trips = [];
  numbers();
}

function circle(x, y, r, fill, stroke, dash = []) {
  draw.beginPath();
  draw.arc(x, y, r, 0, 2 * Math.PI);
  if (fill) {
    draw.fillStyle = fill;
    draw.fill();
  }
  if (stroke) {
    draw.setLineDash(dash);
    draw.strokeStyle = stroke;
    draw.stroke();
  }
}

const colors = {};

/** Reads the colors of the style sheet, which follow the scheme of the browser. */
function paint() {
  for (const name of ['target', 'accent', 'soft', 'good', 'bad', 'line']) {
    canvas.style.color = `var(--${name})`;
    colors[name] = getComputedStyle(canvas).color;
  }
}
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', paint);
paint();

requestAnimationFrame(function frame(now) {
  requestAnimationFrame(frame);
  draw.clearRect(0, 0, width, height);
  draw.lineWidth = 2;
  draw.strokeStyle = colors.line;
  draw.setLineDash([]);
  for (let x = 100; x < width; x += 100) draw.strokeRect(x, -2, 0, height + 4);
  for (let y = 90; y < height; y += 90) draw.strokeRect(-2, y, width + 4, 0);
  if (live?.synced) {
    for (const { x, y } of Object.values(live.state.targets)) circle(x, y, RADIUS, '', colors.soft, [5, 4]);
    for (const { x, y } of Object.values(live.state.ships)) circle(x, y, 11, '', colors.soft, [5, 4]);
  }
  if (!room?.synced) return;
  for (const { x, y } of targets.at(now).values()) {
    circle(x, y, RADIUS, colors.target);
    circle(x, y, RADIUS * 0.45, '', '#fff');
  }
  const own = me.at(now);
  if (own) circle(own.x, own.y, 11, colors.accent, '#fff');
  flashes = flashes.filter(([, , , time]) => now - time < FLASH);
  for (const [x, y, result, time] of flashes) {
    draw.globalAlpha = 1 - Math.max(0, now - time) / FLASH;
    circle(x, y, 6 + (now - time) / 20, '', result.with ? colors.good : colors.bad);
    draw.globalAlpha = 1;
  }
});

for (const id of ['latency', 'jitter', 'loss']) $(id).addEventListener('input', set);
set();
setInterval(steer, 50);
setInterval(fire, 250);
setInterval(numbers, 250);
$('cut').addEventListener('click', () => network.cut());
addEventListener('keydown', (event) => {
  if (!event.key.startsWith('Arrow') || event.target.type === 'range') return;
  event.preventDefault();
  held.add(event.key);
});
addEventListener('keyup', (event) => held.delete(event.key));
addEventListener('blur', () => held.clear());
canvas.addEventListener('pointerdown', (event) => {
  const scale = width / canvas.clientWidth;
  shoot(event.offsetX * scale, event.offsetY * scale);
});
