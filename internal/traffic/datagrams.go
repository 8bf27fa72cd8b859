package traffic

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"time"

	"doorbell/internal/traffic/wire"

	"golang.org/x/sys/unix"
)

const (
	// receiveBuffer is asked for, so that a pause of this process loses nothing.
	receiveBuffer = 4 << 20
	// tick is how often a wait for datagrams looks up.
	tick = 50 * time.Millisecond
	// quietTicks are how long a receiver that lacks datagrams waits for more, when all have been sent. They are counted, so that a
	// pause of the whole process is one, however long.
	quietTicks = 6
)

// datagrams is this side's socket of a task: one for all flows, which their headers tell apart.
type datagrams struct {
	*net.UDPConn
	key   uint32
	peers []netip.AddrPort // by flow, once known
	known int
}

// openDatagrams makes the socket and tells the task its port.
func (g *Guest) openDatagrams(f *wire.Flows) (*datagrams, error) {
	local := g.controller.Addr()
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: local.Addr().AsSlice()})
	if err != nil {
		return nil, err
	}
	if raw, err := c.SyscallConn(); err == nil {
		raw.Control(func(fd uintptr) {
			if unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer) != nil {
				unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer)
			}
		})
	}
	d := &datagrams{UDPConn: c, key: f.Token.Key(), peers: make([]netip.AddrPort, f.Count)}
	if !f.Inbound {
		f.Port = d.port()
	}
	return d, nil
}

// port is this side's.
func (d *datagrams) port() uint16 { return uint16(d.LocalAddr().(*net.UDPAddr).Port) }

// resolvePeer finds the guest's socket when it listens.
func (d *datagrams) resolvePeer(ctx context.Context, c *call, p *Placement) error {
	port, err := c.awaitReady(ctx)
	if err != nil {
		return err
	}
	address, err := p.dialAddress(port)
	if err != nil {
		return err
	}
	a, err := net.ResolveUDPAddr("udp4", address)
	if err != nil {
		return err
	}
	d.learn(0, a.AddrPort())
	return nil
}

func (d *datagrams) learn(flow int, from netip.AddrPort) {
	if !d.peers[flow].IsValid() {
		d.known++
	}
	d.peers[flow] = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
}

// next reads a datagram of the task's into b, with its length, or returns false after a tick without one.
func (d *datagrams) next(b []byte) (header wire.Datagram, n int, ok bool, err error) {
	d.SetReadDeadline(time.Now().Add(tick))
	n, from, err := d.ReadFromUDPAddrPort(b)
	if err != nil {
		if e, is := err.(net.Error); is && e.Timeout() {
			err = nil
		}
		return header, 0, false, err
	}
	header, ok = wire.ParseDatagram(b[:n])
	if !ok || header.Key != d.key || int(header.Flow) >= len(d.peers) {
		return header, 0, false, nil
	}
	if header.Type == wire.DatagramHello {
		d.learn(int(header.Flow), from)
	}
	return header, n, true, nil
}

// greet waits until it is known where every flow's socket is.
func (d *datagrams) greet(ctx context.Context, c *call, p *Placement) error {
	if p.Dial != "" {
		return d.resolvePeer(ctx, c, p)
	}
	var b [wire.DatagramHeader + 1]byte
	for d.known < len(d.peers) {
		if err := c.goingOn(ctx); err != nil {
			return err
		}
		if _, _, _, err := d.next(b[:]); err != nil {
			return err
		}
	}
	return nil
}

// goingOn is nil while the guest has not answered and the context has not ended.
func (c *call) goingOn(ctx context.Context) error {
	select {
	case m := <-c.answer:
		c.answer <- m
		return errEarly
	case <-ctx.Done():
		return context.Cause(ctx)
	default:
		return nil
	}
}

func (d *datagrams) send(flow int, b []byte) error {
	if _, err := d.WriteToUDPAddrPort(b, d.peers[flow]); err != nil {
		return fmt.Errorf("flow %d: %w", flow, err)
	}
	return nil
}
