package agent

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

// deadlineless is a connection that ignores deadlines.
type deadlineless struct{ net.Conn }

func (deadlineless) SetReadDeadline(time.Time) error { return nil }

// TestSteadyConn checks that a read deadline works on each kind of socket, excludes the
// time in which the process was stopped, and loses no byte.
func TestSteadyConn(t *testing.T) {
	for _, c := range []struct {
		name string
		wrap func(net.Conn) net.Conn
	}{
		{"deadlines", func(c net.Conn) net.Conn { return c }},
		{"no deadlines", func(c net.Conn) net.Conn { return deadlineless{c} }},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var w wheel
				w.init(30 * time.Second)
				client, socket := net.Pipe()
				defer client.Close()
				conn := &steadyConn{Conn: c.wrap(socket), wheel: &w}
				send := func(after time.Duration, text string) {
					go func() {
						time.Sleep(after)
						_, _ = io.WriteString(client, text)
					}()
				}
				b := make([]byte, 10)

				// There is no tick, so this time counts as a pause of the process.
				_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
				send(time.Hour, "late")
				if n, err := conn.Read(b); string(b[:n]) != "late" || err != nil {
					t.Errorf("Read = %q, %v, want the bytes that came in a pause", b[:n], err)
				}

				w.start()
				defer w.stop()
				w.watch()
				start := time.Now()
				_ = conn.SetReadDeadline(start.Add(5 * time.Second))
				_, err := conn.Read(b)
				if d := time.Since(start); !errors.Is(err, os.ErrDeadlineExceeded) || d < 5*time.Second || d > 6*time.Second {
					t.Errorf("Read = %v after %v, want the deadline after 5 s", err, d)
				}

				start = time.Now()
				_ = conn.SetReadDeadline(time.Time{})
				go func() {
					time.Sleep(time.Second)
					_ = conn.SetReadDeadline(time.Unix(1, 0)) // package net/http sets such a deadline
				}()
				_, err = conn.Read(b)
				if d := time.Since(start); !errors.Is(err, os.ErrDeadlineExceeded) || d > 2*time.Second {
					t.Errorf("Read = %v after %v, want the deadline that was moved", err, d)
				}

				_ = conn.SetReadDeadline(time.Time{})
				send(0, "abc")
				for _, want := range []string{"a", "bc"} {
					if n, err := conn.Read(b[:len(want)]); string(b[:n]) != want || err != nil {
						t.Errorf("Read = %q, %v, want %q", b[:n], err, want)
					}
				}
				if got := conn.release(); got != conn.Conn {
					t.Errorf("release = %T, want the socket", got)
				}
				_ = client.Close()
				if _, err := conn.Read(b); !errors.Is(err, io.EOF) {
					t.Errorf("Read = %v, want the end", err)
				}
			})
		})
	}
}
