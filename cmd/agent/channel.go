package main

import (
	"fmt"
	"os"
	"time"

	"doorbell/internal/device/mailbox"

	"golang.org/x/sys/unix"
)

// channel is the mailbox; a nil one swallows what it is given.
type channel struct {
	port     *mailbox.Port
	doorbell *uint32
}

// openMailbox finds the mailbox and maps it. named is where it is if the kernel
// does not know. It returns nil, without an error, on a machine that has none.
func openMailbox(named uint64) (*channel, error) {
	text, err := os.ReadFile("/proc/iomem")
	if err != nil {
		return nil, fmt.Errorf("mailbox: %w", err)
	}
	start, size, ok := findResource(string(text), mailbox.ResourceName)
	if !ok && named == 0 {
		return nil, nil
	}
	if !ok {
		start, size = named, mailbox.Size
	}
	if size < mailbox.Size {
		return nil, fmt.Errorf("mailbox: the range at %#x has %#x bytes, want %#x", start, size, mailbox.Size)
	}
	registers, err := mapPhysical(start, mailbox.PageSize, unix.O_SYNC)
	if err != nil {
		return nil, fmt.Errorf("mailbox: map registers: %w", err)
	}
	shared, err := mapPhysical(start+mailbox.PageSize, mailbox.SharedSize, 0)
	if err != nil {
		return nil, fmt.Errorf("mailbox: map shared memory: %w", err)
	}
	port, err := mailbox.NewGuest(shared)
	if err != nil {
		return nil, err
	}
	c := &channel{port: port, doorbell: register(registers, mailbox.DoorbellOffset)}
	port.OnSend(func() { store(c.doorbell, 1) })
	return c, nil
}

// mapPhysical maps physical memory that is not RAM of the kernel's, for as long
// as the agent runs. With O_SYNC the mapping is uncached, as registers need.
func mapPhysical(address uint64, size int, flags int) ([]byte, error) {
	f, err := os.OpenFile("/dev/mem", os.O_RDWR|flags, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return unix.Mmap(int(f.Fd()), int64(address), size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
}

// announce says that user space runs.
func (c *channel) announce() error {
	if c == nil {
		return nil
	}
	if err := c.port.Send(mailbox.Hello, []byte(version)); err != nil {
		return err
	}
	return c.port.Send(mailbox.Phase, []byte(phaseUserspace))
}

// phase, log and bye have nobody to tell when they fail.

func (c *channel) phase(name string) {
	if c != nil {
		c.port.Send(mailbox.Phase, []byte(name))
	}
}

func (c *channel) log(line string) {
	if c != nil {
		c.port.Send(mailbox.Log, []byte(line))
	}
}

func (c *channel) bye() {
	if c != nil {
		c.port.Send(mailbox.Bye, nil)
	}
}

// jobPause is how long the agent sleeps between two looks for a job: the host
// has no interrupt to wake it with.
const jobPause = 5 * time.Millisecond

// job waits for a job, and returns nil when the host says goodbye instead.
func (c *channel) job() ([]byte, error) {
	for {
		m, ok, err := c.port.Receive()
		switch {
		case err != nil:
			return nil, err
		case !ok:
			if err := idle(jobPause); err != nil {
				return nil, err
			}
		case m.Type == mailbox.Job:
			return m.Payload, nil
		case m.Type == mailbox.Bye:
			return nil, nil
		}
	}
}
