// The page of the tick example: an arena with a player for each connection.
import { $, connect } from './common.js';

const canvas = $('arena');
const draw = canvas.getContext('2d');

let size = 20; // fields, each way
let me = null; // our position, as the server sent it last

const client = connect();

client.addEventListener('status', async () => {
  const { state, resumed } = client.status;
  if (state !== 'connected' || resumed) return;
  try {
    const joined = await client.request('lobby.join');
    size = joined.size;
    $('room').textContent = `room ${joined.room}`;
    me = await client.request('arena.where');
    $('problem').hidden = true;
  } catch (error) {
    $('problem').textContent = error.message;
    $('problem').hidden = false;
  }
});

client.on('onState', ({ tick, players }) => {
  $('tick').textContent = `tick ${tick}`;
  $('players').textContent = players.length === 1 ? '1 player' : `${players.length} players`;
  const field = canvas.width / size;
  draw.clearRect(0, 0, canvas.width, canvas.height);
  for (const { id, x, y } of players) {
    const own = id === me?.id;
    if (own) me = { id, x, y };
    draw.beginPath();
    draw.arc((x + 0.5) * field, (y + 0.5) * field, field * 0.42, 0, 2 * Math.PI);
    draw.fillStyle = `oklch(0.62 0.15 ${(id * 67) % 360})`;
    draw.fill();
    if (!own) continue;
    draw.lineWidth = field * 0.1;
    draw.strokeStyle = getComputedStyle(canvas).color;
    draw.stroke();
  }
});

/** Queues a step; the server takes one a tick. */
function step(dx, dy) {
  if (me === null || !client.connected || (dx === 0 && dy === 0)) return;
  client.notify('arena.move', { dx, dy });
}

const keys = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
addEventListener('keydown', (event) => {
  if (!keys[event.key]) return;
  event.preventDefault();
  step(...keys[event.key]);
});

canvas.addEventListener('pointerdown', (event) => {
  if (me === null) return;
  const field = canvas.clientWidth / size;
  let dx = Math.floor(event.offsetX / field) - me.x;
  let dy = Math.floor(event.offsetY / field) - me.y;
  for (let steps = 0; steps < 8 && (dx || dy); steps++) {
    step(Math.sign(dx), Math.sign(dy));
    dx -= Math.sign(dx);
    dy -= Math.sign(dy);
  }
});
