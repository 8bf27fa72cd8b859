package lab

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"doorbell/internal/lab/bochs"
)

// bochsHost makes emulated Intel hosts with posted interrupts.
type bochsHost struct{ root bochs.Root }

func newBochs(root string) (emulator, error) {
	if info, err := os.Stat(root); err != nil || !info.IsDir() {
		return nil, fmt.Errorf("lab: no Bochs in %s", root)
	}
	return bochsHost{bochs.Root(root)}, nil
}

// attempts implements emulator: nothing is known to hang.
func (b bochsHost) attempts() []float64 { return []float64{1} }

// describe implements emulator.
func (b bochsHost) describe() string {
	version := b.root.Version()
	if version != "" {
		version = " " + version
	}
	return "an emulated Intel host (Bochs" + version
}

// start implements emulator. The channel is the host's second serial port, which Bochs has as a terminal.
func (b bochsHost) start(cfg Config, initramfs *os.File) (_ *machine, err error) {
	dir, err := os.MkdirTemp("", "doorbell-bochs-")
	if err != nil {
		return nil, fmt.Errorf("lab: %w", err)
	}
	removeDir := func() { os.RemoveAll(dir) }
	defer func() {
		if err != nil {
			removeDir()
		}
	}()
	disc, err := b.root.Disc(dir, cfg.Kernel, initramfs, kernelCommandLine(cfg, 0))
	if err != nil {
		return nil, fmt.Errorf("lab: disc for Bochs: %w", err)
	}
	channel, err := openSerial()
	if err != nil {
		return nil, fmt.Errorf("lab: channel: %w", err)
	}
	cmd, err := b.root.Command(dir, bochs.Host{CPUs: cfg.CPUs, Memory: cfg.Memory, Disc: disc, Console: "/dev/stdout", Terminal: channel.name()})
	if err != nil {
		channel.Close()
		return nil, fmt.Errorf("lab: %w", err)
	}
	alone(cmd)
	m, err := launch(cfg, cmd, channel, removeDir)
	if err != nil {
		return nil, err
	}
	go func() {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case <-m.exited:
				channel.hangUp()
				return
			case <-tick.C:
				// Nothing that a kernel can do after a panic ends Bochs: a restart would have it start again.
				if m.console.panicked() {
					_ = m.process.Kill()
				}
			}
		}
	}()
	return m, nil
}

// alone gives the command a network of its own, where this user may: the screen that Bochs serves is for nobody. There is nothing to see on it.
func alone(cmd *exec.Cmd) {
	attributes := &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	if os.Getuid() != 0 {
		attributes.Cloneflags |= syscall.CLONE_NEWUSER
		attributes.UidMappings = []syscall.SysProcIDMap{{ContainerID: os.Getuid(), HostID: os.Getuid(), Size: 1}}
		attributes.GidMappings = []syscall.SysProcIDMap{{ContainerID: os.Getgid(), HostID: os.Getgid(), Size: 1}}
	}
	trial := exec.Command("/bin/true")
	trial.SysProcAttr = attributes
	if trial.Run() == nil {
		cmd.SysProcAttr = attributes
	}
}

// serial is our end of the terminal that is the host's serial port.
type serial struct {
	*os.File
	other *os.File // the emulator's end, open so that it has a reader before the emulator is there
}

func openSerial() (*serial, error) {
	ours, theirs, err := pty.Open()
	if err != nil {
		return nil, err
	}
	if _, err := term.MakeRaw(int(theirs.Fd())); err != nil {
		ours.Close()
		theirs.Close()
		return nil, err
	}
	return &serial{ours, theirs}, nil
}

// name is the emulator's end.
func (s *serial) name() string { return s.other.Name() }

// hangUp ends what Read gives after the emulator has ended.
func (s *serial) hangUp() { s.other.Close() }

// Read ends like a socket: a terminal whose other end is closed gives EIO.
func (s *serial) Read(p []byte) (int, error) {
	n, err := s.File.Read(p)
	if errors.Is(err, unix.EIO) {
		err = io.EOF
	}
	return n, err
}

func (s *serial) Close() error { return errors.Join(s.File.Close(), closeOnce(s.other)) }

// closeOnce closes a file that may be closed already.
func closeOnce(f *os.File) error {
	if err := f.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
		return err
	}
	return nil
}
