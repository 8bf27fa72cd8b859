package usernet

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"time"

	"doorbell/virtio/backend"

	"golang.org/x/net/dns/dnsmessage"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
)

const (
	dnsPort = 53
	// dnsTimeout is how long one name server may take.
	dnsTimeout = 3 * time.Second
	// maxDNS is the longest message over UDP that is forwarded; EDNS clients ask for 1232 or 4096.
	maxDNS = 4096
	// dnsIdle ends a TCP connection on which the guest asks nothing.
	dnsIdle = 15 * time.Second
	// builtinTTL is that of the built-in names, in seconds.
	builtinTTL = 60
)

// builtinNames lead to the gateway.
var builtinNames = map[string]bool{"gateway.doorbell.": true, "host.doorbell.": true, "gateway.": true}

// resolver is the network's name server: it answers the built-in names and forwards the others, as they are, to the host's.
type resolver struct {
	net      *Network
	servers  nameservers
	slots    chan struct{} // queries under way
	udp      *gonet.UDPConn
	listener *gonet.TCPListener
}

func (r *resolver) init(n *Network) {
	r.net, r.servers.path = n, n.cfg.Resolver
	r.slots = make(chan struct{}, n.cfg.Limits.DNS)
}

func (r *resolver) close() {
	if r.udp != nil {
		_ = r.udp.Close()
	}
	if r.listener != nil {
		r.listener.Shutdown()
		_ = r.listener.Close()
	}
}

// slot takes one of the places for queries.
func (r *resolver) slot() bool {
	select {
	case r.slots <- struct{}{}:
		return true
	default:
		r.net.drops.Add(backend.DropLimit)
		return false
	}
}

func (n *Network) startDNS() error {
	r := &n.dns
	at := tcpip.FullAddress{NIC: nic, Addr: toStack(dnsAddr), Port: dnsPort}
	var err error
	if r.udp, err = n.bindUDP(at); err != nil {
		return err
	}
	if r.listener, err = gonet.ListenTCP(n.stack, at, protocolIPv4); err != nil {
		return err
	}
	n.tasks.start(r.serveUDP)
	n.tasks.start(r.serveTCP)
	return nil
}

func (r *resolver) serveUDP() {
	var buf [maxDNS]byte
	for {
		size, from, err := r.udp.ReadFrom(buf[:])
		if err != nil {
			return // closed
		}
		query := append([]byte(nil), buf[:size]...)
		answer := func() {
			if a := r.answer(query, "udp"); a != nil {
				_, _ = r.udp.WriteTo(a, from)
			}
		}
		if !r.slot() {
			continue
		}
		if !r.net.tasks.start(func() { defer func() { <-r.slots }(); answer() }) {
			<-r.slots
			return
		}
	}
}

func (r *resolver) serveTCP() {
	for {
		c, err := r.listener.Accept()
		if err != nil {
			return // closed
		}
		if !r.slot() {
			_ = c.Close()
			continue
		}
		if !r.net.tasks.start(func() { defer func() { <-r.slots }(); r.serveStream(c) }) {
			<-r.slots
			_ = c.Close()
			return
		}
	}
}

// serveStream answers the queries on one connection (RFC 1035, 4.2.2), one after the other.
func (r *resolver) serveStream(c net.Conn) {
	defer c.Close()
	stop := context.AfterFunc(r.net.tasks.ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	for r.net.tasks.ctx.Err() == nil {
		_ = c.SetDeadline(time.Now().Add(dnsIdle))
		query, err := readMessage(c)
		if err != nil {
			return
		}
		a := r.answer(query, "tcp")
		if a == nil || writeMessage(c, a) != nil {
			return
		}
	}
}

// readMessage reads a message with its length in front.
func readMessage(c io.Reader) ([]byte, error) {
	var size [2]byte
	if _, err := io.ReadFull(c, size[:]); err != nil {
		return nil, err
	}
	m := make([]byte, binary.BigEndian.Uint16(size[:]))
	_, err := io.ReadFull(c, m)
	return m, err
}

func writeMessage(c io.Writer, m []byte) error {
	if len(m) > 0xffff {
		return io.ErrShortWrite
	}
	_, err := c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(m))), m...))
	return err
}

// answer is the answer to a query that came over the given kind of transport, or nil if it deserves none.
func (r *resolver) answer(query []byte, transport string) []byte {
	var p dnsmessage.Parser
	h, err := p.Start(query)
	if err != nil || h.Response {
		r.net.drops.Add(backend.DropMalformed)
		return nil
	}
	q, err := p.Question()
	if err != nil {
		return failure(h, nil, dnsmessage.RCodeFormatError)
	}
	if builtinNames[strings.ToLower(q.Name.String())] {
		return builtin(h, q)
	}
	for _, s := range r.servers.get() {
		a, err := r.ask(transport, s.String(), query)
		if err == nil {
			return a
		}
		if r.net.tasks.ctx.Err() != nil {
			return nil
		}
	}
	r.net.drops.Add(backend.DropHost)
	return failure(h, &q, dnsmessage.RCodeServerFailure)
}

var errNotTheAnswer = errors.New("not the answer to the query")

// ask forwards a query and waits for the answer.
func (r *resolver) ask(transport, server string, query []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(r.net.tasks.ctx, dnsTimeout)
	defer cancel()
	var d net.Dialer
	c, err := d.DialContext(ctx, transport, server)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if transport == "tcp" {
		if err := writeMessage(c, query); err != nil {
			return nil, err
		}
		a, err := readMessage(c)
		if err == nil && !answers(a, query) {
			err = errNotTheAnswer
		}
		return a, err
	}
	if _, err := c.Write(query); err != nil {
		return nil, err
	}
	buf := make([]byte, maxDNS)
	for {
		size, err := c.Read(buf)
		if err != nil {
			return nil, err
		}
		if answers(buf[:size], query) {
			return buf[:size], nil
		}
	}
}

// answers reports whether a message has the query's identifier and is a response (RFC 1035, 4.1.1).
func answers(message, query []byte) bool {
	return len(message) >= 12 && len(query) >= 2 && message[0] == query[0] && message[1] == query[1] && message[2]&0x80 != 0
}

// builtin answers for a built-in name: its address, or that there is nothing else.
func builtin(h dnsmessage.Header, q dnsmessage.Question) []byte {
	b := start(h, &q, dnsmessage.RCodeSuccess, true)
	if q.Class == dnsmessage.ClassINET && (q.Type == dnsmessage.TypeA || q.Type == dnsmessage.TypeALL) {
		if b.StartAnswers() != nil {
			return nil
		}
		if b.AResource(dnsmessage.ResourceHeader{Name: q.Name, Class: dnsmessage.ClassINET, TTL: builtinTTL}, dnsmessage.AResource{A: gatewayAddr.As4()}) != nil {
			return nil
		}
	}
	return finishMessage(b)
}

// failure is an answer without records.
func failure(h dnsmessage.Header, q *dnsmessage.Question, code dnsmessage.RCode) []byte {
	return finishMessage(start(h, q, code, false))
}

func start(h dnsmessage.Header, q *dnsmessage.Question, code dnsmessage.RCode, authoritative bool) *dnsmessage.Builder {
	b := dnsmessage.NewBuilder(nil, dnsmessage.Header{
		ID: h.ID, Response: true, OpCode: h.OpCode, Authoritative: authoritative, RecursionDesired: h.RecursionDesired, RecursionAvailable: true, RCode: code,
	})
	b.EnableCompression()
	if q != nil && b.StartQuestions() == nil {
		_ = b.Question(*q)
	}
	return &b
}

func finishMessage(b *dnsmessage.Builder) []byte {
	m, err := b.Finish()
	if err != nil {
		return nil
	}
	return m
}
