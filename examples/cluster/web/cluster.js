// The page of the cluster example: log in at a gate, and talk. What people write reaches the page as text only.
import { Client } from './nano.js';

const MAX_LINES = 500; // older ones leave the page
const RETRY = 1000; // milliseconds between two tries to reach the gate again

const $ = (id) => document.getElementById(id);

let client = null;
let me = ''; // the nickname; '' before the first login
let timer; // of the next try

function line(className, ...parts) {
  const made = document.createElement('li');
  made.className = className;
  made.append(...parts);
  $('log').append(made);
  while ($('log').childElementCount > MAX_LINES) $('log').firstElementChild.remove();
  $('log').scrollTop = $('log').scrollHeight;
}

function from(name) {
  const made = document.createElement('span');
  made.className = 'from';
  made.textContent = name;
  return made;
}

function state(text) {
  $('state').textContent = text;
  for (const field of $('compose').elements) field.disabled = text !== 'Connected';
}

/** Logs in as name at the gate's address; throws where that fails. */
async function login(gate, name) {
  client = new Client(`${location.protocol.replace('http', 'ws')}//${gate}/nano`);
  client.on('onMembers', ({ members }) => {
    $('members').replaceChildren(
      ...members.map((member) => {
        const made = document.createElement('li');
        made.textContent = member;
        return made;
      }),
    );
  });
  client.on('onNewUser', ({ content }) => line('note', content));
  client.on('onMessage', ({ name, content }) => line('message', from(name), content));
  client.on('onBalance', ({ currentBalance }) => ($('balance').textContent = currentBalance));
  client.addEventListener('close', ({ error }) => {
    if (me === '' || error === undefined) return;
    state('The gate is gone; trying to come back …');
    later(gate);
  });
  await client.connect();
  const { code } = await client.request('BindService.Login', { nickname: name });
  if (code !== 0) throw new Error('this nickname will not do');
  me = name;
  $('me').textContent = `${name} at ${gate}`;
  $('login').hidden = true;
  $('chat').hidden = false;
  state('Connected');
  $('content').focus();
}

function later(gate) {
  clearTimeout(timer);
  timer = setTimeout(again, RETRY, gate);
}

async function again(gate) {
  try {
    await login(gate, me);
  } catch {
    client.close();
    later(gate);
  }
}

$('login').addEventListener('submit', async (event) => {
  event.preventDefault();
  $('problem').hidden = true;
  $('enter').disabled = true;
  try {
    await login($('gate').value.trim(), $('nickname').value.trim());
  } catch (error) {
    client?.close();
    $('problem').textContent = `That did not work: ${error.message}`;
    $('problem').hidden = false;
  }
  $('enter').disabled = false;
});

$('compose').addEventListener('submit', (event) => {
  event.preventDefault();
  const content = $('content').value.trim();
  if (content === '' || !client.connected) return;
  client.notify('RoomService.SyncMessage', { name: me, content });
  $('content').value = '';
});

const query = new URLSearchParams(location.search);
$('gate').value = query.get('gate') ?? `${location.hostname || 'localhost'}:34590`;
$('nickname').value = query.get('nickname') ?? '';
$('nickname').focus();
