package images

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// archive lists what a newc archive holds: mode, or content for short files.
func archive(t *testing.T, b []byte) map[string]string {
	t.Helper()
	field := func(at, n int) int {
		v, err := strconv.ParseUint(string(b[at+6+8*n:at+14+8*n]), 16, 32)
		if err != nil {
			t.Fatal(err)
		}
		return int(v)
	}
	entries := map[string]string{}
	align := func(n int) int { return (n + 3) &^ 3 }
	for at := 0; ; {
		mode, size, nameSize := field(at, 1), field(at, 6), field(at, 11)
		name := string(b[at+110 : at+110+nameSize-1])
		if name == "TRAILER!!!" {
			return entries
		}
		data := align(at + 110 + nameSize)
		text := strconv.FormatInt(int64(mode), 8)
		if mode>>12 == 2 {
			text += " " + strconv.Itoa(field(at, 9)) + ":" + strconv.Itoa(field(at, 10))
		}
		if mode>>12 == 8 && size < 1000 {
			text += " " + string(b[data:data+size])
		}
		entries[name] = text
		at = align(data + size)
	}
}

func TestInitramfs(t *testing.T) {
	privateCache(t)
	dir := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	ring := Module{Name: "virtio_ring", Path: file("ring", "RING")}
	net := Module{Name: "virtio_net", Path: file("net", "NET"), Needs: []string{"virtio_ring"}, Aliases: []string{"virtio:d00000001v*"}}
	tun := Module{Name: "tun", Path: file("tun", "TUN")}
	config := InitramfsConfig{
		Agent:         file("agent", "AGENT"),
		Modules:       []Module{tun},
		DeviceModules: []Module{ring, net, tun},
		Extra:         []InitramfsFile{{Name: "/bin/tool", Path: file("tool", "TOOL"), Mode: 0o755}},
	}
	ctx := context.Background()
	path, err := Initramfs(ctx, config)
	if err != nil {
		t.Fatal(err)
	}
	first := read(t, path)
	want := map[string]string{
		"dev": "40755", "proc": "40755", "sys": "40755", "run": "40755", "tmp": "41777",
		"dev/console": "20600 5:1", "dev/null": "20666 1:3",
		"init": "100755 AGENT",
		"bin":  "40755", "bin/tool": "100755 TOOL",
		"lib": "40755", "lib/modules": "40755",
		"lib/modules/tun.ko": "100644 TUN", "lib/modules/virtio_ring.ko": "100644 RING", "lib/modules/virtio_net.ko": "100644 NET",
		"etc": "40755", "etc/doorbell": "40755",
		"etc/doorbell/modules": "100644 always tun /lib/modules/tun.ko -\n" +
			"device virtio_ring /lib/modules/virtio_ring.ko -\n" +
			"device virtio_net /lib/modules/virtio_net.ko virtio_ring virtio:d00000001v*\n",
	}
	if diff := cmp.Diff(want, archive(t, []byte(first))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}

	// Equal inputs: the same file, not built again; and, with an empty cache
	// and other times on the inputs, the same bytes.
	before, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := Initramfs(ctx, config); err != nil || again != path {
		t.Errorf("second call gives %s, %v, want %s", again, err, path)
	}
	if after, err := os.Stat(path); err != nil || !os.SameFile(before, after) {
		t.Errorf("was built again: %v", err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(config.Agent, time.Unix(1, 0), time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	rebuilt, err := Initramfs(ctx, config)
	if err != nil {
		t.Fatal(err)
	}
	if rebuilt != path || read(t, rebuilt) != first {
		t.Errorf("the same inputs gave other bytes")
	}

	// Another input: another file.
	file("agent", "AGENT 2")
	other, err := Initramfs(ctx, config)
	if err != nil {
		t.Fatal(err)
	}
	if other == path || !bytes.Contains([]byte(read(t, other)), []byte("AGENT 2")) {
		t.Errorf("a new agent did not get into %s", other)
	}
}

func TestInitramfsErrors(t *testing.T) {
	cache := privateCache(t)
	dir := t.TempDir()
	agent := filepath.Join(dir, "agent")
	if err := os.WriteFile(agent, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	missing := filepath.Join(dir, "missing")
	_, err := Initramfs(ctx, InitramfsConfig{})
	wantError(t, err, "initramfs: no agent")
	_, err = Initramfs(ctx, InitramfsConfig{Agent: missing})
	wantError(t, err, "initramfs: open "+missing)
	_, err = Initramfs(ctx, InitramfsConfig{Agent: dir})
	wantError(t, err, "initramfs: "+dir+" is not a regular file")
	_, err = Initramfs(ctx, InitramfsConfig{Agent: agent, Modules: []Module{{Name: "b", Path: agent, Needs: []string{"a"}}}})
	wantError(t, err, "initramfs: module manifest", `"b" needs "a"`)
	_, err = Initramfs(ctx, InitramfsConfig{Agent: agent, Extra: []InitramfsFile{{Name: "/init", Path: agent, Mode: 0o644}}})
	wantError(t, err, "initramfs: ", "init")
	if entries, _ := os.ReadDir(filepath.Join(cache, "initramfs")); len(entries) != 0 {
		t.Errorf("the cache has %v after failures", entries)
	}
}

// Archives that nobody asked for in a long time make room.
func TestInitramfsHousekeeping(t *testing.T) {
	cache := privateCache(t)
	agent := filepath.Join(t.TempDir(), "agent")
	build := func(content string) string {
		t.Helper()
		if err := os.WriteFile(agent, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		path, err := Initramfs(context.Background(), InitramfsConfig{Agent: agent})
		if err != nil {
			t.Fatal(err)
		}
		return path
	}
	old, used := build("1"), build("2")
	long := time.Now().Add(-2 * initramfsKept)
	for _, path := range []string{old, used} {
		if err := os.Chtimes(path, long, long); err != nil {
			t.Fatal(err)
		}
	}
	build("2")
	build("3")
	entries, err := os.ReadDir(filepath.Join(cache, "initramfs"))
	if err != nil || len(entries) != 2 {
		t.Errorf("%d archives (%v), want the one in use and the new one", len(entries), err)
	}
	if _, err := os.Stat(old); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the old one is there still: %v", err)
	}
}
