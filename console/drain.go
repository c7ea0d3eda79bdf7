package console

import (
	"context"
	"net/http"
	"time"
)

const (
	drainTime    = time.Minute // default of seconds
	maxDrainTime = 24 * time.Hour
)

// drain shuts the server down: it stops accepting clients, waits until rooms and other
// components have ended their work or the time has passed, and kicks the clients. The
// answer comes at once.
func (h *handler) drain(w http.ResponseWriter, r *http.Request) {
	var a struct {
		Seconds *float64 `json:"seconds"` // time limit of the drain; a minute if it is missing
	}
	if !h.readBody(w, r, &a) {
		return
	}
	d := drainTime
	if a.Seconds != nil {
		if *a.Seconds < 1 || *a.Seconds > maxDrainTime.Seconds() {
			fail(w, http.StatusBadRequest, "seconds: want 1 to 86400")
			return
		}
		d = time.Duration(*a.Seconds * float64(time.Second))
	}
	if h.inside.Closing() {
		fail(w, http.StatusConflict, "the server is shutting down already")
		return
	}
	h.logAction(r, "drain", nil, "limit", d)
	reply(w, struct{}{})
	// The answer goes out first, because the shutdown may end the HTTP server of the console.
	_ = http.NewResponseController(w).Flush()
	go func() { // ends when the server has shut down, at the latest after d
		ctx, cancel := context.WithTimeout(context.Background(), d)
		defer cancel()
		err := h.srv.Shutdown(ctx)
		if err != nil {
			h.inside.Log().Error("console: drain", "error", err.Error())
			return
		}
		h.inside.Log().Info("console: drained")
	}()
}
