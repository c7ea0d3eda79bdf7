// The page of the test: it shows the feed, which it watches itself or in a worker.
const url = `${location.protocol.replace('http', 'ws')}//${location.host}/nano`;

function report(seen) {
  globalThis.seen = { ...seen };
  document.getElementById('state').textContent = `${seen.state}, ${seen.next} numbers`;
}

if (location.hash === '#worker') {
  const worker = new Worker('worker.js', { type: 'module' });
  let ended;
  worker.onmessage = ({ data }) => (data.seen ? report(data.seen) : ended(data.pushed));
  worker.onerror = ({ message }) => (document.title = message);
  worker.postMessage({ url });
  globalThis.stop = () =>
    new Promise((resolve) => {
      ended = resolve;
      worker.postMessage({ stop: true });
    });
} else {
  const { watch } = await import('./feed.js');
  globalThis.stop = await watch(url, report);
}
