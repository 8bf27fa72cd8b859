package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"doorbell/internal/kmod"

	"golang.org/x/sys/unix"
)

// manifestPath is where the initramfs lists its modules.
const manifestPath = "/etc/doorbell/modules"

// loadModules loads what the manifest says, round after round: a bus driver may
// bring devices whose drivers are in the manifest too. A module that cannot be
// loaded does not keep the others from it.
func (a *agent) loadModules() error {
	text, err := os.ReadFile(manifestPath)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	manifest, err := kmod.Parse(string(text))
	if err != nil {
		return err
	}
	line, err := os.ReadFile("/proc/cmdline")
	if err != nil {
		return err
	}
	buses := manifest.Buses()
	tried := map[string]bool{}
	var errs []error
	for {
		plan := manifest.Plan(modaliases(sysBus, buses), tried)
		if len(plan) == 0 {
			return errors.Join(errs...)
		}
		for _, m := range plan {
			tried[m.Name] = true
			if err := loadModule(m.Path, moduleParameters(string(line), m.Name)); err != nil {
				errs = append(errs, err)
				continue
			}
			a.modules = append(a.modules, m.Name)
		}
	}
}

// moduleParameters are those of a module on the kernel's command line, NAME.PARAMETER=VALUE, as the kernel takes them from its own and modprobe from
// this: dashes and underscores are the same.
func moduleParameters(line, name string) string {
	same := strings.NewReplacer("-", "_")
	var all []string
	for _, word := range splitParameters(line) {
		module, parameter, ok := strings.Cut(word, ".")
		if !ok || same.Replace(module) != same.Replace(name) {
			continue
		}
		if strings.ContainsAny(parameter, " \t") {
			parameter = `"` + parameter + `"`
		}
		all = append(all, parameter)
	}
	return strings.Join(all, " ")
}

func loadModule(path, parameters string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("load module: %w", err)
	}
	defer f.Close()
	err = unix.FinitModule(int(f.Fd()), parameters, 0)
	if err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("load module %s: %w", path, err)
	}
	return nil
}

// modaliases returns the names by which the devices on the buses ask for a
// driver. Devices come and go: what cannot be read is not there.
func modaliases(root string, buses []string) []string {
	var aliases []string
	for _, bus := range buses {
		devices, _ := os.ReadDir(filepath.Join(root, bus, "devices"))
		for _, d := range devices {
			text, err := os.ReadFile(filepath.Join(root, bus, "devices", d.Name(), "modalias"))
			if alias := strings.TrimSpace(string(text)); err == nil && alias != "" {
				aliases = append(aliases, alias)
			}
		}
	}
	return aliases
}
