package tap

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// Error is a tap that cannot be used, in one line that says what to do about it.
type Error struct {
	Name   string // the interface
	Reason string // what is wrong, and what helps
	Err    error  // the kernel's answer, or what it would have been
}

func (e *Error) Error() string { return "tap " + shown(e.Name) + ": " + e.Reason }

func (e *Error) Unwrap() error { return e.Err }

// shown is a name as a message has it: quoted if it is empty or has what a terminal would obey. The kernel forbids only white space, / and :.
func shown(name string) string {
	if q := strconv.Quote(name); name == "" || q != `"`+name+`"` {
		return q
	}
	return name
}

// failed is an error for which there is nothing to advise.
func failed(name, op string, err error) error {
	return &Error{Name: name, Reason: fmt.Sprintf("%s: %v", op, err), Err: err}
}

// command makes an interface that this user may use with any number of queues.
func command(name string) string {
	s := "ip tuntap add dev " + shown(name) + " mode tap multi_queue"
	if os.Geteuid() != 0 {
		s += " user $USER"
	}
	return s
}

func noDevice(err error) error { return fmt.Errorf("%s: %w", device, err) }

// explainLink is for an interface that is not found.
func explainLink(name string, err error) error {
	if errors.Is(err, unix.ENODEV) {
		return &Error{name, "no such interface; make it with: " + command(name), err}
	}
	return failed(name, "look for the interface", err)
}

// unfit says why an interface will not do for this number of queues, or nil.
func unfit(name string, l *link, queues int) error {
	switch {
	case l.kind != "tun":
		kind := l.kind
		if kind == "" {
			kind = "network"
		}
		return &Error{name, fmt.Sprintf("a %s interface, not a tap; choose another name and make it with: %s", kind, command("NAME")), unix.EINVAL}
	case l.tun && l.mode != unix.IFF_TAP:
		return &Error{name, "a tun interface, which carries no Ethernet frames; make a tap with: " + command("NAME"), unix.EINVAL}
	case l.tun && !l.multi && queues > 1:
		return &Error{name, fmt.Sprintf("it has one queue and %d are asked for; use queues=1, or make it again with: ip tuntap del dev %s mode tap; %s",
			queues, shown(name), command(name)), unix.EINVAL}
	case l.queues > 0:
		return busy(name)
	}
	return nil
}

func busy(name string) error {
	return &Error{name, "in use by another program; end that, or give this machine a tap of its own", unix.EBUSY}
}

// explainOpen is for a descriptor that does not open.
func explainOpen(name string, err error, queues int) error {
	e := &Error{Name: name, Err: err}
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENXIO):
		e.Reason = fmt.Sprintf("%v; load the kernel's driver with: modprobe tun", noDevice(err))
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		e.Reason = fmt.Sprintf("%v; let every user open it, as is usual, with: chmod 666 %s", noDevice(err), device)
	case errors.Is(err, unix.EMFILE):
		e.Reason = fmt.Sprintf("%v; allow %d more with: ulimit -n", noDevice(err), queues)
	default:
		e.Reason = noDevice(err).Error()
	}
	return e
}

// explainAttach is for a descriptor that does not attach to an interface, which is as l says.
func explainAttach(name string, err error, l *link) error {
	switch {
	case errors.Is(err, unix.EBUSY):
		return busy(name)
	case errors.Is(err, unix.EPERM):
		owner := "another user"
		switch {
		case l.owner >= 0:
			owner = fmt.Sprintf("user %d", l.owner)
		case l.ownerTeam >= 0:
			owner = fmt.Sprintf("group %d", l.ownerTeam)
		}
		return &Error{name, fmt.Sprintf("not permitted: it belongs to %s; run with CAP_NET_ADMIN, or make it again with: ip tuntap del dev %s mode tap; "+
			"ip tuntap add dev %s mode tap multi_queue user $USER", owner, shown(name), shown(name)), err}
	}
	return failed(name, "TUNSETIFF", err)
}
