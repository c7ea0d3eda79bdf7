// Compiled, not run: rooms with types, and their codec.
import type { Codec } from 'nano-client';
import { protobuf } from 'nano-client/protobuf';
import { RoomClient, type RoomInfo, type TypedRoom, type TypedRoomClient } from 'nano-client/room';

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
const assertType = <T extends true>(): T | undefined => undefined;

interface Text {
  value: string;
}
declare const TextType: {
  encode(message: Text): { finish(): Uint8Array };
  decode(input: Uint8Array): Text;
};
const codec: Codec = protobuf({
  inn: { request: TextType, reply: TextType },
  'inn.create': { request: TextType },
  'inn.Ask': { request: TextType, reply: TextType },
});
const untyped = new RoomClient('ws://localhost', { codec });
untyped.join('0-a', { value: 'ann' }, { kind: 'inn', expect: 'hash' });
untyped.join('0-a', new Uint8Array());
// @ts-expect-error the kind is the first argument
untyped.joinOrCreate('inn', { value: 'ann' }, { kind: 'inn' });

interface Rooms {
  inn: {
    state: { guest: string };
    join: Text;
    reply: Text;
    create: Text;
    messages: { Ask: { request: Text; reply: Text } };
  };
  hall: { state: { noise: number }; messages: {} };
}
const typed = untyped as unknown as TypedRoomClient<{}, Rooms>;
const inn = typed.join('0-a', { value: 'ann' }, { kind: 'inn' }); // P is inferred
assertType<Equal<typeof inn, Promise<TypedRoom<Rooms['inn']>>>>();
typed.joinCode<'inn'>('ABC234', { value: 'ann' });
// @ts-expect-error a kind that does not exist
typed.join('0-a', { value: 'ann' }, { kind: 'barn' });
// @ts-expect-error options of another type
typed.join('0-a', { name: 'ann' }, { kind: 'inn' });
// No options.
typed.joinOrCreate('hall');
typed.join<'hall'>('0-b');
typed.joinCode<'hall'>('ABC234');
typed.create('hall');
const info = typed.create('inn', { value: 'The Boar' });
assertType<Equal<typeof info, Promise<RoomInfo>>>();

inn.then(async (room) => {
  assertType<Equal<typeof room.reply, Text | null | undefined>>();
  assertType<Equal<typeof room.state.guest, string>>();
  const answer = room.request('Ask', { value: 'who' });
  assertType<Equal<typeof answer, Promise<Text>>>();
});
typed.spectate<'hall'>('0-b').then((room) => assertType<Equal<typeof room.reply, any>>());
