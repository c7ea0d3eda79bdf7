package bot

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/lonng/nano/client"
)

// Main is the main function of a program that runs bots against a server, whose URL is
// its argument:
//
//	func main() { bot.Main(Walk) }
//
//	go run ./walk -players 100 -for 1m ws://localhost:3250/nano
//
// It prints the [Report] as JSON, and ends the process: with status 1 if a bot has
// failed, and 2 for wrong arguments. An interrupt ends the game early. The flag -h lists
// all flags. Programs that need other options of the client call [Run].
func Main(play Bot) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	status := run(ctx, play, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(status) //nolint:forbidigo // it is the main function of a program
}

// headers are the values of the flag -header.
type headers http.Header

func (h headers) String() string { return "" }

func (h headers) Set(text string) error {
	name, value, ok := strings.Cut(text, ":")
	if !ok {
		return errors.New(`want "NAME: VALUE"`)
	}
	http.Header(h).Add(strings.TrimSpace(name), strings.TrimSpace(value))
	return nil
}

// run implements Main, and returns the exit status.
func run(ctx context.Context, play Bot, args []string, out, errOut io.Writer) int {
	f := flag.NewFlagSet("bots", flag.ContinueOnError)
	f.SetOutput(errOut)
	f.Usage = func() {
		fmt.Fprintln(errOut, "usage: bots [flags] URL")
		f.PrintDefaults()
	}
	header := headers{}
	players := f.Int("players", 10, "how many bots play")
	d := f.Duration("for", 10*time.Second, "how long they play; 0 is until all have finished")
	ramp := f.Duration("ramp", 0, "over which time they connect")
	seed := f.Uint64("seed", 0, "what determines the choices of the bots; 0 is a random seed")
	user := f.String("user", "", "JSON to send as the user data of the handshake")
	insecure := f.Bool("insecure", false, "accept every certificate of the server")
	timeout := f.Duration("timeout", 5*time.Second, "how long to wait for a connection and for an answer")
	f.Var(header, "header", "a header of the WebSocket request, such as \"Cookie: a=b\"; may be repeated")
	err := f.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	case f.NArg() != 1:
		err = fmt.Errorf("want one URL, such as ws://localhost:3250/nano, not %q", f.Args())
	case *players < 1:
		err = fmt.Errorf("-players is %d, want more than 0", *players)
	case *timeout <= 0:
		err = fmt.Errorf("-timeout is %v, want more than 0", *timeout)
	case *user != "" && !json.Valid([]byte(*user)):
		err = fmt.Errorf("-user is not JSON: %s", *user)
	}
	if err != nil {
		fmt.Fprintln(errOut, "bots:", err)
		return 2
	}
	options := []client.Option{
		client.WithDialTimeout(*timeout), client.WithRequestTimeout(*timeout), client.WithHeader(http.Header(header)),
	}
	if *user != "" {
		options = append(options, client.WithUser(json.RawMessage(*user)))
	}
	if *insecure {
		options = append(options, client.WithTLSConfig(&tls.Config{InsecureSkipVerify: true})) //nolint:gosec // that is what the flag says
	}
	report, err := Run(ctx, play, Options{
		Players: *players, For: *d, Ramp: *ramp, Seed: *seed,
		Dial: func(ctx context.Context, _ int, opts ...client.Option) (*client.Client, error) {
			return client.Dial(ctx, f.Arg(0), append(opts, options...)...)
		},
	})
	if err != nil {
		fmt.Fprintln(errOut, "bots:", err)
		return 2
	}
	e := json.NewEncoder(out)
	e.SetIndent("", "  ")
	if err := e.Encode(report); err != nil {
		fmt.Fprintln(errOut, "bots:", err)
		return 1
	}
	if report.Failed > 0 {
		return 1
	}
	return 0
}
