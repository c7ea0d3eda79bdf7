package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"text/tabwriter"

	"github.com/urfave/cli/v3"

	"github.com/lonng/nano/bot"
	"github.com/lonng/nano/cmd/nano/internal/bots"
)

// benchBots is the command bench with the flag --bots.
func benchBots(ctx context.Context, c *cli.Command) error {
	if c.Args().Len() != 1 {
		return errors.New("want one URL and no message with --bots: nano bench ws://localhost:3250/nano --bots ./bots.Walk")
	}
	for _, name := range []string{"f", "rate", "contract", "package", "serializer"} {
		if c.IsSet(name) {
			return fmt.Errorf("--%s does not go with --bots", name)
		}
	}
	if n := c.Int("clients"); n < 1 {
		return fmt.Errorf("--clients is %d, want more than 0", n)
	}
	tmp, err := os.MkdirTemp("", "nano-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	bin := filepath.Join(tmp, "bots.exe") // the suffix is for Windows
	if err := bots.Build(ctx, "", c.String("bots"), bin); err != nil {
		return err
	}
	args := []string{
		"-players", strconv.Itoa(c.Int("clients")), "-for", c.Duration("for").String(), "-ramp", c.Duration("ramp").String(),
		"-seed", strconv.FormatUint(c.Uint64("seed"), 10), "-timeout", c.Duration("timeout").String(), "-user", c.String("user"),
	}
	for _, h := range c.StringSlice("header") {
		args = append(args, "-header", h)
	}
	if c.Bool("insecure") {
		args = append(args, "-insecure")
	}
	report, err := bots.Run(ctx, bin, append(args, "--", c.Args().First()), c.Root().ErrWriter)
	if err != nil {
		return err
	}
	if c.Bool("json") {
		e := json.NewEncoder(c.Root().Writer)
		e.SetIndent("", "  ")
		err = e.Encode(report)
	} else {
		err = printReport(c.Root().Writer, report)
	}
	if err == nil && report.Failed > 0 {
		err = fmt.Errorf("%d of %d bots failed; the seed is %d", report.Failed, c.Int("clients"), report.Seed)
	}
	return err
}

func printReport(out io.Writer, r bot.Report) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "bots\t%d for %.1f s, with the seed %d\n", r.Players, r.Seconds, r.Seed)
	fmt.Fprintf(w, "sent\t%d: %.1f/s\n", r.Sent, float64(r.Sent)/max(r.Seconds, 1e-9))
	fmt.Fprintf(w, "answers\t%d\n", r.Answers)
	fmt.Fprintf(w, "pushes\t%d\n", r.Pushes)
	for _, code := range slices.Sorted(maps.Keys(r.Errors)) {
		fmt.Fprintf(w, "errors\t%d  %s\n", r.Errors[code], code)
	}
	fmt.Fprintf(w, "failed\t%d\n", r.Failed)
	for _, f := range r.Failures {
		fmt.Fprintf(w, "\tbot %d: %s\n", f.Number, f.Err)
	}
	fmt.Fprintf(w, "latency\tp50 %v, p99 %v, p99.9 %v, max %v\n", round(r.P50), round(r.P99), round(r.P999), round(r.Max))
	return w.Flush()
}
