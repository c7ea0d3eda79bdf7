package console

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/lonng/nano/internal/inspect"
	"github.com/lonng/nano/internal/message"
)

// A request of the API with the parameter node is forwarded to the console of that node, over
// the link between the nodes. The Authorize of that node decides, from the headers, the
// host and the address of the original request.

// asked is a request that goes to another node.
type asked struct {
	Method string      `json:"method"`
	Path   string      `json:"path"` // below the path of the console
	Query  string      `json:"query"`
	Header http.Header `json:"header"`
	Host   string      `json:"host"`
	Remote string      `json:"remote"`
	Body   []byte      `json:"body"`
}

// answered is the answer to it.
type answered struct {
	Status int         `json:"status"`
	Header http.Header `json:"header"`
	Body   []byte      `json:"body"`
}

// forward answers a request for another node, and reports whether it was one. path is below
// the path of the console.
func (h *handler) forward(w http.ResponseWriter, r *http.Request, path string) bool {
	query := r.URL.Query()
	node := query.Get("node")
	if node == "" || !strings.HasPrefix(path, "api/") || node == h.inside.NodeID() {
		return false
	}
	query.Del("node") // the other node does not pass it on
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		fail(w, http.StatusRequestEntityTooLarge, "the body is too large")
		return true
	}
	data, err := json.Marshal(asked{r.Method, path, query.Encode(), r.Header, r.Host, r.RemoteAddr, body})
	if err != nil {
		fail(w, http.StatusBadRequest, "the request cannot be sent to another node")
		return true
	}
	answer, err := h.inside.AskNode(r.Context(), node, data)
	var a answered
	if err == nil && (json.Unmarshal(answer, &a) != nil || a.Status < 200 || a.Status > 599) {
		err = errors.New("the node sent a malformed answer")
	}
	if err != nil {
		failNode(w, err)
		return true
	}
	// Without a challenge: a password for the other node would be refused by this one.
	w.Header().Set("Content-Type", a.Header.Get("Content-Type"))
	w.WriteHeader(a.Status)
	_, _ = w.Write(a.Body)
	return true
}

// failNode answers with an error of AskNode.
func failNode(w http.ResponseWriter, err error) {
	status, text := http.StatusBadGateway, err.Error()
	switch {
	case errors.Is(err, inspect.ErrNoNode):
		status = http.StatusNotFound
	case errors.Is(err, inspect.ErrNodeDown):
		status = http.StatusServiceUnavailable
	case errors.Is(err, &message.Error{Code: message.CodeNotFound}):
		status, text = http.StatusNotFound, "the node has no console"
	case errors.Is(err, &message.Error{Code: message.CodeDeadline}), errors.Is(err, context.DeadlineExceeded):
		status, text = http.StatusGatewayTimeout, "the node did not answer in time"
	case errors.Is(err, &message.Error{Code: message.CodeLimit}):
		status, text = http.StatusTooManyRequests, "the node answers too many requests for its console"
	case errors.Is(err, &message.Error{Code: message.CodeUnavailable}):
		status = http.StatusServiceUnavailable
	}
	fail(w, status, text)
}

// recorder is the answer of this console to a request of another node.
type recorder struct {
	answered
	body bytes.Buffer
}

func (r *recorder) Header() http.Header { return r.answered.Header }

func (r *recorder) WriteHeader(status int) {
	if r.Status == 0 {
		r.Status = status
	}
}

func (r *recorder) Write(p []byte) (int, error) {
	r.WriteHeader(http.StatusOK)
	return r.body.Write(p)
}

// serveNode answers a request that another node has passed on.
func (h *handler) serveNode(ctx context.Context, data []byte) []byte {
	rec := &recorder{answered: answered{Header: http.Header{}}}
	var a asked
	if json.Unmarshal(data, &a) != nil || !strings.HasPrefix(a.Path, "api/") {
		fail(rec, http.StatusBadRequest, "the request of the other node is malformed")
	} else {
		r := (&http.Request{
			Method: a.Method,
			URL:    &url.URL{Path: h.Path + a.Path, RawQuery: a.Query},
			Proto:  "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
			Header: a.Header, Host: a.Host, RemoteAddr: a.Remote,
			Body: io.NopCloser(bytes.NewReader(a.Body)), ContentLength: int64(len(a.Body)),
		}).WithContext(ctx)
		if r.Header == nil {
			r.Header = http.Header{}
		}
		h.ServeHTTP(rec, r)
	}
	rec.Body = rec.body.Bytes()
	answer, err := json.Marshal(rec.answered)
	if err != nil {
		return nil // the other node reports a malformed answer
	}
	return answer
}
