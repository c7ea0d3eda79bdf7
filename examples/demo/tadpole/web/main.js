// The page of the pond: joins, steers, and shows the figures. scene.js draws.
import { Network } from '/js/netsim.js';
import { RoomClient } from '/js/room.js';
import { Scene, drawMap } from './scene.js';

const $ = (id) => document.getElementById(id);

let received = 0; // bytes

/** A WebSocket that counts what arrives, with the headers of frames. */
class CountedSocket extends WebSocket {
  constructor(url) {
    super(url);
    this.addEventListener('message', ({ data }) => (received += data.byteLength + (data.byteLength < 126 ? 2 : 4)));
  }
}

const network = new Network({ WebSocket: CountedSocket });
const client = new RoomClient(`${location.protocol.replace('http', 'ws')}//${location.host}/nano`, {
  WebSocket: network.WebSocket,
});

let pond; // the room
let me; // the tadpole of this page, with the strokes that the state does not contain yet
let others; // all tadpoles, interpolated

// Joining.

client.addEventListener('status', ({ state, resumed, error }) => {
  $('state').hidden = state !== 'reconnecting';
  if (state === 'connected' && !resumed) join();
  if (state === 'closed' && pond) fail(error); // the client does not try again
});

async function join() {
  let room;
  try {
    room = await client.joinOrCreate('pond', { name: $('name').value });
  } catch (error) {
    return fail(error);
  }
  room.addEventListener('change', acknowledge);
  room.addEventListener('end', ({ cause, reason }) => {
    if (pond === room) pond = undefined;
    fail({ message: `You are out of the pond: ${reason || cause}` });
  });
  pond = room;
  me = pond.predict('tadpoles', pond.player, { step: swim, fields: ['x', 'y'] });
  others = pond.smooth('tadpoles', ['x', 'y']);
  before = undefined;
  sent.clear();
  $('enter').hidden = true;
  $('swim').hidden = false;
}

/** Shows the form to enter again. */
function fail({ message }) {
  $('problem').textContent = message;
  $('enter').hidden = false;
  $('enter').querySelector('button').disabled = false;
}

$('name').value = localStorage.getItem('tadpole') ?? '';
$('enter').addEventListener('submit', (event) => {
  event.preventDefault();
  localStorage.setItem('tadpole', $('name').value);
  $('problem').textContent = '';
  $('enter').querySelector('button').disabled = true;
  if (client.connected) join();
  else client.connect().catch(fail);
});

// Swimming: one stroke in each tick.

let course = { x: 0, y: 0 }; // the last stroke; it follows what the player wants
let before; // where the tadpole was before the last stroke
let struck = 0; // the time of the last stroke
let rested = 0; // ticks without one
const sent = new Map(); // time of each stroke that the state does not contain, by number

/** Does what the server does for a stroke. */
function swim(tadpole, { dx, dy }) {
  const { radius, speed } = pond.state;
  const length = Math.max(1, Math.hypot(dx, dy));
  const x = tadpole.x + (dx / length) * speed;
  const y = tadpole.y + (dy / length) * speed;
  const out = Math.max(1, Math.hypot(x, y) / radius);
  tadpole.x = Math.round((x / out) * 4) / 4;
  tadpole.y = Math.round((y / out) * 4) / 4;
}

/** Makes the strokes that are due. Frames come more often than ticks. */
function steer(now) {
  const tick = 1000 / pond.tickRate;
  if (now - struck > 5 * tick) struck = now - tick; // the page was hidden
  for (; now - struck >= tick; struck += tick) {
    before = me.at(now);
    const want = wanted();
    course.x += (want.x - course.x) * 0.3;
    course.y += (want.y - course.y) * 0.3;
    const dx = Math.round(course.x * 100) / 100;
    const dy = Math.round(course.y * 100) / 100;
    rested = Math.hypot(dx, dy) < 0.03 ? rested + 1 : 0;
    if (!client.connected || rested % pond.tickRate > 0) continue; // at rest, a stroke a second measures the delay
    sent.set(me.input('swim', rested ? { dx: 0, dy: 0 } : { dx, dy }), now);
  }
}

const keys = new Set();
const arrows = {
  ArrowLeft: [-1, 0],
  ArrowRight: [1, 0],
  ArrowUp: [0, -1],
  ArrowDown: [0, 1],
  KeyA: [-1, 0],
  KeyD: [1, 0],
  KeyW: [0, -1],
  KeyS: [0, 1],
};
let pointer; // where it presses the water, from the center of the window

/** Returns the stroke that the player wants: 0 to 1 long. */
function wanted() {
  let [x, y] = [0, 0];
  for (const key of keys) [x, y] = [x + arrows[key][0], y + arrows[key][1]];
  if (pointer) [x, y] = [pointer.x / 90, pointer.y / 90];
  const length = Math.max(1, Math.hypot(x, y));
  return { x: x / length, y: y / length };
}

const press = ({ clientX, clientY }) => (pointer = { x: clientX - innerWidth / 2, y: clientY - innerHeight / 2 });
$('pond').addEventListener('pointerdown', (event) => {
  $('pond').setPointerCapture(event.pointerId);
  $('words').blur();
  $('hint').classList.add('gone');
  press(event);
});
$('pond').addEventListener('pointermove', (event) => pointer && press(event));
for (const type of ['pointerup', 'pointercancel']) $('pond').addEventListener(type, () => (pointer = undefined));
addEventListener('blur', () => keys.clear());
addEventListener('keyup', ({ code }) => keys.delete(code));
addEventListener('keydown', (event) => {
  if (!pond || event.target instanceof HTMLInputElement || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === 'Enter') return $('words').focus();
  if (!arrows[event.code]) return;
  event.preventDefault();
  $('hint').classList.add('gone');
  keys.add(event.code);
});

// Talking.

$('talk').addEventListener('submit', async (event) => {
  event.preventDefault();
  const text = $('words').value.trim();
  if (!text) return $('words').blur();
  $('words').value = '';
  try {
    await pond.request('say', { text });
  } catch (error) {
    if (!$('words').value) $('words').value = text; // the server says once a second
  }
});

// Figures.

let delay = 0; // milliseconds from a stroke to the state that contains it
let frames = 0;
let last = { time: performance.now(), received, frames };

function acknowledge() {
  for (const [number, time] of sent) {
    if (number > client.room.ack) break;
    delay = performance.now() - time;
    sent.delete(number);
  }
}

setInterval(() => {
  const now = { time: performance.now(), received, frames };
  const seconds = (now.time - last.time) / 1000;
  const rate = (now.received - last.received) / seconds;
  const rounded = rate < 1024 ? `${Math.round(rate)} B/s` : `${(rate / 1024).toFixed(1)} KiB/s`;
  $('rate').textContent = rounded;
  $('fps').textContent = Math.round((now.frames - last.frames) / seconds);
  last = now;
  if (!pond?.synced) return;
  $('lag').textContent = `${pond.state.lag.toFixed(pond.state.lag < 10 ? 1 : 0)} ms`;
  $('seen').textContent = `${Object.keys(pond.state.tadpoles).length} of ${pond.state.swimmers}`;
  $('delay').textContent = delay < 1000 ? `${Math.round(delay)} ms` : `${(delay / 1000).toFixed(1)} s`;
}, 1000);

function setNetwork() {
  const latency = Number($('latency').value);
  const loss = Number($('loss').value);
  $('latency-is').textContent = `${latency} ms`;
  $('loss-is').textContent = `${loss} %`;
  network.set({ latency: latency / 2, loss: loss / 100 }); // the slider is for both ways together
}
for (const id of ['latency', 'loss']) $(id).addEventListener('input', setNetwork);
setNetwork(); // a reload may keep the sliders
$('network').open = innerWidth > 800;

// Drawing: at the rate of the screen.

const scene = new Scene($('pond'));
let shown; // in the last frame

/** Returns the tadpoles to show, and the place of this page's. */
function look(now) {
  if (!pond?.synced || !me.value) return { tadpoles: scene.dream(now), at: { x: 0, y: 0 } };
  steer(now);
  // A stroke moves the predicted tadpole by a whole tick. What is shown moves over the time of the tick.
  const after = me.at(now);
  const part = Math.min(1, (now - struck) / (1000 / pond.tickRate));
  const at = before ? { x: before.x + (after.x - before.x) * part, y: before.y + (after.y - before.y) * part } : after;
  const tadpoles = [];
  for (const [id, { x, y }] of others.at(now)) {
    const own = id === String(pond.player);
    const { name, says } = pond.state.tadpoles[id];
    tadpoles.push({ id: Number(id), name, says, own, x: own ? at.x : x, y: own ? at.y : y });
  }
  return { tadpoles, at };
}

requestAnimationFrame(function frame(now) {
  setTimeout(requestAnimationFrame, 0, frame); // on a slow device, frames leave time for messages and timers
  frames++;
  const view = look(now);
  const { radius, sight } = pond?.synced ? pond.state : { radius: 2400, sight: 480 };
  scene.draw(now, { ...view, radius, sight, pointer });
  if (pond?.synced) drawMap($('map'), view.at, pond.state);
  shown = view;
});

/** For the console of the browser, and for tests. */
globalThis.tadpole = {
  get pond() {
    return pond;
  },
  get shown() {
    return shown;
  },
  network,
};
