package state

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"os/exec"
	"strconv"
	"testing"
)

var ticks = flag.Int("ticks", 10000, "ticks that the random test of the decoders plays; a fortieth with -short or -race")

// differ returns the first difference between a decoded value and the wanted one.
func differ(have, want any, path string) string {
	same := false
	switch want := want.(type) {
	case map[string]any:
		have, ok := have.(map[string]any)
		if !ok || len(have) != len(want) {
			break
		}
		for k, x := range want {
			y, ok := have[k]
			if !ok {
				return fmt.Sprintf("%s has no %q", path, k)
			}
			if d := differ(y, x, path+"."+k); d != "" {
				return d
			}
		}
		return ""
	case []any:
		have, ok := have.([]any)
		if !ok || len(have) != len(want) {
			break
		}
		for i, x := range want {
			if d := differ(have[i], x, fmt.Sprintf("%s[%d]", path, i)); d != "" {
				return d
			}
		}
		return ""
	case special:
		if want.Kind == "float" {
			x, _ := strconv.ParseFloat(want.Value, 64)
			y, ok := have.(float64)
			same = ok && (x == y || x != x && y != y)
		} else {
			same = fmt.Sprint(have) == want.Value
		}
	case json.Number:
		x, ok := have.(int64)
		same = ok && strconv.FormatInt(x, 10) == want.String()
	case float64:
		x, ok := have.(float64)
		same = ok && math.Float64bits(x) == math.Float64bits(want)
	default:
		same = have == want
	}
	if same {
		return ""
	}
	return fmt.Sprintf("%s = %v, want %v", path, have, want)
}

// playWorlds plays random states. It starts a new one every 250 ticks.
func playWorlds(t *testing.T, joined func(p *peer, schema string), f func(p *peer, msg []byte, want any) error) {
	t.Helper()
	const each = 250
	n := *ticks
	if testing.Short() || raceDetector {
		n /= 40
	}
	for seed := range uint64(max(1, n/each)) {
		w := newWorld(seed)
		w.next = int(seed) * 100000
		for range each {
			if err := w.step(func(p *peer) { joined(p, w.sync.Schema().JSON) }, f); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
		}
	}
}

// TestDecodersFollowRandomStates compares the state of both decoders with the wanted
// state after every message of a random state. The JavaScript decoder needs Node.
func TestDecodersFollowRandomStates(t *testing.T) {
	tell, wait := startNode(t)
	playWorlds(t, func(p *peer, schema string) {
		tell(map[string]any{"id": p.id, "schema": schema})
	}, func(p *peer, msg []byte, want any) error {
		if err := p.dec.Decode(msg); err != nil {
			return err
		}
		if d := differ(p.dec.State(), want, "state"); d != "" {
			return errors.New(d)
		}
		tell(map[string]any{
			"id": p.id, "message": append([]byte{}, msg...), "want": want, "tick": p.dec.Tick(), "ack": p.dec.Ack(),
		})
		return nil
	})
	wait()
}

// startNode starts the JavaScript decoder. tell sends one line. wait stops the decoder
// and reports the first difference.
func startNode(t *testing.T) (tell func(line map[string]any), wait func()) {
	node, err := exec.LookPath("node")
	if err != nil {
		if os.Getenv("NANO_REQUIRE_NODE") != "" {
			t.Fatal(err)
		}
		t.Log("node is not installed: only the decoder in Go is compared")
		return func(map[string]any) {}, func() {}
	}
	cmd := exec.CommandContext(t.Context(), node, "testdata/follow.mjs")
	cmd.Stderr = t.Output()
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	// Another goroutine reads the answers, so that both pipes never block at once.
	type result struct {
		lines int
		first string
	}
	read := make(chan result, 1)
	go func() {
		var r result
		lines := bufio.NewScanner(out)
		lines.Buffer(nil, 1<<24)
		for lines.Scan() {
			if lines.Text() != "ok" && r.first == "" {
				r.first = fmt.Sprintf("answer %d: %s", r.lines, lines.Text())
			}
			r.lines++
		}
		read <- r
	}()
	messages := 0
	w := bufio.NewWriter(in)
	enc := json.NewEncoder(w)
	tell = func(line map[string]any) {
		if line["message"] != nil {
			messages++
		}
		if err := enc.Encode(line); err != nil {
			t.Fatal(err)
		}
	}
	return tell, func() {
		if err := errors.Join(w.Flush(), in.Close()); err != nil {
			t.Fatal(err)
		}
		r := <-read
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
		if r.first != "" {
			t.Error(r.first)
		}
		if r.lines != messages || messages == 0 {
			t.Errorf("node answered %d of %d messages", r.lines, messages)
		}
	}
}
