package main

import (
	"context"
	"fmt"
	"runtime/debug"

	"github.com/urfave/cli/v3"
)

func versionCommand() *cli.Command {
	return &cli.Command{
		Name:  "version",
		Usage: "print the version of this command",
		Action: func(_ context.Context, c *cli.Command) error {
			if c.Args().Present() {
				return fmt.Errorf("want no argument, not %q", c.Args().First())
			}
			_, err := fmt.Fprintln(c.Root().Writer, "nano version", c.Root().Version)
			return err
		},
	}
}

// buildVersion returns the version of the module and the VCS revision, if they are known.
func buildVersion(info *debug.BuildInfo) string {
	if info == nil {
		return "(devel)"
	}
	version, revision, modified := info.Main.Version, "", ""
	if version == "" {
		version = "(devel)"
	}
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			revision = " " + s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			modified = " (modified)"
		}
	}
	return version + revision + modified
}
