// Protocol Buffers: https://protobuf.dev/programming-guides/encoding/

/** Encodes and decodes one type of message. Fields that are missing are left out, and decode to their defaults. */
export interface MessageCodec<T> {
  encode(message: T): Uint8Array;
  decode(bytes: Uint8Array): T;
}

type Scalar =
  | 'bool' | 'string' | 'bytes' | 'float' | 'double' | 'int32' | 'uint32' | 'sint32' | 'fixed32' | 'sfixed32'
  | 'int64' | 'uint64' | 'sint64' | 'fixed64' | 'sfixed64';
type ValueType = Scalar | MessageCodec<any>;
type How = 'one' | 'optional' | 'list' | 'packed' | 'map';
type FieldDescriptor = [number: number, name: string, how: How, type: ValueType, key?: ValueType];

const text = { encoder: new TextEncoder(), decoder: new TextDecoder() };

class Writer {
  #bytes: number[] = [];

  varint(value: bigint): void {
    let rest = BigInt.asUintN(64, value);
    for (; rest > 0x7fn; rest >>= 7n) this.#bytes.push(Number(rest & 0x7fn) | 0x80);
    this.#bytes.push(Number(rest));
  }

  raw(bytes: Uint8Array): void {
    for (const byte of bytes) this.#bytes.push(byte);
  }

  delimited(bytes: Uint8Array): void {
    this.varint(BigInt(bytes.length));
    this.raw(bytes);
  }

  view(length: number, fill: (view: DataView) => void): void {
    const bytes = new Uint8Array(length);
    fill(new DataView(bytes.buffer));
    this.raw(bytes);
  }

  finish(): Uint8Array {
    return Uint8Array.from(this.#bytes);
  }
}

class Reader {
  at = 0;
  readonly #view: DataView;

  constructor(readonly bytes: Uint8Array) {
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  get done(): boolean {
    return this.at >= this.bytes.length;
  }

  varint(): bigint {
    let value = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = this.bytes[this.at++];
      if (byte === undefined) throw new RangeError('protobuf: the message is cut off');
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return BigInt.asUintN(64, value);
    }
    throw new RangeError('protobuf: a number is too long');
  }

  take(length: number): Uint8Array {
    if (length > this.bytes.length - this.at) throw new RangeError('protobuf: the message is cut off');
    this.at += length;
    return this.bytes.slice(this.at - length, this.at);
  }

  fixed<T>(length: number, read: (view: DataView, at: number) => T): T {
    if (length > this.bytes.length - this.at) throw new RangeError('protobuf: the message is cut off');
    this.at += length;
    return read(this.#view, this.at - length);
  }

  skip(wire: number): void {
    if (wire === 0) this.varint();
    else if (wire === 1) this.take(8);
    else if (wire === 2) this.take(Number(this.varint()));
    else if (wire === 5) this.take(4);
    else throw new RangeError(`protobuf: unknown wire type ${wire}`);
  }
}

function wireOf(type: ValueType): number {
  switch (type) {
    case 'float':
    case 'fixed32':
    case 'sfixed32':
      return 5;
    case 'double':
    case 'fixed64':
    case 'sfixed64':
      return 1;
    case 'bool':
    case 'int32':
    case 'uint32':
    case 'sint32':
    case 'int64':
    case 'uint64':
    case 'sint64':
      return 0;
  }
  return 2;
}

function write(w: Writer, type: ValueType, value: any): void {
  switch (type) {
    case 'bool':
      return w.varint(value ? 1n : 0n);
    case 'string':
      return w.delimited(text.encoder.encode(value));
    case 'bytes':
      return w.delimited(value);
    case 'float':
      return w.view(4, (view) => view.setFloat32(0, value, true));
    case 'double':
      return w.view(8, (view) => view.setFloat64(0, value, true));
    case 'fixed32':
      return w.view(4, (view) => view.setUint32(0, Number(value), true));
    case 'sfixed32':
      return w.view(4, (view) => view.setInt32(0, Number(value), true));
    case 'fixed64':
      return w.view(8, (view) => view.setBigUint64(0, BigInt(value), true));
    case 'sfixed64':
      return w.view(8, (view) => view.setBigInt64(0, BigInt(value), true));
    case 'sint32':
    case 'sint64': {
      const n = BigInt(value);
      return w.varint(n < 0n ? (-n << 1n) - 1n : n << 1n);
    }
    case 'int32':
    case 'uint32':
    case 'int64':
    case 'uint64':
      return w.varint(BigInt(value));
  }
  w.delimited(type.encode(value));
}

function read(r: Reader, type: ValueType): any {
  switch (type) {
    case 'bool':
      return r.varint() !== 0n;
    case 'string':
      return text.decoder.decode(r.take(Number(r.varint())));
    case 'bytes':
      return r.take(Number(r.varint()));
    case 'float':
      return r.fixed(4, (view, at) => view.getFloat32(at, true));
    case 'double':
      return r.fixed(8, (view, at) => view.getFloat64(at, true));
    case 'fixed32':
      return r.fixed(4, (view, at) => view.getUint32(at, true));
    case 'sfixed32':
      return r.fixed(4, (view, at) => view.getInt32(at, true));
    case 'fixed64':
      return r.fixed(8, (view, at) => view.getBigUint64(at, true));
    case 'sfixed64':
      return r.fixed(8, (view, at) => view.getBigInt64(at, true));
    case 'int32':
      return Number(BigInt.asIntN(32, r.varint()));
    case 'uint32':
      return Number(BigInt.asUintN(32, r.varint()));
    case 'int64':
      return BigInt.asIntN(64, r.varint());
    case 'uint64':
      return r.varint();
    case 'sint32':
    case 'sint64': {
      const n = r.varint();
      const value = (n & 1n) === 1n ? -(n >> 1n) - 1n : n >> 1n;
      return type === 'sint32' ? Number(value) : value;
    }
  }
  return type.decode(r.take(Number(r.varint())));
}

function initial(type: ValueType): any {
  switch (type) {
    case 'bool':
      return false;
    case 'string':
      return '';
    case 'bytes':
      return new Uint8Array();
    case 'int64':
    case 'uint64':
    case 'sint64':
    case 'fixed64':
    case 'sfixed64':
      return 0n;
  }
  return typeof type === 'string' ? 0 : undefined;
}

function isInitial(type: ValueType, value: any): boolean {
  if (value === undefined || value === null) return true;
  if (typeof type !== 'string') return false;
  if (type === 'bytes') return value.length === 0;
  if (type === 'float' || type === 'double') return Object.is(value, 0);
  return value === initial(type) || (typeof value === 'bigint' && value === 0n);
}

/** Payloads that no serializer sees. */
const bytes: MessageCodec<Uint8Array> = { encode: (value) => value, decode: (value) => value };

function message<T>(describe: () => FieldDescriptor[]): MessageCodec<T> {
  let fields: FieldDescriptor[] | undefined;
  let byNumber: Map<number, FieldDescriptor> | undefined;
  return {
    encode(value: any): Uint8Array {
      fields ??= describe();
      const w = new Writer();
      const tag = (number: number, wire: number) => w.varint(BigInt(number * 8 + wire));
      for (const [number, name, how, type, key] of fields) {
        const v = value[name];
        if (v === undefined || v === null) continue;
        if (how === 'map') {
          for (const [k, item] of Object.entries(v)) {
            const entry = new Writer();
            entry.varint(BigInt(8 + wireOf(key!)));
            write(entry, key!, key === 'string' ? k : key === 'bool' ? k === 'true' : BigInt(k));
            entry.varint(BigInt(16 + wireOf(type)));
            write(entry, type, item);
            tag(number, 2);
            w.delimited(entry.finish());
          }
        } else if (how === 'packed') {
          if (v.length === 0) continue;
          const list = new Writer();
          for (const item of v) write(list, type, item);
          tag(number, 2);
          w.delimited(list.finish());
        } else if (how === 'list') {
          for (const item of v) {
            tag(number, wireOf(type));
            write(w, type, item);
          }
        } else if (how === 'optional' || !isInitial(type, v)) {
          tag(number, wireOf(type));
          write(w, type, v);
        }
      }
      return w.finish();
    },
    decode(bytes: Uint8Array): T {
      fields ??= describe();
      byNumber ??= new Map(fields.map((f) => [f[0], f]));
      const made: any = {};
      for (const [, name, how, type] of fields) {
        if (how === 'map') made[name] = {};
        else if (how === 'list' || how === 'packed') made[name] = [];
        else if (how === 'one' && typeof type === 'string') made[name] = initial(type);
      }
      for (const r = new Reader(bytes); !r.done; ) {
        const tag = Number(r.varint());
        const field = byNumber.get(Math.floor(tag / 8));
        const wire = tag % 8;
        if (field === undefined) {
          r.skip(wire);
          continue;
        }
        const [, name, how, type, key] = field;
        const isPacked = wire === 2 && (how === 'list' || how === 'packed');
        if (wire !== (how === 'map' ? 2 : wireOf(type)) && !isPacked) {
          r.skip(wire); // the field had another type when the message was written
          continue;
        }
        if (how === 'map') {
          const entry = new Reader(r.take(Number(r.varint())));
          let k: any = initial(key!);
          let item: any = typeof type === 'string' ? initial(type) : type.decode(new Uint8Array());
          while (!entry.done) {
            const part = Number(entry.varint());
            if (part >> 3 === 1) k = read(entry, key!);
            else if (part >> 3 === 2) item = read(entry, type);
            else entry.skip(part % 8);
          }
          Object.defineProperty(made[name], String(k), { value: item, enumerable: true, configurable: true, writable: true });
        } else if (how === 'list' || how === 'packed') {
          if (wire === 2 && wireOf(type) !== 2) {
            const list = new Reader(r.take(Number(r.varint())));
            while (!list.done) made[name].push(read(list, type));
          } else made[name].push(read(r, type));
        } else made[name] = read(r, type);
      }
      return made;
    },
  };
}
