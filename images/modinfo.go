package images

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"doorbell/internal/kmod"
)

// maxModinfo bounds the section that is read of a module; the largest in a
// distribution kernel, all of it aliases, has some 100 KiB.
const maxModinfo = 4 << 20

// modinfo is what a module says of itself.
type modinfo struct {
	depends []string // canonical names
	aliases []string
}

// readModinfo reads the section .modinfo of a module: strings KEY=VALUE that
// end with a NUL each (include/linux/module.h). It stands in for modules.dep,
// which depmod makes when a kernel is installed and no package contains.
func readModinfo(r io.ReaderAt) (modinfo, error) {
	f, err := elf.NewFile(r)
	if err != nil {
		return modinfo{}, fmt.Errorf("not a kernel module: %w", err)
	}
	section := f.Section(".modinfo")
	if section == nil {
		return modinfo{}, errors.New("not a kernel module: it has no section .modinfo")
	}
	if section.Size > maxModinfo || section.FileSize > maxModinfo {
		return modinfo{}, fmt.Errorf("section .modinfo has %d bytes, more than %d", max(section.Size, section.FileSize), maxModinfo)
	}
	data, err := section.Data()
	if err != nil {
		return modinfo{}, fmt.Errorf("section .modinfo: %w", err)
	}
	return parseModinfo(data), nil
}

func parseModinfo(data []byte) modinfo {
	var info modinfo
	for _, field := range bytes.Split(data, []byte{0}) {
		key, value, _ := strings.Cut(string(field), "=")
		switch key {
		case "depends":
			for name := range strings.SplitSeq(value, ",") {
				if name = kmod.Canonical(strings.TrimSpace(name)); name != "" && !slices.Contains(info.depends, name) {
					info.depends = append(info.depends, name)
				}
			}
		case "alias":
			// White space would not survive in a manifest; only aliases
			// of DMI strings ever have some.
			if value != "" && !strings.ContainsAny(value, " \t\r\n\v\f") {
				info.aliases = append(info.aliases, value)
			}
		}
	}
	return info
}
