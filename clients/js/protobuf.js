/**
 * A codec for servers that speak protobuf. It takes message types of protobufjs and ts-proto as they are, and of any
 * other library through a pair of functions.
 *
 * @module
 */

/** Makes a codec from the types of each route: `{ 'chat.join': { request, reply }, onMessage: { push } }`. */
export function protobuf(routes) {
  const types = new Map(Object.entries(routes));
  const has = (route, part) => types.get(route)?.[part] !== undefined;
  const find = (route, ...kinds) => {
    const entry = types.get(route);
    const type = kinds.map((kind) => entry?.[kind]).find(Boolean);
    if (type === undefined) throw new TypeError(`${route}: no protobuf type for ${kinds.join(' or ')}`);
    return type;
  };
  return {
    serializer: 'protobuf',
    encode(body, route) {
      const encoded = find(route, 'request', 'notify').encode(body);
      return typeof encoded.finish === 'function' ? encoded.finish() : encoded;
    },
    decode(bytes, route) {
      const isAck = bytes.length === 0 && types.has(route) && !has(route, 'reply') && !has(route, 'push');
      return isAck ? undefined : find(route, 'reply', 'push').decode(bytes);
    },
    has,
  };
}
