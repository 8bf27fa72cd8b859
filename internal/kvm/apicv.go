package kvm

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// apicParameters are the parameters by the module.
var apicParameters = map[string]string{"kvm_intel": "enable_apicv", "kvm_amd": "avic"}

// APICParameter is the file that says whether local APICs are virtualized in hardware; empty where KVM's module has no such parameter.
func APICParameter() string {
	name := strings.ReplaceAll(Backend(), "-", "_")
	if p := apicParameters[name]; p != "" {
		return filepath.Join("/sys/module", name, "parameters", p)
	}
	return ""
}

// VirtualizesAPIC says whether KVM has the processor virtualize local APICs, and the reason if not. A machine may still be without: KVM inhibits it for
// several reasons.
func VirtualizesAPIC() (yes bool, why string) {
	path := APICParameter()
	if path == "" {
		return false, "KVM's modules do not say whether local APICs are virtualized in hardware"
	}
	return virtualizes(path)
}

// virtualizes reads the file of such a parameter.
func virtualizes(path string) (yes bool, why string) {
	text, err := os.ReadFile(path)
	if err != nil {
		return false, fmt.Sprintf("%s cannot be read: %v", path, pathCause(err))
	}
	if value := strings.TrimSpace(string(text)); value != "Y" && value != "1" {
		return false, filepath.Base(path) + "=" + value + ": KVM does not virtualize local APICs in hardware"
	}
	return true, ""
}

func pathCause(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}
