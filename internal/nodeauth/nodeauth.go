// Package nodeauth opens the streams between nodes: each side says who it is and proves that it knows the cluster's
// secret, which is never sent. It does not know what a stream carries afterwards.
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

// Version is the version of the contract. Nodes of different versions refuse each other.
const Version = 1

const (
	nonceSize   = 32
	maxAddrSize = 255
)

// ErrRefused tells that two nodes do not want each other, and that trying again as they are won't change it: their
// secrets or versions differ, or both say that they are at the same address. The text around it says what was expected.
var ErrRefused = errors.New("cluster: node refused")

// Stream is what a greeting needs of a gRPC stream.
type Stream interface {
	SendMsg(m any) error
	RecvMsg(m any) error
}

// Self is what a node tells of itself on every stream. It is not changed once it is in use.
type Self struct {
	Addr   string // where the node can be dialed, "host:port"
	Epoch  uint64 // tells this process from earlier ones at the same address
	Secret []byte // shared by all nodes; empty for none

	// Refused, if set, is told why a node that dialed this one was refused. It may be called concurrently.
	Refused func(why string)
}

// Peer is who greeted.
type Peer struct {
	Addr  string
	Epoch uint64
	Hello *clusterpb.Hello // only on a link
}

// The roles keep a proof from being played back to the side that made it.
const (
	roleDialer   = 'D'
	roleAcceptor = 'A'
)

// Dial greets on a stream that this node opened, and returns when the peer has proved itself. On a link hello is asked
// for this node's hello at that time, or for a reason to give up, and the peer's is waited for; elsewhere hello is nil.
//
// The dialer gives its proof first: anybody who reaches a member can dial it, and a proof is enough to try guesses of the
// secret on. A node itself dials seeds and members only.
func (s *Self) Dial(st Stream, hello func() (*clusterpb.Hello, error)) (Peer, error) {
	mine, err := s.introduce()
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
	if err := introduced(theirs); err != nil {
		return Peer{}, fmt.Errorf("%w: %v", ErrRefused, err)
	}
	if err := send(st, &clusterpb.Greeting{Proof: s.proof(roleDialer, mine, theirs)}); err != nil {
		return Peer{}, refusal(st, err)
	}
	answer, err := receive(st)
	if err != nil {
		return Peer{}, clientError(err)
	}
	if err := s.verify(roleAcceptor, mine, theirs, answer.GetProof()); err != nil {
		return Peer{}, fmt.Errorf("%w: %v", ErrRefused, err)
	}
	peer := Peer{Addr: theirs.GetAddr(), Epoch: theirs.GetEpoch()}
	if hello == nil {
		return peer, nil
	}
	own, err := hello()
	if err != nil {
		return peer, err
	}
	if err := Hello(st, own); err != nil {
		return peer, refusal(st, err)
	}
	if peer.Hello, err = Hear(st); err != nil {
		return peer, clientError(err)
	}
	return peer, nil
}

// Accept greets on a stream that a peer opened, and returns when the peer has proved itself. On a link the caller goes
// on with Hear and Hello. An error is a gRPC status that tells the peer why it was refused.
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
	if err := introduced(theirs); err != nil {
		return Peer{}, status.Error(codes.FailedPrecondition, err.Error())
	}
	mine, err := s.introduce()
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

// Hello sends the hello of a side of a link: the dialer's goes first.
func Hello(st Stream, hello *clusterpb.Hello) error {
	return send(st, &clusterpb.Greeting{Hello: hello})
}

// Hear receives the hello of the other side.
func Hear(st Stream) (*clusterpb.Hello, error) {
	g, err := receive(st)
	if err != nil {
		return nil, err
	}
	if g.GetHello() == nil {
		return nil, status.Error(codes.InvalidArgument, "cluster: greeting without a hello, one was expected")
	}
	return g.GetHello(), nil
}

func (s *Self) introduce() (*clusterpb.Greeting, error) {
	nonce := make([]byte, nonceSize)
	if _, err := rand.Read(nonce); err != nil {
		return nil, err
	}
	return &clusterpb.Greeting{Version: Version, Addr: s.Addr, Epoch: s.Epoch, Nonce: nonce}, nil
}

func introduced(g *clusterpb.Greeting) error {
	switch {
	case g.GetVersion() != Version:
		return fmt.Errorf("version %d of the cluster's contract met version %d", g.GetVersion(), Version)
	case len(g.GetNonce()) != nonceSize:
		return fmt.Errorf("nonce of %d bytes, %d expected", len(g.GetNonce()), nonceSize)
	case g.GetAddr() == "" || len(g.GetAddr()) > maxAddrSize:
		return fmt.Errorf("address of %d bytes, 1 to %d expected", len(g.GetAddr()), maxAddrSize)
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

// verify checks the proof that the peer gave in its role.
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
		return nil, status.Error(codes.FailedPrecondition, "cluster: data before the greeting")
	}
	return e.GetGreeting(), nil
}

// refusal finds out why sending failed: on the dialer's side gRPC tells it to the receiver only.
func refusal(st Stream, err error) error {
	if _, e := receive(st); e != nil {
		return clientError(e)
	}
	return err
}

// clientError marks the statuses of Accept that trying again won't change.
func clientError(err error) error {
	switch st := status.Convert(err); st.Code() {
	case codes.Unauthenticated, codes.FailedPrecondition:
		return fmt.Errorf("%w: %s", ErrRefused, st.Message())
	}
	return err
}
