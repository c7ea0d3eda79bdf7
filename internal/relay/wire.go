package relay

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/lonng/nano/internal/link"
	"github.com/lonng/nano/internal/message"
	"github.com/lonng/nano/internal/sessionctl"
	"github.com/lonng/nano/session"
)

var errMalformed = errors.New("cluster: malformed frame")

// reader decodes the Meta or Data of a frame. After the first fault all values are zero.
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

// introduction is what a node learns about a session with the first frame for it.
type introduction struct {
	uid     int64
	network string
	address string
	routes  map[string]string
}

// maxRoutes bounds the service bindings in an introduction.
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
	return textAddr{i.network, i.address}
}

// textAddr is an address of which only the text is known.
type textAddr struct{ network, address string }

func (a textAddr) Network() string { return a.network }

func (a textAddr) String() string { return a.address }

// login is a change of the uid of a session at its gate.
type login struct {
	session  int64
	uid, old int64 // 0 for none
	when     int64 // Unix nanoseconds; always later than every login of the uid that the gate knows
}

// later reports whether l is later than other. Every gate comes to the same result.
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

// reasons are the close reasons of sessions, by their numbers on the wire.
var reasons = []error{
	session.ErrClosed, session.ErrClientClosed, session.ErrKicked, session.ErrReplaced, session.ErrHeartbeat,
	session.ErrHandshake, session.ErrSlowClient, session.ErrProtocol, session.ErrLimit, session.ErrShutdown,
}

// putReason sets the ID and Data of a closed frame.
func putReason(f *link.Frame, reason error) {
	i := slices.IndexFunc(reasons, func(r error) bool { return errors.Is(reason, r) })
	f.ID = uint64(max(i, 0))
	if text := reason.Error(); text != reasons[f.ID].Error() {
		f.Data = []byte(text)
	}
}

// reasonOf returns the reason in a closed frame.
func reasonOf(f *link.Frame) error {
	reason := reasons[0]
	if f.ID < uint64(len(reasons)) {
		reason = reasons[f.ID]
	}
	if len(f.Data) == 0 {
		return reason
	}
	return &reasonText{string(f.Data), reason}
}

// reasonText is a close reason with a text of its own.
type reasonText struct {
	text   string
	reason error
}

func (r *reasonText) Error() string { return r.text }

func (r *reasonText) Unwrap() error { return r.reason }

// causes are the causes of errors of calls, by their numbers on the wire; see failure.
var causes = []error{1: link.ErrDown, 2: link.ErrQueueFull}

// putError puts err into a frame. public is the form that the receiver may see.
func putError(f *link.Frame, err error, public *message.Error) {
	f.Flags |= flagError
	f.Data, _ = public.MarshalProtobuf() // has no error
	if i := slices.IndexFunc(causes, func(c error) bool { return c != nil && errors.Is(err, c) }); i > 0 {
		f.Meta = binary.AppendUvarint(nil, uint64(i))
	}
}

// failureOf returns the error in a frame.
func failureOf(f *link.Frame) error {
	e := errorOf(f.Data)
	rd := reader{b: f.Meta}
	if i := rd.uvarint(); 0 < i && i < uint64(len(causes)) {
		return &failure{e, causes[i]}
	}
	return e
}

// errorOf returns the error in the Data of a frame.
func errorOf(data []byte) *message.Error {
	e := &message.Error{}
	if err := e.UnmarshalProtobuf(data); err != nil || e.Code == "" {
		return message.Errorf(message.CodeInternal, "internal error")
	}
	return e
}
