package uart

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// gate is an output that accepts nothing until it is opened.
type gate struct {
	open    chan struct{}
	entered chan struct{} // closed by the first Write
	once    sync.Once
	got     bytes.Buffer
}

func newGate() *gate {
	return &gate{open: make(chan struct{}), entered: make(chan struct{})}
}

func (g *gate) Write(p []byte) (int, error) {
	g.once.Do(func() { close(g.entered) })
	<-g.open
	return g.got.Write(p)
}

// numbered returns n bytes in which a loss or a swap shows.
func numbered(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i ^ i>>8 ^ i>>16)
	}
	return b
}

func send(u *UART, b []byte) {
	for i := range b {
		u.Write(regTHR, b[i:i+1])
	}
}

func TestOutputArrivesInOrder(t *testing.T) {
	var out, seen bytes.Buffer
	u := New(Config{Output: &out, Observe: func(p []byte) { seen.Write(p) }})
	want := numbered(3*txRingSize + 17)
	send(u, want)
	if err := u.Close(soon(t)); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(out.Bytes(), want) {
		t.Errorf("%d bytes arrived of %d, or in another order", out.Len(), len(want))
	}
	if !bytes.Equal(seen.Bytes(), want) {
		t.Errorf("the observer saw %d bytes of %d, or in another order", seen.Len(), len(want))
	}
}

// A slow reader stops the guest instead of losing its bytes.
func TestBackpressure(t *testing.T) {
	g := newGate()
	u := New(Config{Output: g})
	want := numbered(txRingSize + 1)
	send(u, want[:txRingSize])
	<-g.entered // so that the writer has taken nothing out of the ring
	done := make(chan struct{})
	go func() {
		send(u, want[txRingSize:])
		close(done)
	}()
	select {
	case <-done:
		t.Fatal("a write to a full ring returned")
	default:
	}
	// The port's other registers answer meanwhile.
	u.Write(regSCR, []byte{1})
	close(g.open)
	<-done
	if err := u.Close(soon(t)); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(g.got.Bytes(), want) {
		t.Errorf("%d bytes arrived of %d, or in another order", g.got.Len(), len(want))
	}
}

// A pipe that nobody reads does not hold up shutdown.
func TestCloseWithStuckOutput(t *testing.T) {
	for _, tc := range []struct {
		name string
		end  func(*UART) error
		want error
	}{
		{"close", func(u *UART) error {
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			return u.Close(ctx)
		}, context.Canceled},
		{"abort", func(u *UART) error { u.Abort(); return nil }, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			g := newGate()
			defer close(g.open)
			u := New(Config{Output: g})
			send(u, numbered(txRingSize))
			waiting := make(chan struct{})
			go func() {
				send(u, numbered(1000))
				close(waiting)
			}()
			err := tc.end(u)
			if !errors.Is(err, tc.want) {
				t.Errorf("error %v, want %v", err, tc.want)
			}
			if tc.want != nil && !strings.Contains(err.Error(), "65536 bytes not written") {
				t.Errorf("error %q does not tell how many bytes are lost", err)
			}
			<-waiting
			send(u, numbered(2*txRingSize)) // never waits again
		})
	}
}

type failing struct{ calls int }

func (f *failing) Write([]byte) (int, error) {
	f.calls++
	return 0, syscall.EPIPE
}

func TestFailedOutput(t *testing.T) {
	var seen bytes.Buffer
	f := &failing{}
	u := New(Config{Output: f, Observe: func(p []byte) { seen.Write(p) }})
	want := numbered(2 * txRingSize)
	send(u, want)
	if err := u.Flush(soon(t)); !errors.Is(err, syscall.EPIPE) {
		t.Errorf("Flush: %v, want EPIPE", err)
	}
	if err := u.Close(soon(t)); !errors.Is(err, syscall.EPIPE) {
		t.Errorf("Close: %v, want EPIPE", err)
	}
	if f.calls != 1 {
		t.Errorf("the output was written to %d times, want once", f.calls)
	}
	if !bytes.Equal(seen.Bytes(), want) {
		t.Errorf("the observer saw %d bytes of %d", seen.Len(), len(want))
	}
}

func TestInputArrivesInOrder(t *testing.T) {
	p := newPort(t)
	p.set(regMCR, mcrRTS)
	p.set(regFCR, fcrEnable)
	want := numbered(3*backlogSize + 11)
	done := make(chan error)
	go func() {
		_, err := p.Input(want)
		done <- err
	}()
	var got []byte
	for len(got) < len(want) {
		if p.get(regLSR)&lsrDR != 0 {
			got = append(got, p.get(regRBR))
		}
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("the guest read other bytes than were sent")
	}
}

// What is piped in before a driver opens the port survives the driver's probing.
func TestInputWaitsForReceiver(t *testing.T) {
	p := newPort(t)
	p.input("early")
	for range 4 { // what drivers do: reset FIFOs, drain, look at everything
		p.set(regFCR, fcrEnable|fcrResetRx|4)
		p.set(regFCR, 0)
		p.set(regIER, 0xf) // is it a 16550?
		p.set(regIER, 0)
		for _, off := range []uint64{regLSR, regRBR, regIIR, regMSR} {
			p.get(off)
		}
	}
	p.set(regMCR, mcrOUT2)
	p.set(regIER, ierERBFI)
	p.set(regFCR, fcrEnable) // as Linux does, after the interrupt
	for _, c := range []byte("early") {
		p.want(regRBR, c)
	}
}

// A driver that only polls LSR is served too.
func TestInputForPollingDriver(t *testing.T) {
	p := newPort(t)
	p.input("poll")
	var got []byte
	for len(got) < 4 {
		for p.get(regLSR)&lsrDR == 0 {
		}
		got = append(got, p.get(regRBR))
	}
	if string(got) != "poll" {
		t.Errorf("read %q, want \"poll\"", got)
	}
}

func TestLoopbackHoldsInput(t *testing.T) {
	p := newPort(t)
	p.set(regFCR, fcrEnable)
	p.set(regIER, ierERBFI)
	p.set(regMCR, mcrOUT2|mcrLOOP)
	p.input("in")
	p.want(regLSR, 0x60)
	p.set(regTHR, 'L')
	p.want(regRBR, 'L')
	p.set(regMCR, mcrOUT2)
	p.want(regRBR, 'i')
	p.want(regRBR, 'n')
}

func TestCloseReleasesInput(t *testing.T) {
	p := newPort(t)
	p.input(strings.Repeat("x", backlogSize))
	type result struct {
		n   int
		err error
	}
	done := make(chan result)
	go func() {
		n, err := p.Input([]byte("more"))
		done <- result{n, err}
	}()
	if err := p.Close(soon(t)); err != nil {
		t.Fatal(err)
	}
	if r := <-done; r.n != 0 || r.err != io.ErrClosedPipe {
		t.Errorf("Input: %d, %v, want 0 and io.ErrClosedPipe", r.n, r.err)
	}
}

// Everything at once, for the race detector.
func TestConcurrentUse(t *testing.T) {
	var out bytes.Buffer
	u := New(Config{Output: &out, Line: new(edges)})
	u.Write(regMCR, []byte{mcrOUT2 | mcrRTS})
	u.Write(regFCR, []byte{fcrEnable})
	u.Write(regIER, []byte{ierMask})
	var wg sync.WaitGroup
	in := numbered(20000)
	wg.Go(func() {
		if n, err := u.Input(in); n != len(in) || err != nil {
			t.Errorf("Input: %d, %v", n, err)
		}
	})
	wg.Go(func() { send(u, numbered(100000)) })
	wg.Go(func() {
		for range 1000 {
			u.Read(regIIR, make([]byte, 8))
		}
	})
	wg.Go(func() {
		var got []byte
		var lsr, rbr [1]byte
		for len(got) < len(in) {
			if u.Read(regLSR, lsr[:]); lsr[0]&lsrDR != 0 {
				u.Read(regRBR, rbr[:])
				got = append(got, rbr[0])
			}
		}
		if !bytes.Equal(got, in) {
			t.Error("the guest read other bytes than were sent")
		}
	})
	wg.Wait()
	if err := u.Close(soon(t)); err != nil {
		t.Fatal(err)
	}
	if out.Len() != 100000 {
		t.Errorf("%d bytes arrived, want 100000", out.Len())
	}
}
