// Package repl runs commands from a terminal or a script against a server, as one client.
package repl

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/lonng/nano/client"
	"github.com/lonng/nano/cmd/nano/internal/contract"
	"github.com/lonng/nano/cmd/nano/internal/payload"
)

// ErrQuit is returned by Exec for the command quit.
var ErrQuit = errors.New("quit")

// maxPushes is how many pushes are kept for expect. The oldest are dropped.
const maxPushes = 10_000

// Session is a client with its commands. Exec is called by one goroutine at a time.
type Session struct {
	client   *client.Client
	addr     string
	codec    *payload.Codec
	contract *contract.Contract // may be nil
	out      io.Writer
	timeout  time.Duration

	history []string
	reply   string // the last reply as text; "" if there is none
	failed  error  // error of the last request, until the next command
	strict  bool   // such an error ends a script if no command expects it

	mu     sync.Mutex // guards out and the fields below
	shown  []string   // the routes whose pushes are printed; nil for all
	pushes []push
	arrive chan struct{} // has capacity 1; signals a new push
}

// push is a received push that no expect has consumed.
type push struct{ route, text string }

// Config configures a session.
type Config struct {
	Addr     string // an address for client.Dial
	Codec    *payload.Codec
	Contract *contract.Contract // may be nil
	Out      io.Writer          // receives replies and pushes, one per line
	Timeout  time.Duration      // time limit of a request and of expect
	Options  []client.Option
}

// Dial connects to the server. The caller closes the session.
func Dial(ctx context.Context, c Config) (*Session, error) {
	s := &Session{addr: c.Addr, codec: c.Codec, contract: c.Contract, out: c.Out, timeout: c.Timeout, arrive: make(chan struct{}, 1)}
	opts := append(slices.Clone(c.Options), client.WithFallback(s.pushed))
	var err error
	s.client, err = client.Dial(ctx, c.Addr, opts...)
	return s, err
}

// Close ends the connection.
func (s *Session) Close() error { return s.client.Close() }

// Done is closed when the connection has ended. Err then returns the reason.
func (s *Session) Done() <-chan struct{} { return s.client.Done() }

// Err returns the reason of the connection's end.
func (s *Session) Err() error { return s.client.Err() }

func (s *Session) printf(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintf(s.out, format, args...)
}

// pushed is called for each push on the client's goroutine.
func (s *Session) pushed(m *client.Message) {
	p := push{m.Route, s.codec.Push(m.Route, m.Data)}
	s.mu.Lock()
	if s.shown == nil || slices.Contains(s.shown, p.route) {
		fmt.Fprintf(s.out, "push %s %s\n", p.route, p.text)
	}
	if len(s.pushes) == maxPushes {
		s.pushes = slices.Delete(s.pushes, 0, 1)
	}
	s.pushes = append(s.pushes, p)
	s.mu.Unlock()
	select {
	case s.arrive <- struct{}{}:
	default:
	}
}

// command is one command with its help.
type command struct {
	usage, help string
	run         func(s *Session, ctx context.Context, args string) error
}

// names lists the commands in the order of the help.
var names = []string{"request", "notify", "on", "expect", "handshake", "sleep", "history", "help", "quit"}

var commands map[string]command

func init() { // in init, because help refers to commands
	commands = map[string]command{
		"request":   {"request ROUTE [PAYLOAD]", "send a request and print the reply", (*Session).request},
		"notify":    {"notify ROUTE [PAYLOAD]", "send a notify", (*Session).notify},
		"on":        {"on [ROUTE...]", "print the pushes with these routes only; without one, all of them", (*Session).on},
		"expect":    {"expect WHAT ...", "check what came:", (*Session).expect},
		"handshake": {"handshake", "print what the server said in the handshake", (*Session).handshake},
		"sleep":     {"sleep DURATION", "wait, such as 500ms", (*Session).sleep},
		"history":   {"history", "print the commands so far", (*Session).printHistory},
		"help":      {"help", "print this", (*Session).help},
		"quit":      {"quit", "close the connection", func(*Session, context.Context, string) error { return ErrQuit }},
	}
}

// expectations is the help text of expect.
const expectations = `  expect reply PAYLOAD        the last reply has at least these members
  expect error CODE           the last request failed with the code
  expect push ROUTE [PAYLOAD] a push comes that has at least these members
  expect closed               the server ends the connection
`

// Exec runs one line. Empty lines and lines that begin with # have no effect. An error
// response is printed and is not an error.
func (s *Session) Exec(ctx context.Context, line string) error {
	line = strings.TrimSpace(line)
	if line == "" || strings.HasPrefix(line, "#") {
		return nil
	}
	s.history = append(s.history, line)
	name, args := cut(line)
	c, ok := commands[name]
	if !ok {
		return fmt.Errorf("there is no command %q; help prints them", name)
	}
	if !strings.HasPrefix(line, "expect error") {
		if err := s.takeError(); err != nil && s.strict {
			return err
		}
	}
	return c.run(s, ctx, args)
}

// takeError returns the error of the last request and clears it.
func (s *Session) takeError() error {
	err := s.failed
	s.failed = nil
	return err
}

// cut splits the text after the first word.
func cut(text string) (word, rest string) {
	word, rest, _ = strings.Cut(strings.TrimSpace(text), " ")
	return word, strings.TrimSpace(rest)
}

// message parses the route and payload of request and notify.
func (s *Session) message(args string) (route string, data []byte, err error) {
	route, text := cut(args)
	if route == "" {
		return "", nil, errors.New("want a route")
	}
	data, err = s.codec.Encode(route, text)
	return route, data, err
}

func (s *Session) request(ctx context.Context, args string) error {
	route, data, err := s.message(args)
	if err != nil {
		return err
	}
	s.reply = ""
	var reply []byte
	began := time.Now()
	err = s.client.Request(ctx, route, data, &reply)
	took := time.Since(began).Round(10 * time.Microsecond)
	if answer, ok := errors.AsType[*client.Error](err); ok {
		s.printf("error %s %s (%v)\n", answer.Code, answer.Message, took)
		s.failed = fmt.Errorf("%s: %w", route, err)
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s: %w", route, err)
	}
	s.reply = s.codec.Reply(route, reply)
	s.printf("reply %s (%v)\n", s.reply, took)
	return nil
}

func (s *Session) notify(ctx context.Context, args string) error {
	route, data, err := s.message(args)
	if err != nil {
		return err
	}
	return s.client.NotifyContext(ctx, route, data)
}

func (s *Session) on(_ context.Context, args string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shown = nil
	if routes := strings.Fields(args); len(routes) > 0 {
		s.shown = routes
	}
	return nil
}

func (s *Session) handshake(context.Context, string) error {
	user := string(s.client.Handshake())
	if user == "" {
		user = "none"
	}
	s.printf("connected to %s; user data of the server: %s\n", s.addr, user)
	return nil
}

func (s *Session) sleep(ctx context.Context, args string) error {
	d, err := time.ParseDuration(args)
	if err != nil || d < 0 {
		return fmt.Errorf("want a duration such as 500ms, not %q", args)
	}
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *Session) printHistory(context.Context, string) error {
	s.printf("%s\n", strings.Join(s.history, "\n"))
	return nil
}

func (s *Session) help(context.Context, string) error {
	var b strings.Builder
	for _, name := range names {
		c := commands[name]
		fmt.Fprintf(&b, "%-24s %s\n", c.usage, c.help)
		if name == "expect" {
			b.WriteString(expectations)
		}
	}
	s.printf("%s\nA PAYLOAD is JSON, or bytes as %s0a03616e6e. Lines that begin with # do nothing.\n", b.String(), payload.HexPrefix)
	return nil
}

func (s *Session) expect(ctx context.Context, args string) error {
	what, rest := cut(args)
	switch what {
	case "reply":
		if s.reply == "" {
			return errors.New("expect reply: the last request has no reply")
		}
		return s.compare(s.reply, rest)
	case "error":
		return s.expectError(rest)
	case "push":
		return s.expectPush(ctx, rest)
	case "closed":
		return s.expectClosed(ctx)
	}
	return fmt.Errorf("want expect reply, error, push or closed, not %q", what)
}

// compare compares payloads as text. JSON is compared by its members, other text as a
// whole.
func (s *Session) compare(got, want string) error {
	if strings.HasPrefix(want, payload.HexPrefix) || want == got {
		if got != want {
			return fmt.Errorf("got %s, want %s", got, want)
		}
		return nil
	}
	return payload.Contains(got, want)
}

func (s *Session) expectError(code string) error {
	var answer *client.Error
	err := s.takeError()
	switch {
	case err == nil:
		return fmt.Errorf("the last request did not fail, want the error %s", code)
	case !errors.As(err, &answer) || code != "" && answer.Code != code:
		return fmt.Errorf("%w, want the error %s", err, code)
	}
	return nil
}

func (s *Session) expectPush(ctx context.Context, args string) error {
	route, want := cut(args)
	if route == "" {
		return errors.New("want a route")
	}
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	last := errors.New("none came")
	for {
		found, err := s.takePush(route, want)
		if found {
			return nil
		}
		if err != nil {
			last = err
		}
		select {
		case <-s.arrive:
		case <-ctx.Done():
			return fmt.Errorf("no push %s as expected within %v: %w", route, s.timeout, last)
		case <-s.client.Done():
			if found, _ := s.takePush(route, want); found {
				return nil
			}
			return fmt.Errorf("no push %s as expected before the connection ended: %w", route, s.client.Err())
		}
	}
}

// takePush removes the first matching push of the route, and the earlier pushes of the
// route. The error describes how the last one differs.
func (s *Session) takePush(route, want string) (found bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, p := range s.pushes {
		if p.route != route {
			continue
		}
		if want != "" {
			if err = s.compare(p.text, want); err != nil {
				continue
			}
		}
		n := 0
		s.pushes = slices.DeleteFunc(s.pushes, func(p push) bool {
			n++
			return n <= i+1 && p.route == route
		})
		return true, nil
	}
	return false, err
}

func (s *Session) expectClosed(ctx context.Context) error {
	select {
	case <-s.client.Done():
		return nil
	case <-time.After(s.timeout):
		return fmt.Errorf("the connection has not ended within %v", s.timeout)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Script runs the lines of a script up to the first error, which contains the line. quit
// ends it early. An error response is an error unless the next command is "expect error".
func (s *Session) Script(ctx context.Context, name string, r io.Reader) error {
	s.strict = true
	lines, n := bufio.NewScanner(r), 0
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		n++
		err := s.Exec(ctx, lines.Text())
		if errors.Is(err, ErrQuit) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s:%d: %w", name, n, err)
		}
	}
	if err := errors.Join(lines.Err(), s.takeError()); err != nil {
		return fmt.Errorf("%s:%d: %w", name, n, err)
	}
	return nil
}

// Complete returns the words that can replace the last word of an incomplete line.
func (s *Session) Complete(line string) (words []string) {
	name, rest, more := strings.Cut(strings.TrimLeft(line, " "), " ")
	var all []string
	switch {
	case !more:
		all, rest = names, name
	case name == "request" || name == "notify":
		if s.contract != nil && !strings.Contains(rest, " ") {
			for _, r := range s.contract.Routes {
				if !r.Internal {
					all = append(all, r.Route)
				}
			}
			for _, room := range s.contract.Rooms {
				for _, m := range room.Messages {
					all = append(all, m.Route)
				}
			}
		}
	case name == "on":
		rest = rest[strings.LastIndex(rest, " ")+1:]
		if s.contract != nil {
			for _, p := range s.contract.Pushes {
				all = append(all, p.Route)
			}
		}
	case name == "expect":
		if !strings.Contains(rest, " ") {
			all = []string{"reply", "error", "push", "closed"}
		} else if route, ok := strings.CutPrefix(rest, "push "); ok && s.contract != nil {
			rest = route
			for _, p := range s.contract.Pushes {
				all = append(all, p.Route)
			}
		}
	}
	for _, word := range all {
		if strings.HasPrefix(word, rest) {
			words = append(words, word)
		}
	}
	slices.Sort(words)
	return slices.Compact(words)
}
