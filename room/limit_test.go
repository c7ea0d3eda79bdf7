package room_test

import (
	"testing"
	"time"
)

// Answers to ready checks are limited, whether or not they have a match or a ticket.
func TestAnswersAreLimited(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		l := ponds(t)
		uid := int64(0)
		for _, routes := range [][2]string{{"room.accept", "room.accept"}, {"room.cancel", "room.cancel"}, {"room.accept", "room.cancel"}} {
			uid++
			p := l.connect(uid)
			send := func(i int) string {
				return code(p.Request(t.Context(), routes[i%2], map[string]any{"match": 1}, nil))
			}
			free := map[string]string{"room.accept": "ROOM-NO-MATCH", "room.cancel": "<nil>"}
			for i := range 25 {
				want := free[routes[i%2]]
				if i >= 20 {
					want = "ROOM-RATE"
				}
				if got := send(i); got != want {
					t.Errorf("%v: answer %d = %s, want %s", routes, i, got, want)
				}
			}
			time.Sleep(time.Second)
			for i, want := range []string{free[routes[0]], "ROOM-RATE"} {
				if got := send(i); got != want {
					t.Errorf("%v: answer %d a second later = %s, want %s", routes, i, got, want)
				}
			}
		}
	})
}
