package images

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// A suiteChange rewrites the machine's package sources to those of another suite.
type suiteChange struct {
	own []string // what the machine's sources call its own suite
	to  string
}

// rolling are the suites that have neither updates nor security beside them.
var rolling = []string{"sid", "unstable", "experimental"}

// rename returns what the machine's suite is called in the other one, "" for what is not Debian's: bookworm-security becomes trixie-security.
func (c suiteChange) rename(suite string) string {
	for _, own := range c.own {
		rest, ok := strings.CutPrefix(suite, own)
		switch {
		case !ok || rest != "" && rest[0] != '-' && rest[0] != '/':
		case rest != "" && slices.Contains(rolling, c.to):
			return ""
		default:
			return c.to + rest
		}
	}
	return ""
}

// list rewrites a file of lines "deb [OPTIONS] URI SUITE COMPONENTS" (sources.list(5)). Lines that are of no use are left out.
func (c suiteChange) list(text []byte) (out []byte) {
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		line, _, _ := strings.Cut(lines.Text(), "#")
		words := strings.Fields(line)
		if len(words) < 4 || words[0] != "deb" {
			continue
		}
		at := 2
		if strings.HasPrefix(words[1], "[") { // options may have spaces in them
			for at = 1; at < len(words) && !strings.HasSuffix(words[at], "]"); at++ {
			}
			at += 2
		}
		if at >= len(words) {
			continue
		}
		if words[at] = c.rename(words[at]); words[at] != "" {
			out = fmt.Appendln(out, strings.Join(words, " "))
		}
	}
	return out
}

// deb822 rewrites a file of paragraphs with fields such as Suites (sources.list(5)). Whatever else a paragraph has, such as the key
// that signs it, stays.
func (c suiteChange) deb822(text []byte) (out []byte) {
	for _, paragraph := range regexp.MustCompile(`\n[ \t]*\n`).Split(strings.ReplaceAll(string(text), "\r", ""), -1) {
		var kept []string
		field, suites, binary := "", []string(nil), false
		for line := range strings.SplitSeq(paragraph, "\n") {
			if strings.HasPrefix(line, "#") || strings.TrimSpace(line) == "" {
				continue
			}
			value := line
			if line[0] != ' ' && line[0] != '\t' {
				field, value, _ = strings.Cut(line, ":")
				field = strings.ToLower(strings.TrimSpace(field))
			}
			switch field {
			case "suites":
				for s := range strings.FieldsSeq(value) {
					if s = c.rename(s); s != "" {
						suites = append(suites, s)
					}
				}
			case "types":
				binary = binary || slices.Contains(strings.Fields(value), "deb")
			default:
				kept = append(kept, line)
			}
		}
		if len(suites) > 0 && binary {
			out = fmt.Appendf(out, "Types: deb\nSuites: %s\n%s\n\n", strings.Join(suites, " "), strings.Join(kept, "\n"))
		}
	}
	return out
}

// file rewrites a file of apt's sources by the format that its name tells; nil for other files.
func (c suiteChange) file(name string, text []byte) []byte {
	switch filepath.Ext(name) {
	case ".list":
		return c.list(text)
	case ".sources":
		return c.deb822(text)
	}
	return nil
}

// useSuite points apt at another suite of the mirrors that the machine uses, with the keys that the machine trusts for them.
func (a *apt) useSuite(ctx context.Context, suite string) error {
	out, err := a.command(ctx, "apt-config", "shell", "LIST", "Dir::Etc::sourcelist/f", "PARTS", "Dir::Etc::sourceparts/d").Output()
	if err != nil {
		return fmt.Errorf("apt-config: %w", err)
	}
	var files []string
	for line := range strings.Lines(string(out)) {
		name, quoted, _ := strings.Cut(strings.TrimSpace(line), "=")
		path := strings.Trim(quoted, "'")
		if name == "LIST" {
			files = append(files, path)
		} else if entries, err := os.ReadDir(path); err == nil {
			for _, e := range entries {
				files = append(files, filepath.Join(path, e.Name()))
			}
		}
	}
	change := suiteChange{own: ownSuites(), to: suite}
	dir := filepath.Join(a.dir, "sources")
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	found := false
	for i, path := range files {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // apt warns of it and goes on, too
		}
		if text = change.file(path, text); len(text) == 0 {
			continue
		}
		found = true
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%d%s", i, filepath.Ext(path))), text, 0o644); err != nil {
			return err
		}
	}
	if !found {
		return fmt.Errorf("none of the machine's apt sources is of Debian's suites (%s)", strings.Join(change.own, ", "))
	}
	// What is installed here, and which release is preferred here, says nothing about the other suite.
	conf := fmt.Sprintf("Dir::Etc::sourcelist \"/dev/null\";\nDir::Etc::sourceparts \"%s/\";\nDir::State::status \"/dev/null\";\n#clear APT::Default-Release;\n", dir)
	f, err := os.OpenFile(a.conf, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(conf)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}

// ownSuites are the names that the machine's sources may have for its suite.
func ownSuites() []string {
	names := []string{"stable", "oldstable", "oldoldstable", "testing", "unstable", "sid"}
	text, _ := os.ReadFile("/etc/os-release")
	for line := range strings.Lines(string(text)) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "VERSION_CODENAME="); ok {
			if name = strings.Trim(name, `"'`); suiteName.MatchString(name) {
				names = append([]string{name}, names...)
			}
		}
	}
	return names
}
