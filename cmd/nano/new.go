package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"strings"

	"github.com/urfave/cli/v3"

	"github.com/lonng/nano/cmd/nano/internal/project"
)

func newCommand() *cli.Command {
	return &cli.Command{
		Name:      "new",
		Usage:     "write a new project",
		ArgsUsage: "NAME",
		Description: "NAME is the directory to write, and its last element the name of the program. The project has a page, a test, a README and\n" +
			"a Dockerfile. The command asks nothing and needs no network.\n\n" +
			"   nano new demo\n" +
			"   nano new demo --template rooms\n\n" +
			"Templates: chat is one component and a page; rooms is a board that players paint together; cluster is the chat on a gate\n" +
			"and a backend.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "template", Value: project.Templates[0], Usage: "one of " + strings.Join(project.Templates, ", ")},
			&cli.StringFlag{Name: "module", Usage: "the `PATH` of the module; the name of the program by default"},
			&cli.StringFlag{Name: "replace", Usage: "build with the clone of the library in `DIR`"},
		},
		Action: newProject,
	}
}

func newProject(_ context.Context, c *cli.Command) error {
	if c.Args().Len() != 1 {
		return errors.New("new: want one name: nano new NAME")
	}
	k := project.Config{
		Dir: c.Args().First(), Module: c.String("module"), Template: c.String("template"), Version: version(), Replace: c.String("replace"),
	}
	files, err := project.Write(k)
	if err != nil {
		return fmt.Errorf("new: %w", err)
	}
	out := c.Root().Writer
	for _, name := range files {
		fmt.Fprintln(out, filepath.Join(k.Dir, filepath.FromSlash(name)))
	}
	fmt.Fprintf(out, "\nNow run:\n\n   cd %s\n", k.Dir)
	if work := workspace(k.Dir); work != "" {
		fmt.Fprintf(out, "   export GOWORK=off    # the project is not part of %s\n", work)
	}
	if k.Replace == "" {
		fmt.Fprint(out, "   go mod tidy\n")
	}
	fmt.Fprint(out, "   go run .\n\nand open http://localhost:3250.\n")
	return nil
}

// workspace returns the path of the go.work file that the go command uses in a directory, or "".
func workspace(dir string) string {
	switch env := os.Getenv("GOWORK"); env {
	case "":
	case "off":
		return ""
	default:
		return env
	}
	dir, err := filepath.Abs(dir)
	for err == nil {
		file := filepath.Join(dir, "go.work")
		if info, err := os.Stat(file); err == nil && !info.IsDir() {
			return file
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			break
		}
		dir = parent
	}
	return ""
}

var released = regexp.MustCompile(`^v\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?$`)

// version returns the version of this command, which is that of the library, or "" if it is not known.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || !released.MatchString(info.Main.Version) || strings.HasPrefix(info.Main.Version, "v0.0.0-") {
		return ""
	}
	return info.Main.Version
}
