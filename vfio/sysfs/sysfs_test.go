package sysfs

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestParseAddress(t *testing.T) {
	for in, want := range map[string]string{"0000:00:04.0": "0000:00:04.0", "00:1f.7": "0000:00:1f.7", "10000:AB:00.1": "10000:ab:00.1"} {
		a, err := ParseAddress(in)
		if err != nil || a.String() != want {
			t.Errorf("%q is %v, %v", in, a, err)
		}
	}
	for _, in := range []string{"", "04.0", "0000:00:20.0", "0000:00:04.8", "0000:00:04", "zzzz:00:04.0", " 00:04.0", "000:00:04.0", "0000:00:04.0\n"} {
		if a, err := ParseAddress(in); err == nil {
			t.Errorf("%q is %v", in, a)
		}
	}
}

// fake is a host made of files. Its kernel does nothing by itself: react plays it after a write.
type fake struct {
	t *testing.T
	Host
}

func newFake(t *testing.T) fake { return fake{t, Host{Root: t.TempDir()}} }

func (f fake) file(path, text string) {
	f.t.Helper()
	path = f.path(path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		f.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		f.t.Fatal(err)
	}
}

func (f fake) link(path, target string) {
	f.t.Helper()
	path = f.path(path)
	_ = os.Remove(path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		f.t.Fatal(err)
	}
	if err := os.Symlink(target, path); err != nil {
		f.t.Fatal(err)
	}
}

func (f fake) device(address, class, driver, group string) {
	dir := devicesDir + "/" + address + "/"
	f.file(dir+"vendor", "0x1af4\n")
	f.file(dir+"device", "0x1041\n")
	f.file(dir+"class", class+"\n")
	f.file(dir+"driver_override", "(null)\n")
	if driver != "" {
		f.file("sys/bus/pci/drivers/"+driver+"/unbind", "")
		f.link(dir+"driver", f.path("sys/bus/pci/drivers", driver))
	}
	if group != "" {
		f.link(dir+"iommu_group", "../../../kernel/iommu_groups/"+group)
		f.file("sys/kernel/iommu_groups/"+group+"/devices/"+address, "")
	}
}

func TestDevices(t *testing.T) {
	f := newFake(t)
	f.device("0000:00:03.0", "0x060000", "", "1")
	f.device("0000:00:04.0", "0x020000", "virtio-pci", "2")
	f.device("0000:00:05.0", "0x010802", VFIODriver, "2")
	all, err := f.Devices()
	if err != nil || len(all) != 3 {
		t.Fatal(all, err)
	}
	if d := all[1]; d.Driver != "virtio-pci" || d.Group != 2 || d.Class != 0x20000 || d.VendorID != 0x1af4 || d.String() != "0000:00:04.0 [1af4:1041]" || d.Bridge() {
		t.Errorf("%+v", d)
	}
	if !all[0].Bridge() || all[0].Driver != "" {
		t.Errorf("%+v", all[0])
	}
	group, err := f.Group(2)
	if err != nil || len(group) != 2 {
		t.Error(group, err)
	}
	if c, err := f.Candidates(); err != nil || len(c) != 1 || c[0].Address.Device != 5 {
		t.Error(c, err)
	}
	if _, err := f.Device(Address{Device: 9}); !errors.Is(err, ErrNoDevice) {
		t.Error(err)
	}
}

func TestRemapping(t *testing.T) {
	f := newFake(t)
	if r, err := f.Remapping(); err != nil || r.On || !strings.Contains(r.Evidence, "group") {
		t.Error(r, err)
	}
	f.device("0000:00:04.0", "0x020000", "", "2")
	f.file("sys/class/iommu/dmar0/intel-iommu/ecap", "f00f5a\n")
	f.file("sys/class/iommu/dmar0/intel-iommu/cap", "d2008c222f0686\n")
	f.file("sys/class/iommu/ivhd0/amd-iommu/features", "84:1\n")
	for _, c := range []struct {
		text, evidence string
		on             bool
	}{
		{"           CPU0\n  4:   1   IO-APIC   4-edge  ttyS0\n 24:  9   PCI-MSI 65536-edge  virtio\n", "IO-APIC without IR-", false},
		{"           CPU0\n  4:   1   IR-IO-APIC   4-edge  ttyS0\n 24:  9   IR-PCI-MSI 65536-edge  virtio\n", "IR-IO-APIC", true},
		{"           CPU0\n 24:  9   IR-PCI-MSIX-0000:00:04.0 0-edge  virtio\n 25: 1 PCI-MSIX-0000:00:05.0 0-edge x\n", "PCI-MSIX-0000:00:05.0 without", false},
		{"           CPU0\nNMI: 0\n", "no controller", false},
	} {
		f.file("proc/interrupts", c.text)
		r, err := f.Remapping()
		if err != nil || r.On != c.on || !strings.Contains(r.Evidence, c.evidence) || len(r.IOMMUs) != 2 {
			t.Errorf("%+v, %v; want %v, %q", r, err, c.on, c.evidence)
			continue
		}
		if u := r.IOMMUs[0]; u.Name != "dmar0" || !*u.Interrupts || !*u.X2APIC || *u.Posting {
			t.Errorf("%+v", u)
		}
		if u := r.IOMMUs[1]; !*u.X2APIC || !*u.Posting {
			t.Errorf("%+v", u)
		}
	}
}

// What cannot be bound is refused before anything is written.
func TestBindRefuses(t *testing.T) {
	f := newFake(t)
	f.device("0000:00:03.0", "0x060400", "pcieport", "1")
	f.device("0000:00:04.0", "0x020000", "virtio-pci", "")
	f.device("0000:00:05.0", "0x020000", "virtio-pci", "2")
	for address, want := range map[string]string{
		"0000:00:03.0": "bridge", "0000:00:04.0": "does not cover", "0000:00:05.0": "no vfio-pci driver", "0000:00:06.0": "no such PCI device",
	} {
		a, _ := ParseAddress(address)
		if _, err := f.Bind(a); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", address, err)
		}
		if text, err := os.ReadFile(f.path(devicesDir, address, "driver_override")); err == nil && string(text) != "(null)\n" {
			t.Errorf("%s: driver_override is %q", address, text)
		}
	}
	a, _ := ParseAddress("0000:00:05.0")
	if now, err := f.Unbind(a); err == nil || now != "virtio-pci" || !strings.Contains(err.Error(), "not bound to vfio-pci") {
		t.Error(now, err)
	}
}
