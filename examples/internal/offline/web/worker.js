// Watches the feed in a worker.
import { watch } from './feed.js';

let stop;
onmessage = async ({ data }) => {
  if (data.url) stop = await watch(data.url, (seen) => postMessage({ seen }));
  else postMessage({ pushed: await stop() });
};
