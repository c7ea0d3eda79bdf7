// Package nodeauth implements the handshake of streams between nodes: each node sends its address and proves that it
// knows the cluster's secret, which is never sent. The package does not depend on the data that a stream carries
// afterwards.
package nodeauth

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/lonng/nano/cluster/clusterpb"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Version is the version of the protocol between nodes. Nodes of different versions refuse each other.
const Version = 1

const (
	nonceSize   = 32
	maxAddrSize = 255
)

// ErrRefused is returned when two nodes refuse each other: their secrets or versions differ, or both have the same address.
// Another attempt fails as well. The error that wraps it says what was expected.
var ErrRefused = errors.New("cluster: node refused")

// Stream is the part of a gRPC stream that the handshake uses.
type Stream interface {
	SendMsg(m any) error
	RecvMsg(m any) error
}

// Self describes a node to its peers. The node sends it on every stream. It must not be changed
// after its first use.
type Self struct {
	Addr   string // where the node can be dialed, "host:port"
	Epoch  uint64 // start time of the process; a restarted process has another
	Secret []byte // of the cluster; empty for none

	// Refused, if it is not nil, is called with the reason when this node refuses a node that dialed it. It may be called
	// concurrently.
	Refused func(why string)
}

// Peer is the node at the other end of a stream.
type Peer struct {
	Addr  string
	Epoch uint64
	Hello *clusterpb.Hello // only of a link
}

// The roles are part of a proof, so that a proof cannot be sent back to the node that made it.
const (
	roleDialer   = 'D'
	roleAcceptor = 'A'
)

// Dial completes the handshake of a stream that this node opened, with the proof of the peer. On a link it then calls hello,
// which returns this node's hello or an error to give up, and waits for the peer's hello. For other streams hello is nil.
//
// The dialer sends its proof first. A proof allows its receiver to test guesses of the secret. Any process that reaches a
// member can dial it, but a node dials only seeds and members.
func (s *Self) Dial(st Stream, hello func() (*clusterpb.Hello, error)) (Peer, error) {
	mine, err := s.greeting()
	if err != nil {
		return Peer{}, err
	}
	if err := send(st, mine); err != nil {
		return Peer{}, refusal(st, err)
	}
	theirs, err := receive(st)
	if err != nil {
		return Peer{}, clientError(err)
	}
	if err := checkGreeting(theirs); err != nil {
		return Peer{}, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	if err := send(st, &clusterpb.Greeting{Proof: s.proof(roleDialer, mine, theirs)}); err != nil {
		return Peer{}, refusal(st, err)
	}
	answer, err := receive(st)
	if err != nil {
		return Peer{}, clientError(err)
	}
	if err := s.verify(roleAcceptor, mine, theirs, answer.GetProof()); err != nil {
		return Peer{}, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	peer := Peer{Addr: theirs.GetAddr(), Epoch: theirs.GetEpoch()}
	if hello == nil {
		return peer, nil
	}
	own, err := hello()
	if err != nil {
		return peer, err
	}
	if err := SendHello(st, own); err != nil {
		return peer, refusal(st, err)
	}
	if peer.Hello, err = ReceiveHello(st); err != nil {
		return peer, clientError(err)
	}
	return peer, nil
}

// Accept completes the handshake of a stream that a peer opened, with the proof of the peer. On a link the caller then calls
// ReceiveHello and SendHello. An error is a gRPC status for the peer, with the reason of a refusal.
func (s *Self) Accept(st Stream) (Peer, error) {
	peer, err := s.accept(st)
	if c := status.Code(err); s.Refused != nil && (c == codes.Unauthenticated || c == codes.FailedPrecondition) {
		s.Refused(status.Convert(err).Message())
	}
	return peer, err
}

func (s *Self) accept(st Stream) (Peer, error) {
	theirs, err := receive(st)
	if err != nil {
		return Peer{}, err
	}
	if err := checkGreeting(theirs); err != nil {
		return Peer{}, status.Error(codes.FailedPrecondition, err.Error())
	}
	mine, err := s.greeting()
	if err != nil {
		return Peer{}, status.Error(codes.Internal, err.Error())
	}
	if err := send(st, mine); err != nil {
		return Peer{}, err
	}
	answer, err := receive(st)
	if err != nil {
		return Peer{}, err
	}
	if err := s.verify(roleDialer, theirs, mine, answer.GetProof()); err != nil {
		return Peer{}, status.Error(codes.Unauthenticated, err.Error())
	}
	if err := send(st, &clusterpb.Greeting{Proof: s.proof(roleAcceptor, theirs, mine)}); err != nil {
		return Peer{}, err
	}
	return Peer{Addr: theirs.GetAddr(), Epoch: theirs.GetEpoch()}, nil
}

// SendHello sends the hello of this node on a link. The dialer sends first.
func SendHello(st Stream, hello *clusterpb.Hello) error {
	return send(st, &clusterpb.Greeting{Hello: hello})
}

// ReceiveHello receives the hello of the peer.
func ReceiveHello(st Stream) (*clusterpb.Hello, error) {
	g, err := receive(st)
	if err != nil {
		return nil, err
	}
	if g.GetHello() == nil {
		return nil, status.Error(codes.InvalidArgument, "cluster: handshake without a hello")
	}
	return g.GetHello(), nil
}

func (s *Self) greeting() (*clusterpb.Greeting, error) {
	nonce := make([]byte, nonceSize)
	if _, err := rand.Read(nonce); err != nil {
		return nil, err
	}
	return &clusterpb.Greeting{Version: Version, Addr: s.Addr, Epoch: s.Epoch, Nonce: nonce}, nil
}

func checkGreeting(g *clusterpb.Greeting) error {
	switch {
	case g.GetVersion() != Version:
		return fmt.Errorf("version %d of the cluster protocol, want version %d", g.GetVersion(), Version)
	case len(g.GetNonce()) != nonceSize:
		return fmt.Errorf("nonce of %d bytes, want %d", len(g.GetNonce()), nonceSize)
	case g.GetAddr() == "" || len(g.GetAddr()) > maxAddrSize:
		return fmt.Errorf("address of %d bytes, want 1 to %d", len(g.GetAddr()), maxAddrSize)
	}
	return nil
}

// proof returns nil if there is no secret.
func (s *Self) proof(role byte, dialer, acceptor *clusterpb.Greeting) []byte {
	if len(s.Secret) == 0 {
		return nil
	}
	b := append([]byte("nano cluster 1 "), role)
	for _, g := range []*clusterpb.Greeting{dialer, acceptor} {
		b = append(b, g.GetNonce()...)
		b = binary.BigEndian.AppendUint64(b, g.GetEpoch())
		b = append(b, byte(len(g.GetAddr())))
		b = append(b, g.GetAddr()...)
	}
	mac := hmac.New(sha256.New, s.Secret)
	mac.Write(b)
	return mac.Sum(nil)
}

// verify checks the proof of the peer, which has the given role.
func (s *Self) verify(role byte, dialer, acceptor *clusterpb.Greeting, proof []byte) error {
	peer := dialer.GetAddr()
	if role == roleAcceptor {
		peer = acceptor.GetAddr()
	}
	switch {
	case len(s.Secret) == 0 && len(proof) == 0:
		return nil
	case len(s.Secret) == 0:
		return fmt.Errorf("%s has a cluster secret, %s has none", peer, s.Addr)
	case len(proof) == 0:
		return fmt.Errorf("%s has a cluster secret, %s has none", s.Addr, peer)
	case !hmac.Equal(proof, s.proof(role, dialer, acceptor)):
		return fmt.Errorf("the cluster secrets of %s and %s differ", s.Addr, peer)
	}
	return nil
}

func send(st Stream, g *clusterpb.Greeting) error {
	return st.SendMsg(&clusterpb.Envelope{Greeting: g})
}

func receive(st Stream) (*clusterpb.Greeting, error) {
	var e clusterpb.Envelope
	if err := st.RecvMsg(&e); err != nil {
		return nil, err
	}
	if e.GetGreeting() == nil {
		return nil, status.Error(codes.FailedPrecondition, "cluster: data before the handshake")
	}
	return e.GetGreeting(), nil
}

// refusal returns why sending failed: at the dialer, gRPC reports the reason only to the receiver.
func refusal(st Stream, err error) error {
	if _, e := receive(st); e != nil {
		return clientError(e)
	}
	return err
}

// clientError wraps a status of Accept with ErrRefused if another attempt fails as well.
func clientError(err error) error {
	switch st := status.Convert(err); st.Code() {
	case codes.Unauthenticated, codes.FailedPrecondition:
		return fmt.Errorf("%w: %s", ErrRefused, st.Message())
	}
	return err
}
