//go:build lab

package tests

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"doorbell/internal/cpio"
	"doorbell/internal/probe"
	"doorbell/internal/report"
	"doorbell/vmm"
)

// netInitramfs is the default guest's initramfs with this binary in it.
func netInitramfs(t *testing.T) string {
	t.Helper()
	base, err := os.ReadFile(filepath.Join(os.Getenv("DOORBELL_GUEST"), "initrd"))
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	// Linux unpacks archives that follow each other, at multiples of four.
	b := bytes.NewBuffer(append(base, make([]byte, -len(base)&3)...))
	w := cpio.NewWriter(b)
	if err := w.File(netGuestPath[1:], 0o755, int64(len(program)), bytes.NewReader(program)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "initrd")
	if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// netPeer is the host's half: it takes "CPU BYTES", that many bytes, and sends as many.
type netPeer struct {
	port     int
	received chan string // "CPU digest", one for each connection that ended as it should
	sent     chan string
	notes    chan string // what went wrong
}

func (p *netPeer) note(format string, args ...any) {
	select {
	case p.notes <- fmt.Sprintf(format, args...):
	default:
	}
}

func newNetPeer(t *testing.T) *netPeer {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	p := &netPeer{port: l.Addr().(*net.TCPAddr).Port, received: make(chan string, 64), sent: make(chan string, 64), notes: make(chan string, 64)}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go p.serve(c)
		}
	}()
	return p
}

func (p *netPeer) serve(c net.Conn) {
	defer c.Close()
	r := bufio.NewReader(c)
	var cpu int
	var n int64
	if _, err := fmt.Fscanf(r, "%d %d\n", &cpu, &n); err != nil {
		p.note("%v", err)
		return
	}
	up, down := sha256.New(), sha256.New()
	if got, err := io.Copy(up, io.LimitReader(r, n)); err != nil || got != n {
		p.note("received %d of %d bytes: %v", got, n, err)
		return
	}
	p.received <- fmt.Sprintf("CPU %d sent %x", cpu, up.Sum(nil))
	if _, err := io.Copy(io.MultiWriter(c, down), &pattern{seed: uint64(cpu) + 1000, left: n}); err != nil {
		p.note("%v", err)
		return
	}
	p.sent <- fmt.Sprintf("received %x", down.Sum(nil))
	io.Copy(io.Discard, r) // until the guest has it all
}

var vectorLine = regexp.MustCompile(`(?m)^guest: vector on CPU (\d+) of .* virtio\d+-(input|output)\.(\d+)\r?$`)

// long moves the 100 MiB each way that a real host moves also on an emulated one, which may not survive it.
var long = flag.Bool("long", false, "move 100 MiB over the network on an emulated host too")

// TestUserNetwork: a guest with a queue pair for each of its vCPUs gets its address by DHCP, finds a name, and moves data both ways with
// matching digests over connections of every vCPU; each queue's vector is on its own vCPU, and the report tells the same.
func TestUserNetwork(t *testing.T) {
	const vcpus = 4
	each := uint64(25 << 20)
	if probe.Host().Emulated && !*long {
		each = 4 << 20
	}
	initramfs := netInitramfs(t)
	var p *netPeer
	var o outcome
	var d *report.Document
	for attempt := 1; ; attempt++ {
		p = newNetPeer(t)
		o, d = boot(t, "", "-c", fmt.Sprint(vcpus), "-i", initramfs, "--net", "user",
			"-p", fmt.Sprintf("%sdoorbell.net=off doorbell.workload=exec=%s test.peer=host.doorbell:%d test.bytes=%d", quiet, netGuestPath, p.port, each))
		if o.status != 3 || attempt == attempts || !d.Environment.Emulated {
			break
		}
		t.Logf("the emulated guest crashed: attempt %d of %d\n%s%s", attempt, attempts, o.stdout, o.stderr)
	}
	o.want(t, 0, o.stdout, "guest: address 10.0.2.15/24 gateway 10.0.2.2", "guest: host.doorbell is [10.0.2.2]", "guest: network done")
	if len(p.received) != vcpus || len(p.sent) != vcpus {
		for len(p.notes) > 0 {
			t.Log("peer: ", <-p.notes)
		}
		t.Fatalf("%d and %d transfers ended\n%s\n%s", len(p.received), len(p.sent), o.stdout, o.stderr)
	}
	for range vcpus {
		o.want(t, 0, o.stdout, <-p.received, <-p.sent)
	}
	seen := 0
	for _, m := range vectorLine.FindAllStringSubmatch(o.stdout, -1) {
		seen++
		if m[1] != m[3] {
			t.Errorf("the vector of %s queue %s is on CPU %s", m[2], m[3], m[1])
		}
	}
	if seen != 2*vcpus {
		t.Errorf("%d vectors of queues\n%s", seen, o.stdout)
	}
	checkNetAccount(t, d.VM.Net, vcpus, vcpus*each)
	var text strings.Builder
	d.Text(&text)
	_, card, _ := strings.Cut(text.String(), "\nIts network card")
	card, _, _ = strings.Cut(card, "\nWhen\n")
	t.Logf("its network card%s", card)
}

// checkNetAccount compares the report's account of the card with what went through it.
func checkNetAccount(t *testing.T, n *vmm.NetAccount, vcpus int, bytes uint64) {
	t.Helper()
	if n == nil || n.ActivePairs != vcpus || n.QueuePairs != vcpus || n.NeedsReset || len(n.Events) > 0 {
		t.Fatalf("the account of the card: %+v", n)
	}
	var in, out uint64
	vectors := map[int]vmm.VectorRow{}
	for _, v := range n.Vectors {
		vectors[v.Vector] = v
	}
	for _, q := range n.Queues {
		switch {
		case strings.HasPrefix(q.Queue, "rx"):
			in += q.Bytes
		case strings.HasPrefix(q.Queue, "tx"):
			out += q.Bytes
		default:
			continue
		}
		for why, n := range q.Drops {
			if why != "backend_protocol" { // Linux's IPv6 announcements, which user-mode networking does not carry
				t.Errorf("%s dropped %d: %s", q.Queue, n, why)
			}
		}
		if q.Packets > 0 && q.Batches > q.Packets {
			t.Errorf("%s: %d batches of %d packets", q.Queue, q.Batches, q.Packets)
		}
		if q.Vector == nil {
			t.Errorf("%s has no vector", q.Queue)
			continue
		}
		v := vectors[*q.Vector]
		if v.VCPU == nil || fmt.Sprint(*v.VCPU) != q.Queue[2:] || v.Queue != q.Queue {
			t.Errorf("the vector of %s: %+v", q.Queue, v)
		}
		if v.Fired != q.Interrupts {
			t.Errorf("%s sent %d interrupts, its vector fired %d", q.Queue, q.Interrupts, v.Fired)
		}
	}
	if in < bytes || out < bytes {
		t.Errorf("%d bytes in, %d out, of %d", in, out, bytes)
	}
}

// TestNoNetwork: without a card there is none on the bus and none in the report.
func TestNoNetwork(t *testing.T) {
	_, d := boot(t, "", "--net", "none")
	if d.VM.Net != nil {
		t.Errorf("%+v", d.VM.Net)
	}
	for _, r := range d.VM.UserspaceExits {
		if r.Device == "net0" {
			t.Errorf("%+v", r)
		}
	}
}
