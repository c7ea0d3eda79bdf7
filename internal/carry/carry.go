// Package carry implements a client's connection that another node serves. The carrier
// has the client's socket. The carrier and the gate of the client's session each have one
// end of a byte stream: a [Conn]. Each end reads the bytes that the other end writes,
// within a flow-control window per direction. The package does not depend on sockets or
// on the frames between nodes.
package carry

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"net"
	"time"
)

// Name identifies a process of the cluster in the tokens that the process issues. It is a
// hint for the lookup of a token, and not a proof.
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

// Ask is a carrier's request to the gate of a session. It must never be logged.
type Ask struct {
	Token  []byte
	Framed bool          // the client sends WebSocket frames
	Left   time.Duration // time that remains for the handshake
	Remote net.Addr      // the client's address
}

// String hides the token from logs.
func (*Ask) String() string { return "ask" }

// Refusal is the reason why a session is not resumed.
type Refusal struct {
	Reason string
	Kick   []byte // the body of the kick packet that ended it; nil if there was none
}

// ErrUnknownNode is returned when no node with the name is up.
var ErrUnknownNode = errors.New("carry: no node of that name is up")

// Sender sends data from one end of a stream to the other end. Its methods do not block.
type Sender interface {
	// Data sends bytes, and does not keep them. If it cannot send them now, it returns a
	// channel that is closed when the caller may try again.
	Data(b []byte) (wait <-chan struct{}, err error)
	// Credit reports that n bytes from the other end were consumed.
	Credit(n int)
	// CloseWrite reports that no more bytes follow.
	CloseWrite()
	// Close reports that the stream has ended. why is nil unless the gate refuses the
	// stream.
	Close(why *Refusal)
}
