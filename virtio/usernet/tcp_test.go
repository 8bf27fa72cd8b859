package usernet

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"doorbell/virtio/backend"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/waiter"
)

// serve runs f for each connection to a port on the host's loopback.
func serve(t testing.TB, f func(c *net.TCPConn)) net.Addr {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	group.Add(1)
	go func() {
		defer group.Done()
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			group.Add(1)
			go func() {
				defer group.Done()
				defer c.Close()
				f(c.(*net.TCPConn))
			}()
		}
	}()
	t.Cleanup(func() { l.Close(); group.Wait() })
	return l.Addr()
}

// random is a reproducible stream of n bytes.
func random(n int64) io.Reader {
	return io.LimitReader(rand.NewChaCha8([32]byte{1}), n)
}

func dial(t testing.TB, g *guest, to netip.Addr, port int) *gonet.TCPConn {
	t.Helper()
	c, err := gonet.DialTCP(g.stack, at(to, port), protocolIPv4)
	if err != nil {
		t.Fatal(err)
	}
	c.SetDeadline(time.Now().Add(60 * time.Second))
	return c
}

const mib = 1 << 20

// variants are the offloads that a driver may accept, and how many queue pairs it uses.
var variants = []struct {
	name     string
	offloads backend.Offloads
	queues   int
}{
	{"no offloads", 0, 1},
	{"checksums", backend.Checksum, 1},
	{"segmentation", backend.Checksum | backend.TSO4 | backend.ECN, 1},
	{"segmentation, 4 queues", backend.Checksum | backend.TSO4, 4},
}

// 50 MiB each way, whose checksums agree.
func TestTCPStreams(t *testing.T) {
	const size = 50 * mib
	want := sha256.New()
	io.Copy(want, random(size))
	for _, v := range variants {
		t.Run(v.name, func(t *testing.T) {
			n := newNetwork(t, Config{Queues: v.queues})
			g := newGuest(t, n, v.offloads, false)
			defer g.close()
			up := make(chan hash.Hash, 1)
			addr := serve(t, func(c *net.TCPConn) {
				h := sha256.New()
				io.Copy(h, c)
				up <- h
				io.Copy(c, random(size))
			})
			c := dial(t, g, gatewayAddr, port(addr))
			if _, err := io.Copy(c, random(size)); err != nil {
				t.Fatal(err)
			}
			c.CloseWrite()
			if h := <-up; string(h.Sum(nil)) != string(want.Sum(nil)) {
				t.Error("what the host got differs from what the guest sent")
			}
			h := sha256.New()
			if k, err := io.Copy(h, c); err != nil || k != size {
				t.Fatalf("%d bytes from the host: %v", k, err)
			}
			if string(h.Sum(nil)) != string(want.Sum(nil)) {
				t.Error("what the guest got differs from what the host sent")
			}
			c.Close()
			if g.gsoSeen.Load() != (v.offloads&backend.TSO4 != 0) {
				t.Errorf("long frames to the guest: %v", g.gsoSeen.Load())
			}
			for i := range n.Queues() {
				if d := n.Queue(i).Counters().Drops().ByReason(); len(d) > 0 {
					t.Errorf("queue %d dropped %v", i, d)
				}
			}
		})
	}
}

func TestRefusedPortIsAReset(t *testing.T) {
	n := newNetwork(t, Config{})
	g := newGuest(t, n, offloads, false)
	defer g.close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	start := time.Now()
	_, err = gonet.DialTCP(g.stack, at(gatewayAddr, port(l.Addr())), protocolIPv4)
	if err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("connecting to a closed port: %v, want a refusal", err)
	}
	if d := time.Since(start); d > 5*time.Second {
		t.Errorf("the refusal took %v", d)
	}
	if d := n.Drops(); d.Total() != 1 || d.Load(backend.DropUnreachable) != 1 {
		t.Errorf("drops %v, want one that is unreachable", d.ByReason())
	}
}

func TestDialDrop(t *testing.T) {
	n := newNetwork(t, Config{})
	for _, c := range []struct {
		err  error
		want backend.Drop
	}{
		{unix.ECONNREFUSED, backend.DropUnreachable}, {unix.EHOSTUNREACH, backend.DropUnreachable}, {unix.ETIMEDOUT, backend.DropUnreachable},
		{os.ErrDeadlineExceeded, backend.DropUnreachable}, {unix.EPERM, backend.DropRefused}, {unix.EMFILE, backend.DropLimit},
		{unix.EADDRNOTAVAIL, backend.DropHost},
	} {
		if got := n.dialDrop(&net.OpError{Op: "dial", Err: c.err}); got != c.want {
			t.Errorf("%v: %v, want %v", c.err, got, c.want)
		}
	}
	n.Close()
	if got := n.dialDrop(unix.ECONNREFUSED); got != backend.DropClosed {
		t.Errorf("after Close: %v", got)
	}
}

// Each side may end its direction and still hear the other.
func TestHalfClose(t *testing.T) {
	n := newNetwork(t, Config{})
	g := newGuest(t, n, offloads, false)
	defer g.close()
	addr := serve(t, func(c *net.TCPConn) {
		b, _ := io.ReadAll(c)
		fmt.Fprintf(c, "got %s", b)
	})
	c := dial(t, g, gatewayAddr, port(addr))
	io.WriteString(c, "question")
	c.CloseWrite()
	if b, err := io.ReadAll(c); string(b) != "got question" || err != nil {
		t.Errorf("answer %q, %v", b, err)
	}
	got := make(chan string, 1)
	addr = serve(t, func(c *net.TCPConn) {
		io.WriteString(c, "greeting")
		c.CloseWrite()
		b, _ := io.ReadAll(c)
		got <- string(b)
	})
	c = dial(t, g, gatewayAddr, port(addr))
	if b, err := io.ReadAll(c); string(b) != "greeting" || err != nil {
		t.Errorf("greeting %q, %v", b, err)
	}
	io.WriteString(c, "thanks")
	c.Close()
	if s := <-got; s != "thanks" {
		t.Errorf("after the host's end the guest's data was %q", s)
	}
}

// A reset on the host's side is one on the guest's.
func TestHostReset(t *testing.T) {
	n := newNetwork(t, Config{})
	g := newGuest(t, n, offloads, false)
	defer g.close()
	addr := serve(t, func(c *net.TCPConn) {
		c.Read(make([]byte, 1))
		c.SetLinger(0)
	})
	c := dial(t, g, gatewayAddr, port(addr))
	io.WriteString(c, "x")
	if _, err := io.ReadAll(c); err == nil || !strings.Contains(err.Error(), "reset") {
		t.Errorf("reading from a connection that was reset: %v", err)
	}
}

// dialEndpoint is dial with the endpoint, which can be reset.
func dialEndpoint(t testing.TB, g *guest, port int) (*gonet.TCPConn, tcpip.Endpoint) {
	t.Helper()
	wq := new(waiter.Queue)
	ep, terr := g.stack.NewEndpoint(tcp.ProtocolNumber, protocolIPv4, wq)
	if terr != nil {
		t.Fatal(terr)
	}
	entry, done := waiter.NewChannelEntry(waiter.WritableEvents | waiter.EventErr | waiter.EventHUp)
	wq.EventRegister(&entry)
	defer wq.EventUnregister(&entry)
	ep.Connect(at(gatewayAddr, port))
	<-done
	if terr := ep.LastError(); terr != nil {
		t.Fatal(terr)
	}
	return gonet.NewTCPConn(wq, ep), ep
}

// A guest's reset ends the connection also where the host's side neither reads nor sends nor closes.
func TestGuestReset(t *testing.T) {
	for _, c := range []struct {
		name   string
		before func(c *gonet.TCPConn)
	}{
		{"idle", func(*gonet.TCPConn) {}},
		{"blocked", func(c *gonet.TCPConn) {
			c.SetWriteDeadline(time.Now().Add(time.Second))
			if _, err := c.Write(make([]byte, 64*mib)); err == nil {
				t.Error("64 MiB vanished into a connection that nobody reads")
			}
		}},
		{"half closed", func(c *gonet.TCPConn) { c.CloseWrite() }},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := newNetwork(t, Config{Limits: Limits{LargeTCP: -1}})
			g := newGuest(t, n, offloads, false)
			defer g.close()
			goroutines := runtime.NumGoroutine()
			hold := make(chan struct{})
			accepted := make(chan struct{})
			addr := serve(t, func(*net.TCPConn) { close(accepted); <-hold })
			defer close(hold)
			conn, ep := dialEndpoint(t, g, port(addr))
			<-accepted
			c.before(conn)
			time.Sleep(50 * time.Millisecond) // the relay has come to its wait
			ep.Abort()
			settles(t, "connections", 0, n.tcp.len)
			settles(t, "goroutines", goroutines+2, runtime.NumGoroutine) // those of serve
		})
	}
}

// What the guest sent before its reset arrives, as it would from another host.
func TestDataBeforeGuestReset(t *testing.T) {
	n := newNetwork(t, Config{})
	g := newGuest(t, n, offloads, false)
	defer g.close()
	got := make(chan string, 1)
	addr := serve(t, func(c *net.TCPConn) {
		io.WriteString(c, "?")
		b, err := io.ReadAll(c)
		got <- fmt.Sprintf("%s, %v", b, errors.Is(err, unix.ECONNRESET))
	})
	for range 20 {
		c, ep := dialEndpoint(t, g, port(addr))
		io.ReadFull(c, make([]byte, 1)) // a reset within the handshake leaves no connection
		io.WriteString(c, "last words")
		ep.Abort()
		if s := <-got; s != "last words, true" {
			t.Errorf("the host got %s", s)
		}
	}
}

// Both directions have ended, but the host is slow to read: longer than a reset would give it.
func TestSlowReaderAfterBothEnds(t *testing.T) {
	const size = 4 * mib
	n := newNetwork(t, Config{})
	g := newGuest(t, n, offloads, false)
	defer g.close()
	got, closed := make(chan int64, 1), make(chan struct{})
	addr := serve(t, func(c *net.TCPConn) {
		c.SetReadBuffer(64 << 10)
		<-closed
		time.Sleep(100 * time.Millisecond) // the guest's end comes first, so that the stack's endpoint closes without TIME-WAIT
		c.CloseWrite()
		time.Sleep(resetGrace + 500*time.Millisecond)
		k, _ := io.Copy(io.Discard, struct{ io.Reader }{c})
		got <- k
	})
	c := dial(t, g, gatewayAddr, port(addr))
	if _, err := io.Copy(c, random(size)); err != nil {
		t.Fatal(err)
	}
	c.Close()
	close(closed)
	if k := <-got; k != size {
		t.Errorf("%d bytes of %d arrived", k, size)
	}
}

// Streams that fill both directions, each waiting for the other, all arrive. See narrow.
func TestEchoedStreams(t *testing.T) {
	const size = 24 * mib
	n := newNetwork(t, Config{})
	g := newGuest(t, n, offloads, true)
	defer g.close()
	addr := serve(t, func(c *net.TCPConn) { io.Copy(struct{ io.Writer }{c}, struct{ io.Reader }{c}) })
	var group sync.WaitGroup
	for range 8 {
		c := dial(t, g, gatewayAddr, port(addr))
		group.Add(2)
		go func() {
			defer group.Done()
			io.Copy(c, random(size))
			c.CloseWrite()
		}()
		go func() {
			defer group.Done()
			defer c.Close()
			if k, err := io.Copy(io.Discard, c); k != size {
				t.Errorf("%d bytes of %d came back: %v", k, size, err)
			}
		}()
	}
	group.Wait()
}

// A slow reader stops the sender in both directions, and the memory in between is bounded.
func TestBackPressure(t *testing.T) {
	n := newNetwork(t, Config{Limits: Limits{LargeTCP: -1}})
	g := newGuest(t, n, offloads, false)
	defer g.close()
	hold := make(chan struct{})
	defer close(hold)
	addr := serve(t, func(c *net.TCPConn) {
		c.SetReadBuffer(64 << 10)
		<-hold
	})
	c := dial(t, g, gatewayAddr, port(addr))
	c.SetWriteDeadline(time.Now().Add(2 * time.Second))
	sent, err := c.Write(make([]byte, 64*mib))
	if err == nil {
		t.Fatal("64 MiB vanished into a connection that nobody reads")
	}
	if sent > 24*mib {
		t.Errorf("%d MiB are on their way to a reader that does not read", sent/mib)
	}
	c.Close()
}

// fds is the number of descriptors that the process has.
func fds(t testing.TB) int {
	e, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(e)
}

// settles waits until f is at most limit.
func settles(t testing.TB, what string, limit int, f func() int) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for f() > limit {
		if time.Now().After(deadline) {
			buf := make([]byte, 1<<20)
			t.Fatalf("%d %s, want at most %d\n%s", f(), what, limit, buf[:runtime.Stack(buf, true)])
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func TestThousandConnectionsLeakNothing(t *testing.T) {
	n := newNetwork(t, Config{})
	g := newGuest(t, n, offloads, false)
	defer g.close()
	// Without the wrappers io.Copy would splice, and keep pipes in a pool.
	addr := serve(t, func(c *net.TCPConn) { io.Copy(struct{ io.Writer }{c}, struct{ io.Reader }{c}) })
	once := func() {
		c := dial(t, g, gatewayAddr, port(addr))
		defer c.Close()
		io.WriteString(c, "x")
		c.CloseWrite()
		if b, err := io.ReadAll(c); string(b) != "x" {
			t.Errorf("echo %q, %v", b, err)
		}
	}
	once()
	goroutines, descriptors := runtime.NumGoroutine(), fds(t)
	var group sync.WaitGroup
	for range 10 {
		group.Add(1)
		go func() {
			defer group.Done()
			for range 100 {
				once()
			}
		}()
	}
	group.Wait()
	settles(t, "goroutines", goroutines+2, runtime.NumGoroutine)
	settles(t, "descriptors", descriptors+2, func() int { return fds(t) })
	settles(t, "connections", 0, n.tcp.len)
}

func TestConnectionLimit(t *testing.T) {
	n := newNetwork(t, Config{Limits: Limits{TCP: 2}})
	g := newGuest(t, n, offloads, false)
	defer g.close()
	addr := serve(t, func(c *net.TCPConn) { io.Copy(io.Discard, c) })
	a, b := dial(t, g, gatewayAddr, port(addr)), dial(t, g, gatewayAddr, port(addr))
	if _, err := gonet.DialTCP(g.stack, at(gatewayAddr, port(addr)), protocolIPv4); err == nil {
		t.Error("a third connection was made")
	}
	if d := n.Drops().Load(backend.DropLimit); d != 1 {
		t.Errorf("drops %v", n.Drops().ByReason())
	}
	a.Close()
	b.Close()
	settles(t, "connections", 0, n.tcp.len)
	dial(t, g, gatewayAddr, port(addr)).Close()
}

// Close in the middle of everything returns, and leaves neither goroutines nor descriptors.
func TestCloseUnderLoad(t *testing.T) {
	goroutines, descriptors := runtime.NumGoroutine(), fds(t)
	for range 5 {
		func() {
			n, err := New(Config{Queues: 2, Forwards: []Forward{{"tcp", netip.MustParseAddrPort("127.0.0.1:0"), netip.AddrPortFrom(guestAddr, 80)}}})
			if err != nil {
				t.Fatal(err)
			}
			g := newGuest(t, n, offloads, false)
			defer g.close()
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			go func() {
				for {
					c, err := l.Accept()
					if err != nil {
						return
					}
					go func() { defer c.Close(); io.Copy(struct{ io.Writer }{c}, struct{ io.Reader }{c}) }()
				}
			}()
			var group sync.WaitGroup
			var moved sync.WaitGroup
			for range 8 {
				c := dial(t, g, gatewayAddr, port(l.Addr()))
				defer c.Close()
				moved.Add(1)
				group.Add(2)
				go func() { defer group.Done(); io.Copy(c, random(1<<40)) }()
				go func() {
					defer group.Done()
					io.ReadFull(c, make([]byte, mib))
					moved.Done()
					io.Copy(io.Discard, c)
				}()
			}
			moved.Wait()
			n.Close()
			n.Close()
			// The network is gone, and with it the answers that would end the guest's connections.
			g.stack.Close()
			group.Wait()
		}()
	}
	settles(t, "goroutines", goroutines, runtime.NumGoroutine)
	settles(t, "descriptors", descriptors+1, func() int { return fds(t) })
}

// A handshake that the guest never finishes does not keep Close waiting.
func TestCloseDuringHandshake(t *testing.T) {
	goroutines := runtime.NumGoroutine()
	n := newNetwork(t, Config{})
	addr := serve(t, func(c *net.TCPConn) { io.Copy(io.Discard, c) })
	accepting := runtime.NumGoroutine()
	w := newWire(t, n)
	w.resolve()
	w.send(tcpFrame(1234, gatewayAddr, port(addr), "S"))
	w.expect("the answer to the SYN", func(f []byte) bool { return isTCP(f, "SA") })
	n.Close()
	settles(t, "goroutines", max(goroutines+1, accepting-2), runtime.NumGoroutine)
}
