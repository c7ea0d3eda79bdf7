package contract

import (
	"fmt"
	"io"
	"regexp"
	"strings"
	"text/tabwriter"
)

// packagePath matches the path of a package and a dot, such as example.com/game., in the name of a type.
var packagePath = regexp.MustCompile(`[^][*, ]*[./]`)

// short returns the name of a type without the paths of packages.
func short(name string) string {
	return packagePath.ReplaceAllString(strings.TrimSuffix(name, StateSuffix), "")
}

// Print writes the contract as a table.
func (c *Contract) Print(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	line := func(cells ...string) { fmt.Fprintln(t, strings.Join(cells, "\t")) }
	line("ROUTE", "KIND", "REQUEST", "REPLY", "")
	row := func(r Route, prefix string) {
		kind := r.Kind
		if r.Internal {
			kind = "internal"
		}
		reply := ""
		if r.Reply != nil {
			reply = describe(r.Reply)
		}
		line(prefix+r.Route, kind, describe(r.Request), reply, firstLine(r.Doc))
	}
	for _, r := range c.Routes {
		row(r, "")
	}
	for _, p := range c.Pushes {
		line(p.Route, "push", "", describe(p.Type), firstLine(p.Doc))
	}
	for _, r := range c.Rooms {
		line(r.Kind, "room", "", describe(r.State), firstLine(r.Doc))
		for _, m := range r.Messages {
			row(m, r.Kind+".")
		}
	}
	for _, e := range c.Errors {
		line(e.Code, "error", "", "", firstLine(e.Text))
	}
	return t.Flush()
}

func firstLine(doc string) string {
	line, _, _ := strings.Cut(doc, "\n")
	return line
}
