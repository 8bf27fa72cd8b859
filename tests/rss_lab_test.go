//go:build lab

package tests

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"doorbell/internal/netconf"
	"doorbell/internal/netconf/netserve"
	"doorbell/internal/traffic"
	"doorbell/internal/traffic/wire"
	"doorbell/virtio/backend"
)

// testKey is the Toeplitz key of these tests.
var testKey = func() (key [backend.KeyLen]byte) {
	for i := range key {
		key[i] = byte(i*73 + 11)
	}
	return key
}()

// The protocols of IPv4 headers.
const (
	protocolTCP = 6
	protocolUDP = 17
)

// hashOf is the hash of a packet's addresses and ports under testKey.
func hashOf(protocol byte, from, to netip.AddrPort) uint32 {
	s, err := backend.NewSteering(backend.SupportedHashTypes, []uint16{0}, 0, testKey[:])
	if err != nil {
		panic(err)
	}
	head := make([]byte, 14, 38)
	head[12] = 8 // IPv4
	head = append(head, 0x45, 0, 0, 0, 0, 0, 0, 0, 64, protocol, 0, 0)
	head = append(append(head, from.Addr().AsSlice()...), to.Addr().AsSlice()...)
	head = binary.BigEndian.AppendUint16(head, from.Port())
	head = binary.BigEndian.AppendUint16(head, to.Port())
	hash, _ := s.Hash(head)
	return hash
}

// A table is an indirection table.
type table []uint32

// queue is where a packet from a port of the host to one of the guest belongs.
func (l link) queue(table table, protocol byte, from, to uint16) int {
	hash := hashOf(protocol, netip.AddrPortFrom(l.host, from), netip.AddrPortFrom(l.guest.Addr(), to))
	return int(table[hash%uint32(len(table))])
}

// portsFor finds the first ports of the guest whose TCP connections to the controller come in on each of the queues.
func (s *session) portsFor(table table, queues int) []uint16 {
	ports := make([]uint16, queues)
	found := 0
	for port := uint16(20000); found < queues; port++ {
		if q := s.queue(table, protocolTCP, s.controller.Addr().Port(), port); ports[q] == 0 {
			ports[q] = port
			found++
		}
	}
	return ports
}

// TestRSS: with the guest's own key and table each flow is on the queue that the hash says and on no other, whoever steers: the host's
// kernel by eBPF on a tap, the device on one for a user who may load no program, user-mode networking's own. With another table the same
// flows move. The driver hears each packet's hash.
func TestRSS(t *testing.T) {
	eachLink(t, func(t testing.TB, l link) { testRSS(t, l, "backend") })
	t.Run("unprivileged", func(t *testing.T) {
		guestTest(t, func(t testing.TB) {
			l := tapLink(t)
			l.as = nobody
			testRSS(t, l, "device")
		})
	})
}

func testRSS(t testing.TB, l link, steering string) {
	const vcpus = 4
	echo := udpEcho(t, l.listen)
	s := startSession(t, l, fmt.Sprintf("exec=%s test.role=hash test.echo=%s:%d test.peer=PEER", netGuestPath, netserve.HostName, echo),
		"-c", fmt.Sprint(vcpus), "-i", netInitramfs(t))
	now := s.snapshot()
	if now.RSS == nil || now.RSS.Key != hex.EncodeToString(testKey[:]) || len(now.RSS.Indirection) != backend.MaxIndirection || now.HashFields["tcp4"] != "sdfn" {
		s.fatal(fmt.Errorf("the driver's receive-side scaling: %+v, fields %v, refused %q", now.RSS, now.HashFields, now.Refused))
	}
	// The driver's own tables count up from 0; these do not.
	mixed := make(table, backend.MaxIndirection)
	for i := range mixed {
		mixed[i] = uint32(i*i+i/3+1) % vcpus
	}
	ports := s.portsFor(mixed, vcpus)
	for _, table := range []table{mixed, slices.Repeat(table{2}, backend.MaxIndirection)} {
		if now = s.configure(wire.Configure{RSS: &netconf.RSS{Indirection: table}}); !slices.Equal(now.RSS.Indirection, table) {
			t.Fatalf("the table is %v", now.RSS.Indirection)
		}
		s.steered(table, ports)
	}
	last := s.snapshot()
	o, d := s.end()
	if n := strings.Count(o.stdout, "guest: an echo with hash 0x"); n != 8 {
		t.Errorf("%d datagrams came with their hash\n%s", n, o.stdout)
	}
	if d.VM.Net.Steering != steering {
		t.Errorf("steering is the %s's, not the %s's", d.VM.Net.Steering, steering)
	}
	for _, q := range d.VM.Net.Queues {
		if !strings.HasPrefix(q.Queue, "rx") {
			continue
		}
		// Some packets, of the guest's farewell, come after its last word.
		if seen := queueOf(&last, q.Queue).packets; q.Packets < seen || q.Packets > seen+farewell {
			t.Errorf("the guest has seen %d packets on %s, of %d", seen, q.Queue, q.Packets)
		}
		if q.Drops["steering"] > 0 {
			t.Errorf("%s: %v", q.Queue, q.Drops)
		}
	}
	logCard(t, d)
}

const (
	// farewell is more than the packets to the guest between its last snapshot and its end.
	farewell = 100
	// background, and backgroundBytes of frames, are more than what comes to the guest besides a load: the controller's questions,
	// acknowledgements, ARP, and what TCP sends again of the flow before, where a slow host makes it think that its end was lost. A flow on a wrong queue
	// has four times as much.
	background      = 100
	backgroundBytes = 64 << 10
)

// steered checks that flows of both protocols arrive where the table sends them: TCP one flow at a time, from ports of the guest; UDP
// together.
func (s *session) steered(table table, ports []uint16) {
	s.Helper()
	const bytes, packets = 256 << 10, 150
	before := s.snapshot()
	for _, port := range ports {
		want := s.queue(table, protocolTCP, s.controller.Addr().Port(), port)
		need[traffic.StreamResult](s)(s.StreamDown(s.ctx, traffic.StreamOptions{Placement: traffic.Placement{SourcePorts: []uint16{port}}, BytesPerFlow: bytes}))
		after := s.snapshot()
		arrived := after.Since(&before)
		before = after
		for i := range 4 {
			switch q := queueOf(&arrived, fmt.Sprint("rx", i)); {
			case i == want && q.bytes < bytes:
				s.Errorf("port %d: %d bytes of its flow on queue %d, of %d", port, q.bytes, i, bytes)
			case i != want && q.bytes > backgroundBytes:
				s.Errorf("port %d: %d packets, %d bytes on queue %d, and its flow belongs to %d", port, q.packets, q.bytes, i, want)
			}
		}
	}
	for port := range uint16(4) {
		ports = append(ports, 30000+port)
	}
	r := need[traffic.PacketResult](s)(s.PacketsDown(s.ctx, traffic.PacketOptions{
		Placement: traffic.Placement{Flows: len(ports), SourcePorts: ports}, PerFlow: packets, PerSecond: 1000,
	}))
	after := s.snapshot()
	arrived := after.Since(&before)
	var want [4]uint64
	for i, f := range r.Flows {
		want[s.queue(table, protocolUDP, r.Port, ports[i])] += f.Packets
	}
	for i, n := range want {
		if q := queueOf(&arrived, fmt.Sprint("rx", i)); q.packets < n || q.packets > n+background {
			s.Errorf("UDP: %d packets on queue %d, where %d of the flows came", q.packets, i, n)
		}
	}
	s.Logf("table %v...: UDP packets by queue %v, %d of %d lost", table[:8], want, r.Lost(), r.Sent)
}

// udpEcho answers datagrams, and returns its port.
func udpEcho(t testing.TB, address string) int {
	t.Helper()
	c, err := new(net.ListenConfig).ListenPacket(context.Background(), "udp4", net.JoinHostPort(address, "0"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	go func() {
		for b := make([]byte, 100); ; {
			n, from, err := c.ReadFrom(b)
			if err != nil {
				return
			}
			c.WriteTo(b[:n], from)
		}
	}()
	return c.LocalAddr().(*net.UDPAddr).Port
}
