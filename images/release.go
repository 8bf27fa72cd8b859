package images

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
)

// Release says which of Debian's kernels a guest has, and what is added to it. The zero value is the kernel for virtual machines of the machine's
// own suite.
type Release struct {
	// Suite is one of Debian's, such as trixie; empty for the machine's own.
	Suite string
	// Realtime is the kernel with PREEMPT_RT.
	Realtime bool
	// IRQProbe adds the module irqprobe, built for this kernel, which takes gcc and the kernel's headers.
	IRQProbe bool
}

// The words of a release that are no suite.
const (
	wordRealtime = "rt"
	wordIRQProbe = "irqprobe"
)

// suiteName is what a suite of Debian's may be called: it becomes part of paths and of apt's sources.
var suiteName = regexp.MustCompile(`^[a-z][a-z0-9]*(-[a-z0-9]+)*$`)

// ParseRelease reads debian:WORD[+WORD], which stands for a kernel of Debian's where a kernel is asked for: a suite, rt, irqprobe. ok is false for
// anything else than debian:.
func ParseRelease(s string) (r Release, ok bool, err error) {
	words, ok := strings.CutPrefix(s, "debian:")
	if !ok {
		return Release{}, false, nil
	}
	for word := range strings.SplitSeq(words, "+") {
		switch {
		case word == wordRealtime && !r.Realtime:
			r.Realtime = true
		case word == wordIRQProbe && !r.IRQProbe:
			r.IRQProbe = true
		case r.Suite == "" && suiteName.MatchString(word) && word != wordRealtime && word != wordIRQProbe:
			r.Suite = word
		default:
			return Release{}, true, fmt.Errorf("%q is no suite's name: write debian:SUITE, as in debian:trixie, rt for PREEMPT_RT, as in debian:rt or debian:trixie+rt, and irqprobe for the driver of --device irqprobe", word)
		}
	}
	return r, true, nil
}

// String is the release as ParseRelease reads it, without debian:; empty for the zero value.
func (r Release) String() string {
	var words []string
	if r.Suite != "" {
		words = append(words, r.Suite)
	}
	if r.Realtime {
		words = append(words, wordRealtime)
	}
	if r.IRQProbe {
		words = append(words, wordIRQProbe)
	}
	return strings.Join(words, "+")
}

// folder is where the cache keeps what is named name of the release's kernel: each suite and flavour is apart, since what is newest of one says
// nothing about another.
func (r Release) folder(name string) string {
	if r.Realtime {
		name = filepath.Join("flavours", wordRealtime, name)
	}
	if r.Suite != "" {
		name = filepath.Join("suites", r.Suite, name)
	}
	return name
}

// metapackage depends on the release's newest kernel.
func (r Release) metapackage() string {
	if r.Realtime {
		return realtimeMetapackage
	}
	return kernelMetapackage
}
