package traffic

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"

	"doorbell/internal/traffic/wire"
)

// Placement says how many flows there are, and where.
type Placement struct {
	// Flows is their number; 0 is 1.
	Flows int
	// SourcePorts are the guest's own, one for each flow; empty for any. They choose the queue where a hash does.
	SourcePorts []uint16
	// CPUs of the guest work on the flows, in turn; empty for any.
	CPUs []int
	// Dial has the controller connect to the guest instead: the address at which the guest's GuestPort is reached. Port 0 in it
	// stands for the guest's port, where no translator is between.
	Dial string
	// GuestPort is where the guest listens then; 0 for any.
	GuestPort uint16
}

func (p *Placement) flows() wire.Flows {
	return wire.Flows{Count: max(p.Flows, 1), Token: wire.NewToken(), SourcePorts: p.SourcePorts, CPUs: p.CPUs, Inbound: p.Dial != "", Port: p.GuestPort}
}

// dialAddress is where the controller connects to, now that the guest listens.
func (p *Placement) dialAddress(port uint16) (string, error) {
	host, asked, err := net.SplitHostPort(p.Dial)
	if err != nil {
		return "", fmt.Errorf("dial: %w", err)
	}
	if asked == "0" {
		asked = strconv.Itoa(int(port))
	}
	return net.JoinHostPort(host, asked), nil
}

// awaitReady returns the port that the guest listens on.
func (c *call) awaitReady(ctx context.Context) (uint16, error) {
	select {
	case port := <-c.ready:
		return port, nil
	case m := <-c.answer:
		c.answer <- m // it is somebody else's to read
		return 0, errEarly
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
}

// errEarly is an answer before there was anything to answer: it says why.
var errEarly = errors.New("the guest ended before it began")

// connect returns the TCP connections of a task, by flow: those that the guest makes, or those to it.
func (c *call) connect(ctx context.Context, p *Placement, f *wire.Flows, arrivals <-chan arrival) ([]net.Conn, error) {
	conns := make([]net.Conn, f.Count)
	err := c.fill(ctx, p, f, arrivals, conns)
	if err != nil {
		closeAll(conns)
		return nil, err
	}
	return conns, nil
}

func (c *call) fill(ctx context.Context, p *Placement, f *wire.Flows, arrivals <-chan arrival, conns []net.Conn) error {
	if !f.Inbound {
		for range conns {
			select {
			case a := <-arrivals:
				if a.flow >= len(conns) || conns[a.flow] != nil {
					a.conn.Close()
					return fmt.Errorf("guest: flow %d is not one of the task's, or there already", a.flow)
				}
				conns[a.flow] = a.conn
			case m := <-c.answer:
				c.answer <- m
				return errEarly
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		return nil
	}
	port, err := c.awaitReady(ctx)
	if err != nil {
		return err
	}
	address, err := p.dialAddress(port)
	if err != nil {
		return err
	}
	for i := range conns {
		if conns[i], err = (&net.Dialer{Timeout: prefacePatience}).DialContext(ctx, "tcp4", address); err != nil {
			return fmt.Errorf("flow %d: %w", i, err)
		}
		if err := (wire.Preface{Data: true, Flow: i, Token: f.Token}).Write(conns[i]); err != nil {
			return fmt.Errorf("flow %d: %w", i, err)
		}
	}
	return nil
}

func closeAll(conns []net.Conn) {
	for _, c := range conns {
		if c != nil {
			c.Close()
		}
	}
}

// each runs one worker for every connection and closes it afterwards. The first error closes all the others, and so do the end of
// ctx and an answer of the guest's: in every task that has connections it answers after they are closed, or because it failed, and
// a connection whose window is shut says nothing of that.
func (c *call) each(ctx context.Context, conns []net.Conn, work func(flow int, c net.Conn) error) error {
	done := make(chan struct{})
	var watch, group sync.WaitGroup
	watch.Go(func() {
		select {
		case m := <-c.answer:
			c.answer <- m
		case <-ctx.Done():
		case <-done:
			return
		}
		closeAll(conns)
	})
	var once sync.Once
	var first error
	for i, c := range conns {
		group.Go(func() {
			err := work(i, c)
			if err == nil {
				err = c.Close()
			}
			if err != nil {
				once.Do(func() {
					first = fmt.Errorf("flow %d: %w", i, err)
					closeAll(conns)
				})
			}
		})
	}
	group.Wait()
	close(done)
	watch.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return first
}

// finish waits for the guest's answer when this side has done its part, with or without an error of its own. The guest's error
// comes first: this side's is most often what it looks like from here.
func (c *call) finish(ctx context.Context, here error) (*wire.Result, error) {
	if ctx.Err() != nil {
		c.cancel()
		return nil, context.Cause(ctx)
	}
	if here == nil {
		return c.wait(ctx)
	}
	ctx, cancel := context.WithTimeout(ctx, afterError)
	defer cancel()
	_, err := c.wait(ctx)
	switch {
	case err == nil || ctx.Err() != nil:
		return nil, here
	case errors.Is(here, errEarly):
		return nil, err
	}
	return nil, fmt.Errorf("%w; here: %v", err, here)
}

// afterError is how long the guest may take to say what it has to say of an error.
const afterError = 5 * time.Second
