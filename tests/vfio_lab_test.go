//go:build lab

package tests

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"doorbell/internal/lab"
	"doorbell/internal/netconf/netserve"
	"doorbell/internal/report"
	"doorbell/internal/traffic"
	"doorbell/internal/traffic/wire"
	"doorbell/irqchip"
	"doorbell/vfio/sysfs"
	"doorbell/vmm"

	"golang.org/x/sys/unix"
)

// These tests are for a lab with devices: see LAB_VFIO in the Makefile.

// vendors and numbers of QEMU's devices.
const (
	virtioNetID = "1af4:1041"
	nvmeID      = "1b36:0010"
	e1000eID    = "8086:10d3"
	eduID       = "1234:11e8"
)

// passedDevice finds a device of the lab's that vfio-pci has.
func passedDevice(t testing.TB, id string) string {
	t.Helper()
	all, err := (sysfs.Host{}).Candidates()
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range all {
		if d.Identity() == id {
			return d.Address.String()
		}
	}
	t.Fatalf("no %s is bound to vfio-pci: %v", id, all)
	return ""
}

// peerLink is the network of passed-through cards, on which the host has a card of its own.
func peerLink() link {
	address := netip.MustParsePrefix(lab.PeerAddress).Addr()
	return link{net: "none", listen: address.String(), host: address}
}

// TestVFIONetwork: a virtio-net function of the host's, with the guest's own driver, moves 100 MiB each way with matching digests, on each set of
// controllers; each of its queues has a vector of its own, and no interrupt takes an exit to doorbell.
func TestVFIONetwork(t *testing.T) {
	address := passedDevice(t, virtioNetID)
	for _, chip := range irqchip.Names {
		each := int64(100 << 20)
		if chip != irqchip.KernelName {
			each = 10 << 20
		}
		t.Run(chip, func(t *testing.T) {
			guestTest(t, func(t testing.TB) { passNetwork(t, address, chip, uint64(each)) })
		})
	}
}

func passNetwork(t testing.TB, address, chip string, each uint64) {
	s := startSession(t, peerLink(), trafficWorkload, "-c", "2", "--irqchip", chip, "--device", "vfio="+address)
	o := traffic.StreamOptions{Placement: traffic.Placement{Flows: 2, CPUs: []int{0, 1}}, BytesPerFlow: each / 2, Check: wire.CheckSHA256}
	for _, stream := range []func(context.Context, traffic.StreamOptions) (traffic.StreamResult, error){s.StreamUp, s.StreamDown} {
		o.Seed++
		if r := need[traffic.StreamResult](s)(stream(s.ctx, o)); r.Bytes != each {
			t.Errorf("%d bytes, of %d", r.Bytes, each)
		}
	}
	_, d := s.end()
	v := onePassed(t, d, address, "virtio-pci")
	seen := guestCounts(d)
	for _, name := range []string{"input", "output"} {
		row := seen["virtio"+name]
		if row.count == 0 {
			t.Errorf("no interrupts of the queue for %s: %v", name, seen)
		}
	}
	for _, r := range v.Vectors {
		if r.Vector == 0 {
			continue // the configuration's
		}
		if r.Kind != "MSI-X" || r.Fired == 0 || r.VCPU == nil || r.HostIRQ == nil || r.HostController == nil || !strings.HasPrefix(*r.HostController, "IR-") {
			t.Errorf("%+v", r)
		}
		if r.Posted || r.WhyNotPosted == nil || *r.WhyNotPosted == "" {
			t.Errorf("vector %d: posted %v, %v", r.Vector, r.Posted, r.WhyNotPosted)
		}
		// An injection, and an EOI that a paravirtualized guest may spare.
		if e := r.ExitsPerIRQ; e == nil || *e < 1 || *e > 2 {
			t.Errorf("vector %d: exits per interrupt %v; not measured: %v", r.Vector, e, v.Missing)
		}
	}
	if p := d.VM.Posting; p == nil || p.APICVirtualized || p.WhyNot == nil {
		t.Errorf("posting: %+v", p)
	}
	if len(v.Vectors) < 3 {
		t.Errorf("%d vectors", len(v.Vectors))
	}
	exitsAreFew(t, d, v)
}

// onePassed is the report's account of the one device that was passed through.
func onePassed(t testing.TB, d *report.Document, address, driver string) vmm.VFIOAccount {
	t.Helper()
	if len(d.VM.VFIO) != 1 {
		t.Fatalf("%d devices in the report", len(d.VM.VFIO))
	}
	v := d.VM.VFIO[0]
	if v.Address != address || !v.Remapping || v.RemappingEvidence == "" || v.DriverWas == nil || *v.DriverWas != driver || len(v.Events) > 0 || v.Lost != "" {
		t.Errorf("%+v", v)
	}
	var text strings.Builder
	d.Text(&text)
	_, shown, ok := strings.Cut(text.String(), "\nPassed through: "+address)
	if !ok {
		t.Error("the report does not say what was passed through")
	}
	shown, _, _ = strings.Cut(shown, "\nWhen\n")
	t.Logf("Passed through: %s%s", address, shown)
	return v
}

// exitsAreFew checks that interrupts do not leave the guest for doorbell: what does are configuration and the table's page.
func exitsAreFew(t testing.TB, d *report.Document, v vmm.VFIOAccount) {
	t.Helper()
	fired, exits := v.Fired(), uint64(0)
	for _, r := range d.VM.UserspaceExits {
		if strings.HasPrefix(r.Device, "vfio") {
			exits += r.Count
		}
	}
	if exits > 100+fired/100 { // the driver sets the device up
		t.Errorf("%d exits to doorbell for the device, whose vectors fired %d times", exits, fired)
	}
}

// guestCount is a row of the guest's /proc/interrupts.
type guestCount struct {
	count      uint64
	controller string
}

var rowName = regexp.MustCompile(`^(virtio)\d+-(input|output)\.\d+$|^(nvme)0q(\d+)`)

// guestCounts adds up the guest's rows of the device's queues.
func guestCounts(d *report.Document) map[string]guestCount {
	seen := map[string]guestCount{}
rows:
	for _, r := range d.Guest.Interrupts {
		for name := range strings.FieldsFuncSeq(r.Name, func(c rune) bool { return c == ',' || c == ' ' }) {
			if m := rowName.FindStringSubmatch(name); m != nil {
				key := m[1] + m[2] + m[3]
				c := seen[key]
				for _, n := range r.PerCPU {
					c.count += n
				}
				c.controller = r.Chip
				seen[key] = c
				continue rows // the names of one line are one count
			}
		}
	}
	return seen
}

// TestVFIODisk: an NVMe controller keeps what the guest writes.
func TestVFIODisk(t *testing.T) {
	passDisk(t, "", 16, func(t testing.TB, v vmm.VFIOAccount, seen guestCount) {
		if fired := v.Fired(); seen.count == 0 || fired < seen.count || !strings.Contains(seen.controller, "MSI") {
			t.Errorf("the guest saw %d interrupts by %s, of %d fired", seen.count, seen.controller, fired)
		}
	})
}

// TestVFIOINTx: the same controller with a driver that uses no messages: its pin is a level that stays until the guest ends it.
func TestVFIOINTx(t *testing.T) {
	passDisk(t, "pci=nomsi ", 2, func(t testing.TB, v vmm.VFIOAccount, seen guestCount) {
		if len(v.Vectors) != 1 || v.Vectors[0].Kind != "INTx" || v.Vectors[0].Fired == 0 || *v.Vectors[0].WhyNotPosted != "a pin: only messages are posted" {
			t.Fatalf("%+v", v.Vectors)
		}
		if seen.count == 0 || seen.count > v.Vectors[0].Fired || !strings.Contains(seen.controller, "IO-APIC") {
			t.Errorf("the guest saw %d interrupts by %s, of %d fired", seen.count, seen.controller, v.Vectors[0].Fired)
		}
	})
}

// passDisk has a guest on each set of controllers write to a passed-through disk and read it back. check gets the report's account of the disk, and
// what the guest saw of its interrupts.
func passDisk(t *testing.T, parameters string, mib int, check func(t testing.TB, v vmm.VFIOAccount, seen guestCount)) {
	address := passedDevice(t, nvmeID)
	for _, chip := range irqchip.Names {
		t.Run(chip, func(t *testing.T) {
			guestTest(t, func(t testing.TB) {
				cmdline := fmt.Sprintf("%s%sdoorbell.workload=disk=/dev/nvme0n1,%d", quiet, parameters, mib)
				o, d := boot(t, "", "-p", cmdline, "--net", "none", "--irqchip", chip, "--device", "vfio="+address)
				o.want(t, 0, o.stdout, fmt.Sprintf("disk: /dev/nvme0n1: %d bytes written and read back", mib<<20))
				check(t, onePassed(t, d, address, "nvme"), guestCounts(d)["nvme"])
			})
		})
	}
}

// TestVFIOBare: without a driver that knows better, each interrupt of a device by MSI-X, MSI and INTx arrives once; what is masked is pending until it
// is unmasked; and a vector's table shares nothing with what is the guest's memory.
func TestVFIOBare(t *testing.T) {
	for i, id := range []string{e1000eID, eduID} {
		address := passedDevice(t, id)
		for _, chip := range irqchip.Names {
			t.Run(id+"/"+chip, func(t *testing.T) {
				guestTest(t, func(t testing.TB) {
					o, d := bare(t, "passed", fmt.Sprint(i), "-c", "1", "--irqchip", chip, "--device", "vfio="+address)
					o.want(t, passed, o.stdout, " interrupts")
					kinds := map[string]uint64{}
					for _, v := range d.VM.VFIO[0].Vectors {
						kinds[v.Kind] += v.Fired
					}
					if want := []string{"MSI-X", "MSI"}[i]; kinds[want] < 50 || id == eduID && kinds["INTx"] < 50 {
						t.Errorf("fired: %v", kinds)
					}
				})
			})
		}
	}
}

// TestVFIOBind: a device goes back to its driver and comes again, and what cannot be passed through is refused in a line that says what to do.
func TestVFIOBind(t *testing.T) {
	address := passedDevice(t, nvmeID)
	refused := func(want string, args ...string) {
		t.Helper()
		o := doorbell(t, "", append([]string{"boot", "--host", "here", "--net", "none"}, args...)...)
		o.want(t, 1, o.stderr, want)
	}
	p := doorbell(t, "", "probe")
	p.want(t, 0, p.stdout, "/proc/interrupts has IR-", "dmar0 (remaps interrupts: yes, to x2APIC IDs: no, posts: no)")
	both := []string{"--device", "vfio=" + address, "--device", "vfio=" + passedDevice(t, virtioNetID)}
	refused("there are ", "--device", "vfio=auto") // two candidates
	refused("0000:00:1f.5: there is no such PCI device", "--device", "vfio=0000:00:1f.5")
	refused("is a bridge of the host", "--device", "vfio=0000:00:1f.0")
	if o := doorbell(t, "", append([]string{"boot", "--host", "here", "--net", "none"}, both...)...); o.status != 0 {
		t.Errorf("both devices: status %d: %s", o.status, o.stderr)
	}

	o := doorbell(t, "", "unbind", address)
	o.want(t, 0, o.stdout, address, "given back to nvme")
	refused("is not bound to vfio-pci, but to nvme: doorbell bind "+address, "--device", "vfio="+address)
	o = doorbell(t, "", "unbind", address)
	o.want(t, 1, o.stderr, "is not bound to vfio-pci, but to nvme")
	o = doorbell(t, "", "bind", address)
	o.want(t, 0, o.stdout, address, "taken from nvme, bound to vfio-pci")
	o = doorbell(t, "", "bind", address)
	o.want(t, 0, o.stdout, "vfio-pci has it already")
	o = doorbell(t, "", "bind", "0000:00:1f.0")
	o.want(t, 1, o.stderr, "is a bridge of the host")
	o = doorbell(t, "", "bind", "fish")
	o.want(t, 2, o.stderr, `"fish" is no PCI address`)
}

// TestVFIOLost: a device that the host takes back while the guest runs is ejected from the guest, whose driver lets go of it; doorbell and the guest go
// on, and the host can have it back. Linux's virtio driver would wait for ever for a device that is pulled out.
func TestVFIOLost(t *testing.T) {
	for id, driver := range map[string]string{nvmeID: "nvme", virtioNetID: "virtio-pci"} {
		address := passedDevice(t, id)
		guestTest(t, func(t testing.TB) {
			taken := make(chan outcome)
			go func() {
				for !firing(address) {
					time.Sleep(50 * time.Millisecond)
				}
				taken <- doorbell(t, "", "unbind", address)
			}()
			o, d := boot(t, "", "-p", quiet+"doorbell.workload=idle=10", "--net", "none", "--device", "vfio="+address)
			u := <-taken
			u.want(t, 0, u.stdout, "given back to "+driver)
			o.want(t, 0, o.stderr, "the guest loses "+address, "the host wants it back")
			if v := d.VM.VFIO[0]; v.Lost == "" || !v.LetGo {
				t.Errorf("%s: %+v", driver, v)
			}
			b := doorbell(t, "", "bind", address)
			b.want(t, 0, b.stdout, "taken from "+driver)
		})
	}
}

// TestVFIOMemlock: a process that may not pin the guest's memory hears which limit it is, and leaves nothing behind.
func TestVFIOMemlock(t *testing.T) {
	address := passedDevice(t, virtioNetID)
	var was unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_MEMLOCK, &was); err != nil {
		t.Fatal(err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_MEMLOCK, &unix.Rlimit{Cur: 1 << 20, Max: 1 << 20}); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := unix.Setrlimit(unix.RLIMIT_MEMLOCK, &was); err != nil {
			t.Error(err)
		}
	}()
	result := make(chan outcome)
	go func() {
		// The limit is not root's: the program is started without that capability. The thread ends with the goroutine.
		runtime.LockOSThread()
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, unix.CAP_IPC_LOCK, 0, 0, 0); err != nil {
			t.Error(err)
		}
		result <- doorbell(t, "", "boot", "--host", "here", "--net", "none", "--device", "vfio="+address)
	}()
	o := <-result
	o.want(t, 1, o.stderr, "512 MiB of guest memory have to stay in RAM", "(RLIMIT_MEMLOCK) is 1 MiB", "ulimit -l unlimited")
}

// firing says whether a guest's driver has taken vectors of a device.
func firing(address string) bool {
	text, err := os.ReadFile("/proc/interrupts")
	return err == nil && strings.Contains(string(text), "vfio-msix[0]("+address+")")
}

// TestVFIOKilled: a doorbell that is killed in the middle of traffic leaves nothing behind: its device can be bound and passed through again.
func TestVFIOKilled(t *testing.T) {
	address := passedDevice(t, virtioNetID)
	guestTest(t, func(t testing.TB) {
		s := startSession(t, peerLink(), trafficWorkload, "-c", "2", "--device", "vfio="+address)
		streamed := make(chan struct{})
		go func() {
			defer close(streamed)
			_, _ = s.StreamUp(s.ctx, traffic.StreamOptions{Placement: traffic.Placement{Flows: 2, CPUs: []int{0, 1}}, BytesPerFlow: 1 << 30})
		}()
		time.Sleep(time.Second)
		if err := s.cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		<-streamed
		<-s.done
		for _, c := range []struct{ name, says string }{{"unbind", "given back to virtio-pci"}, {"bind", "taken from virtio-pci"}} {
			o := doorbell(t, "", c.name, address)
			o.want(t, 0, o.stdout, c.says)
		}
	})
	guestTest(t, func(t testing.TB) {
		o, d := boot(t, "", "-p", quiet+"doorbell.workload=ping="+netserve.HostName, "--net", "none", "--device", "vfio="+address)
		o.want(t, 0, o.stdout, "ping")
		onePassed(t, d, address, "virtio-pci")
	})
}

// TestVFIOMeasure: the experiment has both arms, and gives the card back to vfio-pci.
func TestVFIOMeasure(t *testing.T) {
	address := passedDevice(t, virtioNetID)
	guestTest(t, func(t testing.TB) {
		path := filepath.Join(t.TempDir(), "r.json")
		o := doorbell(t, "", "measure", "vfio", "--host", "here", "-c", "2", "--device", "vfio="+address, "--report", "text,json="+path)
		o.watch(t)
		o.want(t, 0, o.stdout, "vfio: passed through, a packet cost", "exits to doorbell per interrupt")
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatalf("%v\n%s", err, o.stderr)
		}
		var d report.Document
		if err := json.Unmarshal(b, &d); err != nil || len(d.Experiments) != 1 || len(d.Experiments[0].Rows) != 2 {
			t.Fatalf("%v: %s\n%s", err, b, o.stderr)
		}
		for i, arm := range []string{"passed through", "virtio-net"} {
			r := d.Experiments[0].Rows[i]
			figure := func(name string) float64 {
				v, ok := r[name].(float64)
				if !ok {
					t.Errorf("%s: %s is %v", arm, name, r[name])
				}
				return v
			}
			if r["arm"] != arm || figure("card_interrupts") < 100 || figure("exits_per_packet") <= 0 || figure("userspace_exits_per_interrupt") > 0.2 {
				t.Errorf("%v", r)
			}
		}
		t.Log(o.stdout)
		b2 := doorbell(t, "", "bind", address)
		b2.want(t, 0, b2.stdout, "vfio-pci has it already")
	})
	o := doorbell(t, "", "measure", "vfio", "--host", "here")
	o.want(t, 2, o.stderr, "measure vfio: name one card: --device vfio=ADDRESS")
}

// TestVFIOUnsafe is for a lab whose IOMMU does not remap interrupts: devices are refused, and taken if the user says so.
func TestVFIOUnsafe(t *testing.T) {
	r, err := (sysfs.Host{}).Remapping()
	if err != nil || r.On {
		t.Fatalf("interrupts are remapped: %+v, %v", r, err)
	}
	const parameter = "/sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts"
	o := doorbell(t, "", "boot", "--host", "here", "--net", "none", "--device", "vfio=auto")
	o.want(t, 1, o.stderr, "this host has no interrupt remapping", "--unsafe-interrupts")
	guestTest(t, func(t testing.TB) {
		o, d := boot(t, "", "--net", "none", "--device", "vfio=auto", "--unsafe-interrupts")
		o.want(t, 0, o.stderr, "interrupt remapping is off")
		if len(d.VM.VFIO) != 1 || d.VM.VFIO[0].Remapping {
			t.Errorf("%+v", d.VM.VFIO)
		}
	})
	if text, err := os.ReadFile(parameter); err != nil || strings.TrimSpace(string(text)) != "N" {
		t.Errorf("%s is %q, %v", parameter, text, errors.Join(err))
	}
}
