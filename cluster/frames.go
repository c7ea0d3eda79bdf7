package cluster

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/lonng/nano/internal/sessionctl"
	"github.com/lonng/nano/internal/link"
	"github.com/lonng/nano/internal/message"
	"github.com/lonng/nano/session"
)

// The kinds of frames between nodes. A gate is a node while one of its clients is spoken of, a server one that serves
// that client's session; every node may be both. Sessions are those of the gate's clients, by their ids.
//
//	kind       way             Session  ID        Route    Meta                 Data       Flags
//	request    gate -> server  yes      request   route    [introduction]       payload
//	notify     gate -> server  yes      -         route    [introduction]       payload    byProgram
//	closed     gate -> server  yes      reason    -        -                    its text
//	uid        both ways       yes      uid or 0  -        -                    -          toGate or echo
//	route      both ways       yes      how       service  -                    [address]  toGate or echo
//	response   server -> gate  yes      request   -        -                    payload    isError, later
//	push       server -> gate  yes      -         route    -                    payload
//	kick       server -> gate  yes      -         -        -                    reason
//	close      server -> gate  yes      -         -        -                    -
//	done       server -> gate  yes      messages  -        [bytes]              -
//	rpc        server -> gate  yes      -         route    -                    payload
//	multicast  server -> gate  -        -         route    sessions             payload
//	call       any             [yes]    call      [route]  time [introduction]  payload    toGate
//	return     any             -        call      -        [cause]              payload    isError
//	cancel     any             -        call      -        -                    -
//	logins     gate -> any     -        -         -        -                    logins
//	pushUser   any -> gate     -        uid       route    -                    payload
//	kickUser   any -> gate     -        uid       -        -                    reason
//
// Brackets enclose what may be missing; a call without a session and a route comes of a node that serves nothing any more.
// An error is the protobuf form of a message.Error. What Meta and Data hold is below, in varints of encoding/binary and
// strings with their length in front:
//
//	introduction  uid, network, address, number of services, (service, address of its node)...
//	sessions      session...
//	time          microseconds that the call has left
//	bytes         of payload
//	cause         of an error: its number in causes
//	logins        (session, uid now or 0, uid before or 0, when)...
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
)

// The flags of frames.
const (
	flagError     = 1 << iota // the payload is an error
	flagToGate                // the session is that of a client of the receiver
	flagByProgram             // a program sends it, not a client: it may be for a handler without a session
	flagEcho                  // it answers what the receiver sent with flagToGate
)

// flagLater says of a response that its request ran before: done tells of it, as of a notify. Of another kind of frame the
// bit has the other meaning.
const flagLater = flagByProgram

// ifUnbound is how a gate is told to bind a service that its session has bound nowhere else; 0 is anyway.
const ifUnbound = 1

var errMalformed = errors.New("cluster: malformed frame")

// reader takes apart what a frame holds. The first fault sticks.
type reader struct {
	b     []byte
	fault bool
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 || r.fault {
		r.fault = true
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) string() string {
	n := r.uvarint()
	if n > uint64(len(r.b)) {
		r.fault = true
	}
	if r.fault {
		return ""
	}
	s := string(r.b[:n])
	r.b = r.b[n:]
	return s
}

func (r *reader) err(what string) error {
	if r.fault {
		return fmt.Errorf("%w: %s", errMalformed, what)
	}
	return nil
}

func appendString(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

// introduction is what a node is told of a session when it gets to know it.
type introduction struct {
	uid     int64
	network string
	address string
	routes  map[string]string
}

// maxRoutes bounds the services of one session that travel, and the bindings that a node keeps of it.
const maxRoutes = 1024

func introduce(s *session.Session, c sessionctl.Control) introduction {
	i := introduction{uid: s.UID(), routes: c.Routes()}
	if a := s.RemoteAddr(); a != nil {
		i.network, i.address = a.Network(), a.String()
	}
	return i
}

func (i *introduction) append(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(i.uid))
	dst = appendString(appendString(dst, i.network), i.address)
	n := min(len(i.routes), maxRoutes)
	dst = binary.AppendUvarint(dst, uint64(n))
	for service, address := range i.routes {
		if n--; n < 0 {
			break
		}
		dst = appendString(appendString(dst, service), address)
	}
	return dst
}

func parseIntroduction(b []byte) (i introduction, err error) {
	r := reader{b: b}
	i.uid = int64(r.uvarint())
	i.network, i.address = r.string(), r.string()
	n := r.uvarint()
	if n > maxRoutes || i.uid < 0 {
		r.fault = true
	}
	for ; n > 0 && !r.fault; n-- {
		service, address := r.string(), r.string()
		if r.fault {
			break
		}
		if i.routes == nil {
			i.routes = make(map[string]string)
		}
		i.routes[service] = address
	}
	if len(r.b) > 0 {
		r.fault = true
	}
	return i, r.err("introduction")
}

// addr returns the client's address.
func (i *introduction) addr() net.Addr {
	if i.network == "tcp" {
		if ap, err := netip.ParseAddrPort(i.address); err == nil {
			return net.TCPAddrFromAddrPort(ap)
		}
	}
	return farAddr{i.network, i.address}
}

// farAddr is an address that is known as text only.
type farAddr struct{ network, address string }

func (a farAddr) Network() string { return a.network }
func (a farAddr) String() string  { return a.address }

// login tells of another uid of a session at its gate.
type login struct {
	session  int64
	uid, old int64 // 0 for none
	when     int64 // Unix nanoseconds, or more: later than every login of the uid that the gate knew of
}

// later reports whether l is a later login than other, as every gate sees it.
func (l login) later(other login) bool {
	return l.when > other.when || l.when == other.when && l.session > other.session
}

func (l login) append(dst []byte) []byte {
	for _, v := range []int64{l.session, l.uid, l.old, l.when} {
		dst = binary.AppendUvarint(dst, uint64(v))
	}
	return dst
}

// parseLogins calls f for every login in b.
func parseLogins(b []byte, f func(login)) error {
	r := reader{b: b}
	for len(r.b) > 0 {
		var l login
		for _, p := range []*int64{&l.session, &l.uid, &l.old, &l.when} {
			if *p = int64(r.uvarint()); *p < 0 {
				r.fault = true
			}
		}
		if r.fault {
			return r.err("logins")
		}
		f(l)
	}
	return nil
}

func appendIDs(dst []byte, ids []int64) []byte {
	for _, id := range ids {
		dst = binary.AppendUvarint(dst, uint64(id))
	}
	return dst
}

// parseIDs calls f for every session in b.
func parseIDs(b []byte, f func(id int64)) error {
	r := reader{b: b}
	for len(r.b) > 0 {
		id := r.uvarint()
		if r.fault {
			return r.err("sessions")
		}
		f(int64(id))
	}
	return nil
}

// reasons are why a session closed at its gate, by their numbers on the wire.
var reasons = []error{
	session.ErrClosed, session.ErrClientClosed, session.ErrKicked, session.ErrReplaced, session.ErrHeartbeat,
	session.ErrHandshake, session.ErrSlowClient, session.ErrProtocol, session.ErrLimit, session.ErrShutdown,
}

// putReason sets the ID and Data of a closed frame.
func putReason(f *Frame, reason error) {
	i := slices.IndexFunc(reasons, func(r error) bool { return errors.Is(reason, r) })
	f.ID = uint64(max(i, 0))
	if text := reason.Error(); text != reasons[f.ID].Error() {
		f.Data = []byte(text)
	}
}

// reasonOf returns the reason in a closed frame.
func reasonOf(f *Frame) error {
	reason := reasons[0]
	if f.ID < uint64(len(reasons)) {
		reason = reasons[f.ID]
	}
	if len(f.Data) == 0 {
		return reason
	}
	return &farReason{string(f.Data), reason}
}

// farReason is a reason with a text of its own.
type farReason struct {
	text   string
	reason error
}

func (r *farReason) Error() string { return r.text }
func (r *farReason) Unwrap() error { return r.reason }

// causes are what errors.Is finds in an error of a call beside the message.Error, by their numbers on the wire.
var causes = []error{1: ErrMemberDown, 2: ErrQueueFull}

// putError makes a frame one that returns err; public is what is told of it.
func putError(f *Frame, err error, public *message.Error) {
	f.Flags |= flagError
	f.Data, _ = public.MarshalProtobuf() // has no error
	if i := slices.IndexFunc(causes, func(c error) bool { return c != nil && errors.Is(err, c) }); i > 0 {
		f.Meta = binary.AppendUvarint(nil, uint64(i))
	}
}

// failureOf returns the error that a frame returns.
func failureOf(f *Frame) error {
	e := errorOf(f.Data)
	rd := reader{b: f.Meta}
	if i := rd.uvarint(); 0 < i && i < uint64(len(causes)) {
		return &failure{e, causes[i]}
	}
	return e
}
