// The page: it logs in, shows the lobby or a table, and sends what the player does. board.js draws the table.
import { RoomClient } from '/js/room.js';
import * as draw from './board.js';
import { lobbyPage, historyPage } from './lobby.js';
import { Player } from './replay.js';
import { play, soundIsOn, switchSound } from './sound.js';
import { escape, languageCode, switchLanguage, words } from './text.js';
import { sprite } from './tiles.js';

const { KIND, NONE, PHASE, STAGE } = draw;
const $ = (id) => document.getElementById(id);
const client = new RoomClient(`${location.protocol.replace('http', 'ws')}//${location.host}/nano`);

let account; // {uid, name, token, balance}
let skew = 0; // the clock of the server minus ours
let table; // the room, while we are at a table
let replay; // the player of a past hand, while one is shown
let selected = []; // indexes of raised tiles
let closed = 0; // the hand whose settlement was put away
let seen = {}; // what the last board had, for sounds
let noteTimer;

const EMPTY = { hand: [], drawn: NONE, given: [], received: [], missing: NONE, options: 0, kongs: [], hidden: [], waits: [] };

// Connection -------------------------------------------------------------------------------------------------------

async function login(name) {
  account = await client.request('lobby.login', { name, token: localStorage.mahjongToken ?? '' });
  localStorage.mahjongToken = account.token;
  skew = account.now - Date.now();
}

/** Connects and logs in once; later calls find the connection as it is. */
async function enter(name) {
  if (!client.connected) await client.connect();
  await login(name);
  const query = new URLSearchParams(location.search);
  if (account.table) return sit(account.table);
  if (query.has('watch')) return watch(query.get('watch'));
  if (query.has('table')) return join(query.get('table'));
  showLobby();
}

client.addEventListener('status', async ({ state, resumed }) => {
  $('lost').hidden = state !== 'reconnecting';
  $('lost').textContent = words().reconnecting;
  if (state !== 'connected' || resumed || !account) return;
  // Another session: the seat is held for its user.
  await attempt(async () => {
    const watching = table?.spectator && table.id;
    await login('');
    if (account.table) await sit(account.table);
    else if (watching) await follow(await client.spectate(watching));
    else if (!replay) showLobby();
  });
});

/** Runs something that may fail, and tells the player why it did. */
async function attempt(f) {
  try {
    await f();
  } catch (error) {
    note(words().errors[error.code] ?? error.message);
  }
}

function note(text) {
  $('note').textContent = text;
  $('note').hidden = false;
  clearTimeout(noteTimer);
  noteTimer = setTimeout(() => ($('note').hidden = true), 3000);
}

// Tables -----------------------------------------------------------------------------------------------------------

const find = async (code) => (await client.request('lobby.find', { code })).id;
const sit = async (id) => follow(await client.join(id));
const join = async (code) => sit(await find(code));
const watch = async (code) => follow(await client.spectate(await find(code)));

function follow(room) {
  table = room;
  replay = undefined;
  selected = [];
  seen = {};
  closed = 0;
  room.addEventListener('change', () => room === table && show());
  room.addEventListener('end', ({ reason }) => {
    if (room !== table) return;
    if (reason === 'joined again') return;
    table = undefined;
    note(words().ends[reason] ?? reason);
    attempt(async () => {
      await login('');
      showLobby();
    });
  });
  $('lobby').hidden = true;
  $('table').hidden = false;
  if (room.synced) show();
}

async function leave() {
  const room = table;
  table = undefined;
  history.replaceState(null, '', location.pathname);
  await room?.leave();
  await login('');
  showLobby();
}

function act(kind, fields = {}) {
  selected = [];
  return attempt(() => table.request('act', { step: table.state.step, kind, ...fields }));
}

// The table --------------------------------------------------------------------------------------------------------

/** Sets the HTML of an element when it has changed, so that a tap is not lost between two boards. */
function set(element, html) {
  if (element.shown === html) return;
  element.shown = html;
  element.innerHTML = html;
}

function view() {
  if (replay) {
    const board = replay.board;
    const s = board.seats[replay.seat];
    return { board, me: replay.seat, mine: { ...EMPTY, hand: s.hand, missing: s.missing } };
  }
  const board = table.state;
  const mine = board.mine[table.player];
  return { board, me: mine?.seat ?? 0, mine: mine ?? EMPTY, watching: !mine };
}

function show() {
  const { board, me, mine, watching } = view();
  if (!board.seats?.length) return;
  const w = words();
  document.documentElement.lang = languageCode();
  if (selected.some((i) => i >= mine.hand.length)) selected = [];
  set($('bar'), bar(board, watching));
  for (let p = 1; p <= 3; p++) {
    const index = board.seats.findIndex((_, i) => draw.place(board, me, i) === p);
    $(`seat${p}`).hidden = index < 0;
    set($(`seat${p}`), index < 0 ? '' : draw.seat(board, index, me));
    set($(`pool${p}`), index < 0 ? '' : draw.pool(board, index));
  }
  set($('pool0'), draw.pool(board, me));
  set($('compass'), draw.compass(board, me));
  set($('plate'), draw.plate(board, me, watching || replay ? -1 : me));
  const own = board.seats[me];
  const won = own.won && !own.selfWon && own.winTile !== NONE && board.stage === STAGE.playing;
  set($('melds'), draw.melds(own, mine, true) + (won ? draw.small(own.winTile, 'own lit') : ''));
  if (watching) {
    set($('claims'), `<p class="hint">${w.spectating}</p>`);
    set($('hand'), own.hand.length ? draw.hand(board, { ...EMPTY, hand: own.hand }, me, []) : draw.backs(own.tiles));
  } else {
    set($('claims'), replay ? '' : draw.claims(board, mine, me, selected));
    set($('hand'), draw.hand(board, mine, me, selected));
  }
  $('table').dataset.stage = board.stage;
  $('table').dataset.hand = board.hand;
  $('table').dataset.step = board.step;
  panel(board, me, watching);
  if (!replay) sounds(board, mine, me);
  tick();
}

function bar(board, watching) {
  const w = words();
  if (replay) return `<button type="button" data-action="endReplay">‹ ${w.back}</button>${replay.controls()}`;
  const me = watching ? undefined : board.seats[view().me];
  const title = board.hand ? `${w.hand} ${board.hand} ${w.of} ${board.config.hands}` : w.waiting;
  const button = (action, text, classes = '') => `<button type="button" class="${classes}" data-action="${action}">${text}</button>`;
  return (
    `<span class="title"><b>${title}</b><small>${w.base} ${board.config.base} · ${w.cap} ${board.config.cap} ${w.fan}</small></span>` +
    `<button type="button" class="code" data-action="copy" title="${w.copy}">${w.invite} <b>${escape(board.code)}</b></button>` +
    `<span class="tools">${board.stage === STAGE.playing && me ? button('auto', me.auto ? w.autoOff : w.auto, me.auto ? 'on' : '') : ''}` +
    `${button('sound', `${SPEAKER[soundIsOn() ? 1 : 0]}<span class="sr">${w.sound}</span>`, 'icon')}${button('language', w.language)}` +
    `${me && board.stage !== STAGE.gathering && board.stage !== STAGE.finished ? button('dissolve', w.dissolve) : button('leave', w.leave)}</span>`
  );
}

const speaker = (d) => `<svg viewBox="0 0 24 24" aria-hidden="true"><path d="M4 9v6h4l5 4V5L8 9z" fill="currentColor"/><path d="${d}" fill="none" stroke="currentColor" stroke-width="2" stroke-linecap="round"/></svg>`;
const SPEAKER = [speaker('M17 9l5 6M22 9l-5 6'), speaker('M16.5 9q2 3 0 6M19.5 6.5q4 5.5 0 11')];

function panel(board, me, watching) {
  const w = words();
  let html = '';
  if (board.voteBy !== NONE && !replay) {
    const agreed = watching || board.seats[me].vote;
    html =
      `<div class="card vote"><p><b>${escape(board.seats[board.voteBy].name)}</b> ${w.dissolveAsk}</p>` +
      `<div class="buttons">${agreed ? `<p>${w.agreed}</p>` : `<button type="button" data-action="refuse">${w.refuse}</button><button type="button" class="primary" data-action="agree">${w.agree}</button>`}</div></div>`;
  } else if (board.stage >= STAGE.between && closed !== board.hand) {
    const buttons =
      `<button type="button" data-action="put">${w.viewTable}</button>` +
      (replay || watching
        ? ''
        : board.stage === STAGE.finished
          ? `<button type="button" class="primary" data-action="leave">${w.leave}</button>`
          : board.seats[me].set
            ? `<p>${w.waitNext}</p>`
            : `<button type="button" class="primary" data-action="ready">${w.next}</button>`);
    html = draw.settlement(board, me, buttons);
  }
  $('panel').hidden = html === '';
  set($('panel'), html);
}

function sounds(board, mine, me) {
  const turn = board.stage === STAGE.playing && board.phase === PHASE.turn && board.turn === me;
  const now = { step: board.step, turn, options: mine.options, won: board.seats.reduce((n, s) => n + (s.won ? 1 : 0), 0), shift: board.shift };
  if (now.won > (seen.won ?? now.won)) play('win');
  else if (now.options && !seen.options) play('claim');
  else if (now.turn && !seen.turn) play('turn');
  else if (now.step !== seen.step) play('tile');
  if (seen.shift === 0 && now.shift) {
    const n = board.seats.length;
    const w = words();
    note(now.shift === n - 1 ? w.shiftPrevious : now.shift === 1 ? w.shiftNext : w.shiftOpposite);
  }
  if (now.step !== seen.step && board.phase !== PHASE.exchange) selected = selected.filter(() => board.turn === me && turn);
  seen = now;
}

function tick() {
  const due = replay ? 0 : (table?.state.due ?? 0);
  const left = Math.max(0, Math.ceil((due - Date.now() - skew) / 1000));
  const seconds = $('seconds');
  if (!seconds) return;
  seconds.textContent = due && left < 1000 ? left : '';
  seconds.classList.toggle('hurry', left <= 5);
}
setInterval(tick, 250);

// What the player does ---------------------------------------------------------------------------------------------

function tap(index) {
  const { board, mine, me } = view();
  const myTurn = board.phase === PHASE.turn && board.turn === me;
  const list = draw.arrange(mine.hand, myTurn ? mine.drawn : NONE, mine.missing).filter((t) => t !== 'drawn');
  if (board.phase === PHASE.exchange) {
    const others = selected.filter((i) => i !== index);
    const fits = board.config.exchangeAny || others.every((i) => draw.suit(list[i]) === draw.suit(list[index]));
    if (selected.includes(index)) selected = others;
    else selected = fits && others.length < 3 ? [...others, index] : [index];
  } else if (selected.includes(index)) {
    act(KIND.discard, { tile: list[index] });
  } else {
    selected = [index];
  }
  show();
}

function give() {
  const { mine } = view();
  const list = draw.arrange(mine.hand, NONE, mine.missing);
  act(KIND.give, { tiles: selected.map((i) => list[i]) });
}

const actions = {
  give,
  choose: (v) => act(KIND.choose, { suit: Number(v) }),
  win: () => act(KIND.win),
  kong: () => act(KIND.kong),
  pong: () => act(KIND.pong),
  pass: () => act(KIND.pass),
  kongSelf: (v) => act(KIND.kongSelf, { tile: Number(v) }),
  ready: () => attempt(() => table.request('ready')),
  fill: () => attempt(() => table.request('fill')),
  auto: () => attempt(() => table.request('auto', { on: !view().board.seats[view().me].auto })),
  dissolve: () => attempt(() => table.request('vote', { yes: true })),
  agree: () => attempt(() => table.request('vote', { yes: true })),
  refuse: () => attempt(() => table.request('vote', { yes: false })),
  leave: () => attempt(leave),
  put: () => {
    closed = view().board.hand;
    show();
  },
  copy: async () => {
    await navigator.clipboard?.writeText(`${location.origin}${location.pathname}?table=${table.state.code}`).catch(() => {});
    note(words().copied);
  },
  sound: () => {
    switchSound();
    again();
  },
  language: () => {
    switchLanguage();
    again();
  },
  endReplay: () => {
    replay = undefined;
    $('panel').hidden = true;
    showHistory();
  },
  quick: () => attempt(async () => sit((await client.request('lobby.quick', { players: 4 })).id)),
  history: () => attempt(showHistory),
  lobby: () => showLobby(),
  replay: (id) => attempt(async () => startReplay(await client.request('lobby.replay', { id: Number(id) }))),
};

document.addEventListener('click', (event) => {
  const target = event.target.closest('[data-action], #hand .tile');
  if (!target || target.disabled) return;
  if (target.dataset.index !== undefined) tap(Number(target.dataset.index));
  else if (replay?.control(target.dataset.action)) show();
  else actions[target.dataset.action]?.(target.dataset.value);
});

document.addEventListener('input', ({ target }) => {
  if (target.id === 'at' && replay) replay.go(Number(target.value));
});

document.addEventListener('submit', (event) => {
  event.preventDefault();
  const data = new FormData(event.target);
  const text = (name) => String(data.get(name) ?? '').trim();
  attempt(async () => {
    switch (event.target.id) {
      case 'enter':
        return enter(text('name'));
      case 'join':
        return event.submitter?.value === 'watch' ? watch(text('code')) : join(text('code'));
      case 'create': {
        const settings = {};
        for (const field of event.target.elements) {
          if (field.type === 'checkbox') settings[field.name] = field.checked;
          else if (field.name) settings[field.name] = Number(field.value);
        }
        return sit((await client.request('lobby.create', settings)).id);
      }
    }
  });
});

// The lobby --------------------------------------------------------------------------------------------------------

function showLobby() {
  table = replay = undefined;
  $('table').hidden = $('panel').hidden = true;
  $('lobby').hidden = false;
  document.documentElement.lang = languageCode();
  document.title = words().title;
  $('lobby').innerHTML = lobbyPage(account);
}

async function showHistory() {
  const { hands } = await client.request('lobby.history');
  $('table').hidden = true;
  $('lobby').hidden = false;
  $('lobby').innerHTML = historyPage(hands);
}

function startReplay(hand) {
  replay = new Player(hand, show);
  closed = 0;
  $('lobby').hidden = true;
  $('table').hidden = false;
  show();
}

function again() {
  for (const element of document.querySelectorAll('#table *, #panel')) element.shown = undefined;
  if (table || replay) show();
  else showLobby();
}

$('tiles').innerHTML = sprite();
showLobby();
if (localStorage.mahjongToken) attempt(() => enter(''));
