package usernet

import (
	"fmt"
	"io"
	"net"
	"testing"

	"doorbell/virtio/backend"
)

// BenchmarkTCP moves a stream between the guest's stack and a server on the host's loopback. The guest's stack is part of what is
// measured; a real guest has processors of its own.
func BenchmarkTCP(b *testing.B) {
	for _, direction := range []string{"up", "down"} {
		for _, o := range []backend.Offloads{0, backend.Checksum, backend.Checksum | backend.TSO4} {
			b.Run(fmt.Sprintf("%s/%v", direction, o), func(b *testing.B) {
				n := newNetwork(b, Config{})
				g := newGuest(b, n, o, o != 0)
				defer g.close()
				total := int64(b.N) * mib
				done := make(chan struct{})
				addr := serve(b, func(c *net.TCPConn) {
					defer close(done)
					if direction == "up" {
						io.Copy(io.Discard, c)
					} else {
						buf := make([]byte, 256<<10)
						for left := total; left > 0; {
							m, err := c.Write(buf[:min(left, int64(len(buf)))])
							if err != nil {
								return
							}
							left -= int64(m)
						}
					}
				})
				c := dial(b, g, gatewayAddr, port(addr))
				b.SetBytes(mib)
				b.ReportAllocs()
				b.ResetTimer()
				buf := make([]byte, 256<<10)
				if direction == "up" {
					for left := total; left > 0; {
						m, err := c.Write(buf[:min(left, int64(len(buf)))])
						if err != nil {
							b.Fatal(err)
						}
						left -= int64(m)
					}
					c.CloseWrite()
				} else {
					for {
						if _, err := c.Read(buf); err != nil {
							break
						}
					}
				}
				<-done
				b.StopTimer()
				c.Close()
				q := n.Queue(0).Counters()
				b.ReportMetric(float64(q.FromGuest.Packets.Load()+q.ToGuest.Packets.Load())/float64(b.N), "frames/MiB")
				if d := q.Drops().ByReason(); len(d) > 0 {
					b.Logf("drops %v", d)
				}
			})
		}
	}
}

// BenchmarkUDPUp sends datagrams of 64 bytes to a socket of the host's; what the socket cannot hold is the host's loss.
func BenchmarkUDPUp(b *testing.B) {
	n := newNetwork(b, Config{})
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	q := n.link.queues[0]
	var raw [backend.HeaderLen]byte
	frame := [][]byte{raw[:], udpFrame(guestAddr, 1000, gatewayAddr, c.LocalAddr().(*net.UDPAddr).Port, make([]byte, 64))}
	q.Transmit(frame)
	b.ReportAllocs()
	for b.Loop() {
		q.Transmit(frame)
	}
	if d := n.Drops().ByReason(); len(d) > 0 {
		b.Errorf("drops %v", d)
	}
}
