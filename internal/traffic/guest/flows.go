package guest

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"time"

	"doorbell/internal/traffic/wire"

	"golang.org/x/sys/unix"
)

// each runs one worker for every flow, on the CPU that it belongs to. The first error ends the others.
func each(ctx context.Context, f *wire.Flows, work func(ctx context.Context, flow int) (wire.Flow, error)) ([]wire.Flow, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	flows := make([]wire.Flow, f.Count)
	var once sync.Once
	var first error
	var group sync.WaitGroup
	for i := range flows {
		group.Go(func() {
			err := pin(f.CPU(i))
			if err == nil {
				flows[i], err = work(ctx, i)
			}
			if err != nil {
				once.Do(func() { first = flowError(i, err) })
				cancel()
			}
		})
	}
	group.Wait()
	return flows, first
}

// pin ties the goroutine, and what is left of its thread's life, to a CPU; -1 is anywhere.
func pin(cpu int) error {
	if cpu < 0 {
		return nil
	}
	var set unix.CPUSet
	set.Set(cpu)
	runtime.LockOSThread()
	if !set.IsSet(cpu) {
		return fmt.Errorf("CPU %d does not exist", cpu)
	}
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		return fmt.Errorf("run on CPU %d: %w", cpu, err)
	}
	return nil
}

// opener makes the TCP connection of a flow.
type opener func(ctx context.Context, flow int) (*socket, error)

// open prepares the flows of a task over TCP. What it returns is to be called for each flow, and closed after the last.
func (t *task) open(ctx context.Context, f *wire.Flows) (opener, func(), error) {
	if !f.Inbound {
		return func(ctx context.Context, flow int) (*socket, error) {
			c, err := dial(ctx, "tcp4", t.session.controller, f.SourcePort(flow))
			if err != nil {
				return nil, err
			}
			if err := (wire.Preface{Data: true, Flow: flow, Token: f.Token}).Write(c); err != nil {
				c.Close()
				return nil, err
			}
			return blocking(ctx, c)
		}, func() {}, nil
	}
	l, err := listenTCP(ctx, f.Port)
	if err != nil {
		return nil, nil, err
	}
	w := &welcome{listener: l, token: f.Token, flows: make([]chan net.Conn, f.Count), done: make(chan struct{})}
	for i := range w.flows {
		w.flows[i] = make(chan net.Conn, 1)
	}
	go w.accept()
	if err := t.ready(uint16(l.Addr().(*net.TCPAddr).Port)); err != nil {
		w.close()
		return nil, nil, err
	}
	return w.open, w.close, nil
}

// welcome hands incoming connections to the flows that they say they are.
type welcome struct {
	listener *net.TCPListener
	token    wire.Token
	flows    []chan net.Conn
	done     chan struct{} // closed when accept has ended
}

// prefacePatience is for a stranger to say who it is.
const prefacePatience = 10 * time.Second

// accept looks at one connection at a time: the controller opens no more than it needs.
func (w *welcome) accept() {
	defer close(w.done)
	for {
		c, err := w.listener.Accept()
		if err != nil {
			return // closed
		}
		c.SetDeadline(time.Now().Add(prefacePatience))
		p, err := wire.ReadPreface(c)
		if err != nil || !p.Data || p.Token != w.token || p.Flow >= len(w.flows) {
			c.Close()
			continue
		}
		c.SetDeadline(time.Time{})
		select {
		case w.flows[p.Flow] <- c:
		default: // the same flow twice
			c.Close()
		}
	}
}

func (w *welcome) open(ctx context.Context, flow int) (*socket, error) {
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case c := <-w.flows[flow]:
		return blocking(ctx, c)
	}
}

func (w *welcome) close() {
	w.listener.Close()
	<-w.done
	for _, f := range w.flows {
		select {
		case c := <-f:
			c.Close()
		default:
		}
	}
}

// openUDP makes the socket of a flow, connected to the controller's.
func (t *task) openUDP(ctx context.Context, f *wire.Flows, flow int) (*socket, error) {
	var c net.Conn
	var err error
	if f.Inbound {
		c, err = t.waitForPeer(ctx, f)
	} else {
		c, err = dial(ctx, "udp4", netip.AddrPortFrom(t.session.controller.Addr(), f.Port), f.SourcePort(flow))
	}
	if err != nil {
		return nil, err
	}
	s, err := blocking(ctx, c)
	if err != nil {
		return nil, err
	}
	if err = s.bufferMore(); err == nil {
		err = s.readTimeout(tick)
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// waitForPeer listens on the port and connects the socket to who sends the task's first datagram, which stays to be read.
func (t *task) waitForPeer(ctx context.Context, f *wire.Flows) (net.Conn, error) {
	c, err := net.ListenUDP("udp4", &net.UDPAddr{Port: int(f.Port)})
	if err != nil {
		return nil, err
	}
	defer context.AfterFunc(ctx, func() { c.SetReadDeadline(time.Unix(1, 0)) })()
	if err := t.ready(uint16(c.LocalAddr().(*net.UDPAddr).Port)); err != nil {
		c.Close()
		return nil, err
	}
	raw, err := c.SyscallConn()
	if err != nil {
		c.Close()
		return nil, err
	}
	var result error
	err = raw.Read(func(fd uintptr) bool {
		for {
			var header [wire.DatagramHeader]byte
			n, from, err := unix.Recvfrom(int(fd), header[:], unix.MSG_PEEK)
			switch {
			case err == unix.EAGAIN:
				return false
			case err == unix.EINTR:
				continue
			case err != nil:
				result = err
				return true
			}
			if d, ok := wire.ParseDatagram(header[:n]); ok && d.Key == f.Token.Key() {
				result = unix.Connect(int(fd), from)
				return true
			}
			unix.Recvfrom(int(fd), header[:], 0) // a stranger's
		}
	})
	if err == nil {
		err = result
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}
