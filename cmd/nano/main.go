// Nano is the command line of the nano game server library. It reads the contract between a server and its clients from the
// server's source.
//
//	go install github.com/lonng/nano/cmd/nano@latest
//	nano help
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/urfave/cli/v3"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := command().Run(ctx, os.Args); err != nil {
		fmt.Fprintln(os.Stderr, "nano:", err)
		os.Exit(1)
	}
}

func command() *cli.Command {
	return &cli.Command{
		Name:  "nano",
		Usage: "tools for servers that use github.com/lonng/nano",
		Description: "Start with a list of what a program offers to its clients:\n\n" +
			"   nano routes ./examples/demo/chat",
		EnableShellCompletion: true,
		Commands:              []*cli.Command{routesCommand(), genCommand()},
	}
}
