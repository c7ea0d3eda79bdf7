package agent

import "sync/atomic"

// flags replaces several atomic.Bool fields and needs a quarter of the space of one.
type flags struct{ bits atomic.Uint32 }

func (f *flags) has(flag uint32) bool { return f.bits.Load()&flag != 0 }

// set sets a flag and reports whether it was set before.
func (f *flags) set(flag uint32) bool { return f.bits.Or(flag)&flag != 0 }

// clear clears a flag and reports whether it was set before.
func (f *flags) clear(flag uint32) bool { return f.bits.And(^flag)&flag != 0 }
