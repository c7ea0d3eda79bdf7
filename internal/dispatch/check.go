package dispatch

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"reflect"
	"slices"

	"github.com/lonng/nano/internal/handler"
	"github.com/lonng/nano/serialize"
)

// Check looks at the handlers before the server accepts clients. It logs each method that is
// nearly a handler and, in debug mode, the table of routes. It logs each handler whose types the
// serializer cannot take. If that leaves no handler, it returns an error.
func (d *Dispatcher) Check() error {
	for _, s := range d.services {
		for _, i := range s.Ignored {
			d.Log.Warn("nano: method is not a handler", "method", i.Method, "signature", i.Signature, "reason", i.Reason)
		}
	}
	var faults []error
	for _, route := range slices.Sorted(maps.Keys(d.handlers)) {
		h := d.handlers[route]
		if d.Debug {
			d.logRoute(h)
		}
		if err := d.checkTypes(h); err != nil {
			d.Log.Error("nano: handler cannot be called", "route", route, "error", err.Error())
			faults = append(faults, fmt.Errorf("%s: %w", route, err))
		}
	}
	if len(faults) > 0 && len(faults) == len(d.handlers) {
		return fmt.Errorf("component: no handler can be called with this serializer: %w", errors.Join(faults...))
	}
	return nil
}

// logRoute logs one line of the table of routes.
func (d *Dispatcher) logRoute(h *handler.Handler) {
	attrs := []any{"route", h.Route, "request", h.Type.String()}
	if reply := h.Reply(); reply != nil {
		attrs = append(attrs, "reply", reply.String())
	}
	if h.SchedName != "" {
		attrs = append(attrs, "scheduler", h.SchedName)
	}
	if h.Sessionless() {
		attrs = append(attrs, slog.Bool("nodes_only", true))
	}
	d.Log.Debug("nano: route", attrs...)
}

// checkTypes returns an error if the serializer can never take the request or the reply of a
// handler.
func (d *Dispatcher) checkTypes(h *handler.Handler) error {
	checker, ok := d.Serializer.(serialize.TypeChecker)
	if !ok {
		return nil
	}
	for _, part := range []struct {
		name string
		t    reflect.Type
	}{{"request", h.Type}, {"reply", h.Reply()}} {
		if part.t == nil || part.name == "request" && h.IsRawArg {
			continue
		}
		if err := checker.CheckType(part.t); err != nil {
			return fmt.Errorf("the %s %v: %w", part.name, part.t, err)
		}
	}
	return nil
}
