// The page of the tick example: an arena with a player for each connection.
import { $, connect } from './common.js';
import { RoomClient } from './room.js';

const canvas = $('arena');
const draw = canvas.getContext('2d');

let arena; // the room
let me; // our player, with the steps that the server has not taken yet
let players; // all players, interpolated

const client = connect(location.host, RoomClient);

client.addEventListener('status', async ({ state, resumed }) => {
  if (state !== 'connected' || resumed) return;
  try {
    arena = await client.joinOrCreate('arena');
    me = arena.predict('players', arena.player, { step: move, fields: ['x', 'y'] });
    players = arena.smooth('players', ['x', 'y']);
    $('room').textContent = `room ${arena.id}`;
    $('problem').hidden = true;
  } catch (error) {
    $('problem').textContent = error.message;
    $('problem').hidden = false;
  }
});

/** Does what the server does for a step. */
function move(player, { dx, dy }) {
  const limit = (n) => Math.min(Math.max(n, 0), arena.state.size - 1);
  player.x = limit(player.x + dx);
  player.y = limit(player.y + dy);
}

function circle(x, y, id, own) {
  const field = canvas.width / arena.state.size;
  draw.beginPath();
  draw.arc((x + 0.5) * field, (y + 0.5) * field, field * 0.42, 0, 2 * Math.PI);
  draw.fillStyle = `oklch(0.62 0.15 ${(id * 67) % 360})`;
  draw.fill();
  if (!own) return;
  draw.lineWidth = field * 0.1;
  draw.strokeStyle = getComputedStyle(canvas).color;
  draw.stroke();
}

requestAnimationFrame(function frame(now) {
  requestAnimationFrame(frame);
  if (!arena?.synced) return;
  const count = Object.keys(arena.state.players).length;
  $('tick').textContent = `tick ${arena.tick}`;
  $('players').textContent = count === 1 ? '1 player' : `${count} players`;
  draw.clearRect(0, 0, canvas.width, canvas.height);
  for (const [id, { x, y }] of players.at(now)) if (id !== `${arena.player}`) circle(x, y, id);
  const own = me.at(now);
  if (own) circle(own.x, own.y, arena.player, true);
});

/** Takes a step. */
function step(dx, dy) {
  if (me?.value && client.connected && (dx !== 0 || dy !== 0)) me.input('move', { dx, dy });
}

const keys = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
addEventListener('keydown', (event) => {
  if (!keys[event.key]) return;
  event.preventDefault();
  step(...keys[event.key]);
});

canvas.addEventListener('pointerdown', (event) => {
  if (!me?.value) return;
  const field = canvas.clientWidth / arena.state.size;
  let dx = Math.floor(event.offsetX / field) - me.value.x;
  let dy = Math.floor(event.offsetY / field) - me.value.y;
  for (let steps = 0; steps < 8 && (dx || dy); steps++) {
    step(Math.sign(dx), Math.sign(dy));
    dx -= Math.sign(dx);
    dy -= Math.sign(dy);
  }
});
