package server

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// dialBatch returns the client's end of a connection that b serves.
func dialBatch(t *testing.T, b *batch) net.Conn {
	client, conn := net.Pipe()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer conn.Close()
		b.serve(conn)
	}()
	t.Cleanup(func() {
		client.Close()
		<-ended
	})
	if err := client.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return client
}

// exchange writes b in pieces and reads want from the server meanwhile.
func exchange(t *testing.T, c net.Conn, b []byte, piece int, want []byte) {
	t.Helper()
	sent := make(chan error, 1)
	go func() {
		for len(b) > 0 {
			n := min(piece, len(b))
			if _, err := c.Write(b[:n]); err != nil {
				sent <- err
				return
			}
			b = b[n:]
		}
		sent <- nil
	}()
	got := make([]byte, len(want))
	_, err := io.ReadFull(c, got)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("in pieces of %d: read %.200q, %v, want %.200q", piece, got, err, want)
	}
	if err := <-sent; err != nil {
		t.Error(err)
	}
}

func masked(first byte, payload []byte) []byte {
	b := []byte{first, 0x80 | byte(len(payload))}
	switch n := len(payload); {
	case n >= 1<<16:
		b[1] = 0x80 | 127
		b = binary.BigEndian.AppendUint64(b, uint64(n))
	case n > 125:
		b[1] = 0x80 | 126
		b = binary.BigEndian.AppendUint16(b, uint16(n))
	}
	key := []byte{1, 2, 0x83, 0xff}
	b = append(b, key...)
	for i, x := range payload {
		b = append(b, x^key[i%4])
	}
	return b
}

const upgradeRequest = "GET / HTTP/1.1\r\nHost: x\r\nSEC-WebSocket-Key:  dGhlIHNhbXBsZSBub25jZQ==  \r\nUpgrade: websocket\r\n\r\n"

const upgraded = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
	"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n" // the example in RFC 6455

func TestWSBatch(t *testing.T) {
	payloads := [][]byte{nil, []byte("a"), []byte("12345678"), []byte("123456789abc"), bytes.Repeat([]byte("x"), 125),
		bytes.Repeat([]byte("y"), 126)}
	var in, out []byte
	for _, p := range payloads {
		in = append(in, masked(0x82, p)...)
		out = append(appendFrame(out, 0x82, len(p)), p...)
	}
	in = append(in, masked(0x89, []byte("ping"))...)
	out = append(out, "\x8a\x04ping"...)
	in = append(in, masked(0x8a, []byte("pong"))...) // is not answered
	in = append(in, masked(0x01, []byte("frag"))...)
	out = append(out, "\x01\x04frag"...)
	in = append(in, masked(0x80, []byte("ment"))...)
	out = append(out, "\x80\x04ment"...)
	long := bytes.Repeat([]byte("z"), 1<<16)
	for _, piece := range []int{1, 7, 4096, 1 << 20} {
		in, out := in, out
		if piece > 7 { // a long frame in small pieces takes long
			in, out = slices.Concat(in, masked(0x82, long)), append(appendFrame(slices.Clip(out), 0x82, len(long)), long...)
		}
		c := dialBatch(t, &batch{webSocket: true})
		exchange(t, c, append([]byte(upgradeRequest), in...), piece, append([]byte(upgraded), out...))
		if _, err := c.Write(masked(0x88, nil)); err != nil {
			t.Error(err)
		}
		if n, err := c.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("after a close frame: read %d bytes, %v, want the end", n, err)
		}
	}
}

func TestWSBatchRefuses(t *testing.T) {
	for _, request := range []string{"GET / HTTP/1.1\r\nHost: x\r\n\r\n", strings.Repeat("x", 2*batchBuffer)} {
		c := dialBatch(t, &batch{webSocket: true})
		_, _ = c.Write([]byte(request)) // the server closes before it has read all
		if n, err := c.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("%.40q: read %d bytes, %v, want the end", request, n, err)
		}
	}
}

// TestFanoutBatch checks that two broadcasts that come together leave together, after the
// answer to the join, and that a notify before a join is dropped.
func TestFanoutBatch(t *testing.T) {
	stamps := "aaaaaaaabbbbbbbb"
	packet := func(body string) string { return string([]byte{data, 0, 0, byte(len(body))}) + body }
	say := packet("\x02\x01r" + stamps)
	pushed := packet("\x06\x03msg" + stamps)
	hello := string([]byte{handshake, 0, 0, 2}) + "{}"
	shake := string([]byte{handshake, 0, 0, byte(len(shaken))}) + shaken
	join := packet("\x00\x81\x01\x01r" + stamps)
	joined := packet("\x04\x81\x01" + stamps)
	for _, ws := range []bool{false, true} {
		var in, out []byte
		for _, p := range []string{hello, say, join, say, say} {
			if ws {
				in = append(in, masked(0x82, []byte(p))...)
			} else {
				in = append(in, p...)
			}
		}
		for _, p := range []string{shake, joined, pushed, pushed} {
			if ws {
				out = appendFrame(out, 0x82, len(p))
			}
			out = append(out, p...)
		}
		if ws {
			in, out = append([]byte(upgradeRequest), in...), append([]byte(upgraded), out...)
		}
		for _, piece := range []int{1, 1 << 20} {
			c := dialBatch(t, &batch{webSocket: ws, rooms: &fanout{rooms: map[string]*room{}}})
			exchange(t, c, in, piece, out)
		}
	}
}
