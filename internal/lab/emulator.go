package lab

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"syscall"
)

// An emulator makes emulated hosts.
type emulator interface {
	// start starts a host with that initramfs.
	start(cfg Config, initramfs *os.File) (*machine, error)
	// attempts are the shares of Config.StartTimeout that each start of a host gets.
	attempts() []float64
	// describe names the host, with an open parenthesis for what is told of it.
	describe() string
}

// emulator finds the emulator that cfg asks for.
func (cfg Config) emulator(ctx context.Context) (emulator, error) {
	if cfg.Bochs != "" {
		return newBochs(cfg.Bochs)
	}
	return findQEMU(ctx, cfg.QEMU)
}

// machine is a running emulator.
type machine struct {
	process *os.Process
	channel io.ReadWriteCloser
	console *console
	exited  chan struct{} // closed when the emulator has been reaped and its output read
	cleanUp func()        // nil: nothing to clean
}

// launch starts an emulator, whose output is the console. It does not outlive this process: it is killed with the thread that started it, which is
// kept for that. The channel and what cleanUp removes are the machine's from here on, and gone if it does not start.
func launch(cfg Config, cmd *exec.Cmd, channel io.ReadWriteCloser, cleanUp func()) (*machine, error) {
	m := &machine{channel: channel, console: newConsole(cfg.Console), exited: make(chan struct{}), cleanUp: cleanUp}
	cmd.Stdout = m.console
	cmd.Stderr = m.console.errors()
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	// A group of its own: Ctrl-C at the caller's terminal is for the command, and the emulator would end at once.
	cmd.SysProcAttr.Setpgid = true
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		m.process = cmd.Process
		started <- err
		if err == nil {
			// How the emulator ended is told better by what it said.
			_ = cmd.Wait()
			close(m.exited)
		}
	}()
	if err := <-started; err != nil {
		m.release()
		return nil, fmt.Errorf("lab: start %s: %w", cmd.Path, err)
	}
	return m, nil
}

// stop kills the emulator and waits until it is gone.
func (m *machine) stop() {
	_ = m.process.Kill() // fails only when it has ended
	<-m.exited
	m.release()
}

func (m *machine) release() {
	m.channel.Close()
	if m.cleanUp != nil {
		m.cleanUp()
	}
}
