// Compiled, not run: a program for Node 20, without the types of browsers.
import { Client } from 'nano-client';
import 'nano-client/starx';
import { WebSocket } from 'ws';

const client = new Client('ws://localhost:3250/nano', { WebSocket });
client.addEventListener('status', ({ state }) => state.toUpperCase());
await client.connect();

starx.init({ host: 'localhost', port: 3250, path: '/nano', user: {}, reconnect: true }, () => {
  starx.request('room.join', { name: 'ann' }, (answer) => answer.code);
  starx.request('room.list', (answer) => answer);
  nano.on('onMessage', (message) => message.content).notify('room.message', {});
});
