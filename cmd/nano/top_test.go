package main

import (
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/lonng/nano/console"
	"github.com/lonng/nano/nanotest"
)

// startConsole starts a server with a console and returns the URL of the console.
func startConsole(t *testing.T) string {
	t.Helper()
	srv := nanotest.Start(t)
	web := httptest.NewServer(console.New(srv.Server, console.Options{Name: "test server", Authorize: console.Token("secret", "")}))
	t.Cleanup(web.Close)
	return web.URL + "/console/"
}

// TestTop checks the command without a terminal: it prints once.
func TestTop(t *testing.T) {
	url := startConsole(t)
	out, err := run(t, "top", url, "--token", "secret") // a flag may follow the argument
	if err != nil || !strings.HasPrefix(out, "test server  "+url+"\n") || strings.Contains(out, "\x1b") {
		t.Errorf("top = %v, prints\n%s", err, out)
	}
	t.Setenv("NANO_TOKEN", "secret")
	if out, err := run(t, "top", url); err != nil || !strings.Contains(out, "role viewer") {
		t.Errorf("top with NANO_TOKEN = %v, prints\n%s", err, out)
	}
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{url, "--token", "other"}, "top: the console refuses the token: 401 Unauthorized; see --token"},
		{[]string{}, "want the URL of a console"},
		{[]string{url, "--interval", "1ms"}, "--interval is 1ms, want at least 100ms"},
		{[]string{url, "--timeout", "0s"}, "--timeout is 0s, want more than 0"},
		{[]string{"ws://localhost:1/nano"}, "want the URL of a console"},
		{[]string{strings.TrimSuffix(url, "console/") + "other/"}, "answers 404 Not Found"},
	} {
		out, err := run(t, append([]string{"top"}, c.args...)...)
		if err == nil || !strings.Contains(err.Error(), c.want) || out != "" {
			t.Errorf("top %q = %v, want %q; prints %q", c.args, err, c.want, out)
		}
	}
}
