package scheduler

// PushTask queues a task on the default scheduler.
//
// Deprecated: Use [Invoke].
func PushTask(t Task) { Invoke(t) }

// PushTask queues a task.
//
// Deprecated: Use [Scheduler.Invoke].
func (s *Scheduler) PushTask(t Task) { s.loop.Invoke(t) }

// Sched starts the default scheduler.
//
// Deprecated: nano.Listen starts it. A test gives its server the default scheduler with
// nano.WithScheduler([Default]()).
func Sched() { Default().loop.Start() }
