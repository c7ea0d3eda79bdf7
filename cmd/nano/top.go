package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/urfave/cli/v3"
	"golang.org/x/term"

	"github.com/lonng/nano/cmd/nano/internal/top"
)

func topCommand() *cli.Command {
	return &cli.Command{
		Name:      "top",
		Usage:     "show in the terminal what a server does, by its console",
		ArgsUsage: "URL",
		Description: "URL is that of the console: a server has one if its program mounts package console.\n\n" +
			"   NANO_TOKEN=secret nano top http://127.0.0.1:3251/console/\n\n" +
			"The server takes a sample every five seconds. The key q, or Ctrl-C, ends. Without a terminal the command prints once.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "token", Usage: "the bearer `TOKEN` that the console asks for; other users of this machine can see a flag, so prefer the variable",
				Sources: cli.EnvVars("NANO_TOKEN")},
			&cli.DurationFlag{Name: "interval", Value: 2 * time.Second, Usage: "how often to ask the server, at least 100ms"},
			&cli.DurationFlag{Name: "timeout", Value: 5 * time.Second, Usage: "how long to wait for an answer"},
			&cli.BoolFlag{Name: "once", Usage: "print once, also in a terminal"},
			&cli.BoolFlag{Name: "insecure", Usage: "accept every certificate of the server"},
		},
		Action: runTop,
	}
}

func runTop(ctx context.Context, c *cli.Command) error {
	config, err := topConfig(c)
	if err != nil {
		return fmt.Errorf("top: %w", err)
	}
	if out, ok := c.Root().Writer.(*os.File); ok && term.IsTerminal(int(out.Fd())) && !c.Bool("once") {
		config.Terminal = terminal{out}
		var cancel context.CancelFunc
		ctx, cancel = context.WithCancel(ctx)
		defer cancel()
		restore, err := keys(c.Root().Reader, cancel)
		if err != nil {
			return fmt.Errorf("top: %w", err)
		}
		defer restore()
	}
	err = top.Run(ctx, config)
	switch {
	case errors.Is(err, top.ErrRefused):
		return fmt.Errorf("top: %w; see --token", err)
	case err != nil:
		return fmt.Errorf("top: %w", err)
	}
	return nil
}

func topConfig(c *cli.Command) (top.Config, error) {
	config := top.Config{Interval: c.Duration("interval"), Timeout: c.Duration("timeout"), Out: c.Root().Writer}
	switch {
	case c.Args().Len() != 1:
		return config, errors.New("want the URL of a console: nano top http://127.0.0.1:3251/console/")
	case config.Interval < 100*time.Millisecond:
		return config, fmt.Errorf("--interval is %v, want at least 100ms", config.Interval)
	case config.Timeout <= 0:
		return config, fmt.Errorf("--timeout is %v, want more than 0", config.Timeout)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	if c.Bool("insecure") {
		transport.TLSClientConfig = &tls.Config{InsecureSkipVerify: true} // the user asks for it
	}
	var err error
	config.API, err = top.NewAPI(c.Args().First(), c.String("token"), transport)
	return config, err
}

// terminal is a terminal to which the process writes.
type terminal struct{ *os.File }

// Size implements top.Terminal.
func (t terminal) Size() (width, height int, err error) { return term.GetSize(int(t.Fd())) }

// keys calls quit when the user presses q, Ctrl-C or Ctrl-D. in is a terminal, which does not
// echo keys until restore is called; anything else has no keys.
func keys(in io.Reader, quit func()) (restore func(), err error) {
	f, ok := in.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return func() {}, nil
	}
	before, err := term.MakeRaw(int(f.Fd()))
	if err != nil {
		return nil, err
	}
	go func() { // ends with the process: a read of a terminal cannot be interrupted
		defer quit()
		key := make([]byte, 1)
		for {
			if _, err := f.Read(key); err != nil {
				return
			}
			switch key[0] {
			case 'q', 'Q', 3, 4: // Ctrl-C and Ctrl-D
				return
			}
		}
	}()
	return func() { _ = term.Restore(int(f.Fd()), before) }, nil
}
