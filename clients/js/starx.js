/**
 * starx.js gives the client the API of nano-websocket-client, nano-egret-client, starx-wsclient and the pomelo clients, as
 * the globals `nano`, `starx` and `pomelo`. It stands beside nano.js and loads it.
 *
 *     <script src="/starx.js"></script>   in place of protocol.js and starx-wsclient.js
 *     import 'nano-client/starx';         with a bundler
 *
 * docs/coming_from.md lists the differences.
 */
(() => {
  // A script tag runs before the page's own scripts. A static import would need a module, which runs after them.
  const loaded = import('./nano.js');
  loaded.catch((error) => console.error('starx.js:', error));

  const OWN_CODES = ['closed', 'timeout', 'protocol', 'payload', 'refused', 'kicked', 'full', 'overflow', 'usage'];
  const RETRY = 5000; // milliseconds before the second first attempt; it doubles

  class Starx {
    #callbacks = new Map(); // event or route -> functions
    #client = null;
    #run = 0; // calls of init and disconnect

    /** Connects. cb is called after each handshake that begins a session. */
    init(params, cb) {
      const run = this.#end();
      loaded.then(({ Client }) => {
        if (run !== this.#run) return;
        const { host, port, path = '', user, handshakeCallback, reconnect, maxReconnectAttempts = 10 } = params;
        const scheme = globalThis.location?.protocol === 'https:' ? 'wss' : 'ws';
        const client = new Client(`${scheme}://${host}${port ? `:${port}` : ''}${path}`, {
          user,
          timeout: 0,
          reconnect: Boolean(reconnect),
          WebSocket: params.WebSocket,
        });
        let tries = 0; // first attempts that failed
        let sessions = 0;
        const failed = (error) => {
          const { code } = error ?? {};
          if (code === 'refused') this.emit('error', error.message);
          if (code === 'timeout') this.emit('heartbeat timeout');
          if (code === 'closed' || code === 'protocol' || code === 'usage') this.emit('io-error', error);
          this.emit('close', error);
          this.emit('disconnect', error);
        };
        const connect = () =>
          client.connect().catch((error) => {
            if (run !== this.#run) return;
            failed(error);
            if (reconnect && error.code !== 'refused' && tries < maxReconnectAttempts) {
              setTimeout(() => run === this.#run && connect(), RETRY * 2 ** tries++);
            }
          });
        client.addEventListener('status', ({ state, resumed, attempt }) => {
          if (state === 'reconnecting' && attempt > maxReconnectAttempts) client.close();
          if (state !== 'connected' || resumed) return;
          if (sessions++ > 0) this.emit('reconnect');
          handshakeCallback?.(client.user);
          cb?.(client);
        });
        client.addEventListener('close', ({ error }) => failed(error));
        client.addEventListener('kick', ({ reason, code }) => this.emit('onKick', { reason, code }));
        client.addEventListener('error', ({ error }) => console.error(error));
        this.#client = client;
        for (const event of this.#callbacks.keys()) this.#subscribe(event);
        connect();
      });
    }

    /** Sends a request. cb gets the answer, or {code, msg, metadata} of an error response. */
    request(route, msg, cb) {
      if (typeof msg === 'function') [msg, cb] = [{}, msg];
      this.#connected(route)
        .request(route, msg ?? {})
        .then(
          (answer) => cb?.(answer),
          ({ code, message, metadata }) => {
            if (!OWN_CODES.includes(code)) cb?.({ code, msg: message, metadata });
          },
        );
    }

    notify(route, msg) {
      try {
        this.#connected(route).notify(route, msg ?? {});
      } catch (error) {
        if (error.code !== 'closed') throw error;
      }
    }

    disconnect() {
      this.#end();
    }

    on(event, fn) {
      if (!this.#callbacks.has(event)) this.#callbacks.set(event, []);
      this.#callbacks.get(event).push(fn);
      this.#subscribe(event);
      return this;
    }

    once(event, fn) {
      const once = (...args) => {
        this.off(event, once);
        fn.apply(this, args);
      };
      once.fn = fn;
      return this.on(event, once);
    }

    off(event, fn) {
      if (event === undefined) this.#callbacks.clear();
      else if (fn === undefined) this.#callbacks.delete(event);
      else {
        const list = this.listeners(event);
        const at = list.findIndex((entry) => entry === fn || entry.fn === fn);
        if (at >= 0) list.splice(at, 1);
      }
      return this;
    }

    emit(event, ...args) {
      for (const fn of [...this.listeners(event)]) fn.apply(this, args);
      return this;
    }

    listeners(event) {
      return this.#callbacks.get(event) ?? [];
    }

    hasListeners(event) {
      return this.listeners(event).length > 0;
    }

    /** Messages after a lost connection are dropped, as a WebSocket drops them. */
    #connected(route) {
      const { state } = this.#client?.status ?? {};
      if (state === undefined || state === 'connecting') throw new Error(`${route}: not connected`);
      return this.#client;
    }

    /** Passes the pushes of a route on. Client.on does not add a function twice. */
    #relays = new Map();
    #subscribe(route) {
      if (!this.#relays.has(route)) this.#relays.set(route, (body) => this.emit(route, body));
      this.#client?.on(route, this.#relays.get(route));
    }

    #end() {
      const client = this.#client;
      this.#client = null;
      const run = ++this.#run;
      client?.close();
      return run;
    }
  }

  const { prototype } = Starx;
  prototype.addEventListener = prototype.on;
  for (const name of ['removeListener', 'removeAllListeners', 'removeEventListener']) prototype[name] = prototype.off;

  globalThis.starx = globalThis.nano = globalThis.pomelo = new Starx();
})();
