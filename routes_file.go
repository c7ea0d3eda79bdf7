package nano

import (
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
)

// routesFile is an environment variable. If it is set, each server of the process appends its routes to the file with
// this name. Start then returns an error before it opens anything. The nano command reads routes in this way if their
// names are not constants in the source. Clients have no way to ask for them.
const routesFile = "NANO_ROUTES_FILE"

// writtenRoute is one route in the file.
type writtenRoute struct {
	Route     string `json:"route"`
	Component string `json:"component"` // package path, a dot and the name of the type
	Method    string `json:"method"`
}

// writeRoutes appends the routes as one JSON list, sorted by route. It always returns an error.
func (s *Server) writeRoutes(file string) error {
	list := []writtenRoute{}
	for _, service := range s.dispatch.Services() {
		t := service.Type
		if t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
		for h := range service.All() {
			list = append(list, writtenRoute{h.Route, t.PkgPath() + "." + t.Name(), h.Method.Name})
		}
	}
	slices.SortFunc(list, func(a, b writtenRoute) int { return strings.Compare(a.Route, b.Route) })
	data, err := json.Marshal(list)
	if err != nil {
		return fmt.Errorf("nano: %s: %w", routesFile, err)
	}
	f, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("nano: %s: %w", routesFile, err)
	}
	_, err = f.Write(append(data, '\n'))
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		return fmt.Errorf("nano: %s: %w", routesFile, err)
	}
	return fmt.Errorf("nano: wrote %d routes to %s instead of starting, because %s is set", len(list), file, routesFile)
}
