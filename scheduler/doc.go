// Package scheduler runs tasks and timers on one goroutine, so that the data they share needs
// no lock.
//
// Every server has one [Scheduler]. Its goroutine, the logic goroutine, runs the handlers, the
// session callbacks and the timers of the game, one at a time. [Scheduler.Invoke] runs a
// function there; NewTimer and its relatives call one there later:
//
//	s := server.Scheduler()
//	s.NewTimer(50*time.Millisecond, world.Tick)
//	s.Invoke(func() { world.Add(player) })
//
// A program makes more schedulers with [New], for example one for each room, so that rooms run
// on several cores. A session that holds a room's scheduler under a key has the messages of a
// component run there; see component.WithSchedulerName.
//
// # The default scheduler
//
// The functions [Invoke], [NewTimer], [NewCountTimer], [NewAfterTimer] and [NewCondTimer] use
// the default scheduler. Only nano.Listen starts it. A server of nano.New has a scheduler of
// its own: use the methods of [Scheduler] there. If the default scheduler was not started
// within five seconds of a call, the package logs that once.
//
// # Rules for tasks
//
// A task must not block: every other task waits for it. One that takes longer than 100 ms is
// logged, see [WithSlow]; one that takes longer than five seconds has its stack logged. A panic
// in a task is logged and costs that task alone.
package scheduler
