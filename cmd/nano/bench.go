package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v3"

	"github.com/lonng/nano/cmd/nano/internal/load"
)

func benchCommand() *cli.Command {
	return &cli.Command{
		Name:      "bench",
		Usage:     "send messages to a server at a fixed rate, and measure the answers",
		ArgsUsage: "URL [MESSAGE]",
		Description: "MESSAGE is what each client repeats: \"request ROUTE PAYLOAD\" or \"notify ROUTE PAYLOAD\". A scenario has more:\n\n" +
			"   request chat.join {\"name\": \"user {n}\"}\n" +
			"   loop\n" +
			"   notify chat.say {\"text\": \"hello\"}\n\n" +
			"Each client does what stands before the line loop once, and repeats the rest. {n} is the number of the client, from 1.\n\n" +
			"The load is an open loop: latency counts from the moment at which a message is due, also if the server stalls.\n\n" +
			"   nano bench ws://localhost:3250/nano --rate 1000 --clients 100 'request Echo.Say {\"Text\": \"hi\"}'\n\n" +
			"Bots play as Go functions do: func Walk(ctx context.Context, p *bot.Player) error. They choose their own pace, and latency counts " +
			"from the call. --for 0 plays until all have returned.\n\n" +
			"   nano bench ws://localhost:3250/nano --bots ./bots.Walk --clients 100 --ramp 5s",
		Flags: append([]cli.Flag{
			&cli.StringFlag{Name: "f", Usage: "read the scenario from `FILE`; - is the standard input"},
			&cli.StringFlag{Name: "bots", Usage: "play with the bots of `PACKAGE.FUNC`; FUNC is Bot by default"},
			&cli.DurationFlag{Name: "ramp", Usage: "over which time the bots connect"},
			&cli.Uint64Flag{Name: "seed", Usage: "what determines the choices of the bots; random by default"},
			&cli.FloatFlag{Name: "rate", Value: 100, Usage: "messages a second, of all clients together"},
			&cli.IntFlag{Name: "clients", Value: 10, Usage: "how many clients connect"},
			&cli.DurationFlag{Name: "for", Value: 10 * time.Second, Usage: "how long to send"},
			&cli.BoolFlag{Name: "json", Usage: "print the result as JSON; durations are nanoseconds"},
		}, clientFlags()...),
		Action: bench,
	}
}

func bench(ctx context.Context, c *cli.Command) error {
	if c.String("bots") != "" {
		if err := benchBots(ctx, c); err != nil {
			return fmt.Errorf("bench: %w", err)
		}
		return nil
	}
	for _, name := range []string{"ramp", "seed"} {
		if c.IsSet(name) {
			return fmt.Errorf("bench: --%s is for --bots", name)
		}
	}
	config, err := benchConfig(ctx, c)
	if err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	result, err := load.Run(ctx, config)
	if err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	if c.Bool("json") {
		e := json.NewEncoder(c.Root().Writer)
		e.SetIndent("", "  ")
		err = e.Encode(result)
	} else {
		err = printResult(c.Root().Writer, result, config.Rate)
	}
	if n := result.Failed(); err == nil && n > 0 {
		err = fmt.Errorf("bench: %d of %d messages failed", n, result.Sent)
	}
	return err
}

func benchConfig(ctx context.Context, c *cli.Command) (load.Config, error) {
	if n := c.Args().Len(); n < 1 || n > 2 {
		return load.Config{}, errors.New("want a URL and a message: nano bench ws://localhost:3250/nano 'request Echo.Say {}'")
	}
	config := load.Config{
		Addr: c.Args().First(), Clients: c.Int("clients"), Rate: c.Float("rate"), For: c.Duration("for"), Timeout: c.Duration("timeout"),
	}
	switch {
	case config.Clients <= 0:
		return config, fmt.Errorf("--clients is %d, want more than 0", config.Clients)
	case !(config.Rate > 0 && config.Rate <= 1e7):
		return config, fmt.Errorf("--rate is %v, want more than 0 and at most 10 million", config.Rate)
	case config.For <= 0:
		return config, fmt.Errorf("--for is %v, want more than 0", config.For)
	}
	var err error
	if config.Scenario, err = scenario(c); err != nil {
		return config, err
	}
	if _, config.Codec, config.Options, err = clientConfig(ctx, c); err != nil {
		return config, err
	}
	return config, nil
}

// scenario reads the message or the file of a scenario.
func scenario(c *cli.Command) (load.Scenario, error) {
	message, file := c.Args().Get(1), c.String("f")
	switch {
	case (message == "") == (file == ""):
		return load.Scenario{}, errors.New("want a message or -f FILE")
	case message != "":
		step, err := load.ReadStep(message)
		return load.Scenario{Loop: []load.Step{step}}, err
	case file == "-":
		return load.Read(c.Root().Reader)
	}
	f, err := os.Open(file)
	if err != nil {
		return load.Scenario{}, err
	}
	defer f.Close()
	s, err := load.Read(f)
	if err != nil {
		err = fmt.Errorf("%s: %w", file, err)
	}
	return s, err
}

func printResult(out io.Writer, r load.Result, asked float64) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "clients\t%d\n", r.Clients)
	fmt.Fprintf(w, "sent\t%d in %.1f s: %.1f/s, asked %.1f/s\n", r.Sent, r.Seconds, r.Rate, asked)
	fmt.Fprintf(w, "answers\t%d\n", r.Answers)
	fmt.Fprintf(w, "pushes\t%d\n", r.Pushes)
	fmt.Fprintf(w, "errors\t%d\n", r.Failed())
	for _, what := range slices.Sorted(maps.Keys(r.Errors)) {
		fmt.Fprintf(w, "\t%d  %s\n", r.Errors[what], what)
	}
	fmt.Fprintf(w, "latency\tp50 %v, p99 %v, p99.9 %v, max %v\n", round(r.P50), round(r.P99), round(r.P999), round(r.Max))
	fmt.Fprintf(w, "latest send\t%v after it was due\n", round(r.LateSend))
	return w.Flush()
}

func round(d time.Duration) time.Duration { return d.Round(max(d/1000, time.Microsecond)) }
