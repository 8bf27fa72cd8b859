package traffic

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"doorbell/internal/traffic/wire"
)

// A Guest is one that has connected. Its methods may be called at the same time.
type Guest struct {
	controller *Controller
	conn       *wire.Conn
	hello      wire.Hello

	mu    sync.Mutex // guards what follows
	err   error      // why it is gone
	next  uint64
	calls map[uint64]*call
}

// call is a task that has not been answered.
type call struct {
	guest  *Guest
	id     uint64
	ready  chan uint16       // the guest's port, once
	answer chan wire.Message // once
}

func newGuest(c *Controller, conn *wire.Conn, hello wire.Hello) *Guest {
	return &Guest{controller: c, conn: conn, hello: hello, calls: map[uint64]*call{}}
}

// Hello is how the guest introduced itself.
func (g *Guest) Hello() wire.Hello { return g.hello }

// receive hands answers out until the connection ends.
func (g *Guest) receive() {
	for {
		m, err := g.conn.Receive()
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = errors.New("it closed the connection")
			}
			g.fail(err)
			return
		}
		g.mu.Lock()
		c := g.calls[m.ID]
		if m.Kind == wire.KindResult {
			delete(g.calls, m.ID)
		}
		g.mu.Unlock()
		switch {
		case m.Kind != wire.KindResult && m.Kind != wire.KindReady:
			g.fail(fmt.Errorf("a message of kind %s", m.Kind))
			return
		case c == nil: // nobody wants it any more
		case m.Kind == wire.KindReady:
			select {
			case c.ready <- m.Port:
			default: // said before
			}
		default:
			c.answer <- m // the only one: there is room
		}
	}
}

// fail ends the guest's connection and all its calls.
func (g *Guest) fail(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.err == nil { // the first reason is the reason
		g.err = err
	}
	g.conn.Close()
	for id, c := range g.calls {
		delete(g.calls, id)
		c.answer <- wire.Message{Kind: wire.KindResult, ID: id, Error: g.err.Error()}
	}
}

// start gives the guest a task.
func (g *Guest) start(task *wire.Task) (*call, error) {
	if task.End == nil {
		if err := task.Check(); err != nil {
			return nil, err
		}
	}
	g.mu.Lock()
	if g.err != nil {
		defer g.mu.Unlock()
		return nil, fmt.Errorf("guest: %w", g.err)
	}
	g.next++
	c := &call{guest: g, id: g.next, ready: make(chan uint16, 1), answer: make(chan wire.Message, 1)}
	g.calls[c.id] = c
	g.mu.Unlock()
	if err := g.conn.Send(wire.Message{Kind: wire.KindTask, ID: c.id, Task: task}); err != nil {
		g.fail(err) // half a message may be on its way
	}
	return c, nil // the answer says what is wrong
}

// drop forgets the call; an answer goes nowhere.
func (c *call) drop() {
	c.guest.mu.Lock()
	defer c.guest.mu.Unlock()
	delete(c.guest.calls, c.id)
}

// wait returns the answer. When ctx ends first, the guest is told to stop.
func (c *call) wait(ctx context.Context) (*wire.Result, error) {
	select {
	case m := <-c.answer:
		return c.result(m)
	case <-ctx.Done():
		c.cancel()
		return nil, context.Cause(ctx)
	}
}

func (c *call) result(m wire.Message) (*wire.Result, error) {
	switch {
	case m.Error != "":
		return nil, fmt.Errorf("guest: %s", oneLine(m.Error))
	case m.Result == nil:
		return nil, errors.New("guest: an answer without a result")
	}
	return m.Result, nil
}

// cancel tells the guest that the answer is not wanted. A guest that does not hear it has gone.
func (c *call) cancel() {
	c.drop()
	c.guest.conn.Send(wire.Message{Kind: wire.KindCancel, ID: c.id})
}

// sent tells the guest that all datagrams are on their way.
func (c *call) sent(count uint64) error {
	return c.guest.conn.Send(wire.Message{Kind: wire.KindSent, ID: c.id, Sent: count})
}

// do runs a task that needs nothing but an answer.
func (g *Guest) do(ctx context.Context, task *wire.Task) (*wire.Result, error) {
	c, err := g.start(task)
	if err != nil {
		return nil, err
	}
	return c.wait(ctx)
}
