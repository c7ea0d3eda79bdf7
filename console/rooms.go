package console

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lonng/nano"
	"github.com/lonng/nano/internal/inspect"
)

// roomsSize is how many rooms one answer lists.
const roomsSize = 100

var errNoRooms = errors.New("the server has no kinds of rooms")

// roomKind is a kind of rooms.
type roomKind struct {
	Name       string  `json:"name"`
	Type       string  `json:"type"`       // the Go type
	TickRate   float64 `json:"tickRate"`   // ticks per second, 0 for none
	Seats      int     `json:"seats"`      // seats of one room
	Spectators int     `json:"spectators"` // largest number of spectators in one room
	MaxRooms   int     `json:"maxRooms"`
	Schedulers int     `json:"schedulers"` // 0: its rooms run on the logic goroutine
	Private    bool    `json:"private"`    // its rooms are joined by a code
	Rooms      int     `json:"rooms"`
	Taken      int     `json:"taken"`    // taken seats of all its rooms
	Watching   int     `json:"watching"` // spectators of all its rooms
	Load       float64 `json:"load"`     // sum of the loads of its rooms
}

// roomRow is one room. Figures are since its start.
type roomRow struct {
	ID             string         `json:"id"`
	Kind           string         `json:"kind"`
	Code           string         `json:"code"`
	Labels         map[string]any `json:"labels"`
	Age            float64        `json:"age"` // seconds
	Taken          int            `json:"taken"`
	Seats          int            `json:"seats"`
	Spectators     int            `json:"spectators"`
	Locked         bool           `json:"locked"`
	Ticks          int64          `json:"ticks"`
	Skipped        int64          `json:"skipped"` // ticks that did not run because the room was late
	LagP50         float64        `json:"lagP50"`  // seconds
	LagP99         float64        `json:"lagP99"`  // seconds
	Busy           float64        `json:"busy"`    // seconds
	Load           float64        `json:"load"`    // share of a core
	Panics         int64          `json:"panics"`
	SlowClients    int64          `json:"slowClients"`
	Bytes          int64          `json:"bytes"`          // bytes of state
	BytesPerPlayer float64        `json:"bytesPerPlayer"` // per second
}

func newRoomRow(r *inspect.Room) roomRow {
	labels := r.Labels
	if labels == nil {
		labels = map[string]any{}
	}
	return roomRow{
		ID: r.ID, Kind: r.Kind, Code: r.Code, Labels: labels, Age: r.Age.Seconds(),
		Taken: r.Taken, Seats: r.Seats, Spectators: r.Spectators, Locked: r.Locked,
		Ticks: r.Ticks, Skipped: r.Skipped, LagP50: r.LagP50.Seconds(), LagP99: r.LagP99.Seconds(),
		Busy: r.Busy.Seconds(), Load: r.Load, Panics: r.Panics, SlowClients: r.SlowClients,
		Bytes: r.Bytes, BytesPerPlayer: r.BytesPerPlayer,
	}
}

// roomSums are the figures of all rooms together, of the last sample.
type roomSums struct {
	Rooms      int      `json:"rooms"`
	Seats      int      `json:"seats"` // taken ones
	Spectators int      `json:"spectators"`
	Ticks      *float64 `json:"ticks"` // per second in the last minute; null at first
	Load       *float64 `json:"load"`  // share of a core in the last minute; null at first
	Skipped    int64    `json:"skipped"`
	LagP50     float64  `json:"lagP50"` // seconds
	LagP99     float64  `json:"lagP99"` // seconds
	Panics     int64    `json:"panics"`
}

type roomList struct {
	Time  time.Time  `json:"time"`
	At    time.Time  `json:"at"`    // of the sample of sums
	Sums  *roomSums  `json:"sums"`  // null if the server has no kinds of rooms
	Kinds []roomKind `json:"kinds"` // sorted by name
	Total int        `json:"total"` // rooms of the kind
	Found int        `json:"found"` // those that match, also the ones that are not listed
	Rooms []roomRow  `json:"rooms"` // at most 100, those with the highest load first
}

// sums returns the figures of all rooms, nil without rooms.
func (h *handler) sums() (*roomSums, time.Time) {
	first, last, _ := h.sampler.lastMinute()
	st := last.stats.Rooms
	if st == nil {
		return nil, last.time
	}
	// Sums shrink when a room ends, so a rate may not be below 0.
	rate := func(counter func(*nano.RoomsStats) float64) *float64 {
		seconds := last.time.Sub(first.time).Seconds()
		if first.stats.Rooms == nil || seconds <= 0 {
			return nil
		}
		return new(max(counter(st)-counter(first.stats.Rooms), 0) / seconds)
	}
	return &roomSums{
		Rooms: st.Rooms, Seats: st.Seats, Spectators: st.Spectators,
		Ticks:   rate(func(s *nano.RoomsStats) float64 { return float64(s.Ticks) }),
		Load:    rate(func(s *nano.RoomsStats) float64 { return s.Busy.Seconds() }),
		Skipped: st.Skipped, LagP50: st.LagP50.Seconds(), LagP99: st.LagP99.Seconds(), Panics: st.Panics,
	}, last.time
}

// rooms serves the kinds and the rooms whose id, code or labels match a query.
func (h *handler) rooms(w http.ResponseWriter, r *http.Request) {
	kind := r.URL.Query().Get("kind")
	query := strings.ToLower(strings.TrimSpace(r.URL.Query().Get("q")))
	l := roomList{Time: time.Now(), Kinds: []roomKind{}, Rooms: []roomRow{}}
	l.Sums, l.At = h.sums()
	rooms := h.inside.Rooms()
	if rooms == nil {
		reply(w, l)
		return
	}
	byName := map[string]*roomKind{}
	kinds := rooms.Kinds()
	l.Kinds = make([]roomKind, len(kinds))
	for i, k := range kinds {
		l.Kinds[i] = roomKind{
			Name: k.Name, Type: k.Type, TickRate: k.TickRate, Seats: k.Seats, Spectators: k.Spectators,
			MaxRooms: k.MaxRooms, Schedulers: k.Schedulers, Private: k.Private,
		}
		byName[k.Name] = &l.Kinds[i]
	}
	list := rooms.List("")
	slices.SortFunc(list, func(a, b inspect.Room) int {
		return cmp.Or(cmp.Compare(b.Load, a.Load), strings.Compare(a.ID, b.ID))
	})
	for i := range list {
		room := &list[i]
		if k := byName[room.Kind]; k != nil {
			k.Rooms++
			k.Taken += room.Taken
			k.Watching += room.Spectators
			k.Load += room.Load
		}
		if kind != "" && room.Kind != kind {
			continue
		}
		l.Total++
		if !matchesRoom(room, query) {
			continue
		}
		if l.Found++; len(l.Rooms) < roomsSize {
			l.Rooms = append(l.Rooms, newRoomRow(room))
		}
	}
	reply(w, l)
}

// matchesRoom reports whether the id, the code or a label of a room has a query, which
// is in lower case.
func matchesRoom(r *inspect.Room, query string) bool {
	if query == "" || strings.Contains(r.ID, query) || strings.ToLower(r.Code) == query {
		return true
	}
	for _, v := range r.Labels {
		if text, ok := v.(string); ok && strings.Contains(strings.ToLower(text), query) {
			return true
		}
	}
	return false
}

// roomMember is a player or a spectator.
type roomMember struct {
	ID        uint32  `json:"id"` // of the player in the room
	UID       string  `json:"uid"`
	Session   string  `json:"session"` // empty while the player is not connected
	Team      int     `json:"team"`
	Spectator bool    `json:"spectator"`
	Connected bool    `json:"connected"`
	RTT       float64 `json:"rtt"`   // seconds; 0 if it is not known
	Bytes     int64   `json:"bytes"` // of state sent to the player
}

// room serves one room with its members and its state.
func (h *handler) room(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), logicWait)
	defer cancel()
	rooms := h.inside.Rooms()
	if rooms == nil {
		fail(w, http.StatusNotFound, errNoRooms.Error())
		return
	}
	d, err := rooms.Room(ctx, r.URL.Query().Get("id"))
	if err != nil {
		failRoom(w, err)
		return
	}
	members := []roomMember{}
	for _, m := range d.Members {
		v := roomMember{
			ID: m.ID, UID: strconv.FormatInt(m.UID, 10), Team: m.Team, Spectator: m.Spectator, Connected: m.Connected,
			RTT: m.RTT.Seconds(), Bytes: m.Bytes,
		}
		if m.Session != 0 {
			v.Session = strconv.FormatInt(m.Session, 10)
		}
		members = append(members, v)
	}
	reply(w, struct {
		Time    time.Time       `json:"time"`
		Room    roomRow         `json:"room"`
		Members []roomMember    `json:"members"`
		State   json.RawMessage `json:"state"` // null if it could not be read
		Cut     bool            `json:"cut"`   // the state has more values
	}{time.Now(), newRoomRow(&d.Room), members, d.State, d.Cut})
}

// failRoom answers with an error of package inspect.
func failRoom(w http.ResponseWriter, err error) {
	if errors.Is(err, inspect.ErrNoRoom) {
		fail(w, http.StatusNotFound, err.Error())
		return
	}
	fail(w, http.StatusServiceUnavailable, "the scheduler of the room did not answer in time")
}

// closeRoom ends a room.
func (h *handler) closeRoom(w http.ResponseWriter, r *http.Request) {
	var a struct {
		Room   string `json:"room"`
		Reason string `json:"reason"` // the players get it
	}
	if !h.readBody(w, r, &a) {
		return
	}
	if len(a.Reason) > maxText {
		fail(w, http.StatusBadRequest, errLongReason)
		return
	}
	rooms := h.inside.Rooms()
	if rooms == nil {
		fail(w, http.StatusNotFound, errNoRooms.Error())
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), logicWait)
	defer cancel()
	err := rooms.Close(ctx, a.Room, a.Reason)
	h.logAction(r, "close a room", err, "reason", a.Reason, "room", cut(a.Room))
	if err != nil {
		failRoom(w, err)
		return
	}
	reply(w, struct{}{})
}
