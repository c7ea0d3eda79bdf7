package relay

import "github.com/lonng/nano/internal/link"

// The kinds of frames between nodes. In this table the gate is the node to which a client is connected, and the server is a
// node that serves the client's session. Every node may be both. Session is the id of a session of the gate's client.
//
//	kind       from -> to      Session  ID        Route    Meta                 Data       Flags
//	request    gate -> server  yes      request   route    [introduction]       payload    traced
//	notify     gate -> server  yes      -         route    [introduction]       payload    byProgram, traced
//	closed     gate -> server  yes      reason    -        -                    its text
//	uid        both            yes      uid or 0  -        -                    -          toGate or echo
//	route      both            yes      how       service  -                    [address]  toGate or echo
//	response   server -> gate  yes      request   -        -                    payload    isError, later
//	push       server -> gate  yes      -         route    -                    payload    replaceable
//	kick       server -> gate  yes      -         -        -                    reason
//	close      server -> gate  yes      -         -        -                    -
//	done       server -> gate  yes      messages  -        [bytes]              -
//	rpc        server -> gate  yes      -         route    -                    payload
//	multicast  server -> gate  -        -         route    sessions             payload
//	call       any             [yes]    call      [route]  time [introduction]  payload    toGate, traced
//	return     any             -        call      -        [cause]              payload    isError
//	cancel     any             -        call      -        -                    -
//	logins     gate -> any     -        -         -        -                    logins
//	pushUser   any -> gate     -        uid       route    -                    payload
//	kickUser   any -> gate     -        uid       -        -                    reason
//	carry      carrier -> gate stream   -         -        ask                  -
//	bytes      both            stream   -         -        -                    bytes      toCarrier
//	credit     both            stream   bytes     -        -                    -          toCarrier
//	end        both            stream   half      [why]    -                    [kick]     toCarrier, refused
//	will       server -> gate  yes      -         [route]  -                    payload
//	suspended  gate -> server  yes      reason    -        -                    its text
//	resumed    gate -> server  yes      -         -        -                    -
//	queued     gate -> server  yes      bytes     -        -                    -
//
// Fields in brackets are optional. A node that has withdrawn sends a call without a session and a route. An error is
// the protobuf form of a message.Error. Meta and Data hold the following, as varints of encoding/binary and strings
// with their length in front. The Meta of a frame with the flag traced begins with an additional string: the span of
// the sender, which trace.Tracer makes. A frame has it only if both nodes make spans.
//
//	introduction  uid, network, address, number of services, (service, address of its node)...
//	sessions      session...
//	time          microseconds until the call's deadline
//	bytes         of payload
//	cause         of an error: its number in causes
//	logins        (session, uid now or 0, uid before or 0, time)...
//	ask           token, 1 for WebSocket frames, microseconds for the handshake, network, address
//
// The last four kinds carry the connection of a client whose session belongs to another gate; in them, gate is the gate of
// the session. The carrier numbers the streams of a link.
const (
	kindRequest = link.FirstKind + iota
	kindNotify
	kindClosed
	kindUID
	kindRoute
	kindResponse
	kindPush
	kindKick
	kindClose
	kindDone
	kindRPC
	kindMulticast
	kindCall
	kindReturn
	kindCancel
	kindLogins
	kindPushUser
	kindKickUser
	kindCarry
	kindBytes
	kindCredit
	kindEnd
	kindWill
	kindSuspended
	kindResumed
	kindQueued
)

// The flags of frames.
const (
	flagError     = 1 << iota // the payload is an error
	flagToGate                // the session belongs to a client of the receiver
	flagByProgram             // a program has sent it, not a client: the handler may be one without a session
	flagEcho                  // it answers a frame with flagToGate
)

// flagTraced in a request, notify or call: Meta begins with the sender's span. It is the bit of flagError, which these
// kinds of frames do not have.
const flagTraced = flagError

// flagLater in a response: the request ran before, so a done frame acknowledges it, as it does a notify. It is the bit of
// flagByProgram, which only other kinds of frames have.
const flagLater = flagByProgram

// The flags of the frames of streams, which have no other flags.
const (
	flagToCarrier = 2 << iota // the gate of the session sends it
	flagRefused               // the session is not resumed; Route is the reason
)

// endHalf in an end frame says that no more bytes come; 0 ends the stream.
const endHalf = 1

// flagReplaceable in a push: a later push replaces it. It is the bit of flagEcho, which pushes do not have.
const flagReplaceable = flagEcho

// ifUnbound in a route frame binds a service only if the session has no binding of it; 0 binds it in any case.
const ifUnbound = 1
