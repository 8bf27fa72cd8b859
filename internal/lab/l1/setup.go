package l1

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// PortName is the name of the virtio-serial port that leads to the caller.
const PortName = "doorbell.lab"

const (
	// Folder holds what the lab itself puts into L1's initramfs.
	Folder = "/.lab"
	// SetupPath is the file that the encoded Setup is in.
	SetupPath = Folder + "/setup.json"
)

// Setup tells L1's init what to do before it can be told anything.
type Setup struct {
	Modules    []Module
	SpareFirst bool // the command is not to run on the first processor
	// Passed are the addresses of devices to bind to vfio-pci.
	Passed []string
	// PeerMAC is L1's own card on the network of passed cards, or empty.
	PeerMAC string
	// Serial is the serial port that leads to the caller, in place of the virtio-serial port.
	Serial string
	// TSC says that the kernel has to know its TSC before KVM is loaded.
	TSC bool
	// Steady has KVM kept in one state for as long as L1 lives.
	Steady bool
}

// A Module is a kernel module in L1's initramfs.
type Module struct{ Name, Path, Params string }

// Encode returns the content of SetupPath.
func (s Setup) Encode() ([]byte, error) { return json.Marshal(s) }

func readSetup() (Setup, error) {
	var s Setup
	b, err := os.ReadFile(SetupPath)
	if err != nil {
		return s, err
	}
	if err := json.Unmarshal(b, &s); err != nil {
		return s, fmt.Errorf("%s: %w", SetupPath, err)
	}
	return s, nil
}

// mount is one file system of L1.
type mount struct {
	kind, at, options string
	optional          bool // the kernel may be built without it
}

// mounts are in the order in which they can be made. /tmp is not among them:
// L1's root is in memory already, and files that travelled may be below /tmp.
var mounts = []mount{
	{kind: "proc", at: "/proc"},
	{kind: "sysfs", at: "/sys"},
	{kind: "devtmpfs", at: "/dev"},
	{kind: "devpts", at: "/dev/pts", options: "gid=5,mode=620,ptmxmode=666"},
	{kind: "tmpfs", at: "/dev/shm", options: "mode=1777"},
	{kind: "tracefs", at: "/sys/kernel/tracing", optional: true},
	{kind: "debugfs", at: "/sys/kernel/debug", optional: true},
}

func mountAll() error {
	for _, m := range mounts {
		if err := os.MkdirAll(m.at, 0o755); err != nil && !m.optional {
			return err
		}
		err := unix.Mount(m.kind, m.at, m.kind, unix.MS_NOSUID, m.options)
		if err != nil && !m.optional {
			return fmt.Errorf("mount %s at %s: %w", m.kind, m.at, err)
		}
	}
	// What udev would make.
	for name, target := range map[string]string{
		"/dev/fd": "/proc/self/fd", "/dev/stdin": "/proc/self/fd/0",
		"/dev/stdout": "/proc/self/fd/1", "/dev/stderr": "/proc/self/fd/2",
	} {
		if err := os.Symlink(target, name); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return nil
}

// loadModules loads the modules in order, and calls beforeKVM before KVM's.
func loadModules(modules []Module, beforeKVM func() error) error {
	for _, m := range modules {
		if m.Name == "kvm" {
			if err := beforeKVM(); err != nil {
				return err
			}
		}
		if err := loadModule(m); err != nil {
			return fmt.Errorf("load kernel module %s: %w", m.Name, err)
		}
	}
	return nil
}

func loadModule(m Module) error {
	f, err := os.Open(m.Path)
	if err != nil {
		return err
	}
	defer f.Close()
	err = unix.FinitModule(int(f.Fd()), m.Params, 0)
	switch {
	case errors.Is(err, unix.EEXIST): // loaded or built in
		return nil
	case errors.Is(err, unix.ENOEXEC):
		return fmt.Errorf("%w (is it of another kernel, or compressed?)", err)
	}
	return err
}

// showModules puts the modules where programs look for them, so that one may load one again with other parameters.
func showModules(modules []Module) error {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return fmt.Errorf("uname: %w", err)
	}
	dir := filepath.Join("/lib/modules", unix.ByteSliceToString(u.Release[:]), "kernel")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, m := range modules {
		if err := os.Symlink(m.Path, filepath.Join(dir, m.Name+".ko")); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return nil
}

// loopbackUp gives L1 its loopback interface.
func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("loopback interface: %w", err)
	}
	defer unix.Close(fd)
	request, err := unix.NewIfreq("lo")
	if err != nil {
		return fmt.Errorf("loopback interface: %w", err)
	}
	request.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, request); err != nil {
		return fmt.Errorf("loopback interface: %w", err)
	}
	return nil
}

// prepare makes L1 a machine that a command can run on. The command's files
// are there already.
func prepare() (Setup, error) {
	unix.Umask(0o022)
	if err := mountAll(); err != nil {
		return Setup{}, err
	}
	if err := unix.Sethostname([]byte("lab")); err != nil {
		return Setup{}, fmt.Errorf("set the host name: %w", err)
	}
	setup, err := readSetup()
	if err != nil {
		return Setup{}, err
	}
	if err := loopbackUp(); err != nil {
		return Setup{}, err
	}
	beforeKVM := func() error { return nil }
	if setup.TSC {
		beforeKVM = awaitClock
	}
	if err := loadModules(setup.Modules, beforeKVM); err != nil {
		return Setup{}, err
	}
	if err := showModules(setup.Modules); err != nil {
		return Setup{}, err
	}
	if err := givePassed(setup); err != nil {
		return Setup{}, err
	}
	if setup.Steady {
		err = steady()
	}
	if err != nil {
		complain(fmt.Errorf("KVM is left as it is: %w", err)) // the command finds out whether it matters
	}
	return setup, startCPUs()
}
