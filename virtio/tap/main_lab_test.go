//go:build lab

package tap

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// These tests need /dev/net/tun and root: the lab's host has both.

const inNamespace = "DOORBELL_TEST_NETWORK_NAMESPACE"

// TestMain runs the tests in a network namespace of their own, where taps can be made without disturbing the host.
func TestMain(m *testing.M) {
	if os.Getenv(inNamespace) != "" {
		os.Exit(m.Run())
	}
	exe, err := os.Executable()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	cmd := exec.Command(exe, os.Args[1:]...)
	cmd.Env = append(os.Environ(), inNamespace+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	err = cmd.Run()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		os.Exit(exit.ExitCode())
	case err != nil:
		fmt.Fprintln(os.Stderr, "a network namespace for the tests:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// onThread runs f on an operating system thread that nothing else gets, so that f may change the thread's namespaces and privileges.
func onThread(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // without the opposite: the thread ends with the goroutine
		f()
	}()
	<-done
}

func ask(t testing.TB) *links {
	t.Helper()
	l, err := newLinks()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.close() })
	return l
}

// makeInterface makes a persistent interface, down and without addresses. It is removed when the test ends.
func makeInterface(t testing.TB, name string, flags uint16) *link {
	t.Helper()
	fd, err := unix.Open(device, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := setIff(fd, name, flags|unix.IFF_NO_PI); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	if err := unix.IoctlSetInt(fd, unix.TUNSETPERSIST, 1); err != nil {
		t.Fatal(err)
	}
	l := ask(t)
	made, err := l.named(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = remove(l, made.index) })
	return made
}

func remove(l *links, index int32) error {
	_, err := l.request(unix.RTM_DELLINK, unix.NLM_F_ACK, linkMessage(index, 0))
	return err
}

func setUp(t testing.TB, index int32) {
	t.Helper()
	if _, err := ask(t).request(unix.RTM_NEWLINK, unix.NLM_F_ACK, linkMessage(index, unix.IFF_UP)); err != nil {
		t.Fatal(err)
	}
}

func setDown(t testing.TB, index int32) {
	t.Helper()
	m := linkMessage(index, unix.IFF_UP)
	binary.NativeEndian.PutUint32(m[8:], 0) // the flag's value
	if _, err := ask(t).request(unix.RTM_NEWLINK, unix.NLM_F_ACK, m); err != nil {
		t.Fatal(err)
	}
}

// sysctl sets a value of net/, in the network namespace of the calling thread.
func sysctl(t testing.TB, name, value string) {
	t.Helper()
	if err := os.WriteFile("/proc/thread-self/root/proc/sys/net/"+name, []byte(value), 0); err != nil {
		t.Fatal(err)
	}
}

// address gives an interface an address that can be used at once.
func address(t testing.TB, index int32, ip []byte, prefix byte) {
	t.Helper()
	family := byte(unix.AF_INET)
	if len(ip) == 16 {
		family = unix.AF_INET6
	}
	m := []byte{family, prefix, unix.IFA_F_NODAD, unix.RT_SCOPE_UNIVERSE}
	m = binary.NativeEndian.AppendUint32(m, uint32(index))
	m = append(m, attribute(unix.IFA_LOCAL, ip)...)
	m = append(m, attribute(unix.IFA_ADDRESS, ip)...)
	if _, err := ask(t).request(unix.RTM_NEWADDR, unix.NLM_F_ACK|unix.NLM_F_CREATE|unix.NLM_F_EXCL, m); err != nil {
		t.Fatalf("address %v: %v", ip, err)
	}
}

// newTap makes an interface for Ethernet frames that is up and sends nothing by itself.
func newTap(t testing.TB, name string, flags uint16) *link {
	t.Helper()
	l := makeInterface(t, name, unix.IFF_TAP|unix.IFF_VNET_HDR|flags)
	sysctl(t, "ipv6/conf/"+name+"/disable_ipv6", "1")
	setUp(t, l.index)
	return l
}

func open(t testing.TB, name string, queues int) *Tap {
	t.Helper()
	b, err := Open(Config{Name: name, Queues: queues})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

func descriptors(t testing.TB) int {
	t.Helper()
	e, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(e)
}
