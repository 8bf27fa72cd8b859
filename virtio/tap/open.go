package tap

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

const device = "/dev/net/tun"

// Error is a tap that cannot be used, and what to do about it, in one line.
type Error struct {
	Name string // the interface
	Op   string // what failed: "open /dev/net/tun", "TUNSETIFF"
	Err  error  // the kernel's answer
	Hint string // what to do; may be empty
}

func (e *Error) Error() string {
	s := fmt.Sprintf("tap %s: %s: %v", e.Name, e.Op, e.Err)
	if e.Hint != "" {
		s += " (" + e.Hint + ")"
	}
	return s
}

func (e *Error) Unwrap() error { return e.Err }

// openQueue opens a descriptor and attaches it to the interface.
func openQueue(name string, flags uint16) (fd int, op string, err error) {
	fd, err = unix.Open(device, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return -1, "open " + device, err
	}
	r, err := unix.NewIfreq(name)
	if err == nil {
		r.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR | flags)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, r)
	}
	if err != nil {
		unix.Close(fd)
		return -1, "TUNSETIFF", err
	}
	return fd, "", nil
}

// exists reports whether there is an interface with this name: TUNSETIFF would make one, without addresses, and down.
func exists(name string) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd)
	r, err := unix.NewIfreq(name)
	if err != nil {
		return err
	}
	return unix.IoctlIfreq(fd, unix.SIOCGIFINDEX, r)
}

// openQueues opens a descriptor for each queue pair and reports whether the interface has several.
func openQueues(name string, pairs int) (fds []int, multi bool, err error) {
	if name == "" || len(name) >= unix.IFNAMSIZ {
		return nil, false, &Error{Name: fmt.Sprintf("%q", name), Op: "name", Err: unix.EINVAL, Hint: fmt.Sprintf("1 to %d characters", unix.IFNAMSIZ-1)}
	}
	if err := exists(name); err != nil {
		return nil, false, explain(name, "SIOCGIFINDEX", err, pairs)
	}
	// An interface with several queues wants to be told so also for the first. For one pair, either kind will do.
	multi = true
	fd, op, err := openQueue(name, unix.IFF_MULTI_QUEUE)
	if errors.Is(err, unix.EINVAL) {
		single, singleOp, singleErr := openQueue(name, 0)
		switch {
		case singleErr == nil && pairs == 1:
			return []int{single}, false, nil
		case singleErr == nil || errors.Is(singleErr, unix.EBUSY) && pairs > 1:
			if singleErr == nil {
				unix.Close(single)
			}
			return nil, false, &Error{Name: name, Op: op, Err: err, Hint: fmt.Sprintf(
				"it has one queue and %d are asked for; make it with `ip tuntap add dev %s mode tap multi_queue`, or use queues=1", pairs, name)}
		default:
			op, err = singleOp, singleErr
		}
	}
	if err != nil {
		return nil, false, explain(name, op, err, pairs)
	}
	fds = append(fds, fd)
	for len(fds) < pairs {
		fd, op, err := openQueue(name, unix.IFF_MULTI_QUEUE)
		if err != nil {
			closeAll(fds)
			return nil, false, explain(name, op, err, pairs)
		}
		fds = append(fds, fd)
	}
	return fds, multi, nil
}

func closeAll(fds []int) {
	for _, fd := range fds {
		unix.Close(fd)
	}
}

// explain says what to do about an interface that does not open.
func explain(name, op string, err error, pairs int) error {
	e := &Error{Name: name, Op: op, Err: err}
	add := fmt.Sprintf("ip tuntap add dev %s mode tap multi_queue user $USER", name)
	opening := op == "open "+device
	switch {
	case opening && (errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENODEV) || errors.Is(err, unix.ENXIO)):
		e.Hint = "the kernel's tun driver is not there; try `modprobe tun`"
	case opening && (errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM)):
		e.Hint = "this user may not open " + device + "; it is usually readable and writable for everybody"
	case errors.Is(err, unix.ENODEV):
		e.Hint = "there is no such interface; make it with `" + add + "`"
	case errors.Is(err, unix.EPERM):
		e.Hint = "it belongs to another user; make it with `" + add + "`"
	case errors.Is(err, unix.EBUSY):
		e.Hint = "another program uses it"
	case errors.Is(err, unix.EINVAL):
		e.Hint = "the name belongs to an interface that is not a tap"
	case errors.Is(err, unix.E2BIG):
		e.Hint = fmt.Sprintf("it cannot have %d queues more; another program may use some", pairs)
	}
	return e
}
