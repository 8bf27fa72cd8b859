package mailbox

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
	"testing"
	"time"
)

// pair makes both ends over one piece of heap memory.
func pair(t testing.TB) (host, guest *Port, shared []byte) {
	t.Helper()
	shared = make([]byte, SharedSize)
	host, err := NewHost(shared)
	if err != nil {
		t.Fatal(err)
	}
	guest, err = NewGuest(shared)
	if err != nil {
		t.Fatal(err)
	}
	host.SetSendTimeout(0)
	guest.SetSendTimeout(0)
	return host, guest, shared
}

func wantMessage(t testing.TB, p *Port, typ Type, payload string) {
	t.Helper()
	m, ok, err := p.Receive()
	if err != nil || !ok {
		t.Fatalf("Receive: %v, %v, want %v", ok, err, typ)
	}
	if m.Type != typ || string(m.Payload) != payload {
		t.Fatalf("received %v of %d bytes, want %v of %d", m.Type, len(m.Payload), typ, len(payload))
	}
}

func wantNothing(t testing.TB, p *Port) {
	t.Helper()
	if m, ok, err := p.Receive(); ok || err != nil {
		t.Fatalf("Receive: %v, %v, %v, want nothing", m.Type, ok, err)
	}
}

func TestConversation(t *testing.T) {
	host, guest, _ := pair(t)
	rings := 0
	guest.OnSend(func() { rings++ })
	wantNothing(t, host)
	wantNothing(t, guest)
	for _, m := range []struct {
		typ     Type
		payload string
	}{{Hello, "agent 1"}, {Phase, "userspace"}, {Log, ""}, {Report, `{"cpus":2}`}, {Bye, ""}} {
		if err := guest.Send(m.typ, []byte(m.payload)); err != nil {
			t.Fatal(err)
		}
	}
	if err := host.Send(Job, []byte(`{"run":"true"}`)); err != nil {
		t.Fatal(err)
	}
	wantMessage(t, host, Hello, "agent 1")
	wantMessage(t, host, Phase, "userspace")
	wantMessage(t, host, Log, "")
	wantMessage(t, host, Report, `{"cpus":2}`)
	wantMessage(t, host, Bye, "")
	wantNothing(t, host)
	wantMessage(t, guest, Job, `{"run":"true"}`)
	wantNothing(t, guest)
	if rings != 5 {
		t.Errorf("the guest rang %d times, want 5", rings)
	}
}

// The bytes that a guest in another language would have to write.
func TestWireFormat(t *testing.T) {
	host, guest, shared := pair(t)
	if got := string(shared[:8]); got != "DBEL\x01\x00\x00\x00" {
		t.Errorf("identification %q", got)
	}
	if err := guest.Send(Phase, []byte("up")); err != nil {
		t.Fatal(err)
	}
	if got := string(shared[0x4000:0x400a]); got != "\x02\x00\x00\x00\x02\x00\x00\x00up" {
		t.Errorf("guest ring %q", got)
	}
	if got := binary.LittleEndian.Uint64(shared[0x80:]); got != 10 {
		t.Errorf("guest tail %d, want 10", got)
	}
	wantMessage(t, host, Phase, "up")
	if got := binary.LittleEndian.Uint64(shared[0x100:]); got != 10 {
		t.Errorf("host head %d, want 10", got)
	}
	if err := host.Send(Job, []byte("{}")); err != nil {
		t.Fatal(err)
	}
	if got := string(shared[0xc4000:0xc400a]); got != "\x02\x00\x00\x00\x05\x00\x00\x00{}" {
		t.Errorf("host ring %q", got)
	}
	if got := binary.LittleEndian.Uint64(shared[0x180:]); got != 10 {
		t.Errorf("host tail %d, want 10", got)
	}
}

func TestGuestResumes(t *testing.T) {
	host, guest, shared := pair(t)
	if err := guest.Send(Hello, []byte("first")); err != nil {
		t.Fatal(err)
	}
	if err := host.Send(Job, []byte("one")); err != nil {
		t.Fatal(err)
	}
	wantMessage(t, guest, Job, "one")
	if err := host.Send(Job, []byte("two")); err != nil {
		t.Fatal(err)
	}
	guest, err := NewGuest(shared)
	if err != nil {
		t.Fatal(err)
	}
	wantMessage(t, guest, Job, "two")
	if err := guest.Send(Hello, []byte("second")); err != nil {
		t.Fatal(err)
	}
	wantMessage(t, host, Hello, "first")
	wantMessage(t, host, Hello, "second")
}

func TestFull(t *testing.T) {
	host, _, _ := pair(t)
	payload := make([]byte, 1000)
	sent := 0
	var err error
	for ; err == nil; sent++ {
		err = host.Send(Job, payload)
	}
	if !errors.Is(err, ErrFull) || errors.Is(err, ErrBroken) {
		t.Errorf("error %v, want ErrFull", err)
	}
	if want := hostRingSize/1008 + 1; sent != want {
		t.Errorf("send %d failed, want the %dth", sent, want)
	}
	// A frame that still fits is sent.
	if err := host.Send(Bye, nil); err != nil {
		t.Errorf("a small message: %v", err)
	}
}

func TestPeerStopsInsideMessage(t *testing.T) {
	host, _, _ := pair(t)
	err := host.Send(Job, make([]byte, 2*hostRingSize))
	if !errors.Is(err, ErrBroken) || !errors.Is(err, ErrFull) {
		t.Errorf("error %v, want ErrBroken and ErrFull", err)
	}
	if _, _, again := host.Receive(); !errors.Is(again, ErrBroken) {
		t.Errorf("Receive: %v, want ErrBroken", again)
	}
}

// A sender waits for a reader that comes late.
func TestSendWaits(t *testing.T) {
	host, guest, _ := pair(t)
	guest.SetSendTimeout(time.Minute)
	want := bytes.Repeat([]byte("0123456789abcdef"), 3<<20/16)
	done := make(chan error)
	go func() { done <- guest.Send(Report, want) }()
	for {
		m, ok, err := host.Receive()
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			continue
		}
		if m.Type != Report || !bytes.Equal(m.Payload, want) {
			t.Errorf("received %v of %d bytes, not what was sent", m.Type, len(m.Payload))
		}
		break
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestCloseReleasesSend(t *testing.T) {
	_, guest, _ := pair(t)
	guest.SetSendTimeout(time.Hour)
	sent := make(chan struct{}, 100)
	guest.OnSend(func() { sent <- struct{}{} })
	done := make(chan error)
	go func() { done <- guest.Send(Report, make([]byte, 4*guestRingSize)) }()
	<-sent
	guest.Close()
	if err := <-done; !errors.Is(err, ErrClosed) {
		t.Errorf("Send: %v, want ErrClosed", err)
	}
	if _, _, err := guest.Receive(); !errors.Is(err, ErrClosed) {
		t.Errorf("Receive: %v, want ErrClosed", err)
	}
}

// Both directions at once, for the race detector.
func TestConcurrentUse(t *testing.T) {
	host, guest, _ := pair(t)
	const messages = 300
	run := func(from, to *Port, typ Type, done chan<- error) {
		from.SetSendTimeout(time.Minute)
		go func() {
			for i := range messages {
				if err := from.Send(typ, bytes.Repeat([]byte{byte(i)}, i*997)); err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
		go func() {
			for i := 0; i < messages; {
				m, ok, err := to.Receive()
				if err != nil {
					done <- err
					return
				}
				if !ok {
					continue
				}
				if m.Type != typ || len(m.Payload) != i*997 || bytes.Count(m.Payload, []byte{byte(i)}) != i*997 {
					done <- errors.New("a message is not what was sent")
					return
				}
				i++
			}
			done <- nil
		}()
	}
	done := make(chan error, 4)
	run(guest, host, Report, done)
	run(host, guest, Job, done)
	for range 4 {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
}

func TestRefusals(t *testing.T) {
	host, guest, shared := pair(t)
	for _, tc := range []struct {
		name string
		err  error
		want string
	}{
		{"host sends Report", host.Send(Report, nil), "mailbox: this side does not send Report"},
		{"guest sends Job", guest.Send(Job, nil), "mailbox: this side does not send Job"},
		{"guest sends an unknown type", guest.Send(99, nil), "mailbox: this side does not send type 99"},
		{"too long", guest.Send(Report, make([]byte, MaxMessage+1)), "mailbox: Report of 16777217 bytes, at most 16777216 can be sent"},
		{"short RAM", second(NewHost(shared[8:])), "mailbox: shared RAM of 1048568 bytes, want 1048576"},
		{"unaligned RAM", second(NewGuest(make([]byte, SharedSize+8)[1 : SharedSize+1])), "mailbox: shared RAM of 1048576 bytes, want 1048576, aligned to 8"},
		{"no host", second(NewGuest(make([]byte, SharedSize))), "mailbox: magic 0x00000000, want 0x4c454244"},
		{"newer host", func() error {
			s := make([]byte, SharedSize)
			copy(s, "DBEL\x02")
			return second(NewGuest(s))
		}(), "mailbox: version 2, this agent knows 1"},
	} {
		if tc.err == nil || !strings.HasPrefix(tc.err.Error(), tc.want) {
			t.Errorf("%s: error %v, want %q", tc.name, tc.err, tc.want)
		}
	}
}

func second(_ *Port, err error) error { return err }

func TestRegisters(t *testing.T) {
	rings := 0
	r := NewRegisters(func() { rings++ })
	r.Write(DoorbellOffset, []byte{1, 0, 0, 0})
	r.Write(DoorbellOffset, []byte{0})
	r.Write(4, []byte{1, 0, 0, 0})
	r.Write(^uint64(0), []byte{1, 2})
	r.Write(0, nil)
	if rings != 2 {
		t.Errorf("rang %d times, want 2", rings)
	}
	p := []byte{1, 2, 3, 4}
	if r.Read(0, p); !bytes.Equal(p, make([]byte, 4)) {
		t.Errorf("reads % x, want zeroes", p)
	}
	if r.RegisterName(0, true) != "DOORBELL" || r.RegisterName(0x10, false) != "0x10" {
		t.Error("register names are wrong")
	}
}
