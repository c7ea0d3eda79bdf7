package main

import (
	"runtime/debug"
	"testing"
)

func TestVersion(t *testing.T) {
	for _, args := range [][]string{{"version"}, {"--version"}} {
		want := "nano version " + command().Version + "\n"
		if out, err := run(t, args...); err != nil || out != want {
			t.Errorf("nano %s = %v, prints %q, want %q", args[0], err, out, want)
		}
	}
	if _, err := run(t, "version", "1"); err == nil {
		t.Error("nano version 1 = nil, want an error")
	}
}

func TestBuildVersion(t *testing.T) {
	vcs := []debug.BuildSetting{{Key: "vcs.revision", Value: "abc"}, {Key: "vcs.modified", Value: "true"}}
	for _, c := range []struct {
		info *debug.BuildInfo
		want string
	}{
		{nil, "(devel)"},
		{&debug.BuildInfo{}, "(devel)"},
		{&debug.BuildInfo{Main: debug.Module{Version: "v1.2.3"}}, "v1.2.3"},
		{&debug.BuildInfo{Main: debug.Module{Version: "(devel)"}, Settings: vcs[:1]}, "(devel) abc"},
		{&debug.BuildInfo{Main: debug.Module{Version: "(devel)"}, Settings: vcs}, "(devel) abc (modified)"},
	} {
		if got := buildVersion(c.info); got != c.want {
			t.Errorf("buildVersion(%v) = %q, want %q", c.info, got, c.want)
		}
	}
}
