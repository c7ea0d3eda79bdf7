// The page of the metrics example: it sends requests as a player, and shows the figures that operators see.
import { $, connect, each, fill } from './common.js';

const client = connect(new URLSearchParams(location.search).get('players') ?? `${location.hostname}:3250`);

async function send(route, times) {
  $('problem').hidden = true;
  try {
    await Promise.all(Array.from({ length: times }, () => client.request(route, { text: 'hello' })));
  } catch (error) {
    $('problem').textContent = error.message;
    $('problem').hidden = false;
  }
}

$('one').addEventListener('click', () => send('Echo.Say', 1));
$('many').addEventListener('click', () => send('Echo.Say', 1000));
$('wrong').addEventListener('click', () => send('Echo.None', 1));

each(async () => {
  const { nano } = await (await fetch('/debug/vars')).json();
  const figures = [];
  for (const [name, value] of Object.entries(nano)) {
    if (typeof value === 'number') figures.push(name === 'QueueDelay' ? ['QueueDelay, µs', Math.round(value / 1000)] : [name, value]);
    else if (name !== 'Routes') for (const [reason, n] of Object.entries(value ?? {})) if (n > 0) figures.push([`${name}: ${reason}`, n]);
  }
  fill($('figures'), figures);
  fill(
    $('routes'),
    Object.entries(nano.Routes ?? {}).map(([route, { Count, Sum, Max }]) => [route, Count, Math.round(Sum / Count / 1000) || 0, Math.round(Max / 1000)]),
  );
});
