//go:build !unix

package agent

import "errors"

// rawSupported: connections are read and written through package net.
const rawSupported = false

var errRaw = errors.New("agent: no raw sockets on this system")

func rawRead(uintptr, []byte) (int, bool, error) { return 0, false, errRaw }
func rawWrite(uintptr, []byte) (int, error)      { return 0, errRaw }
