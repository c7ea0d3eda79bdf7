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
	"runtime/debug"
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
	info, _ := debug.ReadBuildInfo()
	root := &cli.Command{
		Name:    "nano",
		Usage:   "tools for servers that use github.com/lonng/nano",
		Version: buildVersion(info),
		Description: "Start with a list of what a program offers to its clients:\n\n" +
			"   nano routes ./examples/demo/chat\n\n" +
			"Completion: eval \"$(nano completion bash)\", or zsh.",
		EnableShellCompletion: true,
		ConfigureShellCompletionCommand: func(c *cli.Command) {
			c.Hidden = false
			c.Usage = "print the completion script of a shell: bash, zsh, fish or pwsh"
		},
		ExitErrHandler: func(context.Context, *cli.Command, error) {}, // main exits the process
		Commands:       []*cli.Command{newCommand(), connectCommand(), benchCommand(), topCommand(), routesCommand(), genCommand(), versionCommand()},
	}
	strict(root)
	return root
}

// strict makes unknown commands and flags a one-line error.
func strict(c *cli.Command) {
	c.OnUsageError = func(_ context.Context, c *cli.Command, err error, _ bool) error {
		return fmt.Errorf("%w; see %s --help", err, c.FullName())
	}
	if c.Action == nil {
		c.Action = func(_ context.Context, c *cli.Command) error {
			if c.Args().Present() {
				return fmt.Errorf("there is no command %q; see %s --help", c.Args().First(), c.FullName())
			}
			return cli.ShowSubcommandHelp(c)
		}
	}
	for _, sub := range c.Commands {
		strict(sub)
	}
}
