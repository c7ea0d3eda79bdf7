// A network for tests: a TCP proxy that loses connections.
import { once } from 'node:events';
import { connect, createServer } from 'node:net';

const random = (min, max) => min + Math.floor(Math.random() * (max - min));

/** How a connection ends. Both ends notice a reset and an end at once. After a stall only the client notices, later. */
const LOSSES = ['reset', 'end', 'stall'];

/** A proxy in front of a port of this machine. */
export class Network {
  port; // of connections that come from now on
  cuts = 0;
  refusing = false;
  #server = createServer({ allowHalfOpen: true, noDelay: true }, (near) => this.#accept(near));
  #links = new Set();

  constructor(port) {
    this.port = port;
  }

  /** Starts it. Returns its port. */
  async open() {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
    return this.#server.address().port;
  }

  async close() {
    this.cut();
    this.#server.close();
    await once(this.#server, 'close');
  }

  /** Cuts all connections at once. */
  cut(loss = 'reset') {
    for (const link of [...this.#links]) link.lose(loss);
  }

  /** Cuts each connection after a random time, until stop is called. */
  storm(min, max) {
    let stopped = false;
    const arm = (link) => setTimeout(() => stopped || link.lose(LOSSES[random(0, LOSSES.length)]), random(min, max));
    for (const link of this.#links) arm(link);
    this.onlink = arm;
    return () => {
      stopped = true;
      this.onlink = undefined;
    };
  }

  #accept(near) {
    near.on('error', () => {});
    if (this.refusing) return near.resetAndDestroy();
    const far = connect({ port: this.port, host: '127.0.0.1', noDelay: true, allowHalfOpen: true });
    far.on('error', () => near.resetAndDestroy());
    const link = { lost: undefined };
    this.#links.add(link);
    near.on('close', () => this.#links.delete(link));
    const destroy = () => {
      near.destroy();
      // After a stall the server considers the connection alive for a while.
      if (link.lost === 'stall') setTimeout(() => far.destroy(), 300);
      else if (link.lost === 'reset') far.resetAndDestroy();
      else far.destroy();
    };
    const pass = (from, to) => {
      from.on('data', (bytes) => {
        if (link.lost === undefined) return to.write(bytes);
        // The loss falls inside of what comes next.
        if (link.cutting) {
          link.cutting = false;
          to.write(bytes.subarray(0, random(0, bytes.length + 1)));
          setTimeout(destroy, 2);
        }
      });
      from.on('end', () => to.end());
      from.on('close', () => to.destroyed || to.end());
    };
    link.lose = (loss) => {
      if (link.lost !== undefined) return;
      this.cuts++;
      link.lost = loss;
      link.cutting = true;
      setTimeout(() => link.cutting && destroy(), 20);
    };
    pass(near, far);
    pass(far, near);
    this.onlink?.(link);
  }
}
