// The page of the traffic example: it sends messages, and shows what the hooks have counted.
import { $, connect, each, fill, line } from './common.js';

const client = connect();

client.on('onShout', ({ Text }) => line(`pushed: ${Text}`));
$('send').addEventListener('submit', async (event) => {
  event.preventDefault();
  const body = { Text: $('text').value };
  try {
    if (event.submitter.value === 'shout') client.notify('Echo.Shout', body);
    else {
      const { Text } = await client.request(event.submitter.value === 'say' ? 'Echo.Say' : 'Echo.None', body);
      line(`answered: ${Text}`);
    }
  } catch (error) {
    line(error.message);
  }
});

each(async () => {
  const flows = await (await fetch('/traffic')).json();
  fill($('flows'), flows.map(({ direction, route, messages, bytes }) => [direction, route, messages, bytes]));
});
