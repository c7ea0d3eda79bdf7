package room_test

import (
	"fmt"
	"strings"
	"testing"

	croom "github.com/lonng/nano/client/room"
	"github.com/lonng/nano/room"
)

func TestLabelsAndFilters(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		l := ponds(t)
		duel := map[string]any{"kind": "pond", "filter": map[string]any{"equal": map[string]any{"mode": "duel"}}, "options": map[string]any{}}
		ids := map[string]string{}
		for i, mode := range []string{"duel", "race", "duel", "race"} {
			p := l.connect(int64(i + 1))
			r, err := croom.JoinOrCreate(t.Context(), p.Client, "pond", JoinOptions{"x"}, croom.Filter{"mode": mode})
			if err != nil {
				t.Fatal(err)
			}
			if id := ids[mode]; id != "" && id != r.ID() {
				t.Errorf("mode %s: rooms %s and %s, want one", mode, id, r.ID())
			}
			ids[mode] = r.ID()
		}
		if ids["duel"] == ids["race"] {
			t.Error("two modes share a room")
		}
		var list []room.Info
		if err := l.connect(9).Request(t.Context(), "room.list", duel, &list); err != nil || len(list) != 1 || list[0].ID != ids["duel"] || list[0].Players != 2 {
			t.Errorf("room.list = %v, %v, want the room of the duel with 2 players", list, err)
		}
		tooMany := map[string]any{}
		for i := range 17 {
			tooMany[fmt.Sprint(i)] = i
		}
		for name, equal := range map[string]map[string]any{
			"many labels": tooMany, "a list": {"a": []int{1}}, "long text": {"a": strings.Repeat("a", 65)}, "long key": {strings.Repeat("a", 65): 1},
		} {
			duel["filter"] = map[string]any{"equal": equal}
			if err := l.connect(0).Request(t.Context(), "room.joinOrCreate", duel, nil); code(err) != "NANO-400" {
				t.Errorf("a filter with %s = %v, want NANO-400", name, err)
			}
		}
	})
}
