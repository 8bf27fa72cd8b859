package images

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// apt downloads packages with the machine's own sources and keys, but with
// state, lists and cache of its own: it works for an ordinary user and on a
// machine that has never run apt-get update, and it changes nothing there.
type apt struct {
	dir      string
	conf     string
	progress io.Writer
}

// aptConf is read after the machine's own configuration. The hooks that some
// images run after an update would touch the machine's own cache, and fail for
// an ordinary user; of the indexes only Packages is of use here. The user that
// root's downloads usually run as cannot write to another user's cache folder.
const aptConf = `#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear Acquire::IndexTargets;
Acquire::IndexTargets::deb::Packages {
	MetaKey "$(COMPONENT)/binary-$(ARCHITECTURE)/Packages";
	flatMetaKey "Packages";
	ShortDescription "Packages";
	Description "$(RELEASE)/$(COMPONENT) $(ARCHITECTURE) Packages";
	flatDescription "$(RELEASE) Packages";
	Optional "false";
};
Acquire::Languages "none";
APT::Sandbox::User "root";
Dir::State::lists "lists/";
Dir::State::status "/var/lib/dpkg/status";
Dir::Cache::archives "archives/";
`

// errNoApt is for machines that are not Debian's.
var errNoApt = errors.New("no apt-get on this machine")

// newApt prepares apt's folders below dir. extra is configuration that comes
// last.
func newApt(dir, extra string, progress io.Writer) (*apt, error) {
	for _, program := range []string{"apt-get", "apt-cache"} {
		if _, err := exec.LookPath(program); err != nil {
			return nil, errNoApt
		}
	}
	for _, sub := range []string{"state/lists/partial", "cache/archives/partial"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			return nil, fmt.Errorf("apt: %w", err)
		}
	}
	if strings.ContainsAny(dir, "\"\n;") {
		return nil, fmt.Errorf("apt: cache folder %q cannot be written in apt's configuration", dir)
	}
	conf := aptConf + fmt.Sprintf("Dir::State \"%s/state\";\nDir::Cache \"%s/cache\";\n", dir, dir) + extra
	path := filepath.Join(dir, "apt.conf")
	if err := os.WriteFile(path, []byte(conf), 0o644); err != nil {
		return nil, fmt.Errorf("apt: %w", err)
	}
	return &apt{dir: dir, conf: path, progress: progress}, nil
}

// command returns one of apt's programs, which prints English and ends when ctx
// does.
func (a *apt) command(ctx context.Context, program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, program, append([]string{"-c", a.conf, "-q"}, args...)...)
	cmd.Dir = a.dir // apt-get download writes to the current folder
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "LANGUAGE=")
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// A stanza is one paragraph of apt's lists: fields with a value of one line.
type stanza map[string]string

// errNoPackage is for a package that apt's lists do not have.
var errNoPackage = errors.New("the machine's apt sources do not have it")

// show returns what apt's lists say of the version of the package that apt
// would install.
func (a *apt) show(ctx context.Context, name string) (stanza, error) {
	cmd := a.command(ctx, "apt-cache", "show", "--no-all-versions", name)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if ctx.Err() != nil {
		return nil, fmt.Errorf("apt-cache show %s: %w", name, ctx.Err())
	}
	if err != nil {
		complaint := lastComplaint(stderr.String())
		if complaint == "" || strings.HasPrefix(complaint, "No packages found") || strings.HasPrefix(complaint, "Unable to locate") {
			return nil, errNoPackage
		}
		return nil, fmt.Errorf("apt-cache show %s: %s", name, complaint)
	}
	p := parseStanza(out)
	if p["Package"] != name || p["Version"] == "" {
		return nil, errNoPackage
	}
	return p, nil
}

// parseStanza reads the first paragraph; continuation lines are left out.
func parseStanza(text []byte) stanza {
	p := stanza{}
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() && lines.Text() != "" {
		if key, value, ok := strings.Cut(lines.Text(), ":"); ok && key != "" && key[0] != ' ' {
			p[key] = strings.TrimSpace(value)
		}
	}
	return p
}

// lastComplaint returns apt's last error, or else its last warning, from what
// it wrote to stderr; "" when there is none. The summary that ends an update
// says less than the line before it.
func lastComplaint(stderr string) string {
	var warning, failure string
	for line := range strings.Lines(stderr) {
		kind, text, ok := strings.Cut(strings.TrimSpace(line), ": ")
		switch {
		case !ok || strings.HasPrefix(text, "Some index files failed"):
		case kind == "E":
			failure = text
		case kind == "W":
			warning = text
		}
	}
	if failure != "" {
		return failure
	}
	return warning
}
