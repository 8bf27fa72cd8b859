package tap

import (
	"encoding/binary"
	"fmt"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// links asks the kernel about network interfaces (rtnetlink(7)), which everybody may. The socket stays in the network namespace that it
// was made in, so that the interface is found from every thread.
type links struct {
	mu  sync.Mutex // one request at a time
	fd  int
	seq uint32
	buf [1 << 15]byte // one answer; an interface's own takes 2 KiB
}

// link is what the kernel says about an interface.
type link struct {
	index     int32
	flags     uint32 // IFF_UP and others
	mtu       uint32
	dropped   uint64 // frames to the guest that did not get into a queue
	kind      string // of driver: "tun"; empty for interfaces of hardware and lo
	tun       bool   // the fields below are known: Linux 4.17
	mode      uint8  // IFF_TUN or IFF_TAP
	multi     bool   // made with multi_queue
	queues    uint32 // attached and detached descriptors, of a multi_queue interface
	owner     int64  // user and group that may attach, or -1
	ownerTeam int64
}

func newLinks() (*links, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, os.NewSyscallError("netlink socket", err)
	}
	return &links{fd: fd}, nil
}

func (l *links) close() error { return unix.Close(l.fd) }

// named finds an interface by its name.
func (l *links) named(name string) (*link, error) {
	return l.get(0, attribute(unix.IFLA_IFNAME, append([]byte(name), 0)))
}

// numbered finds an interface by its index, which no other interface gets while the machine runs.
func (l *links) numbered(index int32) (*link, error) { return l.get(index, nil) }

func (l *links) get(index int32, attributes []byte) (*link, error) {
	m, err := l.request(unix.RTM_GETLINK, 0, append(linkMessage(index, 0), attributes...))
	if err != nil {
		return nil, err
	}
	return parseLink(m)
}

// linkMessage is a struct ifinfomsg, which sets the flags in on.
func linkMessage(index int32, on uint32) []byte {
	m := []byte{unix.AF_UNSPEC, 0, 0, 0}
	m = binary.NativeEndian.AppendUint32(m, uint32(index))
	m = binary.NativeEndian.AppendUint32(m, on)
	return binary.NativeEndian.AppendUint32(m, on) // ifi_change: which flags are meant
}

// request sends one message and returns the answer to it.
func (l *links) request(kind, flags uint16, body []byte) (*syscall.NetlinkMessage, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seq++
	m := make([]byte, 0, unix.SizeofNlMsghdr+len(body))
	m = binary.NativeEndian.AppendUint32(m, uint32(unix.SizeofNlMsghdr+len(body)))
	m = binary.NativeEndian.AppendUint16(m, kind)
	m = binary.NativeEndian.AppendUint16(m, unix.NLM_F_REQUEST|flags)
	m = binary.NativeEndian.AppendUint32(m, l.seq)
	m = binary.NativeEndian.AppendUint32(m, 0) // the socket's own port, which the kernel knows
	m = append(m, body...)
	if err := unix.Sendto(l.fd, m, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return nil, os.NewSyscallError("netlink send", err)
	}
	for {
		n, _, err := unix.Recvfrom(l.fd, l.buf[:], 0)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return nil, os.NewSyscallError("netlink receive", err)
		}
		answers, err := syscall.ParseNetlinkMessage(l.buf[:n])
		if err != nil {
			return nil, fmt.Errorf("netlink: %w", err)
		}
		for _, a := range answers {
			switch {
			case a.Header.Seq != l.seq: // of a request that was given up
			case a.Header.Type != unix.NLMSG_ERROR:
				return &a, nil
			case len(a.Data) < 4:
				return nil, fmt.Errorf("netlink: %w", unix.EBADMSG)
			default:
				if e := int32(binary.NativeEndian.Uint32(a.Data)); e != 0 {
					return nil, unix.Errno(-e)
				}
				return &a, nil // an acknowledgement
			}
		}
	}
}

// attribute encodes a struct rtattr with its value and padding.
func attribute(kind uint16, value []byte) []byte {
	b := binary.NativeEndian.AppendUint16(nil, uint16(unix.SizeofRtAttr+len(value)))
	b = binary.NativeEndian.AppendUint16(b, kind)
	b = append(b, value...)
	return append(b, make([]byte, -len(b)&3)...)
}

// attributes calls f with each attribute.
func attributes(b []byte, f func(kind uint16, value []byte)) {
	for len(b) >= unix.SizeofRtAttr {
		n := int(binary.NativeEndian.Uint16(b))
		if n < unix.SizeofRtAttr || n > len(b) {
			return
		}
		f(binary.NativeEndian.Uint16(b[2:])&^(unix.NLA_F_NESTED|unix.NLA_F_NET_BYTEORDER), b[unix.SizeofRtAttr:n])
		b = b[min(len(b), (n+3)&^3):]
	}
}

// droppedAt is where struct rtnl_link_stats64 has tx_dropped.
const droppedAt = 7 * 8

func parseLink(m *syscall.NetlinkMessage) (*link, error) {
	if m.Header.Type != unix.RTM_NEWLINK || len(m.Data) < unix.SizeofIfInfomsg {
		return nil, fmt.Errorf("netlink: %w", unix.EBADMSG)
	}
	l := &link{
		index: int32(binary.NativeEndian.Uint32(m.Data[4:])), flags: binary.NativeEndian.Uint32(m.Data[8:]), owner: -1, ownerTeam: -1,
	}
	attributes(m.Data[unix.SizeofIfInfomsg:], func(kind uint16, value []byte) {
		switch {
		case kind == unix.IFLA_MTU:
			l.mtu = word(value)
		case kind == unix.IFLA_STATS64 && len(value) >= droppedAt+8:
			l.dropped = binary.NativeEndian.Uint64(value[droppedAt:])
		case kind == unix.IFLA_LINKINFO:
			attributes(value, l.parseInfo)
		}
	})
	return l, nil
}

func (l *link) parseInfo(kind uint16, value []byte) {
	switch kind {
	case unix.IFLA_INFO_KIND:
		l.kind = unix.ByteSliceToString(value)
	case unix.IFLA_INFO_DATA:
		if l.kind == "tun" { // the kind is always told first: the meaning of the data depends on it
			attributes(value, l.parseTun)
		}
	}
}

func (l *link) parseTun(kind uint16, value []byte) {
	l.tun = true
	switch kind {
	case unix.IFLA_TUN_TYPE:
		l.mode = uint8(word(value))
	case unix.IFLA_TUN_MULTI_QUEUE:
		l.multi = word(value) != 0
	case unix.IFLA_TUN_NUM_QUEUES, unix.IFLA_TUN_NUM_DISABLED_QUEUES:
		l.queues += word(value)
	case unix.IFLA_TUN_OWNER:
		l.owner = int64(word(value))
	case unix.IFLA_TUN_GROUP:
		l.ownerTeam = int64(word(value))
	}
}

// word is a number of one or four bytes, as a type has it.
func word(b []byte) uint32 {
	switch len(b) {
	case 1:
		return uint32(b[0])
	case 4:
		return binary.NativeEndian.Uint32(b)
	}
	return 0
}
