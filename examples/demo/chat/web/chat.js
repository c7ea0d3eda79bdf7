// The page of the chat demo: a form to join a room, and the room. What people write reaches the page as text only.
import { Client } from './nano.js';

const MAX_LINES = 500; // older ones leave the page

const $ = (id) => document.getElementById(id);
const clock = new Intl.DateTimeFormat(undefined, { hour: 'numeric', minute: '2-digit' });
const client = new Client(`${location.protocol.replace('http', 'ws')}//${location.host}/nano`);

let wanted = null; // {name, room} while in a room, or on the way back into it
let me = ''; // the nickname that the server gave us
let present = []; // the nicknames in the room
let lastFrom = ''; // who wrote the last line of the log
let atEnd = true; // whether the last line of the log is in sight
let unread = 0; // messages that came while the page was hidden
let restarting = false; // the server said so when it ended the connection

function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

/** A color for a name: the same one on every page. */
function hue(name) {
  let hash = 0x811c9dc5; // FNV-1a
  for (const char of name) hash = Math.imul(hash ^ char.codePointAt(0), 0x01000193);
  return (hash >>> 0) % 360;
}

function avatar(name) {
  const circle = element('span', 'avatar', [...name][0].toUpperCase());
  circle.style.setProperty('--hue', hue(name));
  circle.setAttribute('aria-hidden', 'true');
  return circle;
}

function stamp() {
  const now = new Date();
  const time = element('time', '', clock.format(now));
  time.dateTime = now.toISOString();
  return time;
}

/** Adds a line to the log; a reader who has scrolled up stays where they are, unless it is their own line. */
function append(line, own = false) {
  $('log').append(line);
  while ($('log').childElementCount > MAX_LINES) $('log').firstElementChild.remove();
  if (atEnd || own) toEnd();
  else $('newer').hidden = false;
}

function toEnd() {
  $('log').scrollTop = $('log').scrollHeight;
}

function note(text) {
  const line = element('li', 'note', text);
  line.append(stamp());
  lastFrom = '';
  append(line);
}

function message({ name, content }) {
  if (name === '') return note(content);
  const own = name === me;
  const line = element('li', `message${own ? ' own' : ''}${name === lastFrom ? ' more' : ''}`);
  line.style.setProperty('--hue', hue(name));
  const bubble = element('div', 'bubble');
  bubble.append(element('p', '', content), stamp());
  line.append(element('span', 'from', name), avatar(name), bubble);
  lastFrom = name;
  append(line, own);
  if (document.hidden) {
    unread++;
    title();
  }
}

function showMembers() {
  $('count').textContent = present.length;
  $('members').replaceChildren(
    ...present.map((name) => {
      const line = element('li');
      line.append(avatar(name), element('span', 'name', name));
      if (name === me) line.append(element('span', 'you', 'you'));
      return line;
    }),
  );
}

function title() {
  document.title = `${unread > 0 ? `(${unread}) ` : ''}${wanted ? `#${wanted.room} · ` : ''}nano chat`;
}

function state(name, text) {
  $('state').dataset.state = name;
  $('state').textContent = text;
  $('state').title = text;
  for (const field of $('compose').elements) field.disabled = name !== 'online';
}

/** Enters the room that is wanted; throws if that fails. */
async function enter() {
  if (!client.connected) await client.connect();
  const answer = await client.request('room.join', wanted);
  if (answer.code !== 0) throw new Error(answer.result);
  me = answer.name;
  wanted.room = answer.room;
  $('title').textContent = `#${answer.room}`;
  showMembers(); // the list may have come before we knew which one is us
  $('welcome').hidden = true;
  $('chat').hidden = false;
  online();
  title();
  history.replaceState(null, '', `?room=${encodeURIComponent(answer.room)}`);
  $('content').focus();
}

function online() {
  restarting = false;
  $('lost').hidden = true;
  state('online', 'Connected');
}

async function join() {
  wanted = { name: $('name').value, room: $('room').value };
  $('problem').hidden = true;
  $('enter').disabled = true;
  try {
    await enter();
    remember(wanted.name);
  } catch (error) {
    wanted = null;
    client.close();
    $('problem').textContent = `That did not work: ${error.message}`;
    $('problem').hidden = false;
  }
  $('enter').disabled = false;
}

function leave() {
  wanted = null;
  me = '';
  client.close();
  lastFrom = '';
  unread = 0;
  title();
  $('log').replaceChildren();
  $('newer').hidden = true;
  $('chat').hidden = true;
  $('welcome').hidden = false;
  $('name').focus();
}

/** Says why there is no connection; the button is for a client that does not come back by itself. */
function lost(name, text, why, button) {
  state(name, text);
  $('why').textContent = why;
  $('again').hidden = !button;
  $('lost').hidden = false;
}

/** Shows the state of the connection. The client reconnects by itself, and resumes its session if it can. */
async function show(status) {
  if (wanted === null || me === '') return;
  if (status.state === 'reconnecting') {
    restarting ||= status.reason === 'shutdown'; // later attempts fail for other reasons
    return lost('connecting', 'Connecting', restarting ? 'The server is restarting.' : 'The connection is lost.', false);
  }
  if (status.state === 'closed') {
    return lost('offline', 'Offline', `The server ended the connection: ${status.error?.message ?? status.reason}.`, true);
  }
  if (status.state !== 'connected') return;
  if (status.resumed) return online();
  try {
    await enter();
    note(
      status.unconfirmed
        ? `The server was restarted. ${status.unconfirmed} of your messages may be lost.`
        : 'The server was restarted. Messages in the meantime are missing.',
    );
  } catch (error) {
    if (client.connected) lost('offline', 'Offline', `The room cannot be joined: ${error.message}.`, true);
  }
}

async function again() {
  try {
    await (client.connected ? enter() : client.connect());
  } catch (error) {
    lost('offline', 'Offline', `That did not work: ${error.message}.`, true);
  }
}

function remember(name) {
  try {
    localStorage.setItem('name', name);
  } catch {
    // A browser may keep no storage for us; then the field starts empty next time.
  }
}

function remembered() {
  try {
    return localStorage.getItem('name') ?? '';
  } catch {
    return '';
  }
}

client.on('onMembers', ({ members }) => {
  present = members;
  showMembers();
});
client.on('onMessage', message);
client.on('onNewUser', ({ content }) => note(content));
client.addEventListener('status', () => show(client.status));

$('join').addEventListener('submit', (event) => {
  event.preventDefault();
  join();
});
$('compose').addEventListener('submit', (event) => {
  event.preventDefault();
  const content = $('content').value.trim();
  if (content === '' || $('state').dataset.state !== 'online') return;
  try {
    client.notify('room.message', { name: me, content });
    $('content').value = '';
  } catch (error) {
    note(`Not sent: ${error.message}`); // the text stays in the field
  }
});
$('leave').addEventListener('click', leave);
$('again').addEventListener('click', again);

function showPeople(show) {
  $('chat').classList.toggle('people', show);
  $('people').setAttribute('aria-expanded', show);
}
$('people').addEventListener('click', () => showPeople(!$('chat').classList.contains('people')));
$('talk').addEventListener('click', () => showPeople(false));
addEventListener('keydown', (event) => {
  if (event.key === 'Escape') showPeople(false);
});

$('newer').addEventListener('click', toEnd);
$('log').addEventListener('scroll', () => {
  const log = $('log');
  atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 80;
  if (atEnd) $('newer').hidden = true;
});
// A keyboard that opens, or the line about a lost connection, makes the log smaller.
new ResizeObserver(() => {
  if (atEnd) toEnd();
}).observe($('log'));
document.addEventListener('visibilitychange', () => {
  if (document.hidden) return;
  unread = 0;
  title();
});

const query = new URLSearchParams(location.search);
$('room').value = query.get('room') ?? '';
$('name').value = query.get('name') ?? remembered();
if (query.has('name') && query.has('room')) join();
else ($('name').value === '' ? $('name') : $('enter')).focus();
