package vfio

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// watch waits for the host to ask for the device (somebody unbinds or unplugs it), and for errors that the device reports (AER).
type watch struct {
	request, failure, stop int
	done                   chan struct{}
}

// newWatch starts to wait.
func newWatch(p *Passed) (*watch, error) {
	w := &watch{request: -1, failure: -1, stop: -1, done: make(chan struct{})}
	for _, fd := range []*int{&w.request, &w.failure, &w.stop} {
		var err error
		if *fd, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
			close(w.done)
			return nil, errors.Join(fmt.Errorf("eventfd: %w", err), w.close())
		}
	}
	for _, q := range []struct{ index, fd int }{{irqRequest, w.request}, {irqError, w.failure}} {
		if p.dev.irqCount(q.index) == 0 {
			continue
		}
		if err := p.dev.setIRQs(q.index, irqActionTrigger, 0, []int32{int32(q.fd)}); err != nil {
			close(w.done)
			return nil, errors.Join(err, w.close())
		}
	}
	go w.wait(p)
	return w, nil
}

func (w *watch) wait(p *Passed) {
	defer close(w.done)
	fds := []unix.PollFd{{Fd: int32(w.stop), Events: unix.POLLIN}, {Fd: int32(w.request), Events: unix.POLLIN}, {Fd: int32(w.failure), Events: unix.POLLIN}}
	for {
		if _, err := unix.Poll(fds, -1); err != nil && !errors.Is(err, unix.EINTR) {
			return // the descriptors are ours: it cannot happen
		}
		switch {
		case fds[0].Revents != 0:
			return
		case fds[1].Revents != 0:
			p.cfg.Gone("the host wants it back", true)
			return
		case fds[2].Revents != 0:
			p.cfg.Gone("it reports an error", false)
			return
		}
	}
}

// close ends the wait.
func (w *watch) close() error {
	if w.stop >= 0 {
		_, _ = unix.Write(w.stop, []byte{1, 0, 0, 0, 0, 0, 0, 0})
	}
	<-w.done
	var errs []error
	for _, fd := range []int{w.request, w.failure, w.stop} {
		if fd >= 0 {
			errs = append(errs, unix.Close(fd))
		}
	}
	return errors.Join(errs...)
}
