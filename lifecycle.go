package nano

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/pkg/errors"

	"github.com/lonng/nano/component"
	"github.com/lonng/nano/internal/stacktrace"
)

// ServerComponent is implemented by a component that uses its server, for example for
// timers or pushes to users.
type ServerComponent interface {
	component.Component
	// InitServer gets the server. It runs on the logic goroutine, before Init of any
	// component.
	InitServer(*Server)
}

// Drainer is implemented by a component whose work ends before the server shuts down, for
// example games that are played to their end.
type Drainer interface {
	component.Component
	// Drain returns when the work has ended or ctx ends. Shutdown first stops accepting
	// clients, and then calls Drain on a new goroutine. Meanwhile messages, timers and
	// sessions continue to work.
	Drain(ctx context.Context)
}

// Start starts the logic goroutine. On it, Start runs InitServer of the components that
// are a [ServerComponent]. Then it runs Init of every component, and then AfterInit of
// every component. Each step follows the order of registration. Serve and ServeWebSocket
// call Start themselves. Calling it again does nothing and returns the same result; after
// Shutdown it returns [ErrServerClosed].
//
// Start returns all bad values of options and all faults of components, joined, and a
// panic in a component as an error.
func (s *Server) Start() error {
	s.mu.Lock()
	state := s.state
	if state == stateNew {
		s.state = stateStarting
	}
	s.mu.Unlock()
	if state == stateNew {
		s.start()
	}
	<-s.started
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.startErr == nil && s.state == stateClosed {
		return ErrServerClosed
	}
	return s.startErr
}

// start leaves the server running, or closed with startErr set.
func (s *Server) start() {
	defer close(s.started)
	err := s.fault
	if err == nil {
		err = errors.Wrap(s.dispatch.Check(), "nano: WithComponents") // nil stays nil
	}
	if err == nil && s.broker.Clustered() && s.clusterListener == nil {
		err = errNoClusterListener
	}
	if err != nil && s.clusterListener != nil {
		_ = s.clusterListener.Close()
	}
	if err == nil {
		s.loop.Start()
		s.hub.Start()
		if err = s.initComponents(); err == nil {
			err = s.join()
		} else if s.clusterListener != nil {
			_ = s.clusterListener.Close()
		}
		if err != nil {
			s.sched.Close()
			s.hub.Stop()
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.state, s.startErr = stateClosed, err
		close(s.closing)
		close(s.stopped)
		return
	}
	s.state = stateRunning
	s.ready.Store(true)
	s.begun.Store(true)
	s.watch.Add(1)
	go s.watchStuck()
}

// step is one step in the life of a component.
type step struct {
	name string
	run  func(component.Component)
}

// initComponents runs the steps of a start.
func (s *Server) initComponents() error {
	services := s.dispatch.Components()
	for _, step := range []step{
		{"InitServer", func(c component.Component) {
			if c, ok := c.(ServerComponent); ok {
				c.InitServer(s)
			}
		}},
		{"Init", component.Component.Init},
		{"AfterInit", component.Component.AfterInit},
	} {
		for i, c := range s.opts.components {
			if err := s.lifecycle(context.Background(), services[i].Name, c.Comp, step); err != nil {
				return err
			}
		}
	}
	return nil
}

// lifecycle runs one step of a component on the logic goroutine and waits for it. A panic
// is an error.
func (s *Server) lifecycle(ctx context.Context, service string, c component.Component, step step) error {
	name := service + "." + step.name
	done := make(chan error, 1)
	accepted := s.loop.Invoke(func() {
		s.loop.SelfTimed() // a component may take its time
		finished := false
		defer func() {
			if p := recover(); p != nil {
				s.log.Error("nano: panic in "+name, "panic", fmt.Sprint(p), stacktrace.Attr())
				done <- errors.Errorf("nano: panic in %s: %v", name, p)
			} else if !finished {
				done <- errors.Errorf("nano: %s ended the logic goroutine", name)
			}
		}()
		step.run(c)
		finished = true
		done <- nil
	})
	if !accepted {
		return ErrServerClosed
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return errors.Wrap(ctx.Err(), "nano: waiting for "+name)
	}
}

// watchStuck checks once per second whether a task holds the logic goroutine for too
// long.
func (s *Server) watchStuck() {
	defer s.watch.Done()
	t := time.NewTicker(time.Second)
	defer t.Stop()
	for {
		select {
		case <-s.closing:
			return
		case <-t.C:
			s.loop.CheckStuck()
		}
	}
}

// Shutdown ends the server. In this order it:
//   - stops accepting clients,
//   - runs Drain of the components that are a [Drainer], all at once, and waits for them,
//   - runs BeforeShutdown of the components in reverse order, while the sessions are
//     still open,
//   - runs the messages that were accepted, then kicks the clients and runs their close
//     callbacks,
//   - runs Shutdown of the components in reverse order,
//   - waits until every goroutine of the server has ended.
//
// If ctx ends before that, Shutdown closes the connections and returns the error of ctx;
// the rest ends in the background. The last tenth of the time until the deadline of ctx,
// 1 s at most, is kept for kicking clients whose messages have not run; the context of
// Drain ends as much earlier again.
//
// Called again, it waits likewise. While Start runs, it waits for Start first. Called on
// the logic goroutine, it returns nil at once and continues in the background.
func (s *Server) Shutdown(ctx context.Context) error {
	if s.loop.Running() {
		go func() { _ = s.shutdownOnce(ctx) }()
		return nil
	}
	return s.shutdownOnce(ctx)
}

func (s *Server) shutdownOnce(ctx context.Context) error {
	s.mu.Lock()
	if s.state == stateStarting {
		s.mu.Unlock()
		select {
		case <-s.started:
		case <-ctx.Done():
			go func() {
				<-s.started
				_ = s.shutdownOnce(ctx)
			}()
			return ctx.Err()
		}
		s.mu.Lock()
	}
	state := s.state
	s.state = stateClosed
	s.ready.Store(false)
	if state != stateClosed {
		close(s.closing)
	}
	s.mu.Unlock()
	switch state {
	case stateNew:
		s.sched.Close()
		close(s.started)
		close(s.stopped)
		return nil
	case stateRunning:
		return s.shutdown(ctx)
	}
	select {
	case <-s.stopped:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// farewellTime is how much of the time until its deadline Shutdown keeps for kicking
// clients. If a tenth of that time is less, it keeps the tenth.
const farewellTime = time.Second

// beforeFarewell returns ctx with an earlier deadline, if it has one.
func beforeFarewell(ctx context.Context) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return ctx, func() {}
	}
	return context.WithDeadline(ctx, deadline.Add(-min(time.Until(deadline)/10, farewellTime)))
}

func (s *Server) shutdown(ctx context.Context) error {
	pages := s.closeListeners(ctx)
	work, cancel := beforeFarewell(ctx)
	defer cancel()
	s.drainComponents(work)
	err := s.endComponents(work, step{"BeforeShutdown", component.Component.BeforeShutdown})
	s.broker.Withdraw(work)
	s.dispatch.Drain()
	s.hub.Drain()
	s.broker.Drain()
	e := s.hub.Wait(work, ctx)
	if e == nil {
		e = s.broker.Wait(ctx)
	}
	if err == nil && e != nil {
		err = errors.Wrap(e, "nano: waiting for sessions to close")
	}
	if e := s.endComponents(ctx, step{"Shutdown", component.Component.Shutdown}); err == nil {
		err = e
	}
	if e := s.broker.Leave(ctx); err == nil && e != nil {
		err = errors.Wrap(e, "nano: leaving the cluster")
	}
	ended := make(chan struct{})
	go func() {
		defer close(s.stopped)
		defer close(ended)
		s.sched.Close()
		s.hub.Stop()
		<-pages
		s.serving.Wait()
		s.watch.Wait()
	}()
	select {
	case <-ended:
		return err
	case <-ctx.Done():
	}
	if err == nil {
		err = errors.Wrap(ctx.Err(), "nano: waiting for goroutines to end")
	}
	return err
}

// drainComponents runs Drain of every component that has it, and waits until all have
// returned or ctx has ended. Their context ends earlier, so that they can still send their
// last messages.
func (s *Server) drainComponents(ctx context.Context) {
	work, cancel := beforeFarewell(ctx)
	defer cancel()
	var wg sync.WaitGroup
	for i, c := range s.opts.components {
		d, ok := c.Comp.(Drainer)
		if !ok {
			continue
		}
		name := s.dispatch.Components()[i].Name
		wg.Go(func() {
			defer func() {
				if p := recover(); p != nil {
					s.log.Error("nano: panic in "+name+".Drain", "panic", fmt.Sprint(p), stacktrace.Attr())
				}
			}()
			d.Drain(work)
		})
	}
	drained := make(chan struct{})
	go func() {
		wg.Wait()
		close(drained)
	}()
	select {
	case <-drained:
	case <-ctx.Done():
	}
}

// endComponents runs one step of every component in reverse order. If a component fails,
// the others still run. It returns the first error.
func (s *Server) endComponents(ctx context.Context, step step) error {
	var first error
	services := s.dispatch.Components()
	for i, c := range slices.Backward(s.opts.components) {
		err := s.lifecycle(ctx, services[i].Name, c.Comp, step)
		if err != nil {
			s.log.Error("nano: shutdown", "error", err.Error())
		}
		if first == nil {
			first = err
		}
	}
	return first
}
