package contract

import (
	"strings"
	"testing"
)

func TestShort(t *testing.T) {
	for name, want := range map[string]string{
		"example.org/game.Seat": "Seat",
		"main.Seat":             "Seat",
		"Seat":                  "Seat",
		"example.org/v1.2/game.Seat" + StateSuffix:                        "Seat",
		"example.org/game.Page[string]":                                   "Page[string]",
		"example.org/game.Pair[string,[]*example.org/game.Pair[a.A,b.B]]": "Pair[string,[]*Pair[A,B]]",
	} {
		if got := short(name); got != want {
			t.Errorf("short(%s) = %s, want %s", name, got, want)
		}
	}
}

// Every line of the table is one route, push, room, message or error.
func TestPrintErrorOfSeveralLines(t *testing.T) {
	c := &Contract{Errors: []Error{{Code: "FULL", Text: "no room\nfor %d"}}}
	var b strings.Builder
	if err := c.Print(&b); err != nil {
		t.Fatal(err)
	}
	if got := b.String(); strings.Count(got, "\n") != 2 || !strings.HasSuffix(got, "no room\n") {
		t.Errorf("Print writes %q, want one line for the error", got)
	}
}
