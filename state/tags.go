package state

import (
	"math"
	"regexp"
	"strconv"
	"strings"
)

// tags is a parsed struct tag.
type tags struct {
	q                       float64
	turn                    int64
	level                   uint8
	owner, snap, big, touch bool
	history                 bool
	enum                    []string
	name                    string
}

// names matches names that a client can write after a dot. Reserved names of JavaScript
// are rejected separately.
var names = regexp.MustCompile(`^[A-Za-z_$][A-Za-z0-9_$]*$`)

// tags parses the tag of the field at path.
func (c *compiler) tags(text, path string) (g tags, ok bool) {
	before := len(c.faults)
	leveled := false
	for part := range strings.SplitSeq(text, ",") {
		if text == "" {
			break
		}
		key, arg, has := strings.Cut(part, "=")
		if !has && (key == "q" || key == "level" || key == "enum" || key == "name") {
			c.fault(path, "%s needs a value: %s=...", key, key)
			continue
		}
		if has && (key == "owner" || key == "snap" || key == "big" || key == "touch" || key == "history") {
			c.fault(path, "%s takes no value", key)
			continue
		}
		switch key {
		case "q":
			q, err := strconv.ParseFloat(arg, 64)
			if err != nil || !(q > 0) || math.IsInf(1/q, 0) || math.IsInf(q, 0) {
				c.fault(path, "q=%s is not a positive number", arg)
				continue
			}
			g.q = q
		case "turn":
			g.turn = 4096
			if has {
				n, err := strconv.ParseInt(arg, 10, 64)
				if err != nil || n < 2 || n > maxSteps || n%2 != 0 {
					c.fault(path, "turn=%s is not an even number from 2 to %d", arg, maxSteps)
					continue
				}
				g.turn = n
			}
		case "level":
			n, err := strconv.ParseUint(arg, 10, 8)
			if err != nil || n > maxLevel {
				c.fault(path, "level=%s is not a number from 0 to %d", arg, maxLevel)
				continue
			}
			g.level, leveled = uint8(n), true
		case "owner":
			g.owner = true
		case "snap":
			g.snap = true
		case "big":
			g.big = true
		case "touch":
			g.touch = true
		case "history":
			g.history = true
		case "enum":
			g.enum = strings.Split(arg, "|")
			if len(g.enum) > 256 {
				c.fault(path, "an enum has at most 256 texts, not %d", len(g.enum))
			}
		case "name":
			g.name = arg
			if !names.MatchString(arg) || arg == "__proto__" {
				c.fault(path, "name=%s is not an identifier", arg)
			}
		default:
			c.fault(path, "unknown tag %q", part)
		}
	}
	if g.owner {
		if leveled {
			c.fault(path, "owner and level exclude each other")
		}
		g.level = 1
	}
	return g, len(c.faults) == before
}

// refuse reports the tags that are invalid for what, which is at path.
func (g tags) refuse(c *compiler, path, what string, enum, big, float bool) {
	for _, t := range []struct {
		name    string
		set, ok bool
	}{
		{"enum", g.enum != nil, enum}, {"big", g.big, big}, {"touch", g.touch, false}, {"history", g.history, false},
		{"q", g.q != 0, float}, {"turn", g.turn != 0, float}, {"snap", g.snap, float},
	} {
		if t.set && !t.ok {
			c.fault(path, "%s is not for %s", t.name, what)
		}
	}
}
