// The pages before and behind a table.
import { tile } from './tiles.js';
import { escape, languageCode, words } from './text.js';

const fanTiles = () =>
  `<div class="fan" aria-hidden="true">${[0, 9, 18, 4, 22].map((t, i) => tile(t, { classes: `f${i}` })).join('')}</div>`;

const top = () => `<div class="top"><button type="button" data-action="language">${words().language}</button></div>`;

const select = (name, label, options, chosen) =>
  `<label>${label}<select name="${name}">${options.map(([v, text]) => `<option value="${v}" ${v === chosen ? 'selected' : ''}>${text}</option>`).join('')}</select></label>`;

const check = (name) => `<label class="check"><input type="checkbox" name="${name}" />${words()[name]}</label>`;

/** The lobby; without an account, the form that asks for a name. */
export function lobbyPage(account) {
  const w = words();
  const head = `${top()}${fanTiles()}<h1>${w.title}</h1><p class="subtitle">${w.subtitle}</p>`;
  if (!account) {
    return `${head}<form id="enter" class="card"><input name="name" maxlength="16" placeholder="${w.name}" aria-label="${w.name}" autocomplete="nickname" /><button class="primary">${w.enter}</button></form>`;
  }
  const numbers = (list, suffix = '') => list.map((n) => [n, `${n}${suffix}`]);
  return (
    `${head}<p class="account"><b>${escape(account.name)}</b><span>${w.balance} <b>${account.balance}</b></span></p>` +
    `<section class="card big"><button type="button" class="primary" data-action="quick">${w.quick}</button><p>${w.quickHint}</p></section>` +
    `<form id="join" class="card"><h2>${w.join}</h2><div class="row"><input name="code" maxlength="6" placeholder="${w.code}" aria-label="${w.code}" autocapitalize="characters" autocomplete="off" required />` +
    `<button class="primary" value="join">${w.joinButton}</button><button value="watch">${w.watch}</button></div></form>` +
    `<form id="create" class="card"><h2>${w.friends}</h2><p>${w.friendsHint}</p><div class="grid">` +
    select('players', w.players, numbers([4, 3]), 4) +
    select('hands', w.hands, numbers([4, 8, 16]), 8) +
    select('base', w.base, numbers([1, 2, 5, 10]), 1) +
    select('cap', w.cap, numbers([3, 4, 5], ` ${w.fan}`), 4) +
    `</div><details><summary>${w.more}</summary><div class="grid">${select('suits', w.suits, numbers([3, 2]), 3)}` +
    select('selfDraw', w.selfDraw, [0, 1, 2].map((n) => [n, w[`selfDraw${n}`]]), 0) +
    `</div>${['exchangeAny', 'terminalsTwo', 'noFirstHand', 'noConcealed', 'noSimples', 'flowerByDiscarder', 'lastFourMustWin', 'hideConcealedKongs'].map(check).join('')}</details>` +
    `<button class="primary">${w.create}</button></form>` +
    `<p><button type="button" class="link" data-action="history">${w.history}</button></p>`
  );
}

const signed = (n) => (n > 0 ? `+${n}` : n < 0 ? `−${-n}` : '0');

/** The past hands of the player. */
export function historyPage(hands) {
  const w = words();
  const when = new Intl.DateTimeFormat(languageCode(), { dateStyle: 'medium', timeStyle: 'short' });
  const rows = hands
    .map(
      (h) =>
        `<li class="card past"><div class="head"><b>${w.settlement} ${h.number}</b><small>${when.format(h.ended)} · ${escape(h.code)}</small>` +
        `<button type="button" class="primary" data-action="replay" data-value="${h.id}">${w.replay}</button></div>` +
        `<div class="scores">${h.names.map((n, i) => `<span class="${i === h.seat ? 'me' : ''}">${escape(n)} <b class="${h.totals[i] > 0 ? 'plus' : h.totals[i] < 0 ? 'minus' : ''}">${signed(h.totals[i])}</b></span>`).join('')}</div></li>`,
    )
    .join('');
  return `<div class="top"><button type="button" data-action="lobby">‹ ${w.back}</button></div><h1>${w.history}</h1>${rows ? `<ol class="list">${rows}</ol>` : `<p>${w.noHistory}</p>`}`;
}
