package session

// The methods in this file are older names. They stay, so that existing programs compile.

// LastMid returns the id of the request whose handler runs, or ran last; 0 for a notify.
//
// Deprecated: Use [Session.Defer], which binds an answer to its request.
func (s *Session) LastMid() uint64 { return s.entity.LastMid() }

// ResponseMID answers the request whose id LastMid returned, from any goroutine. Its
// values and errors are those of [Session.Response].
//
// Deprecated: Use [Session.Defer] and [Responder.Reply].
func (s *Session) ResponseMID(mid uint64, v any) error { return s.entity.ResponseMid(mid, v) }
