package lab

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The test binary has three faces: it runs the tests, it is L1's /init, and
// in L1 it is the command that a test asked for.
func TestMain(m *testing.M) {
	if IsInit() {
		Init()
	}
	if len(os.Args) > 1 {
		if command, ok := commands[os.Args[1]]; ok {
			os.Exit(command(os.Args[2:]))
		}
	}
	os.Exit(m.Run())
}

// commands run in L1.
var commands = map[string]func(arguments []string) int{
	// echo copies its input, talks on stderr, and ends with status 7.
	"test:echo": func([]string) int {
		n, err := io.Copy(os.Stdout, os.Stdin)
		if err != nil {
			return complain(err)
		}
		fmt.Fprintf(os.Stderr, "%d bytes\n", n)
		return 7
	},
	// environment shows where it runs.
	"test:environment": func(arguments []string) int {
		dir, err := os.Getwd()
		if err != nil {
			return complain(err)
		}
		host, _ := os.Hostname()
		fmt.Printf("dir=%s\nhost=%s\nhome=%s\nvariable=%s\npid=%v\n", dir, host, os.Getenv("HOME"), os.Getenv("LAB_TEST"), os.Getpid() > 1)
		for _, name := range arguments {
			b, err := os.ReadFile(name)
			fmt.Printf("%s: %q %v\n", filepath.Base(name), b, err)
		}
		return 0
	},
	// kernel-log shows L1's until it has a line that ends in the argument.
	"test:kernel-log": func(arguments []string) int {
		log, err := os.Open("/dev/kmsg")
		if err != nil {
			return complain(err)
		}
		time.AfterFunc(time.Minute, func() {
			os.Exit(complain(fmt.Errorf("the kernel's log has no line that ends in %q", arguments[0])))
		})
		for record := make([]byte, 8<<10); ; { // one at each read(2), with what belongs to it in further lines
			n, err := log.Read(record)
			if errors.Is(err, unix.EPIPE) {
				continue // overwritten meanwhile
			}
			if err != nil {
				return complain(err)
			}
			line, _, _ := strings.Cut(string(record[:n]), "\n")
			fmt.Println(line)
			if strings.HasSuffix(line, arguments[0]) {
				return 0
			}
		}
	},
	// kill ends by a signal.
	"test:kill": func([]string) int {
		_ = unix.Kill(os.Getpid(), unix.SIGKILL)
		return complain(fmt.Errorf("still alive"))
	},
	// interrupt waits for SIGINT, writes its report, and ends.
	"test:interrupt": func(arguments []string) int {
		signals := make(chan os.Signal, 1)
		signal.Notify(signals, syscall.SIGINT)
		fmt.Println("waiting")
		fmt.Println(<-signals)
		if err := os.WriteFile(arguments[0], []byte("report"), 0o600); err != nil {
			return complain(err)
		}
		return 5
	},
	// output writes 20 MiB, tells their checksum, and writes them to a file.
	"test:output": func(arguments []string) int {
		data := testData()
		if _, err := os.Stdout.Write(data); err != nil {
			return complain(err)
		}
		fmt.Fprintf(os.Stderr, "%x", sha256.Sum256(data))
		if err := os.WriteFile(arguments[0], data, 0o640); err != nil {
			return complain(err)
		}
		return 0
	},
	// write changes one file, makes others, and leaves one alone.
	"test:write": func(arguments []string) int {
		for _, name := range arguments {
			if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
				return complain(err)
			}
			if err := os.WriteFile(name, []byte("from L1"), 0o644); err != nil {
				return complain(err)
			}
		}
		return 0
	},
	// kvm makes a virtual machine.
	"test:kvm": func([]string) int {
		const createVM, getVersion = 0xae01, 0xae00
		f, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
		if err != nil {
			return complain(err)
		}
		version, err := unix.IoctlRetInt(int(f.Fd()), getVersion)
		if err != nil {
			return complain(err)
		}
		if _, err := unix.IoctlRetInt(int(f.Fd()), createVM); err != nil {
			return complain(fmt.Errorf("KVM_CREATE_VM: %w", err))
		}
		_, tracepoint := os.Stat("/sys/kernel/tracing/events/kvm/kvm_exit")
		info, err := os.ReadFile("/proc/cpuinfo")
		if err != nil {
			return complain(err)
		}
		var allowed unix.CPUSet
		if err := unix.SchedGetaffinity(0, &allowed); err != nil {
			return complain(err)
		}
		fmt.Printf("version=%d tracepoint=%v cpus=%d first=%v svm=%v", version, tracepoint == nil,
			runtime.NumCPU(), allowed.IsSet(0), bytes.Contains(info, []byte(" svm ")))
		return 0
	},
	// orphan leaves a process behind that holds the output open.
	"test:orphan": func([]string) int {
		self, err := os.Executable()
		if err != nil {
			return complain(err)
		}
		_, err = os.StartProcess(self, []string{self, "test:forever"}, &os.ProcAttr{Files: []*os.File{os.Stdin, os.Stdout, os.Stderr}})
		if err != nil {
			return complain(err)
		}
		fmt.Print("left one behind")
		return 0
	},
	"test:forever": func([]string) int {
		for {
			time.Sleep(time.Hour)
		}
	},
	// terminal tells whether it has one, how large it is, and reads a line.
	"test:terminal": func([]string) int {
		size, err := unix.IoctlGetWinsize(0, unix.TIOCGWINSZ)
		if err != nil {
			return complain(err)
		}
		fmt.Printf("%d rows, %d columns\n", size.Row, size.Col)
		var word string
		fmt.Scan(&word)
		fmt.Printf("read %s\n", word)
		return 0
	},
	// stubborn says that it waits, and ignores what would end it.
	"test:stubborn": func([]string) int {
		signal.Ignore(syscall.SIGTERM, syscall.SIGINT)
		fmt.Print("waiting")
		for {
			time.Sleep(time.Hour)
		}
	},
	// lab is a caller of Run, on the machine of the test itself.
	"test:lab": func([]string) int {
		var job callerJob
		if err := json.NewDecoder(os.Stdin).Decode(&job); err != nil {
			return complain(err)
		}
		cfg := Config{Kernel: job.Kernel, Modules: job.Modules, Command: job.Command, Stdout: os.Stdout}
		result, err := Run(context.Background(), cfg)
		if err != nil {
			return complain(err)
		}
		return result.ExitStatus
	},
	// panic takes L1 down.
	"test:panic": func([]string) int {
		if err := os.WriteFile("/proc/sysrq-trigger", []byte("c"), 0); err != nil {
			return complain(err)
		}
		return 0
	},
}

// callerJob is what test:lab is told.
type callerJob struct {
	Kernel  string
	Modules []Module
	Command []string
}

func complain(err error) int {
	fmt.Fprintln(os.Stderr, err)
	return 99
}

// testData is 20 MiB that look random and are the same in L1.
func testData() []byte {
	data := make([]byte, 20<<20)
	r := rand.NewChaCha8([32]byte{1})
	_, _ = r.Read(data) // never fails
	return data
}
