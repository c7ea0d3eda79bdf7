package console

import (
	"cmp"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lonng/nano/internal/inspect"
	"github.com/lonng/nano/session"
)

const (
	groupsSize  = 100 // groups of one answer
	membersSize = 20  // members of a group that are listed
	maxGroups   = 20  // groups of a session that are shown
)

// groupMember is a member of a group.
type groupMember struct {
	Session string `json:"session"`
	UID     string `json:"uid"`
}

// group is one group. Groups may share a name.
type group struct {
	Name    string        `json:"name"`
	Count   int           `json:"count"`
	Members []groupMember `json:"members"` // up to 20 of them, the oldest sessions first
}

// groups serves the groups that have members, the largest first, at most 100.
func (h *handler) groups(w http.ResponseWriter, r *http.Request) {
	query := strings.ToLower(strings.TrimSpace(r.URL.Query().Get("q")))
	seen := map[inspect.Group]bool{}
	list := []group{}
	for _, s := range h.inside.Sessions() {
		for _, g := range h.inside.Groups(s) {
			if seen[g] {
				continue
			}
			seen[g] = true
			if strings.Contains(strings.ToLower(g.Name()), query) {
				list = append(list, newGroup(g))
			}
		}
	}
	slices.SortFunc(list, func(a, b group) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), strings.Compare(a.Name, b.Name), slices.CompareFunc(a.Members, b.Members,
			func(a, b groupMember) int { return strings.Compare(a.Session, b.Session) }))
	})
	found := len(list)
	reply(w, struct {
		Time   time.Time `json:"time"`
		Total  int       `json:"total"` // groups with members
		Found  int       `json:"found"` // those that match, also the ones that are not listed
		Groups []group   `json:"groups"`
	}{time.Now(), len(seen), found, list[:min(found, groupsSize)]})
}

func newGroup(g inspect.Group) group {
	members, count := g.Sessions(membersSize)
	slices.SortFunc(members, func(a, b *session.Session) int { return cmp.Compare(a.ID(), b.ID()) })
	v := group{Name: cut(g.Name()), Count: count, Members: []groupMember{}}
	for _, s := range members {
		v.Members = append(v.Members, groupMember{strconv.FormatInt(s.ID(), 10), strconv.FormatInt(s.UID(), 10)})
	}
	return v
}

// groupsOf returns the names of the groups of a session, sorted, at most 20.
func (h *handler) groupsOf(s *session.Session) []string {
	names := []string{}
	for _, g := range h.inside.Groups(s) {
		names = append(names, cut(g.Name()))
	}
	slices.Sort(names)
	return names[:min(len(names), maxGroups)]
}
