package main

import (
	"context"
	"errors"
	"os"

	"github.com/urfave/cli/v3"

	"github.com/lonng/nano/cmd/nano/internal/contract"
	"github.com/lonng/nano/cmd/nano/internal/gents"
)

func genCommand() *cli.Command {
	return &cli.Command{
		Name:  "gen",
		Usage: "generate a client from the source of a server",
		Commands: []*cli.Command{{
			Name:      "ts",
			Usage:     "generate a TypeScript client for the package nano-client",
			ArgsUsage: "PACKAGE [ARGUMENT...]",
			Description: "Writes one file with the types of all routes, pushes and rooms, and a function that makes a client with these types.\n\n" +
				"   nano gen ts -o src/server.ts ./cmd/server",
			Flags: []cli.Flag{
				&cli.StringFlag{Name: "o", Usage: "write to `FILE` instead of the standard output"},
				&cli.StringFlag{Name: "contract", Usage: "read the contract from `FILE`, as nano routes --json printed it, and no source"},
			},
			Action: genTS,
		}},
	}
}

func genTS(ctx context.Context, c *cli.Command) error {
	k, err := readContract(ctx, c)
	if err != nil {
		return err
	}
	source, err := gents.Generate(k)
	if err != nil {
		return err
	}
	if file := c.String("o"); file != "" {
		return os.WriteFile(file, []byte(source), 0o644)
	}
	_, err = c.Root().Writer.Write([]byte(source))
	return err
}

func readContract(ctx context.Context, c *cli.Command) (*contract.Contract, error) {
	file := c.String("contract")
	switch {
	case file != "" && c.Args().Len() == 0:
		data, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		return contract.Parse(data)
	case file == "" && c.Args().Len() > 0:
		return contract.Load(ctx, "", c.Args().First(), c.Args().Tail()...)
	}
	return nil, errors.New("gen: want a package, or --contract FILE without a package")
}
