package guest

import (
	"fmt"
	"io"
	"strings"

	"doorbell/guest/memory"
)

// String renders the plan for people: what lies where, the memory map that the
// guest is told, and the registers that it starts with.
func (p *Plan) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "guest memory: %s, kernel: %s\n", memory.FormatSize(p.memorySize), p.Kernel.Format)
	if p.Kernel.Fallback != "" {
		fmt.Fprintf(&b, "vmlinux not unpacked: %s\n", p.Kernel.Fallback)
	}
	for _, r := range p.Ranges {
		line(&b, r.Start, r.End, r.Name)
	}
	b.WriteString("memory map (e820):\n")
	for _, e := range p.E820 {
		line(&b, e.Addr, e.Addr+e.Size, e.Type.String())
	}
	e := p.Entry
	fmt.Fprintf(&b, "entry: rip=%#x rsi=%#x rsp=%#x cr3=%#x gdt=%#x+%#x cs=%#x ds=%#x\n",
		e.RIP, e.RSI, e.RSP, e.CR3, e.GDTBase, e.GDTLimit, e.CS.Selector, e.DS.Selector)
	return b.String()
}

// WriteTo writes String to w.
func (p *Plan) WriteTo(w io.Writer) (int64, error) {
	n, err := io.WriteString(w, p.String())
	return int64(n), err
}

// line shows a range with its last address, as the kernel's own log does.
func line(b *strings.Builder, start, end uint64, name string) {
	fmt.Fprintf(b, "  %#012x-%#012x  %10s  %s\n", start, max(end, start+1)-1, memory.FormatSize(end-start), name)
}
