package images

import (
	"context"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func writeFiles(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// bzImage is a setup header with a version string.
func bzImage(version string) string {
	b := make([]byte, 0x400)
	copy(b[0x202:], "HdrS")
	binary.LittleEndian.PutUint16(b[0x20e:], 0x300-0x200)
	copy(b[0x300:], version)
	return string(b)
}

func TestDefaultGuest(t *testing.T) {
	privateCache(t)
	t.Setenv(EnvGuest, "")
	k := testKernel(t)
	dir := t.TempDir()
	writeFiles(t, dir, map[string]string{"agent": "AGENT"})
	t.Setenv(EnvAgent, filepath.Join(dir, "agent"))
	g, err := DefaultGuest(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if g.Kernel != k.Vmlinuz || g.Version != testRelease || g.Cmdline != DefaultCmdline {
		t.Errorf("got %+v", g)
	}
	entries := archive(t, []byte(read(t, g.Initrd)))
	if entries["init"] != "100755 AGENT" {
		t.Errorf("init is %q", entries["init"])
	}
	// The drivers are there, and none is loaded without its device.
	manifest := entries["etc/doorbell/modules"]
	for _, want := range []string{"device virtio_pci ", "device virtio_net ", "device virtio_console ", "device pvpanic_mmio "} {
		if !strings.Contains(manifest, want) {
			t.Errorf("manifest has no %q:\n%s", want, manifest)
		}
	}
	if strings.Contains(manifest, "always") || strings.Contains(manifest, "kvm") {
		t.Errorf("manifest has more than devices' drivers:\n%s", manifest)
	}
}

func TestMissingAgent(t *testing.T) {
	privateCache(t)
	t.Setenv(EnvGuest, "")
	t.Setenv(EnvAgent, "")
	_, err := DefaultGuest(context.Background(), nil)
	wantError(t, err, "guest agent: ", "/agent is missing: run make")
	t.Setenv(EnvAgent, "/nowhere/agent")
	_, err = DefaultGuest(context.Background(), nil)
	wantError(t, err, "$DOORBELL_AGENT: stat /nowhere/agent")
}

func TestGuestFromFolder(t *testing.T) {
	dir := t.TempDir()
	t.Setenv(EnvGuest, dir)
	// Nothing may be cached or downloaded: there is nowhere to.
	t.Setenv("XDG_CACHE_HOME", "")
	t.Setenv("HOME", "")
	ctx := context.Background()
	_, err := DefaultGuest(ctx, nil)
	wantError(t, err, "$DOORBELL_GUEST: stat "+dir+"/kernel")
	writeFiles(t, dir, map[string]string{"kernel": bzImage("6.1.0-56 (debian) #1"), "initrd": "x"})
	g, err := DefaultGuest(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	if want := (Guest{dir + "/kernel", dir + "/initrd", DefaultCmdline, "6.1.0-56"}); g != want {
		t.Errorf("got %+v, want %+v", g, want)
	}
	writeFiles(t, dir, map[string]string{"kernel": "\x7fELF", "cmdline": "console=ttyS0 doorbell.end=reboot\n"})
	if g, err = DefaultGuest(ctx, nil); err != nil {
		t.Fatal(err)
	}
	if g.Cmdline != "console=ttyS0 doorbell.end=reboot" || g.Version != "" {
		t.Errorf("got %+v", g)
	}
}

func TestBzImageReleaseOfOddFiles(t *testing.T) {
	dir := t.TempDir()
	outside := []byte(bzImage("x"))
	binary.LittleEndian.PutUint16(outside[0x20e:], 0xffff)
	none := []byte(bzImage("x"))
	binary.LittleEndian.PutUint16(none[0x20e:], 0)
	writeFiles(t, dir, map[string]string{"empty": "", "short": bzImage("x")[:0x20f], "outside": string(outside), "none": string(none)})
	for _, name := range []string{"empty", "short", "outside", "none"} {
		if v, err := bzImageRelease(filepath.Join(dir, name)); v != "" || err != nil {
			t.Errorf("%s: %q, %v", name, v, err)
		}
	}
}

func TestProgressLines(t *testing.T) {
	start := time.Unix(1000, 0)
	after := start.Add(4 * time.Second)
	tests := []struct {
		task *task
		want string
	}{
		{&task{what: "downloading", start: start, percent: -1}, "downloading: 4 s"},
		{&task{what: "downloading", start: start, percent: 25, bytes: 40e6}, "downloading: 25 %, 10.0 of 40.0 MB, about 12 s left"},
		{&task{what: "downloading", start: start, percent: 100, bytes: 40e6}, "downloading: 100 %, 40.0 of 40.0 MB"},
		{&task{what: "downloading", start: start}, "downloading: 0 %"},
	}
	for _, tt := range tests {
		if got := tt.task.line(after); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
}
