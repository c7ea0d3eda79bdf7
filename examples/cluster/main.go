// Cluster is a chat that several processes serve together: a master with the page and the balances, gates that players
// connect to, and chat nodes with the room. Any number of gates and chat nodes may run, and each may be killed and
// started again while people talk.
//
//	go run ./examples/cluster all
//
// or, each in a terminal of its own:
//
//	go run ./examples/cluster master
//	go run ./examples/cluster chat
//	go run ./examples/cluster gate
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/urfave/cli/v3"
)

// These are the default addresses.
const (
	masterAddr = "127.0.0.1:34567"
	chatAddr   = "127.0.0.1:34580"
	gateAddr   = "127.0.0.1:34570"
	playerAddr = "127.0.0.1:34590"
	webAddr    = "127.0.0.1:12345"
)

func command() *cli.Command {
	listen := func(addr string) cli.Flag {
		return &cli.StringFlag{Name: "listen", Value: addr, Usage: "`address` for the other nodes"}
	}
	master := &cli.StringFlag{Name: "master", Value: masterAddr, Usage: "`address` of the master, or of any node"}
	web := &cli.StringFlag{Name: "web", Value: webAddr, Usage: "`address` of the page"}
	console := &cli.StringFlag{Name: "console", Usage: "loopback `address` of the node's console, such as 127.0.0.1:12346; none without the flag"}
	players := &cli.StringFlag{Name: "gate-address", Value: playerAddr, Usage: "`address` for players"}
	return &cli.Command{
		Name:  "cluster",
		Usage: "a chat that several processes serve together",
		Commands: []*cli.Command{
			{
				Name: "master", Usage: "start the first node, with the page and the balances",
				Flags: []cli.Flag{listen(masterAddr), web, console},
				Action: func(ctx context.Context, c *cli.Command) error {
					return run(ctx, masterNode(c.String("listen"), c.String("web")).withConsole(c.String("console")))
				},
			},
			{
				Name: "gate", Usage: "start a node that players connect to",
				Flags: []cli.Flag{listen(gateAddr), players, master, console},
				Action: func(ctx context.Context, c *cli.Command) error {
					return run(ctx, gateNode(c.String("listen"), c.String("gate-address"), c.String("master")).withConsole(c.String("console")))
				},
			},
			{
				Name: "chat", Usage: "start a node that serves the room",
				Flags: []cli.Flag{listen(chatAddr), master, console},
				Action: func(ctx context.Context, c *cli.Command) error {
					return run(ctx, chatNode(c.String("listen"), c.String("master")).withConsole(c.String("console")))
				},
			},
			{
				Name: "all", Usage: "start one of each in this process, for a first look; the console is the gate's and shows the others",
				Flags: []cli.Flag{console},
				Action: func(ctx context.Context, c *cli.Command) error {
					shown := c.String("console") != ""
					return run(ctx, masterNode(masterAddr, webAddr).shownIf(shown), chatNode(chatAddr, masterAddr).shownIf(shown),
						gateNode(gateAddr, playerAddr, masterAddr).withConsole(c.String("console")))
				},
			},
		},
	}
}

// complete replaces --master without an address by the default address.
func complete(args []string) []string {
	args = slices.Clone(args)
	for i, a := range args {
		if a == "--master" && (i+1 == len(args) || strings.HasPrefix(args[i+1], "-")) {
			args[i] = "--master=" + masterAddr
		}
	}
	return args
}

// run starts nodes in order, and stops them in reverse order when ctx ends.
func run(ctx context.Context, configs ...config) (err error) {
	for _, c := range configs {
		n, e := start(c)
		if e != nil {
			return fmt.Errorf("%s: %w", c.label, e)
		}
		defer func() {
			if e := n.stop(); err == nil && e != nil {
				err = e
			}
		}()
		fmt.Println(n)
	}
	<-ctx.Done()
	return nil
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := command().Run(ctx, complete(os.Args)); err != nil {
		fmt.Fprintln(os.Stderr, "cluster:", err)
		os.Exit(1)
	}
}
