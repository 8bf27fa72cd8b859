package l1

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// openPort opens the virtio-serial port called name. The port appears some
// time after its driver has been loaded: the device announces it in a message.
func openPort(name string, patience time.Duration) (*os.File, error) {
	for deadline := time.Now().Add(patience); ; {
		device, err := findPort("/sys/class/virtio-ports", name)
		if err == nil {
			var f *os.File
			// The node in /dev may come a moment after that in /sys.
			if f, err = os.OpenFile(filepath.Join("/dev", device), os.O_RDWR, 0); err == nil {
				return f, nil
			}
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("virtio-serial port %s: %w", name, err)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// findPort returns the device name of the port called name.
func findPort(class, name string) (string, error) {
	ports, err := os.ReadDir(class)
	if err != nil {
		return "", err
	}
	for _, port := range ports {
		b, err := os.ReadFile(filepath.Join(class, port.Name(), "name"))
		if err == nil && strings.TrimSpace(string(b)) == name {
			return port.Name(), nil
		}
	}
	return "", fmt.Errorf("not among the %d ports of this machine", len(ports))
}
