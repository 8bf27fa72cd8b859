package netserve

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"

	"golang.org/x/net/dns/dnsmessage"
)

// A DNSServer answers for the names that it was given, with IPv4 addresses, over UDP; no other name exists.
type DNSServer struct {
	names   map[string]netip.Addr
	conn    net.PacketConn
	done    chan struct{}
	queries atomic.Uint64
}

// ServeDNS starts a server on an address such as 10.0.0.1:53. Names are spelled without the dot at the end.
func ServeDNS(address string, names map[string]netip.Addr) (*DNSServer, error) {
	conn, err := net.ListenPacket("udp4", address)
	if err != nil {
		return nil, fmt.Errorf("DNS server: %w", err)
	}
	s := &DNSServer{names: make(map[string]netip.Addr, len(names)), conn: conn, done: make(chan struct{})}
	for name, a := range names {
		s.names[strings.ToLower(name)+"."] = a
	}
	go s.serve()
	return s, nil
}

// Addr is where it listens.
func (s *DNSServer) Addr() netip.AddrPort { return s.conn.LocalAddr().(*net.UDPAddr).AddrPort() }

// Queries is how many were answered.
func (s *DNSServer) Queries() uint64 { return s.queries.Load() }

// Close ends the server.
func (s *DNSServer) Close() error {
	err := s.conn.Close()
	<-s.done
	return err
}

func (s *DNSServer) serve() {
	defer close(s.done)
	buffer := make([]byte, 512) // RFC 1035, 2.3.4
	for {
		n, from, err := s.conn.ReadFrom(buffer)
		if err != nil {
			return // closed
		}
		if reply := s.answer(buffer[:n]); reply != nil {
			s.queries.Add(1)
			_, _ = s.conn.WriteTo(reply, from) // what is lost is asked for again
		}
	}
}

// answer is the reply to a query of one question, or nil.
func (s *DNSServer) answer(b []byte) []byte {
	var parser dnsmessage.Parser
	header, err := parser.Start(b)
	if err != nil || header.Response {
		return nil
	}
	question, err := parser.Question()
	if err != nil {
		return nil
	}
	address, known := s.names[strings.ToLower(question.Name.String())]
	reply := dnsmessage.Header{ID: header.ID, Response: true, Authoritative: true, RecursionDesired: header.RecursionDesired, RecursionAvailable: true}
	if !known {
		reply.RCode = dnsmessage.RCodeNameError
	}
	builder := dnsmessage.NewBuilder(nil, reply)
	if builder.StartQuestions() != nil || builder.Question(question) != nil || builder.StartAnswers() != nil {
		return nil
	}
	if known && question.Type == dnsmessage.TypeA && question.Class == dnsmessage.ClassINET {
		answer := dnsmessage.ResourceHeader{Name: question.Name, Class: question.Class, TTL: uint32(leaseTime.Seconds())}
		if builder.AResource(answer, dnsmessage.AResource{A: address.As4()}) != nil {
			return nil
		}
	}
	message, err := builder.Finish()
	if err != nil {
		return nil
	}
	return message
}
