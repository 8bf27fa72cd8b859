package guest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"time"

	"doorbell/internal/traffic/wire"

	"golang.org/x/sys/unix"
)

// connectPatience bounds a connection to the controller.
const connectPatience = 10 * time.Second

// maxTasks is how many may run at a time.
const maxTasks = 64

// session is one controller's time with this guest.
type session struct {
	conn       *wire.Conn
	controller netip.AddrPort
	iface      string // that the control connection goes through; empty if that is not to be seen

	mu    sync.Mutex // guards tasks
	tasks map[uint64]*task
	group sync.WaitGroup
}

// task is one that runs.
type task struct {
	id      uint64
	session *session
	cancel  context.CancelFunc
	// sent ends when the controller has sent all its datagrams, or the task ends.
	sent    context.Context
	allSent context.CancelFunc
}

// Serve connects to the controller at HOST:PORT and runs its tasks until it asks for the end (nil), goes away, or ctx ends.
func Serve(ctx context.Context, address string) error {
	dialer := net.Dialer{Timeout: connectPatience}
	c, err := dialer.DialContext(ctx, "tcp4", address)
	if err != nil {
		return fmt.Errorf("traffic controller: %w", err)
	}
	defer c.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	s := &session{conn: wire.NewConn(c), controller: c.RemoteAddr().(*net.TCPAddr).AddrPort(), iface: interfaceOf(c.LocalAddr()), tasks: map[uint64]*task{}}
	hello := wire.Hello{Version: wire.Version, Kernel: kernelRelease(), CPUs: runtime.NumCPU(), Interface: s.iface}
	if err = (wire.Preface{}).Write(c); err == nil {
		err = s.conn.Send(wire.Message{Kind: wire.KindHello, Hello: &hello})
	}
	if err == nil {
		err = s.receive(ctx)
	}
	cancel()
	s.group.Wait()
	switch {
	case errors.Is(err, errEnd):
		return nil
	case errors.Is(err, io.EOF):
		err = errors.New("it closed the connection")
	}
	return fmt.Errorf("traffic controller %s: %w", address, err)
}

// errEnd is the controller's wish.
var errEnd = errors.New("end")

// receive takes messages until there are no more.
func (s *session) receive(ctx context.Context) error {
	for {
		m, err := s.conn.Receive()
		if err != nil {
			if ctx.Err() != nil {
				err = ctx.Err()
			}
			return err
		}
		switch m.Kind {
		case wire.KindTask:
			if m.Task != nil && m.Task.End != nil {
				s.answer(m.ID, &wire.Result{}, nil) // heard or not
				return errEnd
			}
			if err := s.start(ctx, m); err != nil {
				return err
			}
		case wire.KindSent:
			if t := s.task(m.ID); t != nil {
				t.allSent()
			}
		case wire.KindCancel:
			if t := s.task(m.ID); t != nil {
				t.cancel()
			}
		default:
			return fmt.Errorf("a message of kind %s from a controller", m.Kind)
		}
	}
}

func (s *session) task(id uint64) *task {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tasks[id]
}

// start runs a task; its own failure is its answer.
func (s *session) start(ctx context.Context, m wire.Message) error {
	if err := m.Task.Check(); err != nil {
		return s.answer(m.ID, nil, err)
	}
	ctx, cancel := context.WithCancel(ctx)
	t := &task{id: m.ID, session: s, cancel: cancel}
	t.sent, t.allSent = context.WithCancel(ctx)
	s.mu.Lock()
	full := len(s.tasks) >= maxTasks || s.tasks[m.ID] != nil
	if !full {
		s.tasks[m.ID] = t
	}
	s.mu.Unlock()
	if full {
		cancel()
		return s.answer(m.ID, nil, errors.New("too many tasks at a time, or one number for two"))
	}
	s.group.Go(func() {
		result, err := t.run(ctx, m.Task)
		if err != nil && ctx.Err() != nil {
			err = ctx.Err()
		}
		cancel()
		s.mu.Lock()
		delete(s.tasks, m.ID)
		s.mu.Unlock()
		if s.answer(m.ID, result, err) != nil {
			s.conn.Close() // there is nobody to hear of it; receive ends
		}
	})
	return nil
}

func (s *session) answer(id uint64, result *wire.Result, err error) error {
	m := wire.Message{Kind: wire.KindResult, ID: id, Result: result}
	if err != nil {
		m.Result, m.Error = nil, err.Error()
	}
	return s.conn.Send(m)
}

// ready tells the controller that the guest listens.
func (t *task) ready(port uint16) error {
	return t.session.conn.Send(wire.Message{Kind: wire.KindReady, ID: t.id, Port: port})
}

// run does what the task is.
func (t *task) run(ctx context.Context, task *wire.Task) (*wire.Result, error) {
	result := &wire.Result{}
	var err error
	switch {
	case task.Stream != nil:
		result.Flows, err = t.stream(ctx, task.Stream)
	case task.RoundTrips != nil:
		result.Flows, err = t.roundTrips(ctx, task.RoundTrips)
	case task.Packets != nil:
		result.Flows, err = t.packets(ctx, task.Packets)
	case task.Snapshot != nil:
		result.Snapshot, err = takeSnapshot(t.session.iface)
	case task.Configure != nil:
		name := task.Configure.Interface
		if name == "" {
			name = t.session.iface
		}
		if err = configure(name, task.Configure); err == nil {
			result.Snapshot, err = takeSnapshot(name)
		}
	case task.Resolve != nil:
		result.Resolved, err = resolve(ctx, task.Resolve)
	case task.Ping != nil:
		result.Ping, err = Ping(ctx, PingOptions{Host: task.Ping.Host, Count: task.Ping.Count, Bytes: task.Ping.Bytes, Timeout: time.Duration(task.Ping.TimeoutNs)})
	case task.Fetch != nil:
		result.Fetch, err = Fetch(ctx, task.Fetch.URL)
	}
	return result, err
}

// interfaceOf is the name of the interface that has an address.
func interfaceOf(local net.Addr) string {
	want, ok := local.(*net.TCPAddr)
	if !ok {
		return ""
	}
	all, err := net.Interfaces()
	if err != nil {
		return ""
	}
	for _, i := range all {
		addresses, err := i.Addrs()
		if err != nil {
			continue
		}
		for _, a := range addresses {
			if network, ok := a.(*net.IPNet); ok && network.IP.Equal(want.IP) {
				return i.Name
			}
		}
	}
	return ""
}

func kernelRelease() string {
	var name unix.Utsname
	if unix.Uname(&name) != nil {
		return "unknown"
	}
	return unix.ByteSliceToString(name.Release[:])
}
