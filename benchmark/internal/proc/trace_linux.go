package proc

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

const canTrace = true

var errNoTrace error

// callInfo is struct ptrace_syscall_info of Linux, as far as it is used.
type callInfo struct {
	Op   uint8
	_    [3]uint8
	Arch uint32
	_    [2]uint64
	// Value is the number of the call at its entry, and its result at its exit.
	Value int64
	_     [6]uint64
}

const (
	getCallInfo = 0x420e // PTRACE_GET_SYSCALL_INFO
	opEntry     = 1
	opExit      = 2

	callStop = syscall.SIGTRAP | 0x80 // the signal of a stop at a call, with PTRACE_O_TRACESYSGOOD
)

// trace runs the process that a specification describes, with its own standard files, and
// counts the system calls of all its threads. It returns the exit code.
func trace(spec string) int {
	code, err := traceProcess(spec)
	if err != nil {
		fmt.Fprintln(os.Stderr, "counting system calls:", err)
		return 1
	}
	return code
}

func traceProcess(text string) (code int, err error) {
	var spec traced
	if err := json.Unmarshal([]byte(text), &spec); err != nil {
		return 0, err
	}
	counts, err := mapCounts(spec.Counts)
	if err != nil {
		return 0, err
	}
	runtime.LockOSThread() // one thread traces, from the start of the process
	cmd := exec.Command(spec.Program, roleMark+spec.Role, spec.Spec)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Ptrace: true}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	pid := cmd.Process.Pid
	var status syscall.WaitStatus
	if _, err := syscall.Wait4(pid, &status, 0, nil); err != nil {
		return 0, os.NewSyscallError("wait4", err)
	}
	const options = unix.PTRACE_O_TRACESYSGOOD | unix.PTRACE_O_TRACECLONE | unix.PTRACE_O_EXITKILL
	if err := syscall.PtraceSetOptions(pid, options); err != nil {
		return 0, os.NewSyscallError("ptrace", err)
	}
	t := tracer{counts: counts, call: map[int]int64{pid: 0}}
	if err := syscall.PtraceSyscall(pid, 0); err != nil {
		return 0, os.NewSyscallError("ptrace", err)
	}
	for {
		thread, err := syscall.Wait4(-1, &status, syscall.WALL, nil)
		switch {
		case err == syscall.EINTR:
			continue
		case err != nil:
			return 0, os.NewSyscallError("wait4", err)
		case status.Exited() || status.Signaled():
			if thread == pid {
				return status.ExitStatus(), nil
			}
			delete(t.call, thread)
			continue
		}
		// A thread may be gone before it is continued: its end is reported next.
		if err := syscall.PtraceSyscall(thread, t.stopped(thread, status)); err != nil && err != syscall.ESRCH {
			return 0, os.NewSyscallError("ptrace", err)
		}
	}
}

// mapCounts returns the two numbers in a file, which are written through.
func mapCounts(name string) (*[2]atomic.Int64, error) {
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := syscall.Mmap(int(f.Fd()), 0, countsSize, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	if err != nil {
		return nil, os.NewSyscallError("mmap", err)
	}
	return (*[2]atomic.Int64)(unsafe.Pointer(&b[0])), nil
}

// tracer holds the counts of a traced process, and the call that each thread is in.
type tracer struct {
	counts *[2]atomic.Int64
	call   map[int]int64
}

// stopped handles the stop of a thread and returns the signal that the thread still has to
// get.
func (t *tracer) stopped(thread int, status syscall.WaitStatus) (signal int) {
	_, known := t.call[thread]
	if !known {
		t.call[thread] = 0
	}
	switch s := status.StopSignal(); {
	case s == callStop:
		t.count(thread)
		return 0
	case s == syscall.SIGTRAP: // a new thread was made
		return 0
	case s == syscall.SIGSTOP && !known: // the new thread starts
		return 0
	default:
		return int(s)
	}
}

func (t *tracer) count(thread int) {
	var info callInfo
	_, _, e := syscall.RawSyscall6(syscall.SYS_PTRACE, getCallInfo, uintptr(thread), unsafe.Sizeof(info), uintptr(unsafe.Pointer(&info)), 0, 0)
	if e != 0 {
		return
	}
	switch info.Op {
	case opEntry:
		t.call[thread] = info.Value
		switch info.Value {
		case unix.SYS_READ, unix.SYS_READV, unix.SYS_RECVFROM, unix.SYS_RECVMSG, unix.SYS_EPOLL_CTL,
			unix.SYS_WRITE, unix.SYS_WRITEV, unix.SYS_SENDTO, unix.SYS_SENDMSG:
			t.counts[0].Add(1)
		}
	case opExit:
		switch t.call[thread] {
		case unix.SYS_WRITE, unix.SYS_WRITEV, unix.SYS_SENDTO, unix.SYS_SENDMSG:
			t.counts[1].Add(max(info.Value, 0))
		}
	}
}
