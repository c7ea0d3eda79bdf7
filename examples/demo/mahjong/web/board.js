// Turns a board into HTML. A board is the state of a table or one step of a replay; me is the seat at the bottom.
import { tile } from './tiles.js';
import { escape, tileName, words } from './text.js';

export const NONE = 255;
export const STAGE = { gathering: 0, playing: 1, between: 2, finished: 3 };
export const PHASE = { exchange: 0, missing: 1, turn: 2, claim: 3, over: 4 };
export const KIND = { give: 0, choose: 1, discard: 2, kongSelf: 3, win: 4, kong: 5, pong: 6, pass: 7 };
const MAY = { win: 1, kong: 2, pong: 4, must: 8 };
const CONCEALED = 3;

export const suit = (t) => Math.floor(t / 9);
export const small = (t, classes = '') => tile(t, { classes: `small ${classes}` });
const signed = (n) => (n > 0 ? `+${n}` : n < 0 ? `−${-n}` : '0');

/** The place of a seat on the screen: 0 bottom, 1 right, 2 top, 3 left. */
export function place(board, me, seat) {
  const n = board.seats.length;
  const at = (seat - me + n) % n;
  return n === 3 && at === 2 ? 3 : at;
}

function meld({ kind, tile: t }, hidden, own) {
  const count = kind === 0 ? 3 : 4;
  const seen = t === NONE ? hidden : t;
  // A concealed kong shows one tile; its owner, and everybody after the hand, sees which one it is.
  const faces = Array.from({ length: count }, (_, i) => (kind === CONCEALED && i !== 3 ? NONE : seen ?? NONE));
  return `<span class="meld k${kind}" title="${words().melds[kind]}">${faces.map((f) => small(f, own ? 'own' : '')).join('')}</span>`;
}

export function melds(seat, mine, own = false) {
  let hidden = 0;
  return seat.melds
    .map((m) => meld(m, m.tile === NONE && own ? mine?.hidden[hidden++] : undefined, own))
    .join('');
}

const hue = (name) => [...name].reduce((h, c) => (h * 31 + c.codePointAt(0)) % 360, 7);

function badges(board, index) {
  const w = words();
  const s = board.seats[index];
  const list = [];
  if (board.hand > 0 && board.dealer === index && board.stage !== STAGE.gathering) list.push(`<b class="badge dealer">${w.dealer}</b>`);
  if (s.missing !== NONE) list.push(`<b class="badge missing s${s.missing}" title="${w[`suit${s.missing}`]}">${MISSING[s.missing]}</b>`);
  if (s.won) list.push(`<b class="badge won">${w.winner} ${s.won}</b>`);
  if (s.away) list.push(`<b class="badge away">${w.away}</b>`);
  else if (s.auto) list.push(`<b class="badge away">${w.auto}</b>`);
  return list.join('');
}

// What stands for a suit on a badge: a small drawing, so that no font is needed.
const mark = (d) => `<svg viewBox="0 0 20 20" aria-hidden="true">${d}</svg>`;
const MISSING = [
  mark('<path d="M4 5H16M6 10H14M4 15H16" stroke="currentColor" stroke-width="2.4" stroke-linecap="round"/>'),
  mark('<path d="M6 4V16M10 4V16M14 4V16" stroke="currentColor" stroke-width="2.4" stroke-linecap="round"/>'),
  mark('<circle cx="10" cy="10" r="6" fill="none" stroke="currentColor" stroke-width="2.4"/><circle cx="10" cy="10" r="1.8" fill="currentColor"/>'),
];

export const suitMark = (s) => MISSING[s];

// The score of the room with the payments of the hand in play.
function score(board, index) {
  if (board.stage !== STAGE.playing) return board.seats[index].score;
  return board.payments.reduce((n, p) => n + (p.to === index ? p.amount : 0) - (p.from === index ? p.amount : 0), board.seats[index].score);
}

/** The plate of a seat: who sits there, with what score. */
export function plate(board, index, me) {
  const w = words();
  const s = board.seats[index];
  if (!s.name) return `<div class="plate free"><span class="avatar">＋</span><span class="who">${w.free}</span></div>`;
  const turn = board.stage === STAGE.playing && board.turn === index && board.phase >= PHASE.turn;
  const waits =
    board.stage === STAGE.gathering || board.stage === STAGE.between
      ? `<b class="badge ${s.set ? 'set' : 'unset'}">${s.set ? w.ready : w.notReady}</b>`
      : board.phase < PHASE.turn && s.done
        ? `<b class="badge set">✓</b>`
        : '';
  return (
    `<div class="plate ${turn ? 'turn' : ''} ${s.won ? 'has-won' : ''}"><span class="avatar" style="--hue:${hue(s.name)}">${escape([...s.name][0].toUpperCase())}</span>` +
    `<span class="who"><span class="name">${escape(s.name)}${index === me ? ` <i>${w.you}</i>` : s.bot ? ` <i>${w.bot}</i>` : ''}</span>` +
    `<span class="score">${score(board, index)}</span></span><span class="badges">${badges(board, index)}${waits}</span></div>`
  );
}

/** Another player's seat: plate, hand and melds. */
export function seat(board, index, me) {
  const s = board.seats[index];
  const open = s.hand.length > 0;
  const rack = open ? s.hand.map((t) => small(t)).join('') : Array.from({ length: s.tiles }, () => '<span class="stand"></span>').join('');
  const won = s.won && !open && s.winTile !== NONE ? `<span class="wintile">${small(s.winTile, 'lit')}</span>` : '';
  return `${plate(board, index, me)}<div class="rack ${open ? 'open' : ''}" data-count="${s.tiles}">${rack}</div><div class="melds">${melds(s)}${won}</div>`;
}

/** A hand that is hidden, at the bottom of the screen. */
export const backs = (count) => Array.from({ length: count }, () => tile(NONE)).join('');

/** The discards of a seat. */
export function pool(board, index) {
  const list = board.seats[index].discards;
  const last = board.phase === PHASE.claim && board.turn === index && !board.robbing ? list.length - 1 : -1;
  return list.map((t, i) => small(t, i === last ? 'lit fresh' : '')).join('');
}

/** The middle of the table: how many tiles are left, whose turn it is, and the seconds. */
export function compass(board, me) {
  const w = words();
  const at = board.stage === STAGE.playing && board.phase >= PHASE.turn && board.turn !== NONE ? place(board, me, board.turn) : -1;
  const arrows = [0, 1, 2, 3].map((i) => `<i class="arrow a${i} ${i === at ? 'on' : ''}"></i>`).join('');
  const robbed = board.robbing ? `<span class="robbed">${small(board.claimed, 'lit')}</span>` : '';
  return `${arrows}<span class="dial"><b id="seconds"></b>${board.hand ? `<span class="wall">${board.wall} <small>${w.wall}</small></span>` : ''}</span>${robbed}`;
}

/** The tiles of the own hand in the order of the screen: the suit that is not played and the drawn tile stand apart. */
export function arrange(hand, drawn, missing) {
  const list = [...hand].sort((a, b) => (suit(a) === missing) - (suit(b) === missing) || a - b);
  if (drawn !== NONE) {
    const i = list.indexOf(drawn);
    if (i >= 0) list.push(...list.splice(i, 1), 'drawn');
  }
  return list;
}

export function hand(board, mine, me, selected) {
  const playing = board.stage === STAGE.playing;
  const s = board.seats[me];
  const myTurn = playing && board.phase === PHASE.turn && board.turn === me && !s.won;
  const giving = playing && board.phase === PHASE.exchange && !s.done;
  const missing = mine.missing;
  const list = arrange(mine.hand, myTurn ? mine.drawn : NONE, missing);
  const drawn = list.at(-1) === 'drawn';
  if (drawn) list.pop();
  const mustMissing = mine.hand.some((t) => suit(t) === missing);
  return list
    .map((t, i) => {
      const can = giving || (myTurn && !(mine.mustWin && mine.mayWin) && (!mustMissing || suit(t) === missing));
      const classes = [
        can ? 'can' : '', selected.includes(i) ? 'up' : '', suit(t) === missing ? 'off' : '',
        drawn && i === list.length - 1 ? 'drawn' : '', !can && myTurn ? 'dim' : '', s.won ? 'dim' : '',
      ].join(' ');
      return tile(t, { tag: 'button', classes, attributes: `data-index="${i}" ${can ? '' : 'disabled'}`, label: tileName(t) });
    })
    .join('');
}

const claim = (action, label, t, kind = action) =>
  `<button type="button" class="claim ${kind}" data-action="${action}" data-value="${t ?? ''}">${t === undefined || t === NONE ? '' : small(t)}<span>${label}</span></button>`;

/** What the player may do now, as buttons. */
export function claims(board, mine, me, selected) {
  const w = words();
  const s = board.seats[me];
  if (board.stage === STAGE.gathering || board.stage === STAGE.between) {
    const fill = board.stage === STAGE.gathering && board.seats.some((x) => !x.name) ? claim('fill', w.fill, undefined, 'plain') : '';
    return `${fill}${s.set ? `<p class="hint">${board.stage === STAGE.gathering ? w.waiting : w.waitNext}</p>` : claim('ready', board.stage === STAGE.gathering ? w.ready : w.next, undefined, 'win')}`;
  }
  if (board.stage !== STAGE.playing || s.won) return '';
  if (board.phase === PHASE.exchange) {
    if (s.done) return `<p class="hint">${w.given}</p>`;
    return `<p class="hint">${board.config?.exchangeAny ? w.exchange : w.exchangeOne}</p><button type="button" class="claim win" data-action="give" ${selected.length === 3 ? '' : 'disabled'}><span>${w.give}</span></button>`;
  }
  if (board.phase === PHASE.missing) {
    if (s.done) return `<p class="hint">${w.given}</p>`;
    const counts = [0, 1, 2].map((k) => mine.hand.filter((t) => suit(t) === k).length);
    const least = counts.indexOf(Math.min(...counts));
    return `<p class="hint">${w.missing}</p>${counts.map((n, k) => `<button type="button" class="claim suit s${k} ${k === least ? 'advised' : ''}" data-action="choose" data-value="${k}">${MISSING[k]}<span>${w[`suit${k}`]} · ${n}</span></button>`).join('')}`;
  }
  if (board.phase === PHASE.claim && mine.options) {
    const list = [];
    if (mine.options & MAY.win) list.push(claim('win', w.win, board.claimed));
    if (mine.options & MAY.kong) list.push(claim('kong', w.kong, board.claimed));
    if (mine.options & MAY.pong) list.push(claim('pong', w.pong, board.claimed));
    if (!(mine.options & MAY.must)) list.push(claim('pass', w.pass));
    return list.join('');
  }
  if (board.phase === PHASE.turn && board.turn === me) {
    const list = mine.mayWin ? [claim('win', w.win, mine.drawn)] : [];
    for (const t of mine.kongs) list.push(claim('kongSelf', w.kong, t, 'kong'));
    if (list.length === 0) list.push(`<p class="hint">${selected.length ? w.tapAgain : w.yourTurn}</p>`);
    return list.join('');
  }
  if (mine.waits.length) return `<p class="hint waits">${w.waits} ${mine.waits.map((t) => small(t)).join('')}</p>`;
  return '';
}

/** The settlement of a hand, with each item named. */
export function settlement(board, me, buttons) {
  const w = words();
  const name = (i) => escape(board.seats[i].name);
  const order = board.seats.map((_, i) => i).sort((a, b) => (board.seats[a].won || 9) - (board.seats[b].won || 9) || a - b);
  const rows = order
    .map((i) => {
      const s = board.seats[i];
      const items = s.won
        ? (s.items.length ? s.items.map((x) => `<span class="item">${w.patterns[x.pattern]} <b>${x.fan}</b></span>`).join('') : `<span class="item">${w.plain} <b>0</b></span>`) +
          `<span class="item sum">${s.fan} ${w.fan}</span><span class="item how">${s.selfWon ? w.selfDrawn : w.discardWin}</span>`
        : board.wallEnded
          ? `<span class="item how">${s.pig ? w.pig : s.ready ? w.ready2 : w.notReady2}</span>`
          : '';
      const win = s.won && s.winTile !== NONE && !s.selfWon ? `<span class="wintile">${small(s.winTile, 'lit')}</span>` : '';
      const sign = s.change > 0 ? 'plus' : s.change < 0 ? 'minus' : '';
      return (
        `<li class="${i === me ? 'me' : ''}" data-seat="${i}"><div class="head"><span class="avatar" style="--hue:${hue(s.name)}">${escape([...s.name][0].toUpperCase())}</span>` +
        `<b class="name">${name(i)}</b>${s.won ? `<b class="badge won">${w.winner} ${s.won}</b>` : ''}<b class="change ${sign}" data-change="${s.change}">${signed(s.change)}</b></div>` +
        `<div class="faces">${melds(s)}<span class="meld">${s.hand.map((t) => small(t)).join('')}</span>${win}</div><div class="items">${items}</div></li>`
      );
    })
    .join('');
  const payments = board.payments
    .map((p) => `<tr><td>${w.reasons[p.reason]}</td><td>${name(p.from)} → ${name(p.to)}</td><td class="amount">${p.amount}</td></tr>`)
    .join('');
  const title = board.stage === STAGE.finished ? w.final : `${w.settlement} ${board.hand}`;
  const final =
    board.stage === STAGE.finished
      ? `<ol class="final">${board.seats.map((s, i) => [s.score, i]).sort((a, b) => b[0] - a[0]).map(([score, i]) => `<li>${name(i)} <b>${signed(score)}</b></li>`).join('')}</ol>`
      : '';
  return (
    `<div class="card settlement"><h2>${title}</h2>${final}${order.every((i) => !board.seats[i].won) ? `<p>${w.nobody}</p>` : ''}<ol class="results">${rows}</ol>` +
    `<details ${board.payments.length <= 6 ? 'open' : ''}><summary>${w.payments} (${board.payments.length})</summary><table>${payments}</table></details>` +
    `<p class="seed">${w.seed} <code>${escape(board.seed)}</code></p><div class="buttons">${buttons}</div></div>`
  );
}
