package kvm

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestVirtualizes(t *testing.T) {
	dir := t.TempDir()
	for text, want := range map[string]string{"Y\n": "", "1\n": "", "N\n": "avic=N: KVM does not", "0\n": "avic=0: KVM does not"} {
		path := filepath.Join(dir, "avic")
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if yes, why := virtualizes(path); yes != (want == "") || !strings.Contains(why, want) {
			t.Errorf("%q: %v, %q", text, yes, why)
		}
	}
	if yes, why := virtualizes(filepath.Join(dir, "absent")); yes || !strings.Contains(why, "absent cannot be read: no such file") {
		t.Errorf("%v, %q", yes, why)
	}
}

func TestModuleFiles(t *testing.T) {
	for file, want := range map[string]bool{
		"kvm-intel.ko": true, "kvm_intel.ko": true, "kvm-intel.ko.xz": true, "kvm-intel.ko.zst": true,
		"kvm.ko": false, "kvm-intel.ko.bak": false, "kvm-intel": false, "xkvm-intel.ko": false,
	} {
		if fileOf("kvm_intel")(file) != want {
			t.Errorf("%s: want %v", file, want)
		}
	}
}
