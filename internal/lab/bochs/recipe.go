package bochs

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"

	"doorbell/images"
)

// Recipe is what Package images makes the folder of. Bochs 3.0 takes only descriptors of posted interrupts that are 4 KiB-aligned, which KVM's are not;
// 2.7 has none. GRUB's and xorriso's part is the disc that the host starts from.
var Recipe = images.RootRecipe{
	Name:     "bochs",
	Suite:    "forky",
	Packages: []string{"bochs", "vgabios", "grub-pc-bin", "xorriso"},
	Keep: []string{
		"usr/lib64/", "usr/lib/x86_64-linux-gnu/", "usr/lib/grub/i386-pc/",
		"usr/bin/bochs-bin", "usr/bin/grub-mkimage", "usr/bin/xorriso",
		"usr/share/bochs/", vgaBIOS,
	},
}

const vgaBIOS = "usr/share/vgabios/vgabios.bin"

// Root is a folder that Recipe describes.
type Root string

func (r Root) path(parts ...string) string {
	return filepath.Join(append([]string{string(r)}, parts...)...)
}

// libraries is the folder of the root's shared libraries.
func (r Root) libraries(parts ...string) string {
	return r.path(append([]string{"usr/lib/x86_64-linux-gnu"}, parts...)...)
}

// command is one of the root's programs, started by the root's own dynamic linker (ld.so(8)).
func (r Root) command(preload, program string, args ...string) *exec.Cmd {
	linker := []string{"--library-path", r.libraries() + ":" + r.libraries("pulseaudio")}
	if preload != "" {
		linker = append(linker, "--preload", preload)
	}
	cmd := exec.Command(r.path("usr/lib64/ld-linux-x86-64.so.2"), append(append(linker, r.path("usr/bin", program)), args...)...)
	// What the caller's environment preloads is of the machine's libraries.
	cmd.Env = append(os.Environ(), "LD_PRELOAD=", "LD_LIBRARY_PATH=", "LC_ALL=C",
		"LTDL_LIBRARY_PATH="+r.libraries("bochs/plugins"), "BXSHARE="+r.path("usr/share/bochs"))
	return cmd
}

// versionNumber is in Bochs's program, which prints it after its name.
var versionNumber = regexp.MustCompile(`\x00(\d\.\d+(?:\.\d+)?)\x00`)

// Version is Bochs's, as its program has it; empty where it is not found.
func (r Root) Version() string {
	b, err := os.ReadFile(r.path("usr/bin/bochs-bin"))
	if err != nil {
		return ""
	}
	if m := versionNumber.FindSubmatch(b); m != nil {
		return string(m[1])
	}
	return ""
}
