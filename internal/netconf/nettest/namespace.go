package nettest

import (
	"errors"
	"os"
	"os/exec"
	"syscall"
	"testing"
)

// insideVariable tells a test that it runs in a namespace of its own.
const insideVariable = "DOORBELL_TEST_NAMESPACE"

// Inside runs the calling top-level test again in a network and mount namespace of its own, where it is root, and returns whether
// this is that run: a test starts with
//
//	if !nettest.Inside(t) {
//		return
//	}
//
// Only a machine that gives no namespaces, even to its own user, makes it skip.
func Inside(t *testing.T) bool {
	t.Helper()
	if os.Getenv(insideVariable) == t.Name() {
		return true
	}
	attr := &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS}
	if os.Getuid() != 0 {
		attr.Cloneflags |= syscall.CLONE_NEWUSER
		attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(t.Context(), self, "-test.run=^"+t.Name()+"$", "-test.v", "-test.count=1")
	c.Env = append(os.Environ(), insideVariable+"="+t.Name())
	c.SysProcAttr = attr
	output, err := c.CombinedOutput()
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.ENOSYS) {
		t.Skipf("this machine gives no network namespace: %v", err)
	}
	if err != nil {
		t.Fatalf("in a namespace: %v\n%s", err, output)
	}
	t.Logf("in a namespace:\n%s", output)
	return false
}
