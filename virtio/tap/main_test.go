package tap

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

const inNamespace = "DOORBELL_TEST_NETWORK_NAMESPACE"

// TestMain runs the tests in a network namespace of their own, where taps can be made without disturbing the host; a user that is not
// root gets a user namespace around it.
func TestMain(m *testing.M) {
	if os.Getenv(inNamespace) != "" {
		// No neighbour discovery among the frames that the tests look at.
		_ = os.WriteFile("/proc/sys/net/ipv6/conf/default/disable_ipv6", []byte("1"), 0)
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
	if os.Getuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	err = cmd.Run()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		os.Exit(exit.ExitCode())
	case err != nil:
		fmt.Fprintln(os.Stderr, "network namespace:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// ioctl makes a request about an interface.
func ioctl(t testing.TB, name string, request uint, set func(r *unix.Ifreq) error) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	r, err := unix.NewIfreq(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := set(r); err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlIfreq(fd, request, r); err != nil {
		t.Fatalf("ioctl %#x %s: %v", request, name, err)
	}
}

// hostAddr is the host's address on the tap, hostNet its broadcast address, which needs no neighbour.
var hostAddr, hostNet = net.IPv4(10, 9, 0, 1).To4(), net.IPv4(10, 9, 0, 255).To4()

// newTap makes a persistent interface that is up and has an address, and removes it when the test ends.
func newTap(t testing.TB, name string, flags uint16) {
	t.Helper()
	fd, op, err := openQueue(name, flags)
	if err != nil {
		t.Fatalf("%s: %v", op, err)
	}
	if err := unix.IoctlSetInt(fd, unix.TUNSETPERSIST, 1); err != nil {
		t.Fatal(err)
	}
	unix.Close(fd)
	t.Cleanup(func() {
		if fd, _, err := openQueue(name, flags); err == nil {
			_ = unix.IoctlSetInt(fd, unix.TUNSETPERSIST, 0)
			unix.Close(fd)
		}
	})
	ioctl(t, name, unix.SIOCSIFADDR, func(r *unix.Ifreq) error { return r.SetInet4Addr(hostAddr) })
	ioctl(t, name, unix.SIOCSIFNETMASK, func(r *unix.Ifreq) error { return r.SetInet4Addr([]byte{255, 255, 255, 0}) })
	ioctl(t, name, unix.SIOCSIFBRDADDR, func(r *unix.Ifreq) error { return r.SetInet4Addr(hostNet) })
	ioctl(t, name, unix.SIOCSIFFLAGS, func(r *unix.Ifreq) error { r.SetUint16(unix.IFF_UP | unix.IFF_RUNNING); return nil })
}
