package traffic

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"doorbell/internal/traffic/wire"
)

// Limits of what comes from outside.
const (
	maxStrangers    = 2 * wire.MaxFlows // connections that have not said what they are
	maxWaiting      = 64                // guests that nobody has accepted
	prefacePatience = 10 * time.Second
)

// A Controller is where guests connect to.
type Controller struct {
	listener *net.TCPListener
	guests   chan *Guest
	ctx      context.Context // ends with Close
	cancel   context.CancelFunc
	group    sync.WaitGroup

	mu      sync.Mutex // guards what follows
	closed  bool
	waiting map[wire.Token]chan<- arrival // tasks that wait for connections
	all     map[*Guest]struct{}
}

// arrival is a data connection.
type arrival struct {
	flow int
	conn net.Conn
}

// ErrClosed is what a closed controller answers.
var ErrClosed = errors.New("traffic controller is closed")

// Listen waits for guests at an IPv4 address; port 0 is any.
func Listen(address string) (*Controller, error) {
	l, err := net.Listen("tcp4", address)
	if err != nil {
		return nil, fmt.Errorf("traffic controller: %w", err)
	}
	c := &Controller{
		listener: l.(*net.TCPListener), guests: make(chan *Guest, maxWaiting),
		waiting: map[wire.Token]chan<- arrival{}, all: map[*Guest]struct{}{},
	}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.group.Go(c.accept)
	return c, nil
}

// Addr is where it listens.
func (c *Controller) Addr() netip.AddrPort { return c.listener.Addr().(*net.TCPAddr).AddrPort() }

// Close ends the controller, its guests and their tasks.
func (c *Controller) Close() error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return nil
	}
	c.closed = true
	c.cancel()
	for g := range c.all {
		g.fail(ErrClosed)
	}
	c.mu.Unlock()
	err := c.listener.Close()
	c.group.Wait()
	return err
}

// Accept returns the next guest.
func (c *Controller) Accept(ctx context.Context) (*Guest, error) {
	select {
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for a guest: %w", ctx.Err())
	case <-c.ctx.Done():
		return nil, ErrClosed
	case g := <-c.guests:
		return g, nil
	}
}

func (c *Controller) accept() {
	strangers := make(chan struct{}, maxStrangers)
	for {
		conn, err := c.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // out of descriptors: some will come back
			select {
			case <-c.ctx.Done():
				return
			case <-time.After(100 * time.Millisecond):
			}
			continue
		}
		strangers <- struct{}{} // each leaves in time
		c.group.Go(func() {
			kept := c.meet(conn)
			<-strangers
			if !kept {
				conn.Close()
			}
		})
	}
}

// meet finds out what a connection is for, and returns whether somebody has it now.
func (c *Controller) meet(conn net.Conn) (kept bool) {
	conn.SetDeadline(time.Now().Add(prefacePatience))
	defer context.AfterFunc(c.ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })()
	p, err := wire.ReadPreface(conn)
	if err != nil {
		return false
	}
	if !p.Data {
		return c.welcome(conn)
	}
	conn.SetDeadline(time.Time{})
	c.mu.Lock()
	defer c.mu.Unlock()
	wanted := c.waiting[p.Token]
	select {
	case wanted <- arrival{p.Flow, conn}: // a nil channel takes nothing
		return true
	default:
		return false
	}
}

// welcome takes a guest in.
func (c *Controller) welcome(conn net.Conn) bool {
	control := wire.NewConn(conn)
	m, err := control.Receive()
	if err != nil || m.Kind != wire.KindHello || m.Hello == nil || m.Hello.Version != wire.Version {
		return false
	}
	conn.SetDeadline(time.Time{})
	g := newGuest(c, control, *m.Hello)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	select {
	case c.guests <- g:
	default:
		return false
	}
	c.all[g] = struct{}{}
	c.group.Go(func() {
		g.receive()
		conn.Close()
		c.mu.Lock()
		delete(c.all, g)
		c.mu.Unlock()
	})
	return true
}

// expect returns where the connections with a token will come, until forget.
func (c *Controller) expect(token wire.Token, count int) <-chan arrival {
	arrivals := make(chan arrival, count)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waiting[token] = arrivals
	return arrivals
}

// forget closes what came and was not wanted.
func (c *Controller) forget(token wire.Token, arrivals <-chan arrival) {
	c.mu.Lock()
	delete(c.waiting, token)
	c.mu.Unlock()
	for {
		select {
		case a := <-arrivals:
			a.conn.Close()
		default:
			return
		}
	}
}
