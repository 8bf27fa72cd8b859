package l1

import (
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"doorbell/internal/lab/wire"
)

// IsInit tells whether this process is the first one of a machine that the
// lab started.
func IsInit() bool {
	if os.Getpid() != 1 {
		return false
	}
	_, err := os.Stat(SetupPath)
	return err == nil
}

// Init sets L1 up, runs the command that the caller sends, and powers off.
func Init() {
	defer powerOff()
	defer func() {
		if r := recover(); r != nil {
			complain(fmt.Errorf("init panicked: %v: %s", r, debug.Stack()))
		}
	}()
	if err := serve(); err != nil {
		complain(err)
	}
}

// complain writes to the kernel's log and so to the console, which the caller
// looks at when L1 ends before its time. Text written to the console's device
// would still be in its buffer when the power goes.
func complain(err error) {
	log, openErr := os.OpenFile("/dev/kmsg", os.O_WRONLY, 0)
	if openErr != nil {
		fmt.Fprintf(os.Stderr, "lab: %v\n", err)
		return
	}
	defer log.Close()
	const maxRecord = 900 // the kernel refuses about 1000 bytes and more
	for line := range strings.SplitSeq(err.Error(), "\n") {
		// Level 3, "error", is shown however quiet the console is.
		_, _ = fmt.Fprintf(log, "<3>lab: %.*s\n", maxRecord, line)
	}
}

func powerOff() {
	unix.Sync()
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
	// The kernel panics when its first process ends, which QEMU is told to
	// take for the end as well.
	os.Exit(1)
}

// serve is L1's life. An error that the caller has been sent is not returned.
func serve() error {
	setup, err := prepare()
	if err != nil {
		return err
	}
	var port *os.File
	if setup.Serial != "" {
		port, err = openSerial(setup.Serial)
	} else {
		port, err = openPort(PortName, 20*time.Second)
	}
	if err != nil {
		return err
	}
	conn := wire.NewConn(port)
	if err := conn.SendWords(wire.Ready, wire.Version); err != nil {
		return err
	}
	go func() {
		for conn.Send(wire.Alive, nil) == nil { // fails when the caller is gone
			time.Sleep(wire.AliveEvery)
		}
	}()
	t, payload, err := conn.Receive()
	if err != nil {
		return err
	}
	if t != wire.Job {
		return fmt.Errorf("expected the job, not a frame of type %v", t)
	}
	job, err := wire.ParseJob(payload)
	if err != nil {
		return err
	}
	switch {
	case setup.SpareFirst:
		err = spareFirst()
	case setup.Serial != "":
		err = stepAside()
	}
	if err != nil {
		return err
	}
	c := newCaller(conn)
	if err := runJob(c, job); err != nil {
		if sendErr := conn.Send(wire.Fail, []byte(oneLine(err))); sendErr != nil {
			return errors.Join(err, sendErr)
		}
	}
	c.awaitEnd()
	return nil
}
