// The page of the cluster example: log in at a gate, and talk. What people write reaches the page as text only.
import { Client } from './nano.js';

const MAX_LINES = 500; // older ones leave the page

const $ = (id) => document.getElementById(id);

let client = null;
let gate = ''; // the address of the gate
let me = ''; // the nickname; '' before the first login
let lastFrom = ''; // who wrote the last line of the log

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

function append(line) {
  const log = $('log');
  const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 80;
  log.append(line);
  while (log.childElementCount > MAX_LINES) log.firstElementChild.remove();
  if (atEnd) log.scrollTop = log.scrollHeight;
}

function note(text) {
  lastFrom = '';
  append(element('li', 'note', text));
}

function message({ name, content }) {
  const line = element('li', `message${name === me ? ' own' : ''}${name === lastFrom ? ' more' : ''}`);
  line.style.setProperty('--hue', hue(name));
  const bubble = element('div', 'bubble');
  bubble.append(element('p', '', content));
  line.append(element('span', 'from', name), avatar(name), bubble);
  lastFrom = name;
  append(line);
}

function showMembers({ members }) {
  $('count').textContent = members.length;
  $('members').replaceChildren(
    ...members.map((name) => {
      const line = element('li');
      line.append(avatar(name), element('span', 'name', name));
      if (name === me) line.append(element('span', 'you', 'you'));
      return line;
    }),
  );
}

function state(name, text) {
  $('state').dataset.state = name;
  $('state').textContent = text;
  $('state').title = text;
  for (const field of $('compose').elements) field.disabled = name !== 'online';
}

function online() {
  $('lost').hidden = true;
  state('online', 'Connected');
}

/** Says why there is no connection; the button is for a client that does not come back by itself. */
function lost(name, text, why, button) {
  state(name, text);
  $('why').textContent = why;
  $('again').hidden = !button;
  $('lost').hidden = false;
}

/** Logs in; throws if that fails. */
async function login(name) {
  const { code } = await client.request('BindService.Login', { nickname: name });
  if (code !== 0) throw new Error('the gate refuses this nickname');
}

/** Shows the state of the connection. The client reconnects by itself; the page logs in again if the session is new. */
async function show(status) {
  if (me === '') return;
  if (status.state === 'reconnecting') return lost('connecting', 'Connecting', 'The gate is gone. Trying to come back …', false);
  if (status.state === 'closed') {
    return lost('offline', 'Offline', `The gate ended the connection: ${status.error?.message ?? status.reason}.`, true);
  }
  if (status.state !== 'connected') return;
  if (status.resumed) return online();
  try {
    await login(me);
    online();
    note('You are back. Messages in the meantime are missing.');
  } catch (error) {
    if (client.connected) lost('offline', 'Offline', `The login failed: ${error.message}.`, true);
  }
}

async function again() {
  try {
    await (client.connected ? show(client.status) : client.connect());
  } catch (error) {
    lost('offline', 'Offline', `That did not work: ${error.message}.`, true);
  }
}

$('login').addEventListener('submit', async (event) => {
  event.preventDefault();
  $('problem').hidden = true;
  $('enter').disabled = true;
  gate = $('gate').value.trim();
  const name = $('nickname').value.trim();
  try {
    client = new Client(`${location.protocol.replace('http', 'ws')}//${gate}/nano`);
    client.on('onMembers', showMembers);
    client.on('onNewUser', ({ content }) => note(content));
    client.on('onMessage', message);
    client.on('onBalance', ({ currentBalance }) => ($('balance').textContent = currentBalance));
    client.addEventListener('status', () => show(client.status));
    await client.connect();
    me = name; // before the pushes that the login brings
    $('title').textContent = `${name} at ${gate}`;
    await login(name);
    $('welcome').hidden = true;
    $('chat').hidden = false;
    online();
    $('content').focus();
  } catch (error) {
    me = '';
    client?.close();
    $('problem').textContent = `That did not work: ${error.message}`;
    $('problem').hidden = false;
  }
  $('enter').disabled = false;
});

$('compose').addEventListener('submit', (event) => {
  event.preventDefault();
  const content = $('content').value.trim();
  if (content === '' || $('state').dataset.state !== 'online') return;
  try {
    client.notify('RoomService.SyncMessage', { name: me, content });
    $('content').value = '';
  } catch (error) {
    note(`Not sent: ${error.message}`); // the text stays in the field
  }
});
$('again').addEventListener('click', again);

function showPeople(show) {
  $('chat').classList.toggle('people', show);
  $('people').setAttribute('aria-expanded', show);
}
$('people').addEventListener('click', () => showPeople(!$('chat').classList.contains('people')));
$('talk').addEventListener('click', () => showPeople(false));

const query = new URLSearchParams(location.search);
$('gate').value = query.get('gate') ?? `${location.hostname || 'localhost'}:34590`;
$('nickname').value = query.get('nickname') ?? '';
$('nickname').focus();
