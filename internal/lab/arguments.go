package lab

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// The rules for what an argument brings along. Parts of an argument are the
// argument itself, what stands between its commas, and of each of these what
// stands behind every '=': so -k=FILE, --report=json=FILE and
// --net=user,log=FILE are all understood. Relative parts count from Config.Dir.
//
//   - a part that names an existing regular file makes it travel, at the same
//     absolute path, and come back when the command changes it;
//   - a part that names an existing folder makes it exist in L1, empty, and
//     files written below it come back;
//   - a part that names nothing yet, in a folder that exists, makes that
//     folder exist in L1, and what the command puts there under that name
//     comes back;
//   - whatever is below /dev, /proc or /sys is L1's own.

// named is what the arguments name, as absolute paths.
type named struct {
	files   []string // exist as regular files
	folders []string // exist as folders
	absent  []string // do not exist, their folders do
}

// parts returns the parts of one argument, without duplicates.
func parts(argument string) []string {
	var all []string
	add := func(s string) {
		if s != "" && !strings.ContainsRune(s, 0) && !slices.Contains(all, s) {
			all = append(all, s)
		}
	}
	for _, piece := range append([]string{argument}, strings.Split(argument, ",")...) {
		add(piece)
		for {
			_, behind, ok := strings.Cut(piece, "=")
			if !ok {
				break
			}
			piece = behind
			add(piece)
		}
	}
	return all
}

// maxParts bounds the look-ups that one argument can cause; a shell script
// given as an argument can have any number of commas in it.
const maxParts = 256

// scan finds what the arguments name on this machine.
func scan(dir string, arguments []string) named {
	var n named
	seen := map[string]bool{}
	for _, argument := range arguments {
		all := parts(argument)
		for _, part := range all[:min(len(all), maxParts)] {
			// Text is no path: a newline in it marks a script or a message.
			if strings.Contains(part, "\n") {
				continue
			}
			name := part
			if !filepath.IsAbs(name) {
				name = filepath.Join(dir, name)
			}
			name = filepath.Clean(name)
			if seen[name] || inKernelFolder(name) {
				continue
			}
			seen[name] = true
			info, err := os.Stat(name)
			switch {
			case err == nil && info.Mode().IsRegular():
				n.files = append(n.files, name)
			case err == nil && info.IsDir():
				n.folders = append(n.folders, name)
			case os.IsNotExist(err):
				if parent, err := os.Stat(filepath.Dir(name)); err == nil && parent.IsDir() && !dangling(name) {
					n.absent = append(n.absent, name)
				}
			}
		}
	}
	return n
}

// dangling tells whether name is a symbolic link that leads nowhere.
func dangling(name string) bool {
	info, err := os.Lstat(name)
	return err == nil && info.Mode()&fs.ModeSymlink != 0
}
