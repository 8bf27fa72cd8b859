package tap

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

const device = "/dev/net/tun"

// maxQueues is the kernel's MAX_TAP_QUEUES.
const maxQueues = 256

// Config says which interface to use.
type Config struct {
	Name   string // of an interface that exists
	Queues int    // queue pairs; 0 is 1
}

func (c *Config) check() error {
	if c.Queues == 0 {
		c.Queues = 1
	}
	switch {
	case c.Name == "" || len(c.Name) >= unix.IFNAMSIZ:
		return &Error{c.Name, fmt.Sprintf("a name of %d characters; want 1 to %d", len(c.Name), unix.IFNAMSIZ-1), unix.EINVAL}
	case c.Queues < 1 || c.Queues > maxQueues:
		return &Error{c.Name, fmt.Sprintf("%d queue pairs; want 1 to %d", c.Queues, maxQueues), unix.EINVAL}
	}
	return nil
}

// attach opens one descriptor for each queue pair. It never makes an interface: TUNSETIFF would, for whoever may.
func attach(c Config, ask *links) (fds []int, now *link, err error) {
	before, err := ask.named(c.Name)
	if err != nil {
		return nil, nil, explainLink(c.Name, err)
	}
	if err := unfit(c.Name, before, c.Queues); err != nil {
		return nil, nil, err
	}
	defer func() {
		if err != nil {
			closeAll(fds)
			fds = nil
		}
	}()
	for range c.Queues {
		fd, err := unix.Open(device, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
		if err != nil {
			return fds, nil, explainOpen(c.Name, err, c.Queues)
		}
		fds = append(fds, fd)
		if err := attachOne(fd, c, before); err != nil {
			return fds, nil, explainAttach(c.Name, err, before)
		}
	}
	now, err = ask.named(c.Name)
	switch {
	case err != nil:
		return fds, nil, explainLink(c.Name, err)
	case now.index != before.index:
		// Deleted before the first TUNSETIFF, which has made another; that one goes when its descriptors do.
		return fds, nil, explainLink(c.Name, unix.ENODEV)
	case now.multi && int(now.queues) != c.Queues:
		// Somebody has attached at the same time. The two would share the frames.
		return fds, nil, busy(c.Name)
	}
	return fds, now, nil
}

// attachOne attaches a descriptor. An interface that was made with several queues wants to be told so also for the first.
func attachOne(fd int, c Config, l *link) error {
	flags := uint16(unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
	if l.multi || !l.tun {
		err := setIff(fd, c.Name, flags|unix.IFF_MULTI_QUEUE)
		// A kernel that does not say which kind it is.
		if l.tun || c.Queues > 1 || !errors.Is(err, unix.EINVAL) {
			return err
		}
	}
	return setIff(fd, c.Name, flags)
}

func setIff(fd int, name string, flags uint16) error {
	r, err := unix.NewIfreq(name)
	if err != nil {
		return err
	}
	r.SetUint16(flags)
	return unix.IoctlIfreq(fd, unix.TUNSETIFF, r)
}

func closeAll(fds []int) {
	for _, fd := range fds {
		unix.Close(fd)
	}
}
