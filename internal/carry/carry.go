// Package carry implements a client's connection that goes on at another node. The carrier, which has the client's socket,
// and the gate of the client's session each have one end of a byte stream: a [Conn]. What one end writes, the other reads,
// within a flow-control window in each direction. The package knows neither sockets nor the frames between nodes.
package carry

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"net"
	"time"
)

// Name names a process of the cluster in the tokens that it gives. It is a hint where to look a token up, and proves
// nothing.
type Name [6]byte

// NameOf returns the name of the process with an address and an epoch. It is not zero unless addr is empty.
func NameOf(addr string, epoch uint64) (n Name) {
	if addr == "" {
		return n
	}
	sum := sha256.Sum256(append(binary.BigEndian.AppendUint64(nil, epoch), addr...))
	copy(n[:], sum[:])
	n[0] |= 1 // so that no name is zero
	return n
}

// Ask is what a carrier asks the gate of a session for. It must never be logged.
type Ask struct {
	Token  []byte
	Framed bool          // the client sends WebSocket frames
	Left   time.Duration // that the client has for its handshake
	Remote net.Addr      // the client's address
}

// String hides the token from logs.
func (*Ask) String() string { return "ask" }

// Refusal says why a session does not go on.
type Refusal struct {
	Reason string
	Kick   []byte // the body of the kick packet that ended it; nil if there was none
}

// ErrUnknownNode is returned when no node of a name is up.
var ErrUnknownNode = errors.New("carry: no node of that name is up")

// Sender sends what one end of a stream tells the other one. Its methods do not block.
type Sender interface {
	// Data sends bytes, and does not keep them. If it cannot send them now, it returns a channel that is closed when it may
	// be called with them again.
	Data(b []byte) (wait <-chan struct{}, err error)
	// Credit says that n bytes of the other end were consumed.
	Credit(n int)
	// CloseWrite says that no more bytes come.
	CloseWrite()
	// Close says that the stream has ended; why is nil unless the gate refuses it.
	Close(why *Refusal)
}
