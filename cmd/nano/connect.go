package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/ergochat/readline"
	"github.com/urfave/cli/v3"
	"golang.org/x/term"

	"github.com/lonng/nano/client"
	"github.com/lonng/nano/cmd/nano/internal/contract"
	"github.com/lonng/nano/cmd/nano/internal/payload"
	"github.com/lonng/nano/cmd/nano/internal/repl"
)

func connectCommand() *cli.Command {
	return &cli.Command{
		Name:      "connect",
		Usage:     "speak to a server: from the keyboard, or by a script that checks the answers",
		ArgsUsage: "URL",
		Description: "URL is ws://HOST/PATH or wss://HOST/PATH for WebSocket, and HOST:PORT or tls://HOST:PORT for TCP.\n\n" +
			"   nano connect ws://localhost:3250/nano\n" +
			"   > request chat.join {\"name\": \"Ann\"}\n" +
			"   reply {\"name\":\"Ann\",\"members\":1} (210µs)\n\n" +
			"A script has one command a line, and ends with 1 at the first that fails:\n\n" +
			"   request chat.join {\"name\": \"Ann\"}\n" +
			"   expect reply {\"members\": 1}\n" +
			"   notify chat.say {\"text\": \"hello\"}\n" +
			"   expect push onLine {\"name\": \"Ann\"}\n\n" +
			"With a contract, the Tab key completes routes, and JSON is sent as protobuf to servers that want it.",
		Flags: append([]cli.Flag{
			&cli.StringFlag{Name: "f", Usage: "run the script in `FILE`; - is the standard input"},
		}, clientFlags()...),
		Action: connect,
	}
}

// clientFlags are the flags of commands that connect to a server.
func clientFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "contract", Usage: "read the contract from `FILE`, as nano routes --json printed it"},
		&cli.StringFlag{Name: "package", Usage: "read the contract from the source of the main package `PACKAGE`"},
		&cli.StringFlag{Name: "serializer", Usage: "json, protobuf or hex; that of the contract by default, else json"},
		&cli.StringFlag{Name: "user", Usage: "`JSON` to send as the user data of the handshake"},
		&cli.StringSliceFlag{Name: "header", Usage: "a header of the WebSocket request, such as `\"Cookie: a=b\"`; may be repeated"},
		&cli.BoolFlag{Name: "insecure", Usage: "accept every certificate of the server"},
		&cli.DurationFlag{Name: "timeout", Value: 5 * time.Second, Usage: "how long to wait for a connection, a reply and what is expected"},
	}
}

func connect(ctx context.Context, c *cli.Command) error {
	if c.Args().Len() != 1 {
		return errors.New("connect: want one URL: nano connect ws://localhost:3250/nano")
	}
	k, codec, opts, err := clientConfig(ctx, c)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	config := repl.Config{
		Addr: c.Args().First(), Codec: codec, Contract: k, Out: c.Root().Writer, Timeout: c.Duration("timeout"), Options: opts,
	}
	name, script, err := openScript(c)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	if script != nil {
		defer script.Close()
		return runScript(ctx, config, name, script)
	}
	return interact(ctx, config)
}

// clientConfig reads the flags of clientFlags. The contract is nil if there is none.
func clientConfig(ctx context.Context, c *cli.Command) (k *contract.Contract, codec *payload.Codec, opts []client.Option, err error) {
	timeout := c.Duration("timeout")
	if timeout <= 0 {
		return nil, nil, nil, fmt.Errorf("--timeout is %v, want more than 0", timeout)
	}
	if k, err = connectContract(ctx, c); err != nil {
		return nil, nil, nil, err
	}
	serializer := c.String("serializer")
	if serializer == "" && k != nil {
		serializer = k.Serializer
	}
	if codec, err = payload.New(k, cmp.Or(serializer, payload.JSON)); err != nil {
		return nil, nil, nil, err
	}
	opts = []client.Option{client.WithDialTimeout(timeout), client.WithRequestTimeout(timeout)}
	if user := c.String("user"); user != "" {
		if !json.Valid([]byte(user)) {
			return nil, nil, nil, fmt.Errorf("--user is not JSON: %s", user)
		}
		opts = append(opts, client.WithUser(json.RawMessage(user)))
	}
	header := http.Header{}
	for _, h := range c.StringSlice("header") {
		name, value, ok := strings.Cut(h, ":")
		if !ok {
			return nil, nil, nil, fmt.Errorf("--header is %q, want \"NAME: VALUE\"", h)
		}
		header.Add(strings.TrimSpace(name), strings.TrimSpace(value))
	}
	opts = append(opts, client.WithHeader(header))
	if c.Bool("insecure") {
		opts = append(opts, client.WithTLSConfig(&tls.Config{InsecureSkipVerify: true})) //nolint:gosec // that is what the flag says
	}
	return k, codec, opts, nil
}

// connectContract reads the contract that the flags name. It returns nil if there is
// none.
func connectContract(ctx context.Context, c *cli.Command) (*contract.Contract, error) {
	switch file, pkg := c.String("contract"), c.String("package"); {
	case file != "" && pkg != "":
		return nil, errors.New("want --contract or --package, not both")
	case file != "":
		data, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		return contract.Parse(data)
	case pkg != "":
		return contract.Load(ctx, "", pkg)
	}
	return nil, nil
}

// openScript returns the script to run, or nil. Piped standard input is a script.
func openScript(c *cli.Command) (name string, script io.ReadCloser, err error) {
	switch name := c.String("f"); {
	case name == "-":
		return "-", io.NopCloser(c.Root().Reader), nil
	case name != "":
		f, err := os.Open(name)
		return name, f, err
	case !term.IsTerminal(int(os.Stdin.Fd())):
		return "-", io.NopCloser(c.Root().Reader), nil
	}
	return "", nil, nil
}

func runScript(ctx context.Context, config repl.Config, name string, script io.Reader) error {
	s, err := repl.Dial(ctx, config)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	return errors.Join(s.Script(ctx, name, script), s.Close())
}

// completer completes the lines of an interactive session.
type completer struct{ s **repl.Session }

// Do returns the possible completions at the cursor, and the length of the part that was
// typed.
func (c completer) Do(line []rune, pos int) (rest [][]rune, length int) {
	text := string(line[:pos])
	typed := text[strings.LastIndex(text, " ")+1:]
	for _, word := range (*c.s).Complete(text) {
		rest = append(rest, []rune(strings.TrimPrefix(word, typed)+" "))
	}
	return rest, len([]rune(typed))
}

// interact runs commands from a terminal, with history and completion.
func interact(ctx context.Context, config repl.Config) error {
	var s *repl.Session
	rc := &readline.Config{Prompt: "> ", AutoComplete: completer{&s}}
	if dir, err := os.UserCacheDir(); err == nil && os.MkdirAll(filepath.Join(dir, "nano"), 0o700) == nil {
		rc.HistoryFile = filepath.Join(dir, "nano", "history")
	}
	line, err := readline.NewFromConfig(rc)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer line.Close()
	config.Out = line // keeps output apart from the input line
	if s, err = repl.Dial(ctx, config); err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer s.Close()
	fmt.Fprintf(line, "connected to %s; help prints the commands, Ctrl-D ends\n", config.Addr)
	ended := make(chan struct{})
	defer func() { <-ended }()
	done, stop := context.WithCancel(ctx)
	defer stop()
	go func() { // ends the input when the connection has ended
		defer close(ended)
		select {
		case <-s.Done():
		case <-done.Done():
		}
		_ = line.Close()
	}()
	for {
		text, err := line.ReadLine()
		select {
		case <-s.Done():
			return fmt.Errorf("connect: the connection has ended: %w", s.Err())
		default:
		}
		if errors.Is(err, readline.ErrInterrupt) && text != "" {
			continue
		}
		if err != nil { // Ctrl-C in an empty line, or Ctrl-D
			return nil
		}
		err = s.Exec(ctx, text)
		if errors.Is(err, repl.ErrQuit) {
			return nil
		}
		if err != nil {
			fmt.Fprintln(line, err)
		}
	}
}
