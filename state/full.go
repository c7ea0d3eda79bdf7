package state

// full appends the nonzero fields of r and returns their mask: the difference from zero,
// based on the sent values. ends is as in [encoder.compare].
func (e *encoder) full(p *plan, r *row, ends []uint32) (mask uint64) {
	level := 0
	for i := range p.fields {
		f := &p.fields[i]
		for ends != nil && level < int(f.level) {
			ends[level] = uint32(len(e.buf))
			level++
		}
		if e.fullField(f, r) {
			mask |= 1 << i
		}
	}
	for ; level < len(ends); level++ {
		ends[level] = uint32(len(e.buf))
	}
	return mask
}

// fullField appends the field if it is not zero and reports whether it did.
func (e *encoder) fullField(f *field, r *row) bool {
	switch f.kind {
	case kindStr:
		if r.strs[f.slot] == "" {
			return false
		}
		e.buf = appendString(e.buf, r.strs[f.slot])
		return true
	case kindObj:
		obj := r.subs[f.slot].obj
		if obj == nil {
			return false
		}
		e.buf = append(e.buf, 1)
		e.fullBody(f.obj, obj)
		return true
	case kindList:
		return e.fullList(f.elem, r.subs[f.slot].list)
	case kindMap:
		m := r.subs[f.slot].m
		if m == nil || m.n == 0 {
			return false
		}
		e.buf = append(e.buf, 1, 0)
		last := -1
		var mask uint64
		for h := range m.live.all {
			from := len(e.buf)
			mask = e.enter(m, h, from, h-last, mask, e.fullValue(m, h))
			last = h
		}
		e.buf = append(e.buf, 0, 0)
		return true
	}
	n := r.nums[f.slot]
	if n == 0 {
		return false
	}
	if f.kind != kindBool {
		e.buf = f.append(e.buf, 0, n)
	}
	return true
}

// fullBody appends a struct from zeros: its mask, 0 included, and its fields.
func (e *encoder) fullBody(p *plan, r *row) {
	at := len(e.buf)
	mask := e.full(p, r, nil)
	e.buf = insertUint(e.buf, at, mask)
}

func (e *encoder) fullList(v *value, l *list) bool {
	if l == nil {
		return false
	}
	n := max(len(l.nums), len(l.strs), len(l.rows))
	if n == 0 {
		return false
	}
	e.splice(0, 0, n)
	for _, x := range l.nums {
		e.buf = v.append(e.buf, 0, x)
	}
	for _, s := range l.strs {
		e.buf = appendString(e.buf, s)
	}
	for _, r := range l.rows {
		switch {
		case v.kind == kindStruct:
			e.fullBody(v.obj, r)
		case r == nil:
			e.buf = append(e.buf, 0)
		default:
			e.buf = append(e.buf, 1)
			e.fullBody(v.obj, r)
		}
	}
	e.buf = append(e.buf, 0)
	return true
}

// fullValue appends the value of handle h of m without its mask, which it returns.
func (e *encoder) fullValue(m *members, h int) (mask uint64) {
	switch m.val.kind {
	case kindObj:
		var r row
		m.tab.row(&r, h)
		return e.full(m.val.obj, &r, nil)
	case kindStr:
		e.buf = appendString(e.buf, m.tab.strs[h])
	default:
		e.buf = m.val.append(e.buf, 0, m.tab.nums[h])
	}
	return 0
}

// enter inserts the tag, the mask and the key of handle h of m before its value, which
// starts at from. It returns the mask against which the next one is compared.
func (e *encoder) enter(m *members, h, from, gap int, last, mask uint64) uint64 {
	n := len(e.buf)
	tag := uint64(gap) << 1
	switch {
	case m.val.kind != kindObj:
		e.buf = appendUint(e.buf, tag)
	case mask == last:
		e.buf = appendUint(e.buf, tag|1)
	default:
		e.buf = appendUint(e.buf, tag)
		e.buf = appendUint(e.buf, mask)
	}
	e.buf = m.appendKey(e.buf, h)
	rotate(e.buf[from:], n-from)
	return mask
}

// rotate moves the first n bytes of b to its end.
func rotate(b []byte, n int) {
	reverse(b[:n])
	reverse(b[n:])
	reverse(b)
}

func reverse(b []byte) {
	for i, j := 0, len(b)-1; i < j; i, j = i+1, j-1 {
		b[i], b[j] = b[j], b[i]
	}
}
