// What the small pages of the examples have in common.
import { Client } from './nano.js';

export const $ = (id) => document.getElementById(id);

/** Returns a client of the server at host. The page shows the client's state. */
export function connect(host = location.host, Type = Client, options = {}) {
  const client = new Type(`${location.protocol.replace('http', 'ws')}//${host}/nano`, options);
  client.addEventListener('status', () => show(client.status.state, client.status.error?.message));
  client.connect().catch(() => retry(client)); // the status says why
  return client;
}

/** Tries the first connection again; after it the client reconnects by itself. */
function retry(client) {
  setTimeout(() => client.connect().catch(() => retry(client)), 1000);
}

function show(state, why = '') {
  const online = state === 'connected';
  $('state').dataset.state = online ? 'online' : state === 'closed' ? 'offline' : 'connecting';
  $('state').textContent = online ? 'Connected' : state === 'closed' ? 'Offline' : 'Connecting';
  $('state').title = why;
  for (const button of document.querySelectorAll('button')) button.disabled = !online;
}

/** Adds a line of text to the list with the id lines, and keeps the last 100. */
export function line(text) {
  const made = document.createElement('li');
  made.textContent = text;
  $('lines').append(made);
  while ($('lines').childElementCount > 100) $('lines').firstElementChild.remove();
  $('lines').scrollTop = $('lines').scrollHeight;
}

/** Fills a table with rows of cells. Numbers stand to the right. */
export function fill(body, rows) {
  body.replaceChildren(
    ...rows.map((row) => {
      const made = document.createElement('tr');
      for (const cell of row) {
        const td = made.insertCell();
        td.textContent = typeof cell === 'number' ? cell.toLocaleString() : cell;
        if (typeof cell === 'number') td.className = 'number';
      }
      return made;
    }),
  );
}

/** Calls f now and once a second after it has ended. An error leaves the page as it is until the next call. */
export async function each(f) {
  try {
    await f();
  } catch {
    // The server may be restarting; the state of the connection says so.
  }
  setTimeout(each, 1000, f);
}
