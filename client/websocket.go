package client

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/gorilla/websocket"
)

// webSocket is a WebSocket as a stream of bytes: what it reads is the binary frames one after the other, what it
// writes goes out as one binary frame, which may hold several packets.
type webSocket struct {
	*websocket.Conn
	frame io.Reader // what is being read; nil between frames
}

func dialWebSocket(ctx context.Context, u *url.URL, o *options) (transport, error) {
	d := websocket.Dialer{
		NetDialContext:  o.dial,
		Proxy:           http.ProxyFromEnvironment,
		TLSClientConfig: tlsConfig(o),
		ReadBufferSize:  readBuffer,
		WriteBufferSize: readBuffer,
	}
	conn, response, err := d.DialContext(ctx, u.String(), o.header)
	if err != nil {
		if response != nil {
			err = fmt.Errorf("%w: HTTP status %s", err, response.Status)
		}
		return nil, fmt.Errorf("WebSocket with %s: %w", u.Host, err)
	}
	return &webSocket{Conn: conn}, nil
}

// Read reads the next bytes of binary frames. A close frame of an orderly end is io.EOF; a text frame is ErrProtocol.
func (w *webSocket) Read(p []byte) (int, error) {
	for {
		if w.frame == nil {
			kind, frame, err := w.NextReader()
			if websocket.IsCloseError(err, websocket.CloseNormalClosure, websocket.CloseGoingAway, websocket.CloseNoStatusReceived) {
				return 0, io.EOF
			}
			if websocket.IsCloseError(err, websocket.CloseAbnormalClosure) {
				return 0, io.ErrUnexpectedEOF // without a close frame
			}
			if err != nil {
				return 0, err
			}
			if kind != websocket.BinaryMessage {
				return 0, fmt.Errorf("%w: WebSocket frame of text, expected binary ones", ErrProtocol)
			}
			w.frame = frame
		}
		n, err := w.frame.Read(p)
		if err == io.EOF {
			w.frame, err = nil, nil
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}

// Write sends p as one frame.
func (w *webSocket) Write(p []byte) (int, error) {
	if err := w.WriteMessage(websocket.BinaryMessage, p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// CloseWrite sends a close frame, which the server answers with its own.
func (w *webSocket) CloseWrite() error {
	bye := websocket.FormatCloseMessage(websocket.CloseNormalClosure, "")
	return w.WriteControl(websocket.CloseMessage, bye, time.Now().Add(linger))
}
