//go:build lab

package tests

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"doorbell/internal/cpio"
	"doorbell/internal/netconf/netserve"
	"doorbell/internal/report"
	"doorbell/internal/traffic"
	"doorbell/internal/traffic/wire"
	"doorbell/vmm"
)

// netInitramfs is the default guest's initramfs with this binary in it.
func netInitramfs(t testing.TB) string {
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

var queueVector = regexp.MustCompile(`^virtio\d+-(input|output)\.(\d+)$`)

// TestNetwork: a guest with a queue pair for each of its vCPUs gets its address by DHCP, finds a name, and moves 100 MiB each way, with
// matching digests, over connections of every vCPU; each queue's vector is on its own vCPU, and the report tells the same.
func TestNetwork(t *testing.T) { eachLink(t, testNetwork) }

func testNetwork(t testing.TB, l link) {
	const vcpus, each = 4, 25 << 20
	s := startSession(t, l, trafficWorkload, "-c", fmt.Sprint(vcpus))
	if r := need[wire.Resolved](s)(s.Resolve(s.ctx, netserve.HostName, "")); fmt.Sprint(r.Addresses) != fmt.Sprintf("[%v]", l.host) {
		t.Errorf("%s is %v", netserve.HostName, r.Addresses)
	}
	o := traffic.StreamOptions{Placement: traffic.Placement{Flows: vcpus, CPUs: []int{0, 1, 2, 3}}, BytesPerFlow: each, Check: wire.CheckSHA256}
	for _, stream := range []func(context.Context, traffic.StreamOptions) (traffic.StreamResult, error){s.StreamUp, s.StreamDown} {
		o.Seed++
		if r := need[traffic.StreamResult](s)(stream(s.ctx, o)); r.Bytes != vcpus*each {
			t.Errorf("%d bytes, of %d", r.Bytes, vcpus*each)
		}
	}
	seen := 0
	for _, a := range s.snapshot().Affinity {
		if m := queueVector.FindStringSubmatch(a.Name); m != nil {
			seen++
			if a.Effective != m[2] {
				t.Errorf("the vector of %s is on CPU %s", a.Name, a.Effective)
			}
		}
	}
	if seen != 2*vcpus {
		t.Errorf("%d vectors of queues, of %d", seen, 2*vcpus)
	}
	_, d := s.end()
	if n := d.Guest.Details.Network; n == nil || n.Source != "dhcp" || n.Address != l.guest.String() || n.Gateway != l.host.String() || n.QueuePairs != vcpus {
		t.Errorf("the guest's network: %+v", n)
	}
	checkNetAccount(t, d.VM.Net, vcpus, each)
	checkNetRegisters(t, d)
	logCard(t, d)
}

// checkNetRegisters looks for registers of the card that share four bytes: Linux writes each with its own width.
func checkNetRegisters(t testing.TB, d *report.Document) {
	t.Helper()
	widths := map[string]int{"device_status": 1, "config_generation": 1, "queue_select": 2, "queue_msix_vector": 2, "queue_enable": 2}
	seen := map[string]bool{}
	for _, r := range d.VM.UserspaceExits {
		if w := widths[r.Register]; r.Device == "net0" && w != 0 {
			seen[r.Register] = true
			if r.Width != w {
				t.Errorf("%d accesses of %d bytes to %s", r.Count, r.Width, r.Register)
			}
		}
	}
	if len(seen) != len(widths) {
		t.Errorf("accesses to %v only, of %v", seen, widths)
	}
}

// logCard shows what a user sees of the card.
func logCard(t testing.TB, d *report.Document) {
	t.Helper()
	var text strings.Builder
	d.Text(&text)
	_, card, _ := strings.Cut(text.String(), "\nIts network card")
	card, _, _ = strings.Cut(card, "\nWhen\n")
	t.Logf("its network card%s", card)
}

// checkNetAccount compares the report's account of the card with what went through it: so many bytes each way for each vCPU, most of them
// through its own queues. A tap forgets after 3 s without a packet from the guest where a flow belongs.
func checkNetAccount(t testing.TB, n *vmm.NetAccount, vcpus int, bytes uint64) {
	t.Helper()
	if n == nil || n.ActivePairs != vcpus || n.QueuePairs != vcpus || n.NeedsReset || len(n.Events) > 0 {
		t.Fatalf("the account of the card: %+v", n)
	}
	total := map[string]uint64{}
	vectors := map[int]vmm.VectorRow{}
	for _, v := range n.Vectors {
		vectors[v.Vector] = v
	}
	for _, q := range n.Queues {
		if q.Queue == "ctrl" {
			continue
		}
		total[q.Queue[:2]] += q.Bytes
		if q.Bytes < bytes/2 {
			t.Errorf("%s carried %d bytes, of %d", q.Queue, q.Bytes, bytes)
		}
		for why, n := range q.Drops {
			// Linux's IPv6 announcements, which user-mode networking does not carry; and what a vCPU lost that its host did not run for a while.
			if why != "backend_protocol" && why != "no_buffers" {
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
	if want := uint64(vcpus) * bytes; total["rx"] < want || total["tx"] < want {
		t.Errorf("%d bytes in, %d out, of %d", total["rx"], total["tx"], want)
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
