// The page of the customroute example: enter a room of a region, and see which node serves it.
import { $, connect, line } from './common.js';

const client = connect();
let entered = false;

async function enter() {
  const region = $('region').value.trim();
  const room = $('room').value.trim();
  try {
    const { node } = await client.request('Gate.Enter', { region, room });
    entered = true;
    $('where').textContent = `${region}, ${room}: served by the node at ${node}`;
  } catch (error) {
    line(`${region}, ${room}: ${error.message}`);
  }
}

client.on('onSay', ({ text, node }) => line(`${text} (by way of ${node})`));
client.addEventListener('status', () => {
  const { state, resumed } = client.status;
  if (state === 'connected' && !resumed && entered) enter();
});
$('enter').addEventListener('submit', (event) => {
  event.preventDefault();
  enter();
});
$('say').addEventListener('submit', async (event) => {
  event.preventDefault();
  const text = $('text').value.trim();
  if (text === '') return;
  try {
    await client.request('Room.Say', { text });
    $('text').value = '';
  } catch (error) {
    line(error.message); // the text stays in the field
  }
});
