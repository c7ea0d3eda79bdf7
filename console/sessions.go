package console

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lonng/nano"
	"github.com/lonng/nano/session"
)

const (
	pageSize   = 100    // sessions of one answer, and of one task on the logic goroutine
	searchSize = 10_000 // sessions that one request searches
	maxValues  = 50     // values of a session's data that are shown
	maxText    = 200    // bytes of a value's text
)

// entry is a value of a session's data.
type entry struct {
	Key   string `json:"key"`
	Type  string `json:"type"`
	Value string `json:"value"` // empty if only the type is shown
}

// row is one session.
type row struct {
	ID      string   `json:"id"`
	UID     string   `json:"uid"` // "0" if no user is bound
	Address string   `json:"address"`
	Data    []entry  `json:"data"`   // sorted by key; null if it could not be read
	More    int      `json:"more"`   // values that are not shown
	Groups  []string `json:"groups"` // names, sorted; at most 20
}

type sessionList struct {
	Time     time.Time `json:"time"`
	Total    int       `json:"total"`    // open sessions
	Searched int       `json:"searched"` // sessions that this answer has looked at
	Sessions []row     `json:"sessions"` // the newest first
	Next     string    `json:"next"`     // the value of before for the next page; empty at the end
	Problem  string    `json:"problem"`  // why data is missing; empty if it is not
}

// sessions serves the open sessions that match a query, the newest first. The data of
// sessions is read on the logic goroutine, in tasks of at most 100 sessions.
func (h *handler) sessions(w http.ResponseWriter, r *http.Request) {
	query := strings.ToLower(strings.TrimSpace(r.URL.Query().Get("q")))
	before := int64(0)
	if text := r.URL.Query().Get("before"); text != "" {
		id, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			fail(w, http.StatusBadRequest, "before: want the id of a session")
			return
		}
		before = id
	}
	ctx, cancel := context.WithTimeout(r.Context(), logicWait)
	defer cancel()
	open := h.inside.Sessions()
	list := sessionList{Time: time.Now(), Total: len(open), Sessions: []row{}}
	if found := h.byNumber(query); len(found) > 0 {
		open, query = found, ""
	}
	open = slices.DeleteFunc(open, func(s *session.Session) bool { return before != 0 && s.ID() >= before })
	slices.SortFunc(open, func(a, b *session.Session) int { return cmp.Compare(b.ID(), a.ID()) })
	h.find(ctx, &list, open, query)
	reply(w, list)
}

// byNumber returns the sessions whose id or uid a query is.
func (h *handler) byNumber(query string) []*session.Session {
	n, err := strconv.ParseInt(query, 10, 64)
	if err != nil || n < 1 {
		return nil
	}
	found := h.srv.SessionsByUID(n)
	if s, ok := h.srv.Session(n); ok && s.UID() != n {
		found = append(found, s)
	}
	return found
}

// find adds those of the sessions that match a query to the list.
func (h *handler) find(ctx context.Context, list *sessionList, open []*session.Session, query string) {
	for len(open) > 0 && len(list.Sessions) < pageSize && list.Searched < searchSize {
		batch := open[:min(len(open), pageSize)]
		var rows []row
		var err error
		if list.Problem == "" {
			rows, err = onLogic(ctx, h, func() []row { return h.rows(batch, true) })
		}
		if err != nil {
			list.Problem = "The data is missing: " + err.Error() + "."
			if errors.Is(err, nano.ErrServerClosed) {
				list.Problem = "The data is missing: the server has shut down."
			}
		}
		if rows == nil {
			rows = h.rows(batch, false)
		}
		for _, row := range rows {
			if len(list.Sessions) == pageSize {
				list.Next = list.Sessions[pageSize-1].ID
				return
			}
			list.Searched++
			if row.matches(query) {
				list.Sessions = append(list.Sessions, row)
			}
		}
		open = open[len(batch):]
		if len(open) > 0 {
			list.Next = rows[len(rows)-1].ID
		} else {
			list.Next = ""
		}
	}
}

// rows returns sessions as they are shown. With data, it runs on the logic goroutine.
func (h *handler) rows(sessions []*session.Session, data bool) []row {
	rows := make([]row, len(sessions))
	for i, s := range sessions {
		rows[i] = row{ID: strconv.FormatInt(s.ID(), 10), UID: strconv.FormatInt(s.UID(), 10)}
		rows[i].Groups = h.groupsOf(s)
		if a := s.RemoteAddr(); a != nil {
			rows[i].Address = a.String()
		}
		if !data {
			continue
		}
		state := s.State()
		keys := slices.Sorted(maps.Keys(state))
		rows[i].Data = []entry{}
		for _, key := range keys[:min(len(keys), maxValues)] {
			value := state[key]
			text := h.format(key, value)
			rows[i].Data = append(rows[i].Data, entry{cut(key), cut(fmt.Sprintf("%T", value)), cut(text)})
		}
		rows[i].More = max(len(keys)-maxValues, 0)
	}
	return rows
}

// matches reports whether a part of the row contains the query, which is in lower case.
func (r *row) matches(query string) bool {
	if query == "" || r.ID == query || r.UID == query || strings.Contains(strings.ToLower(r.Address), query) {
		return true
	}
	if slices.ContainsFunc(r.Groups, func(name string) bool { return strings.ToLower(name) == query }) {
		return true
	}
	return slices.ContainsFunc(r.Data, func(e entry) bool {
		return strings.Contains(strings.ToLower(e.Value), query) || strings.ToLower(e.Key) == query
	})
}

// format returns the text of a value. A panic in the program's code makes the text empty.
func (h *handler) format(key string, value any) (text string) {
	defer func() {
		if recover() != nil {
			text = ""
		}
	}()
	if h.FormatValue != nil {
		return h.FormatValue(key, value)
	}
	return format(value)
}

// format returns the text of a value that can be shown without looking into it: the
// fields of a struct may change on another goroutine.
func format(value any) string {
	if s, ok := value.(fmt.Stringer); ok {
		return s.String()
	}
	switch v := reflect.ValueOf(value); v.Kind() {
	case reflect.Bool, reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr,
		reflect.Float32, reflect.Float64, reflect.String:
		return fmt.Sprint(value)
	}
	return ""
}

// cut returns the beginning of a text.
func cut(text string) string {
	if len(text) <= maxText {
		return text
	}
	return strings.ToValidUTF8(text[:maxText], "") + "…"
}
