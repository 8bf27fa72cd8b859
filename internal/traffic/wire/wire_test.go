package wire

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"doorbell/internal/guestreport"
	"doorbell/internal/netconf"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// What is sent is what is received, whatever is in it.
func TestMessages(t *testing.T) {
	token := NewToken()
	messages := []Message{
		{Kind: KindHello, Hello: &Hello{Version: Version, Kernel: "6.1.0", CPUs: 4, Interface: "eth0"}},
		{Kind: KindTask, ID: 1, Task: &Task{Stream: &Stream{Flows: Flows{Count: 2, Token: token, SourcePorts: []uint16{1, 2}, CPUs: []int{3}}, Bytes: 9, Seed: 1 << 63, Check: CheckXor, Chunk: 8}}},
		{Kind: KindTask, ID: 2, Task: &Task{Configure: &Configure{Features: map[string]bool{"tso": false}, Coalesce: &netconf.Coalesce{RxUsecs: 5}, Polling: &netconf.Polling{BusyReadUsecs: 5}, RPS: map[string]string{"rx-0": "2"}, CPUs: []int{1}}}},
		{Kind: KindTask, ID: 3, Task: &Task{End: &Empty{}}},
		{Kind: KindResult, ID: 1, Result: &Result{Flows: []Flow{{LocalPort: 7, Bytes: 9, Digest: "x"}}, Ping: &guestreport.PingResult{Sent: 1}}},
		{Kind: KindResult, ID: 1, Error: "two\nlines"},
		{Kind: KindReady, ID: 1, Port: 65535}, {Kind: KindSent, ID: 1, Sent: 3}, {Kind: KindCancel, ID: 1},
	}
	a, b := net.Pipe()
	defer b.Close()
	go func() {
		defer a.Close()
		c := NewConn(a)
		for _, m := range messages {
			if err := c.Send(m); err != nil {
				t.Error(err)
			}
		}
	}()
	c := NewConn(b)
	for _, want := range messages {
		got, err := c.Receive()
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%v (-want +got):\n%s", err, diff)
		}
	}
	if m, err := c.Receive(); err == nil || err.Error() != "EOF" {
		t.Errorf("got %+v, %v", m, err)
	}
}

func TestBadMessages(t *testing.T) {
	for text, want := range map[string]string{
		"x\n":                                   "message: invalid character",
		`{"kind":"song"}` + "\n":                `message of kind "song"`,
		`{"kind":"hello","x":1}` + "\n":         `unknown field "x"`,
		`{"kind":"sent"}{"kind":"sent"}` + "\n": "more than one on a line",
		`{"kind":"hello"}`:                      "unexpected EOF",
		strings.Repeat(" ", MaxMessage) + "\n":  "message of more than 4194304 bytes",
	} {
		if _, err := readMessage(bufio.NewReader(strings.NewReader(text))); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: error %v, want one with %q", text, err, want)
		}
	}
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	if err := NewConn(a).Send(Message{Kind: KindResult, Error: strings.Repeat("x", MaxMessage)}); err == nil || !strings.Contains(err.Error(), "where up to") {
		t.Errorf("error %v", err)
	}
}

func TestTaskCheck(t *testing.T) {
	good := func() Stream { return Stream{Flows: Flows{Count: 2}, Chunk: 8, Check: CheckNone} }
	stream := func(change func(*Stream)) *Task {
		s := good()
		change(&s)
		return &Task{Stream: &s}
	}
	packets := func(change func(*Packets)) *Task {
		p := Packets{Flows: Flows{Count: 1}, Bytes: 64, Each: 1}
		change(&p)
		return &Task{Packets: &p}
	}
	trips := func(change func(*RoundTrips)) *Task {
		r := RoundTrips{Flows: Flows{Count: 1}, Bytes: 64}
		change(&r)
		return &Task{RoundTrips: &r}
	}
	for _, tt := range []struct {
		task *Task
		want string
	}{
		{nil, "no task"},
		{&Task{}, "a task of 0 kinds"},
		{&Task{End: &Empty{}, Snapshot: &Empty{}}, "a task of 2 kinds"},
		{stream(func(*Stream) {}), ""},
		{stream(func(s *Stream) { s.Count = 0 }), "stream: 0 flows where 1 to 256 may be"},
		{stream(func(s *Stream) { s.Count = 257 }), "stream: 257 flows where 1 to 256 may be"},
		{stream(func(s *Stream) { s.SourcePorts = []uint16{1} }), "stream: 1 source ports for 2 flows"},
		{stream(func(s *Stream) { s.SourcePorts, s.Inbound = []uint16{1, 2}, true }), "stream: source ports for flows that are not the guest's"},
		{stream(func(s *Stream) { s.CPUs = []int{1, 2, 3} }), "stream: 3 CPUs for 2 flows"},
		{stream(func(s *Stream) { s.CPUs = []int{-1} }), "stream: CPU -1 does not exist"},
		{stream(func(s *Stream) { s.Bytes = 1 << 50 }), "stream: 1125899906842624 bytes where up to 17592186044416 may be"},
		{stream(func(s *Stream) { s.Chunk = 12 }), "stream: chunks of 12 bytes where multiples of 8 up to 4194304 may be"},
		{stream(func(s *Stream) { s.Check = "crc" }), `stream: check "crc" is not none, xor or sha256`},
		{packets(func(*Packets) {}), ""},
		{packets(func(p *Packets) { p.Bytes = 11 }), "packets: 11 bytes where 12 to 65507 may be"},
		{packets(func(p *Packets) { p.Each = 0 }), "packets: 0 datagrams where 1 to 16777216 may be"},
		{packets(func(p *Packets) { p.PerSecond = -1 }), "packets: -1 datagrams a second"},
		{packets(func(p *Packets) { p.Up, p.Inbound = true, true }), "packets: datagrams to the controller go out, not in"},
		{packets(func(p *Packets) { p.Inbound, p.Count = true, 2 }), "packets: inbound datagrams have one flow"},
		{trips(func(*RoundTrips) {}), ""},
		{trips(func(r *RoundTrips) { r.Bytes = 0 }), "round trips: 0 bytes where 1 to 4194304 may be"},
		{trips(func(r *RoundTrips) { r.Bytes, r.UDP = 4, true }), "round trips: 4 bytes where 12 to 65507 may be"},
		{trips(func(r *RoundTrips) { r.Count, r.UDP, r.Inbound = 2, true, true }), "round trips: inbound datagrams have one flow"},
		{&Task{Ping: &Ping{Host: "h", Count: 1, TimeoutNs: 1}}, ""},
		{&Task{Ping: &Ping{Host: "h", Count: 1001, TimeoutNs: 1}}, "ping: 1001 requests where 1 to 1000 may be"},
		{&Task{Ping: &Ping{Count: 1, TimeoutNs: 1}}, "ping: no host, or one that is too long"},
		{&Task{Ping: &Ping{Host: "h", Count: 1}}, "ping: no time to answer"},
		{&Task{Ping: &Ping{Host: "h", Count: 1, Bytes: -1, TimeoutNs: 1}}, "ping: -1 bytes where up to 65507 may be"},
		{&Task{Resolve: &Resolve{}}, "resolve: no name, or one that is too long"},
		{&Task{Fetch: &Fetch{URL: strings.Repeat("x", 3000)}}, "fetch: the URL is too long"},
	} {
		err := tt.task.Check()
		if got := errorText(err); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// A digest depends on the bytes and their order, not on how they come.
func TestDigest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		check := rapid.SampledFrom([]Check{CheckXor, CheckSHA256}).Draw(t, "check")
		data := rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "data")
		whole, cut := check.Digest(), check.Digest()
		whole.Add(data)
		for rest := data; len(rest) > 0; {
			n := rapid.IntRange(1, len(rest)).Draw(t, "piece")
			cut.Add(rest[:n])
			rest = rest[n:]
		}
		text, again := whole.Text(), whole.Text() // looking changes nothing
		if text != cut.Text() || text != again {
			t.Fatalf("%s, %s and %s", text, again, cut.Text())
		}
		other := check.Digest()
		changed := bytes.Clone(data)
		switch {
		case len(data) > 0 && rapid.Bool().Draw(t, "flip"):
			changed[rapid.IntRange(0, len(data)-1).Draw(t, "at")] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		default:
			changed = append(changed, 0)
		}
		if other.Add(changed); other.Text() == whole.Text() {
			t.Fatalf("a change is not seen: %s", other.Text())
		}
	})
	none := CheckNone.Digest()
	none.Add([]byte("x"))
	if none.Text() != "" {
		t.Errorf("got %q", none.Text())
	}
}

// Both ends make the same bytes, however they cut them, and no two flows have the same.
func TestPayload(t *testing.T) {
	whole, cut := make([]byte, 61), make([]byte, 61)
	NewPayload(7, 1).Fill(whole)
	p := NewPayload(7, 1)
	p.Fill(cut[:8])
	p.Fill(cut[8:40])
	p.Fill(cut[40:])
	if !bytes.Equal(whole, cut) {
		t.Errorf("% x\n% x", whole, cut)
	}
	other := make([]byte, 61)
	NewPayload(7, 2).Fill(other)
	if bytes.Equal(whole, other) || bytes.Equal(whole[:8], whole[8:16]) {
		t.Error("contents repeat")
	}
}

func TestTally(t *testing.T) {
	tally := NewTally(70)
	for _, n := range []uint32{0, 1, 5, 3, 5, 69, 70, 127, 128, 1 << 31} {
		tally.Add(n)
	}
	if tally.Received != 5 || tally.Duplicates != 1 || tally.Reordered != 1 {
		t.Errorf("got %+v", tally)
	}
}

// Packets are as far apart as asked, give or take a burst.
func TestPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		pace := NewPace(10000)
		for n := range uint32(5000) {
			if err := pace.Wait(t.Context(), n); err != nil {
				t.Fatal(err)
			}
			if early := time.Duration(n)*100*time.Microsecond - time.Since(start); early >= burst || early < -burst {
				t.Fatalf("packet %d is %v early", n, early)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := pace.Wait(ctx, 1<<30); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
		if err := NewPace(0).Wait(ctx, 0); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
	})
}

// What happens for each chunk or packet allocates nothing.
func TestHotPathsDoNotAllocate(t *testing.T) {
	b := make([]byte, 4096)
	payload, fold, sha, tally, pace := NewPayload(1, 0), CheckXor.Digest(), CheckSHA256.Digest(), NewTally(1000), NewPace(0)
	n := uint32(0)
	for name, f := range map[string]func(){
		"fill": func() { payload.Fill(b) },
		"fold": func() { fold.Add(b[:4093]) },
		"sha":  func() { sha.Add(b) },
		"datagram": func() {
			n++
			Datagram{Key: 1, Flow: 2, Type: DatagramData, Sequence: n}.Put(b)
			if d, ok := ParseDatagram(b); ok {
				tally.Add(d.Sequence)
			}
		},
		"pace": func() { pace.Wait(t.Context(), n) },
	} {
		if allocs := testing.AllocsPerRun(100, f); allocs != 0 {
			t.Errorf("%s: %v allocations", name, allocs)
		}
	}
}

func BenchmarkPayload(b *testing.B) {
	chunk := make([]byte, 256<<10)
	p := NewPayload(1, 0)
	b.SetBytes(int64(len(chunk)))
	b.ReportAllocs()
	for b.Loop() {
		p.Fill(chunk)
	}
}

func BenchmarkDigest(b *testing.B) {
	chunk := make([]byte, 256<<10)
	for _, check := range []Check{CheckXor, CheckSHA256} {
		b.Run(string(check), func(b *testing.B) {
			d := check.Digest()
			b.SetBytes(int64(len(chunk)))
			b.ReportAllocs()
			for b.Loop() {
				d.Add(chunk)
			}
		})
	}
}

func BenchmarkDatagram(b *testing.B) {
	buffer := make([]byte, 64)
	tally := NewTally(MaxPackets)
	n := uint32(0)
	b.ReportAllocs()
	for b.Loop() {
		n++
		Datagram{Key: 1, Flow: 2, Type: DatagramData, Sequence: n % MaxPackets}.Put(buffer)
		if d, ok := ParseDatagram(buffer); ok {
			tally.Add(d.Sequence)
		}
	}
}

func TestSnapshotSince(t *testing.T) {
	before := Snapshot{Interface: "eth0", Link: netconf.Statistics{RxPackets: 5}, Stats: []netconf.Stat{{Name: "rx_queue_0_packets", Value: 5}}}
	after := before
	after.Link.RxPackets = 12
	after.Stats = []netconf.Stat{{Name: "rx_queue_0_packets", Value: 9}, {Name: "rx_queue_1_packets", Value: 3}}
	after.Features = []netconf.Feature{{Name: "rx-gro", Active: true}}
	d := after.Since(&before)
	if d.Link.RxPackets != 7 || d.Counter("rx_queue_0_packets") != 4 || d.Counter("rx_queue_1_packets") != 3 || d.Counter("none") != 0 || !d.Feature("rx-gro") || d.Feature("lro") {
		t.Errorf("got %+v", d)
	}
	if after.Counter("rx_queue_0_packets") != 9 || after.Link.RxPackets != 12 {
		t.Error("the snapshot has changed")
	}
}

func FuzzMessage(f *testing.F) {
	for _, m := range []Message{
		{Kind: KindHello, Hello: &Hello{Version: 1}},
		{Kind: KindTask, ID: 1, Task: &Task{Stream: &Stream{Flows: Flows{Count: 1}, Chunk: 8, Check: CheckNone}}},
		{Kind: KindTask, ID: 1, Task: &Task{Packets: &Packets{Flows: Flows{Count: 1}, Bytes: 20, Each: 5}}},
		{Kind: KindResult, ID: 1, Result: &Result{Snapshot: &Snapshot{}}},
	} {
		b, err := json.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(append(b, '\n'))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := readMessage(bufio.NewReader(bytes.NewReader(b)))
		if err != nil {
			return
		}
		if m.Task.Check() == nil {
			if s := m.Task.Stream; s != nil {
				for i := range s.Count {
					s.CPU(i)
					s.SourcePort(i)
				}
			}
			if p := m.Task.Packets; p != nil {
				NewTally(p.Each)
			}
		}
		again, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := parseMessage(again); err != nil || !reflect.DeepEqual(normal(t, back), normal(t, m)) {
			t.Errorf("%s came back as %+v, %v", again, back, err)
		}
	})
}

// normal is without the difference between empty and nil.
func normal(t *testing.T, m Message) string {
	b, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func FuzzPreface(f *testing.F) {
	b := Preface{Data: true, Flow: 3, Token: NewToken()}.encode()
	f.Add(b[:])
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := ReadPreface(bytes.NewReader(b))
		if err != nil {
			return
		}
		if again := p.encode(); !bytes.Equal(again[:], b[:prefaceSize]) {
			t.Errorf("% x came back as % x", b, again)
		}
	})
}

func FuzzDatagram(f *testing.F) {
	var b [DatagramHeader]byte
	Datagram{1, 2, DatagramData, 3}.Put(b[:])
	f.Add(b[:], uint16(64))
	f.Fuzz(func(t *testing.T, b []byte, count uint16) {
		d, ok := ParseDatagram(b)
		if !ok {
			return
		}
		again := make([]byte, DatagramHeader)
		d.Put(again)
		if !bytes.Equal(again, b[:DatagramHeader]) {
			t.Errorf("% x came back as % x", b, again)
		}
		NewTally(uint64(count)).Add(d.Sequence)
	})
}
