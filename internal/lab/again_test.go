package lab

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestLabStartsAgain has a QEMU that hangs at its first n starts.
func TestLabStartsAgain(t *testing.T) {
	real, err := exec.LookPath(qemuName)
	if err != nil {
		t.Fatal(err)
	}
	const script = `#!/bin/sh
[ "$*" = -version ] && exec %[1]s -version
echo start >>%[2]s/starts
[ $(wc -l <%[2]s/starts) -le %[3]d ] && exec sleep 1000
exec %[1]s "$@"
`
	for _, tt := range []struct {
		hangs, wantStarts, wantStatus int
		timeout                       time.Duration
	}{
		{hangs: 1, wantStarts: 2, wantStatus: 7, timeout: 2 * time.Minute},
		{hangs: 100, wantStarts: len(qemu{}.attempts()), wantStatus: 1, timeout: 400 * time.Millisecond},
	} {
		dir := t.TempDir()
		cfg := hostConfig(t)
		cfg.QEMU = filepath.Join(dir, "qemu")
		if err := os.WriteFile(cfg.QEMU, fmt.Appendf(nil, script, real, dir, tt.hangs), 0o755); err != nil {
			t.Fatal(err)
		}
		cfg.StartTimeout = tt.timeout
		cfg.Stdin = strings.NewReader("input")
		var progress bytes.Buffer
		cfg.Progress = &progress
		got := runCommand(t, cfg, "test:echo")
		if got.ExitStatus != tt.wantStatus || (got.err == nil) != (tt.wantStatus == 7) {
			t.Errorf("status %d, %v; want status %d", got.ExitStatus, got.err, tt.wantStatus)
		}
		if got.err == nil && got.stdout != "input" {
			t.Errorf("stdout %q: the second start did not get the input", got.stdout)
		}
		if got.err != nil && !strings.Contains(got.err.Error(), "did not come up in 200ms") {
			t.Errorf("error %q", got.err)
		}
		starts, err := os.ReadFile(filepath.Join(dir, "starts"))
		if n := bytes.Count(starts, []byte("\n")); err != nil || n != tt.wantStarts {
			t.Errorf("%d starts, %v; want %d", n, err, tt.wantStarts)
		}
		if n := strings.Count(progress.String(), "starting it again"); n != tt.wantStarts-1 {
			t.Errorf("progress %q", progress.String())
		}
	}
}
