package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/urfave/cli/v3"

	"github.com/lonng/nano/cmd/nano/internal/contract"
)

func routesCommand() *cli.Command {
	return &cli.Command{
		Name:      "routes",
		Usage:     "list the routes, pushes, rooms and errors of a program",
		ArgsUsage: "PACKAGE [ARGUMENT...]",
		Description: "PACKAGE is the main package of a server, as the go command takes it: . or ./examples/demo/chat, say.\n" +
			"The routes are read from the source. If a name is not constant, the program is built and started once with the ARGUMENTs,\n" +
			"only to print its routes: its main function runs until nano.New or nano.Listen.\n\n" +
			"   nano routes .                          a table\n" +
			"   nano routes --json . > contract.json   the contract, to be kept under version control\n" +
			"   nano routes --diff contract.json .     what breaks clients that were made for that contract",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "json", Usage: "print the contract in JSON"},
			&cli.StringFlag{Name: "diff", Usage: "compare with the contract in `FILE`; end with 1 if a change breaks clients"},
		},
		Action: routes,
	}
}

func routes(ctx context.Context, c *cli.Command) error {
	if c.Args().Len() == 0 {
		return errors.New("routes: want a package: nano routes PACKAGE")
	}
	now, err := contract.Load(ctx, "", c.Args().First(), c.Args().Tail()...)
	if err != nil {
		return err
	}
	switch {
	case c.String("diff") != "":
		return diff(c, now)
	case c.Bool("json"):
		data, err := now.JSON()
		if err != nil {
			return err
		}
		_, err = c.Root().Writer.Write(data)
		return err
	}
	return now.Print(c.Root().Writer)
}

func diff(c *cli.Command, now *contract.Contract) error {
	data, err := os.ReadFile(c.String("diff"))
	if err != nil {
		return err
	}
	old, err := contract.Parse(data)
	if err != nil {
		return fmt.Errorf("%s: %w", c.String("diff"), err)
	}
	breaks := contract.Diff(old, now)
	for _, b := range breaks {
		fmt.Fprintln(c.Root().Writer, b)
	}
	switch len(breaks) {
	case 0:
		return nil
	case 1:
		return fmt.Errorf("1 change breaks clients that were made for %s", c.String("diff"))
	}
	return fmt.Errorf("%d changes break clients that were made for %s", len(breaks), c.String("diff"))
}
