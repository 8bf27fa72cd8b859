package netconf

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// SetRPS chooses the CPUs that process what a receive queue ("rx-0") brings, besides the one that its interrupt is at: a bit mask in hexadecimal digits as
// the kernel prints it; "0" is none (Documentation/networking/scaling.rst, "RPS: Receive Packet Steering").
func SetRPS(name, queue, mask string) error {
	folder, err := linkFolder(name)
	if err != nil {
		return err
	}
	number, ok := strings.CutPrefix(queue, "rx-")
	if !ok || number == "" || strings.Trim(number, "0123456789") != "" {
		return fmt.Errorf("%s: receive packet steering: %.20q is not a receive queue", name, queue)
	}
	if err := os.WriteFile(filepath.Join(folder, "queues", queue, "rps_cpus"), []byte(mask), 0o644); err != nil {
		return fmt.Errorf("%s: receive packet steering of %s to CPUs %.40q: %w", name, queue, mask, err)
	}
	return nil
}
