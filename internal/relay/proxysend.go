package relay

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/lonng/nano/internal/codec"
	"github.com/lonng/nano/internal/link"
	"github.com/lonng/nano/internal/message"
	"github.com/lonng/nano/internal/packet"
	"github.com/lonng/nano/internal/payload"
	"github.com/lonng/nano/session"
)

// This file contains what a program sends to a proxy session: pushes and answers.

// Begin records which request runs.
func (p *proxySession) Begin(id uint64, _ *string) {
	if p.closed.Load() { // the previous handler may have closed it
		p.part()
	}
	p.requests.Begin(id)
}

// LastMid returns the id of the request that runs or ran last, 0 for a notify. A handler that calls it answers later.
func (p *proxySession) LastMid() uint64 { return p.requests.Take() }

// Deferred reports whether the handler that runs has called LastMid.
func (p *proxySession) Deferred() bool { return p.requests.Taken() }

// Waiting reports whether a request has no answer yet.
func (p *proxySession) Waiting(id uint64) bool { return p.requests.Waiting(id) }

// Serial returns the serial number of the request that runs or ran last.
func (p *proxySession) Serial() uint64 { return p.requests.Serial() }

// Public returns an error of a deferred answer as the client may see it.
func (p *proxySession) Public(err error) error {
	return p.pc.b.Dispatcher.PublicDeferred(p.session, err)
}

// Push sends the client a message that is not an answer.
func (p *proxySession) Push(route string, v any) error {
	if p.closed.Load() {
		return session.ErrBrokenPipe
	}
	return p.send(&link.Frame{Kind: kindPush, Session: p.id, Route: route}, v)
}

// Response answers the request that runs or ran last.
func (p *proxySession) Response(v any) error { return p.ResponseMid(p.requests.Current(), v) }

// ResponseMid answers the request with the id mid, once. An *Error makes the answer an error response.
func (p *proxySession) ResponseMid(mid uint64, v any) error { return p.ResponseTo(mid, 0, v) }

// ResponseTo is ResponseMid for the request with both the id and the serial number; serial 0 is any.
func (p *proxySession) ResponseTo(mid, serial uint64, v any) error {
	switch {
	case mid == 0:
		return session.ErrSessionOnNotify
	case p.closed.Load() && !isCall(mid) && (mid != p.requests.Current() || p.parting.Load() == nil):
		return session.ErrBrokenPipe
	}
	ok, current := p.requests.ClaimSerial(mid, serial)
	if !ok {
		return session.ErrSessionOnNotify
	}
	if e, ok := v.(*message.Error); ok && e != nil {
		p.sendFailure(mid, e, current)
		return nil
	}
	sent := false
	defer func() {
		if !sent { // also after a panic or runtime.Goexit: so that it can be answered with the error
			p.requests.RestoreSerial(mid, serial)
		}
	}()
	err := p.answer(mid, v, current)
	sent = err == nil
	return err
}

// answer sends the answer to a request that was claimed.
func (p *proxySession) answer(mid uint64, v any, current bool) error {
	if isCall(mid) {
		if mine, err := p.pc.b.Answer(p.id, mid, v, nil); mine {
			return err
		}
	}
	var f link.Frame // set field by field, because a composite literal is made elsewhere and copied
	f.Kind, f.Session, f.ID = kindResponse, p.id, mid
	if !current {
		f.Flags = flagLater
	}
	if err := p.send(&f, v); err != nil {
		return err
	}
	if current {
		p.acks.Skip(1, 0)
	}
	return nil
}

// Fail answers a request with an error, unless it was answered.
func (p *proxySession) Fail(mid uint64, e *message.Error) {
	if ok, current := p.requests.Claim(mid); ok {
		p.sendFailure(mid, e, current)
	}
}

// Refuse answers a request that did not begin with an error.
func (p *proxySession) Refuse(mid uint64, e *message.Error) { p.sendFailure(mid, e, false) }

// sendFailure answers a request with an error.
func (p *proxySession) sendFailure(mid uint64, e *message.Error, current bool) {
	if isCall(mid) {
		if mine, _ := p.pc.b.Answer(p.id, mid, nil, e); mine {
			return
		}
	}
	if current {
		p.pc.fail(p.id, mid, e, 0)
		p.acks.Skip(1, 0)
	} else {
		p.pc.fail(p.id, mid, e, flagLater)
	}
}

// send sends the gate a frame with v as its payload.
func (p *proxySession) send(f *link.Frame, v any) error {
	data, err := payload.EncodeTemporary(p.pc.b.Dispatcher.Serializer, v)
	if err != nil {
		return err
	}
	defer data.Free()
	f.Data = data.Data
	if err := p.pc.fits(f); err != nil {
		return err
	}
	switch err := p.pc.link.Send(f); {
	case errors.Is(err, link.ErrDown):
		return session.ErrBrokenPipe
	case errors.Is(err, link.ErrQueueFull):
		return session.ErrBufferExceed
	default:
		return err
	}
}

// fits returns an error if a frame's route and payload do not fit a client's packet.
func (pc *peerConn) fits(f *link.Frame) error {
	const maxHeader = 1 + binary.MaxVarintLen64 + 1 + message.MaxRouteLength
	if len(f.Route) <= message.MaxRouteLength && maxHeader+len(f.Data) <= packet.MaxLength {
		return nil
	}
	m := message.Message{Type: message.Push, ID: f.ID, Route: f.Route}
	if f.Kind == kindResponse {
		m.Type = message.Response
	}
	head, err := message.AppendHeader(nil, &m, pc.b.Dispatcher.Dictionary)
	if err != nil {
		return err
	}
	if n := len(head) + len(f.Data); n > packet.MaxLength {
		return fmt.Errorf("%w: %d bytes, %d fit", codec.ErrPacketTooLarge, n, packet.MaxLength)
	}
	return nil
}
