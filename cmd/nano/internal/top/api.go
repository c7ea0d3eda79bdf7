package top

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// maxBody is the number of bytes of an answer that are read.
const maxBody = 16 << 20

// ErrRefused is returned when the console does not accept the token.
var ErrRefused = errors.New("the console refuses the token")

// API is the JSON API of a console. See docs/console.md.
type API struct {
	base   *url.URL
	token  string
	client *http.Client
}

// NewAPI returns the API of the console at an address: the URL of its page. The scheme is
// http if the address has none, and the path is /console/ if it has none. An empty token is
// not sent.
func NewAPI(address, token string, transport http.RoundTripper) (*API, error) {
	if !strings.Contains(address, "://") {
		address = "http://" + address
	}
	u, err := url.Parse(address)
	switch {
	case err != nil:
		return nil, err
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return nil, fmt.Errorf("want the URL of a console, such as http://127.0.0.1:3251/console/, got %q", u.Redacted())
	}
	if u.Path == "" || u.Path == "/" {
		u.Path = "/console/"
	}
	if !strings.HasSuffix(u.Path, "/") {
		u.Path += "/"
	}
	u.RawQuery, u.Fragment = "", ""
	return &API{u, token, &http.Client{
		Transport: transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { // the token is for this address alone
			return http.ErrUseLastResponse
		},
	}}, nil
}

// String returns the address of the console, without a password.
func (a *API) String() string { return a.base.Redacted() }

// point is one sample of a server. A rate is null in the first sample.
type point struct {
	Time        time.Time `json:"time"`
	Connections int       `json:"connections"`
	Sessions    int       `json:"sessions"`
	MessagesIn  *float64  `json:"messagesIn"`
	MessagesOut *float64  `json:"messagesOut"`
	BytesIn     *float64  `json:"bytesIn"`
	BytesOut    *float64  `json:"bytesOut"`
	Refused     *float64  `json:"refused"`
	HandlerMean *float64  `json:"handlerMean"` // seconds
	HandlerLoad *float64  `json:"handlerLoad"` // 0 to 1
	QueueDelay  float64   `json:"queueDelay"`  // seconds
	QueueDepth  int       `json:"queueDepth"`
	Heap        uint64    `json:"heap"`
	Memory      uint64    `json:"memory"`
	Goroutines  uint64    `json:"goroutines"`
}

type overview struct {
	Name    string    `json:"name"`
	Role    string    `json:"role"`
	Time    time.Time `json:"time"`
	Samples []point   `json:"samples"`
}

type route struct {
	Route string   `json:"route"`
	Rate  *float64 `json:"rate"`
	Mean  *float64 `json:"mean"` // seconds, as the other times
	P50   *float64 `json:"p50"`
	P99   *float64 `json:"p99"`
	Load  *float64 `json:"load"`
	Max   float64  `json:"max"`
}

type count struct {
	Name   string `json:"name"`
	Total  int64  `json:"total"`
	Recent int64  `json:"recent"`
}

type failures struct {
	Window  float64 `json:"window"` // seconds
	Panics  count   `json:"panics"`
	Refused []count `json:"refused"`
	Closed  []count `json:"closed"`
}

type member struct {
	Address string  `json:"address"`
	Label   string  `json:"label"`
	Up      bool    `json:"up"`
	RTT     float64 `json:"rtt"` // seconds; 0 if it was not measured
}

type nodes struct {
	Node    bool     `json:"node"`
	Address string   `json:"address"`
	Members []member `json:"members"`
}

// snapshot holds the figures of a server that its console returned at one time.
type snapshot struct {
	overview
	routes   []route
	failures failures
	nodes    nodes
}

// read reads a snapshot whose samples are later than after; the zero time is before all.
func (a *API) read(ctx context.Context, after time.Time) (*snapshot, error) {
	s := &snapshot{}
	var handlers struct {
		Routes []route `json:"handlers"`
	}
	query := ""
	if !after.IsZero() {
		query = "?after=" + url.QueryEscape(after.Format(time.RFC3339Nano))
	}
	for _, part := range []struct {
		path string
		into any
	}{{"api/overview" + query, &s.overview}, {"api/handlers", &handlers}, {"api/errors", &s.failures}, {"api/cluster", &s.nodes}} {
		if err := a.get(ctx, part.path, part.into); err != nil {
			return nil, err
		}
	}
	s.routes = handlers.Routes
	return s, nil
}

// get reads one answer.
func (a *API) get(ctx context.Context, path string, into any) error {
	u, err := a.base.Parse(path)
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return err
	}
	if a.token != "" {
		r.Header.Set("Authorization", "Bearer "+a.token)
	}
	answer, err := a.client.Do(r)
	if err != nil {
		if e, ok := errors.AsType[*url.Error](err); ok {
			err = e.Err // without the URL
		}
		return err
	}
	defer answer.Body.Close()
	switch {
	case answer.StatusCode == http.StatusUnauthorized || answer.StatusCode == http.StatusForbidden:
		return fmt.Errorf("%w: %s", ErrRefused, answer.Status)
	case answer.StatusCode != http.StatusOK:
		return fmt.Errorf("%s answers %s", a, answer.Status)
	}
	if err := json.NewDecoder(io.LimitReader(answer.Body, maxBody)).Decode(into); err != nil {
		return fmt.Errorf("%s is not a console: %w", a, err)
	}
	return nil
}
