package main

import (
	"fmt"
	"strings"
)

// abiSource prints the constants, the ioctl requests and the structs.
func abiSource(f *facts) string {
	var b strings.Builder
	b.WriteString("package kvm\n\nimport \"doorbell/internal/ioctl\"\n\n// Constants of the KVM API (linux/kvm.h).\nconst (\n")
	for _, c := range constants {
		fmt.Fprintf(&b, "%s = %#x // %s\n", c.goName, f.num[c.c], c.c)
	}
	b.WriteString(")\n\n// capabilityNames are linux/kvm.h's names without KVM_CAP_, in lower case.\nvar capabilityNames = map[int]string{\n")
	for _, c := range constants {
		if n, ok := strings.CutPrefix(c.c, "KVM_CAP_"); ok {
			fmt.Fprintf(&b, "%s: %q,\n", c.goName, strings.ToLower(n))
		}
	}
	b.WriteString("}\n\n// Requests: the ioctl numbers with the names that errors carry.\nvar (\n")
	for _, r := range requests {
		fmt.Fprintf(&b, "%s = ioctl.Request{Number: %#x, Name: %q}\n", requestName(r), f.num[r], r)
	}
	b.WriteString(")\n")
	for _, s := range structs {
		if s.foreign {
			continue
		}
		fmt.Fprintf(&b, "\n// %s is %s: %s\ntype %s struct {\n", s.goName, s.c, s.doc, s.goName)
		at := uint64(0)
		for _, fl := range s.fields {
			off, size := f.num["offsetof("+s.c+", "+fl.c+")"], f.num["sizeof((("+s.c+"*)0)->"+fl.c+")"]
			if off > at {
				fmt.Fprintf(&b, "_ [%d]byte\n", off-at)
			}
			fmt.Fprintf(&b, "%s %s // %s\n", fl.goName, goType(fl, size), fl.c)
			at = off + size
		}
		if total := f.num["sizeof("+s.c+")"]; total > at {
			fmt.Fprintf(&b, "_ [%d]byte\n", total-at)
		}
		b.WriteString("}\n")
	}
	return b.String()
}

// goType is the Go type of a field of size bytes: an explicit type, an integer of that size, or an array of elem.
func goType(fl field, size uint64) string {
	switch {
	case fl.typ != "":
		return fl.typ
	case fl.elem != 0:
		return fmt.Sprintf("[%d]uint%d", size/uint64(fl.elem), 8*fl.elem)
	}
	return fmt.Sprintf("uint%d", 8*size)
}

// requestName turns KVM_SET_REGS into kvmSetRegs.
func requestName(c string) string {
	words := strings.Split(strings.ToLower(c), "_")
	for i, w := range words[1:] {
		words[i+1] = strings.ToUpper(w[:1]) + w[1:]
	}
	return strings.Join(words, "")
}

// layoutSource prints the table that abi_test.go holds the Go types against.
func layoutSource(f *facts) string {
	var b strings.Builder
	b.WriteString("package kvm\n\n// cLayouts is what the C compiler says of each struct: its size, and its fields' offsets and sizes.\nvar cLayouts = []cLayout{\n")
	for _, s := range structs {
		fmt.Fprintf(&b, "{%s{}, %q, %d, []cField{", s.goName, s.c, f.num["sizeof("+s.c+")"])
		for _, fl := range s.fields {
			fmt.Fprintf(&b, "{%q, %d, %d}, ", fl.goName, f.num["offsetof("+s.c+", "+fl.c+")"], f.num["sizeof((("+s.c+"*)0)->"+fl.c+")"])
		}
		b.WriteString("}},\n")
	}
	b.WriteString("}\n")
	return b.String()
}

// exitsSource prints the names of exit reasons: KVM's own, and those of the two vendors' hardware as the kvm_exit
// tracepoint reports them.
func exitsSource(f *facts) string {
	var b strings.Builder
	b.WriteString("package kvm\n\n// Exit reasons of KVM_RUN (kvm_run.exit_reason).\nconst (\n")
	for _, e := range f.named["KVM"] {
		fmt.Fprintf(&b, "%s = %d\n", exitName(e.name), e.value)
	}
	b.WriteString(")\n\nvar exitNames = [...]string{\n")
	for _, e := range f.named["KVM"] {
		fmt.Fprintf(&b, "%d: %q,\n", e.value, strings.ToLower(strings.TrimPrefix(e.name, "KVM_EXIT_")))
	}
	b.WriteString("}\n")
	for _, v := range []string{"SVM", "VMX"} {
		fmt.Fprintf(&b, "\n// %sNames names hardware exit codes (asm/%s.h), in the tracepoint's numbering.\nvar %sNames = map[uint64]string{\n", strings.ToLower(v), strings.ToLower(v), strings.ToLower(v))
		seen := map[uint64]bool{}
		for _, e := range f.named[v] {
			if seen[e.value] || e.value > 1<<32 {
				continue
			}
			seen[e.value] = true
			fmt.Fprintf(&b, "%#x: %q,\n", e.value, strings.ReplaceAll(strings.ToLower(e.name), " ", "_"))
		}
		b.WriteString("}\n")
	}
	return b.String()
}

// exitName turns KVM_EXIT_IRQ_WINDOW_OPEN into ExitIrqWindowOpen.
func exitName(c string) string {
	words := strings.Split(strings.ToLower(strings.TrimPrefix(c, "KVM_")), "_")
	for i, w := range words {
		words[i] = strings.ToUpper(w[:1]) + w[1:]
	}
	return strings.Join(words, "")
}
