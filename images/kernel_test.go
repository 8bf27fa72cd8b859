package images

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"doorbell/internal/deb/debtest"
)

func TestKernelIsUnpackedOnce(t *testing.T) {
	cache := privateCache(t)
	k := testKernel(t)
	if k.Version != testRelease || k.Package != "linux-image-"+testRelease+"_6.99.1-1_amd64" {
		t.Errorf("version %q of package %q", k.Version, k.Package)
	}
	if got := read(t, k.Vmlinuz); got != "the kernel" {
		t.Errorf("vmlinuz is %q", got)
	}
	if got := read(t, k.Config); got != "CONFIG_KVM_GUEST=y\n" {
		t.Errorf("config is %q", got)
	}
	entries, err := os.ReadDir(k.ModuleDir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	want := []string{"irqbypass.ko", "kvm.ko", "kvm_amd.ko", "pvpanic_mmio.ko", "virtio_console.ko", "virtio_net.ko", "virtio_pci.ko", "virtio_ring.ko"}
	if !slices.Equal(names, want) {
		t.Errorf("kept %v, want %v", names, want)
	}
	// From now on neither the package nor a network is needed.
	if err := os.RemoveAll(filepath.Join(cache, "packages")); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", "")
	again, err := Kernel(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if *again != *k {
		t.Errorf("second call gives %+v, want %+v", again, k)
	}
}

func TestModules(t *testing.T) {
	privateCache(t)
	k := testKernel(t)
	modules, err := k.Modules("kvm-amd", "virtio_net", "virtio_pci", "virtio_net")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, m := range modules {
		names = append(names, m.Name)
		if !strings.HasPrefix(read(t, m.Path), "\x7fELF") {
			t.Errorf("%s is not an ELF file", m.Path)
		}
	}
	// ccp, which kvm_amd needs too, is built in.
	if want := []string{"irqbypass", "kvm", "kvm_amd", "virtio_ring", "virtio_net", "virtio_pci"}; !slices.Equal(names, want) {
		t.Errorf("order %v, want %v", names, want)
	}
	if got := modules[2]; !slices.Equal(got.Needs, []string{"kvm"}) || !slices.Equal(got.Aliases, []string{"cpu:type:x86,*"}) {
		t.Errorf("kvm_amd is %+v", got)
	}
	_, err = k.Modules("virtio_net", "xfs")
	wantError(t, err, testRelease, `"xfs" is not among those that are kept`)
	if modules, err := k.Modules("ccp"); err != nil || len(modules) != 0 {
		t.Errorf("a module that is built in: %v, %v", modules, err)
	}
}

func TestClosureOfACircle(t *testing.T) {
	needs := map[string][]string{"a": {"b"}, "b": {"c"}, "c": {"a"}}
	_, err := closure([]string{"a"}, func(name string) (modinfo, error) { return modinfo{depends: needs[name]}, nil })
	wantError(t, err, `"a" needs itself`)
}

func TestBadPackages(t *testing.T) {
	good := kernelPackage(t)
	without := func(part string) debtest.Package {
		p := good
		p.Data = slices.DeleteFunc(slices.Clone(p.Data), func(f debtest.File) bool { return strings.Contains(f.Header.Name, part) })
		return p
	}
	with := func(name, content string) debtest.Package {
		p := good
		p.Data = append(slices.Clone(p.Data), debtest.Regular(name, content))
		return p
	}
	whole := good.Build(t)
	tests := []struct {
		name, want string
		deb        []byte
	}{
		{"half", "truncated", whole[:len(whole)/2]},
		{"no package", "not a Debian package", []byte("<html>please log in</html>")},
		{"no kernel", "no boot/vmlinuz-*", without("vmlinuz").Build(t)},
		{"no config", "no config", without("config").Build(t)},
		{"two kernels", "two kernels", with("./boot/vmlinuz-7", "another").Build(t)},
		{"broken module", "bad.ko: not a kernel module", with("./lib/modules/7/bad.ko", "text").Build(t)},
		{"broken compression", "bad.ko.xz", with("./lib/modules/7/bad.ko.xz", "text").Build(t)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cache := privateCache(t)
			path := cachePackage(t, tt.deb)
			_, err := Kernel(context.Background(), nil)
			wantError(t, err, "guest kernel: unpack linux-image-"+testRelease, tt.want, "remove "+path)
			if entries, _ := os.ReadDir(filepath.Join(cache, "kernels")); len(entries) != 0 {
				t.Errorf("the cache has %v after a failure", entries)
			}
		})
	}
}

func TestKernelIsCancelled(t *testing.T) {
	cache := privateCache(t)
	cachePackage(t, kernelPackage(t).Build(t))
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := Kernel(ctx, nil)
	wantError(t, err, "context canceled")
	if entries, _ := os.ReadDir(filepath.Join(cache, "kernels")); len(entries) != 0 {
		t.Errorf("the cache has %v", entries)
	}
}

// Of two processes that ask at the same time, one unpacks and both get it.
func TestLockIsExclusive(t *testing.T) {
	privateCache(t)
	cachePackage(t, kernelPackage(t).Build(t))
	unlock, err := lockCache(context.Background(), "kernels", nil)
	if err != nil {
		t.Fatal(err)
	}
	waiting := make(chan struct{})
	result := make(chan error)
	go func() {
		_, err := kernelSource{progress: writerFunc(func(p []byte) {
			if bytes.Contains(p, []byte("waiting for another process")) {
				close(waiting)
			}
		})}.kernel(context.Background())
		result <- err
	}()
	<-waiting
	select {
	case err := <-result:
		t.Fatalf("did not wait for the lock: %v", err)
	default:
	}
	unlock()
	if err := <-result; err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	unlock, err = lockCache(ctx, "kernels", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	cancel()
	_, err = lockCache(ctx, "kernels", nil)
	wantError(t, err, "kernels.lock", "context canceled")
}

type writerFunc func(p []byte)

func (f writerFunc) Write(p []byte) (int, error) {
	f(p)
	return len(p), nil
}

func FuzzReadModinfo(f *testing.F) {
	f.Add([]byte(koFile(f, "license=GPL", "depends=a,b-c", "alias=pci:v1d*", "alias=bad alias")))
	f.Fuzz(func(t *testing.T, b []byte) {
		info, err := readModinfo(bytes.NewReader(b))
		if err != nil {
			return
		}
		for _, name := range append(info.depends, info.aliases...) {
			if name == "" || strings.ContainsAny(name, " \n\t") {
				t.Errorf("name %q would break a manifest", name)
			}
		}
	})
}
