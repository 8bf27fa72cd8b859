package guest

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// receiveBuffer is asked for of datagram sockets, so that the reader's pauses lose nothing.
const receiveBuffer = 4 << 20

// A socket blocks its thread, and is unblocked when its context ends.
type socket struct {
	*os.File
	port uint16 // local
	stop func() bool
}

// blocking takes over a connection of the net package. On the way the connection's own descriptor is closed.
func blocking(ctx context.Context, c net.Conn) (*socket, error) {
	defer c.Close()
	raw, err := c.(syscall.Conn).SyscallConn()
	if err != nil {
		return nil, err
	}
	fd, dupErr := -1, error(nil)
	err = raw.Control(func(old uintptr) { fd, dupErr = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0) })
	if err == nil {
		err = dupErr
	}
	if err == nil {
		err = unix.SetNonblock(fd, false)
	}
	if err != nil {
		if fd >= 0 {
			unix.Close(fd)
		}
		return nil, err
	}
	local, err := netip.ParseAddrPort(c.LocalAddr().String())
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	s := &socket{File: os.NewFile(uintptr(fd), c.LocalAddr().String()), port: local.Port()}
	s.stop = context.AfterFunc(ctx, s.abort)
	return s, nil
}

// abort wakes who reads or writes, and has Close reset the connection: a peer whose window is shut would not hear of an end.
func (s *socket) abort() {
	s.set(func(fd int) error {
		return unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	})
	s.shutdown()
}

// shutdown wakes who reads or writes. It is safe beside Close.
func (s *socket) shutdown() {
	s.set(func(fd int) error { return unix.Shutdown(fd, unix.SHUT_RDWR) })
}

// set changes an option.
func (s *socket) set(option func(fd int) error) error {
	raw, err := s.SyscallConn()
	if err != nil {
		return err
	}
	var optionErr error
	if err := raw.Control(func(fd uintptr) { optionErr = option(int(fd)) }); err != nil {
		return err
	}
	return optionErr
}

// readTimeout makes reads end with EAGAIN after a while.
func (s *socket) readTimeout(d time.Duration) error {
	t := unix.NsecToTimeval(d.Nanoseconds())
	return s.set(func(fd int) error { return unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &t) })
}

// bufferMore asks for a large receive buffer; the kernel's own limit holds for who is not root.
func (s *socket) bufferMore() error {
	return s.set(func(fd int) error {
		if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer) == nil {
			return nil
		}
		return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer)
	})
}

// Close gives the socket back.
func (s *socket) Close() error {
	s.stop()
	return s.File.Close()
}

// dial connects from a port, 0 for any, which may have been used just before.
func dial(ctx context.Context, network string, to netip.AddrPort, from uint16) (net.Conn, error) {
	d := net.Dialer{Timeout: connectPatience}
	if from != 0 {
		switch network {
		case "tcp4":
			d.LocalAddr = &net.TCPAddr{Port: int(from)}
		default:
			d.LocalAddr = &net.UDPAddr{Port: int(from)}
		}
		d.Control = reuseAddress
	}
	return d.DialContext(ctx, network, to.String())
}

func reuseAddress(_, _ string, raw syscall.RawConn) error {
	var optionErr error
	if err := raw.Control(func(fd uintptr) { optionErr = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1) }); err != nil {
		return err
	}
	return optionErr
}

// listenTCP listens on a port of all addresses.
func listenTCP(ctx context.Context, port uint16) (*net.TCPListener, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp4", ":"+strconv.Itoa(int(port)))
	if err != nil {
		return nil, err
	}
	return l.(*net.TCPListener), nil
}

func flowError(flow int, err error) error {
	if err != nil {
		return fmt.Errorf("flow %d: %w", flow, err)
	}
	return nil
}
