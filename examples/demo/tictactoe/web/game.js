import { RoomClient } from '/js/room.js';

const $ = (id) => document.getElementById(id);
const MARKS = ['', '✕', '○'];
const TURN = 20;
const client = new RoomClient(`${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}/nano`);
const key = (localStorage.user ??= crypto.randomUUID?.() ?? `${Math.random()}${Math.random()}`);
let game,
  turns,
  due = 0;

$('board').append(
  ...Array.from({ length: 9 }, (_, cell) => {
    const button = document.createElement('button');
    button.disabled = true;
    button.onclick = () => game.request('play', { cell }).catch(({ message }) => ($('status').textContent = message));
    return button;
  }),
);

const mark = () => game.state.players.findIndex(({ id }) => id === game.player) + 1; // 0 for a spectator

function status({ turn, winner, reason, players }) {
  if (winner === 3) return `A draw: ${reason}.`;
  if (winner) return `${players[winner - 1].name} wins: ${reason}.`;
  if (!turn) return 'Waiting for another player …';
  return turn !== mark() ? `${players[turn - 1].name} is to move.` : 'Your turn.';
}

function show() {
  const { cells, players, turn, ...rest } = game.state;
  [...$('board').children].forEach((button, i) => {
    button.textContent = MARKS[cells[i]];
    button.ariaLabel = `Cell ${i + 1} ${MARKS[cells[i]]}`;
    button.disabled = !turn || turn !== mark() || cells[i] !== 0;
  });
  $('players').replaceChildren(
    ...players.map(({ name, away }, i) => {
      const li = document.createElement('li');
      li.textContent = `${MARKS[i + 1]} ${name || '…'}${away ? ' (away)' : ''}`;
      li.className = turn === i + 1 ? 'turn' : '';
      return li;
    }),
  );
  $('status').textContent = status(game.state);
  if (turns !== rest.turns) due = Date.now() + TURN * 1000;
  turns = rest.turns;
  $('clock').hidden = !turn;
}

async function enter() {
  const watch = new URLSearchParams(location.search).get('watch');
  if (!client.connected) await client.connect();
  await client.request('login.As', { key });
  game = await (watch ? client.spectate(watch) : client.joinOrCreate('tictactoe', { name: $('name').value }));
  $('enter').hidden = true;
  $('watch').hidden = game.spectator;
  $('watch').href = `?watch=${game.id}`;
  game.addEventListener('change', show);
  game.addEventListener('end', ({ cause, reason }) => {
    if (cause === 'left') $('status').textContent = `You are out: ${reason}.`;
    $('enter').hidden = game.spectator;
  });
  if (game.synced) show();
}

const start = () => enter().catch(({ message }) => ($('status').textContent = message));
client.addEventListener('close', () => game && setTimeout(start, 1000));
setInterval(() => ($('clock').value = Math.max(0, (due - Date.now()) / 1000)), 200);
$('enter').onsubmit = (event) => {
  event.preventDefault();
  localStorage.name = $('name').value;
  start();
};
$('name').value = localStorage.name ?? '';
if (location.search) start();
