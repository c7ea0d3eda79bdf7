package load

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestTemplate(t *testing.T) {
	for _, codec := range []Codec{Raw, JSON, Protobuf} {
		for _, ws := range []bool{false, true} {
			for _, typ := range []byte{typeRequest, typeNotify} {
				for _, size := range []int{17, 64, 127} {
					m := newTemplate(typ, "Room.Say", codec, size, ws)
					b := m.append([]byte("before"), 7, 1<<20)
					b = m.append(b, 8, 0)
					b = bytes.TrimPrefix(b, []byte("before"))
					for _, want := range []struct{ client, number uint32 }{{7, 1 << 20}, {8, 0}} {
						frame := b[:len(m.frame)]
						b = b[len(m.frame):]
						if ws {
							frame = unmask(t, frame)
						}
						if frame[0] != packetData || length(frame) != len(frame)-head {
							t.Fatalf("%q %v: packet % x has %d bytes", codec, ws, frame, len(frame))
						}
						got, ok := parse(frame[head:])
						if !ok || got.typ != typ || got.failed || typ == typeRequest && got.id != uint64(want.number)+firstID {
							t.Fatalf("parse = %+v, %v, want type %d and number %d", got, ok, typ, want.number)
						}
						client, number, ok := m.check(got.payload)
						if !ok || client != want.client || number != want.number {
							t.Errorf("check = %d, %d, %v, want %d, %d", client, number, ok, want.client, want.number)
						}
						got.payload[len(got.payload)-1]++
						if _, _, ok := m.check(got.payload); ok {
							t.Errorf("%q: a payload with a wrong end passes", codec)
						}
						if _, _, ok := m.check(got.payload[1:]); ok {
							t.Errorf("%q: a payload that is too short passes", codec)
						}
					}
				}
			}
		}
	}
}

// unmask returns the payload of a client's frame. The mask of the frame is 0.
func unmask(t *testing.T, frame []byte) (payload []byte) {
	t.Helper()
	header, size := 2, int(frame[1]&0x7f)
	if size == 126 {
		header, size = 4, int(frame[2])<<8|int(frame[3])
	}
	payload = frame[header+4:]
	if frame[0] != 0x82 || frame[1]&0x80 == 0 || len(payload) != size || !bytes.Equal(frame[header:header+4], make([]byte, 4)) {
		t.Fatalf("frame % x, want a binary one that is masked with 0", frame)
	}
	return payload
}

func TestParseWhatIsNotWhole(t *testing.T) {
	for _, b := range []string{"", "\x00", "\x00\x80", "\x00\x01", "\x00\x01\x05abc", "\x06", "\x06\x05abcd", "\x04\x80\x80"} {
		if m, ok := parse([]byte(b)); ok {
			t.Errorf("parse(%q) = %+v, want it refused", b, m)
		}
	}
	frame := append([]byte{0x82, 126, 0, 130}, make([]byte, 130)...)
	for n := range frame {
		if _, _, got := unframe(frame[:n]); got != 0 {
			t.Errorf("unframe of %d bytes takes %d, want 0", n, got)
		}
	}
	if op, payload, n := unframe(frame); op != 2 || len(payload) != 130 || n != len(frame) {
		t.Errorf("unframe = %d, %d bytes, %d", op, len(payload), n)
	}
	if _, _, n := unframe([]byte{0x82, 127, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}); n != 0 {
		t.Errorf("a frame of 16 EiB is whole in %d bytes", n)
	}
}

// tamper gets the packet of each message and its number on the connection. It returns the
// bytes to send back.
type tamper func(client, n int, p []byte) (back []byte, err error)

// serve echoes packets. Packets of messages pass through f first.
func serve(t *testing.T, f tamper) (addr string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	t.Cleanup(func() {
		l.Close()
		<-ended
	})
	go func() {
		defer close(ended)
		done := make(chan struct{})
		clients := 0
		for {
			c, err := l.Accept()
			if err != nil {
				break
			}
			go func(client int) {
				defer func() { done <- struct{}{} }()
				defer c.Close()
				_ = c.SetDeadline(time.Now().Add(30 * time.Second))
				echo(c, client, f)
			}(clients)
			clients++
		}
		for range clients {
			<-done
		}
	}()
	return l.Addr().String()
}

func echo(c net.Conn, client int, f tamper) {
	r := bufio.NewReader(c)
	for n := 0; ; {
		h, err := r.Peek(head)
		if err != nil {
			return
		}
		p := make([]byte, head+length(h))
		if _, err := io.ReadFull(r, p); err != nil {
			return
		}
		if p[0] == packetData && f != nil {
			var err error
			if p, err = f(client, n, p); err != nil {
				return
			}
			n++
		}
		if _, err := c.Write(p); err != nil {
			return
		}
	}
}

func TestFaults(t *testing.T) {
	if testing.Short() {
		t.Skip("short mode: takes seconds")
	}
	held := map[int][]byte{}
	for name, test := range map[string]struct {
		f    tamper
		want func(Faults) bool
	}{
		"none": {nil, func(f Faults) bool { return f == Faults{} }},
		"dropped": {func(_, n int, p []byte) ([]byte, error) {
			if n%10 == 5 {
				return nil, nil
			}
			return p, nil
		}, func(f Faults) bool { return f.Lost > 0 && f.Corrupt+f.Closed+f.Stuck == 0 }},
		"twice": {func(_, _ int, p []byte) ([]byte, error) {
			return append(p, p...), nil
		}, func(f Faults) bool { return f.Late > 0 && f.Lost+f.Corrupt+f.Closed+f.Stuck == 0 }},
		"swapped": {func(client, n int, p []byte) ([]byte, error) {
			if client != 0 {
				return p, nil
			}
			if n%2 == 0 {
				held[client] = p
				return nil, nil
			}
			return append(p, held[client]...), nil
		}, func(f Faults) bool { return f.Late > 0 && f.Lost > 0 && f.Corrupt+f.Closed+f.Stuck == 0 }},
		"payload": {func(_, n int, p []byte) ([]byte, error) {
			if n%10 == 5 {
				p[len(p)-1]++
			}
			return p, nil
		}, func(f Faults) bool { return f.Corrupt > 0 && f.Late+f.Closed+f.Stuck == 0 }},
		"of another": {func(client, n int, p []byte) ([]byte, error) {
			if n%10 == 5 {
				stamp(p[len(p)-64:], 1-stamped(p[len(p)-64:]))
			}
			return p, nil
		}, func(f Faults) bool { return f.Corrupt > 0 && f.Late+f.Closed+f.Stuck == 0 }},
		"id": {func(_, n int, p []byte) ([]byte, error) {
			if n%10 == 5 {
				p[head+1] ^= 1
			}
			return p, nil
		}, func(f Faults) bool { return f.Corrupt > 0 && f.Late+f.Closed+f.Stuck == 0 }},
		"closed": {func(_, n int, p []byte) ([]byte, error) {
			if n == 5 {
				return nil, errors.New("enough")
			}
			return p, nil
		}, func(f Faults) bool { return f.Closed == 2 && f.Corrupt+f.Late == 0 }},
		"silent": {func(client, _ int, p []byte) ([]byte, error) {
			if client == 1 {
				return nil, nil
			}
			return p, nil
		}, func(f Faults) bool { return f.Stuck == 1 && f.Corrupt+f.Late+f.Closed == 0 }},
	} {
		for _, goroutines := range []bool{false, true} {
			t.Run(fmt.Sprint(name, " ", goroutines), func(t *testing.T) {
				d := 100 * time.Millisecond
				if name == "silent" {
					d = Lost
				}
				r, err := Run(Spec{
					Kind: Echo, Addr: serve(t, test.f), Size: 64, Clients: 2, Window: 4, Route: "A.B",
					Duration: d, Goroutines: goroutines,
				}, func() {}, func() {})
				if err != nil {
					t.Fatal(err)
				}
				if !test.want(r.Faults) || r.Done == 0 {
					t.Errorf("%d answers, faults: %v", r.Done, r.Faults)
				}
				if r.Faults != (Faults{}) == (r.Faults.Sum() == 0) || r.String() == "0" != (r.Faults.Sum() == 0) {
					t.Errorf("%+v sums up to %d, %q", r.Faults, r.Sum(), r)
				}
			})
		}
	}
}

// TestLost checks that an unanswered request counts as lost after the timeout, and the
// client continues.
func TestLost(t *testing.T) {
	r, err := Run(Spec{
		Kind: Echo, Size: 64, Clients: 1, Window: 1, Route: "A.B", Duration: Lost + 500*time.Millisecond,
		Addr: serve(t, func(_, n int, p []byte) ([]byte, error) {
			if n == 0 {
				return nil, nil
			}
			return p, nil
		}),
	}, func() {}, func() {})
	if err != nil || r.Lost != 1 || r.Done == 0 || r.Stuck != 0 {
		t.Errorf("%d answers, faults: %v, %v, want 1 lost", r.Done, r.Faults, err)
	}
}

// TestPause checks that a client sends a whole window at once, and pauses after the
// answers.
func TestPause(t *testing.T) {
	const window, pause = 8, 5 * time.Millisecond
	var mu sync.Mutex
	var came []time.Time
	r, err := Run(Spec{
		Kind: Echo, Size: 64, Clients: 1, Window: window, Route: "A.B", Duration: 200 * time.Millisecond, Pause: pause,
		Addr: serve(t, func(_, _ int, p []byte) ([]byte, error) {
			mu.Lock()
			defer mu.Unlock()
			came = append(came, time.Now())
			return p, nil
		}),
	}, func() {}, func() {})
	if err != nil || r.Sum() != 0 || r.Done < window {
		t.Fatalf("%d answers, faults: %v, %v, want a window or more", r.Done, r.Faults, err)
	}
	mu.Lock()
	defer mu.Unlock()
	for n := window; n < len(came); n += window {
		// The server may see the last message of a window late, but no message early.
		if d := came[n].Sub(came[n-window]); d < pause {
			t.Errorf("window %d came %v after the one before, want a pause of %v", n/window, d, pause)
		}
	}
}

// TestOpen checks that requests are sent on schedule while a server does not answer, and
// that latency counts from the schedule.
func TestOpen(t *testing.T) {
	const stall = 150 * time.Millisecond
	stalled := false
	r, err := Run(Spec{
		Kind: Echo, Size: 64, Clients: 1, Window: 1024, Route: "A.B", Duration: 400 * time.Millisecond, Rate: 1000, Open: true,
		Addr: serve(t, func(_, n int, p []byte) ([]byte, error) {
			if n == 100 && !stalled {
				stalled = true
				<-time.After(stall)
			}
			return p, nil
		}),
	}, func() {}, func() {})
	if err != nil || r.Sum() != 0 {
		t.Fatalf("faults: %v, %v", r.Faults, err)
	}
	if r.Done < 200 || r.Max < stall*9/10 || r.P99 < stall/2 {
		t.Errorf("%d answers, p99 %v, at most %v, want most, and the stall in the latency of many", r.Done, r.P99, r.Max)
	}
	r, err = Run(Spec{
		Kind: Echo, Size: 64, Clients: 1, Window: 4, Route: "A.B", Duration: 200 * time.Millisecond, Rate: 1000, Open: true,
		Addr: serve(t, func(_, n int, p []byte) ([]byte, error) {
			if n == 50 {
				return nil, errors.New("enough")
			}
			return p, nil
		}),
	}, func() {}, func() {})
	if err != nil || r.Lost == 0 {
		t.Errorf("faults: %v, %v, want requests lost that the window had no room for", r.Faults, err)
	}
}

func TestRunFails(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := l.Addr().String()
	l.Close()
	for _, goroutines := range []bool{false, true} {
		for _, test := range []struct {
			s    Spec
			want string
		}{
			{Spec{Size: 15, Clients: 1, Window: 1}, "payload"},
			{Spec{Size: 64, Window: 1}, "a client or more"},
			{Spec{Size: 64, Clients: 1, Window: 3}, "power of two"},
			{Spec{Size: 64, Clients: 1, Window: 1, Kind: Idle, Pause: 1}, "pause"},
			{Spec{Size: 64, Clients: 1, Window: 1, Kind: Echo, Open: true}, "schedule"},
			{Spec{Size: 64, Clients: 3, Window: 1, Kind: Broadcast, Rooms: 2, Join: "A.B"}, "one size"},
			{Spec{Size: 64, Clients: 1, Window: 1, Kind: Echo, Addr: nobody}, "refused"},
			{Spec{Size: 64, Clients: 1, Window: 1, Kind: Connect, Addr: nobody, Duration: time.Second}, "refused"},
		} {
			test.s.Goroutines = goroutines
			_, err := Run(test.s, func() {}, func() {})
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("Run(%+v) = %v, want an error with %q", test.s, err, test.want)
			}
		}
	}
}

func TestResumption(t *testing.T) {
	var s resumption
	if s.due(time.Hour) {
		t.Error("an acknowledgment is due before anything has come")
	}
	s.count(100, time.Second)
	if s.due(time.Second+ackDelay-1) || !s.due(time.Second+ackDelay) {
		t.Error("want one packet acknowledged after ackDelay")
	}
	for range ackPackets - 1 {
		s.count(100, time.Second)
	}
	if !s.due(time.Second) {
		t.Errorf("want %d packets acknowledged at once", ackPackets)
	}
	r := &run{Spec: Spec{Resume: true}}
	c := &client{resume: s}
	if r.acknowledge(c); string(c.out) != "\x03\x00\x00\x01\x40" || c.resume.due(time.Hour) {
		t.Errorf("acknowledge sends % x, want 64", c.out)
	}
	c.resume.count(ackBytes, 0)
	if !c.resume.due(0) {
		t.Errorf("want %d bytes acknowledged at once", ackBytes)
	}
}
