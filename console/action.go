package console

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"mime"
	"net/http"
	"strconv"

	"github.com/lonng/nano"
	"github.com/lonng/nano/session"
)

// maxBody is how many bytes the body of an action may have.
const maxBody = 128 << 10

const errLongReason = "the reason is longer than 200 bytes"

// action is the body of a request for an action.
type action struct {
	Session  string `json:"session"`  // the id of a session, or
	UID      string `json:"uid"`      // a user, on all nodes
	Reason   string `json:"reason"`   // reason of a kick; the client receives it
	Route    string `json:"route"`    // route of a push
	Payload  string `json:"payload"`  // payload of a push; its bytes are sent unchanged
	Encoding string `json:"encoding"` // of Payload: "" for text, or "base64"
}

// target is the session or user of an action.
type target interface {
	kick(reason string) error
	push(route string, data []byte) error
	attrs() []any // for the log
}

type sessionTarget struct{ s *session.Session }

func (t sessionTarget) kick(reason string) error             { return t.s.Kick(reason) }
func (t sessionTarget) push(route string, data []byte) error { return t.s.Push(route, data) }
func (t sessionTarget) attrs() []any                         { return []any{"session", t.s.ID(), "uid", t.s.UID()} }

type userTarget struct {
	srv *nano.Server
	uid int64
}

func (t userTarget) kick(reason string) error             { return t.srv.Kick(t.uid, reason) }
func (t userTarget) push(route string, data []byte) error { return t.srv.Push(t.uid, route, data) }
func (t userTarget) attrs() []any                         { return []any{"uid", t.uid} }

// allow reports whether a request may act. If it may not, allow answers it.
func (h *handler) allow(w http.ResponseWriter, r *http.Request) bool {
	contentType, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	switch {
	case roleOf(r) < Operator:
		fail(w, http.StatusForbidden, "want the role operator")
	case h.origin.Check(r) != nil:
		fail(w, http.StatusForbidden, "the request comes from a page of another origin")
	case err != nil || contentType != "application/json":
		fail(w, http.StatusUnsupportedMediaType, "want the content type application/json")
	default:
		return true
	}
	h.inside.Log().Warn("console: an action was refused", "path", r.URL.Path, "role", roleOf(r).String(), "remote", r.RemoteAddr)
	return false
}

// readBody reads the body of a request for an action. If it cannot, or the request may not
// act, it answers the request and returns false.
func (h *handler) readBody(w http.ResponseWriter, r *http.Request, body any) bool {
	if !h.allow(w, r) {
		return false
	}
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	d.DisallowUnknownFields()
	if err := d.Decode(body); err != nil {
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			fail(w, http.StatusRequestEntityTooLarge, "the body is too large")
			return false
		}
		fail(w, http.StatusBadRequest, "the body is not a JSON object of the known fields")
		return false
	}
	return true
}

// read reads the body of an action and finds its target. If it cannot, it answers the
// request and returns nil.
func (h *handler) read(w http.ResponseWriter, r *http.Request) (*action, target) {
	a := &action{}
	if !h.readBody(w, r, a) {
		return nil, nil
	}
	text := a.Session + a.UID
	id, err := strconv.ParseInt(text, 10, 64)
	if err != nil || id < 1 || a.Session != "" && a.UID != "" {
		fail(w, http.StatusBadRequest, "want either session or uid, a number as a string")
		return nil, nil
	}
	if a.UID != "" {
		return a, userTarget{h.srv, id}
	}
	s, ok := h.srv.Session(id)
	if !ok {
		fail(w, http.StatusNotFound, "no open session has this id")
		return nil, nil
	}
	return a, sessionTarget{s}
}

// logAction logs an action with the role and the address of its sender.
func (h *handler) logAction(r *http.Request, name string, err error, attrs ...any) {
	attrs = append(attrs, "role", roleOf(r).String(), "remote", r.RemoteAddr)
	if err != nil {
		attrs = append(attrs, "error", err.Error())
	}
	h.inside.Log().Info("console: "+name, attrs...)
}

// done logs an action on a session or user and answers it.
func (h *handler) done(w http.ResponseWriter, r *http.Request, name string, t target, err error, attrs ...any) {
	attrs = append(attrs, t.attrs()...)
	h.logAction(r, name, err, attrs...)
	switch {
	case err == nil:
		reply(w, struct{}{})
	case errors.Is(err, nano.ErrUserNotFound), errors.Is(err, session.ErrBrokenPipe), errors.Is(err, session.ErrCloseClosedSession):
		fail(w, http.StatusNotFound, err.Error())
	default:
		fail(w, http.StatusConflict, err.Error())
	}
}

// kick closes a session, or the sessions of a user.
func (h *handler) kick(w http.ResponseWriter, r *http.Request) {
	a, t := h.read(w, r)
	if t == nil {
		return
	}
	if len(a.Reason) > maxText {
		fail(w, http.StatusBadRequest, errLongReason)
		return
	}
	h.done(w, r, "kick", t, t.kick(a.Reason), "reason", a.Reason)
}

// push sends a message to a session, or to the sessions of a user.
func (h *handler) push(w http.ResponseWriter, r *http.Request) {
	a, t := h.read(w, r)
	if t == nil {
		return
	}
	data := []byte(a.Payload)
	switch a.Encoding {
	case "":
	case "base64":
		decoded, err := base64.StdEncoding.DecodeString(a.Payload)
		if err != nil {
			fail(w, http.StatusBadRequest, "the payload is not base64")
			return
		}
		data = decoded
	default:
		fail(w, http.StatusBadRequest, `encoding: want "" or "base64"`)
		return
	}
	if err := session.CheckRoute(a.Route); err != nil {
		fail(w, http.StatusBadRequest, err.Error())
		return
	}
	h.done(w, r, "push", t, t.push(a.Route, data), "route", a.Route, "bytes", len(data))
}
