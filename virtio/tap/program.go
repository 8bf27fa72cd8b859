package tap

import (
	"encoding/binary"
	"slices"

	"doorbell/virtio/backend"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"
)

// The map is an array of 32-bit words: the hash's tables, then the indirection table. The program asks for each word by its index
// (bpf_map_lookup_elem, which the kernel puts in line). Reckoning with pointers into one large value would take fewer instructions; but
// for a process without CAP_PERFMON the kernel's verifier follows every such addition also as a processor might speculate, and gives up.
const (
	rowLen  = 256
	tableAt = backend.MaxHashInput * rowLen
)

func tables(s *backend.Steering) (words []uint32) {
	for i := range backend.MaxHashInput {
		words = append(words, s.Toeplitz().Row(i)[:]...)
	}
	for _, q := range s.Table() {
		words = append(words, uint32(q))
	}
	return words
}

// steeringTables makes the map. A program has its own reference to it.
func steeringTables(s *backend.Steering) (*ebpf.Map, error) {
	words := tables(s)
	m, err := ebpf.NewMap(&ebpf.MapSpec{Name: "doorbell_rss", Type: ebpf.Array, KeySize: 4, ValueSize: 4, MaxEntries: uint32(len(words))})
	if err != nil {
		return nil, err
	}
	indices := make([]uint32, len(words))
	for i := range indices {
		indices[i] = uint32(i)
	}
	if _, err = m.BatchUpdate(indices, words, nil); err != nil { // Linux 5.6
		for i, w := range words {
			if err = m.Put(uint32(i), w); err != nil {
				m.Close()
				return nil, err
			}
		}
	}
	return m, nil
}

func loadSteering(s *backend.Steering) (*ebpf.Program, error) {
	m, err := steeringTables(s)
	if err != nil {
		return nil, err
	}
	defer m.Close()
	return ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: "doorbell_rss", Type: ebpf.SocketFilter, License: "Apache-2.0", Instructions: steeringProgram(s, m),
	})
}

// vlanPresentAt is the offset of vlan_present in struct __sk_buff.
const vlanPresentAt = 20

// Where the program keeps things on its stack. Addresses and ports lie one behind the other in each header as in the hash's input, so
// that ports are loaded behind the header.
const (
	typeAt  = -8          // EtherType
	indexAt = -4          // of a word in the map
	ip4At   = -40         // 20 bytes, then 4 of ports
	input4  = ip4At + 12  // source address
	ports4  = ip4At + 20  // = input4 + 8
	ip6At   = -96         // 40 bytes, then 4 of ports
	input6  = ip6At + 8   // source address
	ports6  = ip6At + 40  // = input6 + 32
	ether   = 14          // length of the Ethernet header
	noHash  = "no_hash"   // labels
	choose  = "choose"    // R8 is the hash
	v4      = "ipv4"      //
	v4Ports = "ipv4_port" //
	v4Addrs = "ipv4_addr" //
	v6      = "ipv6"      //
	v6Ports = "ipv6_port" //
	v6Addrs = "ipv6_addr" //
)

// steeringProgram is Steering.Queue in eBPF: R6 is the packet, R7 IPv4's header length, R8 the hash.
func steeringProgram(s *backend.Steering, m *ebpf.Map) asm.Instructions {
	types := s.Types()
	if types == 0 {
		return asm.Instructions{asm.Mov.Imm(asm.R0, int32(s.Unclassified())), asm.Return()}
	}
	// The kernel refuses programs with instructions that nothing reaches.
	p := asm.Instructions{
		asm.Mov.Reg(asm.R6, asm.R1),
		// The kernel keeps a VLAN tag beside the packet and puts it in when the frame is read: one that Steering.Queue does not hash.
		asm.LoadMem(asm.R1, asm.R6, vlanPresentAt, asm.Word),
		asm.JNE.Imm(asm.R1, 0, noHash),
	}
	p = append(p, loadBytes(12, typeAt, 2, noHash)...)
	p = append(p,
		asm.LoadMem(asm.R1, asm.RFP, typeAt, asm.Half),
		asm.JEq.Imm(asm.R1, bigEndian16(0x0800), v4),
		asm.JEq.Imm(asm.R1, bigEndian16(0x86dd), v6),
		asm.Ja.Label(noHash),
	)
	p = append(p, label(v4, loadBytes(ether, ip4At, 20, noHash))...)
	p = append(p,
		asm.LoadMem(asm.R1, asm.RFP, ip4At, asm.Byte),
		asm.Mov.Reg(asm.R7, asm.R1),
		asm.RSh.Imm(asm.R1, 4),
		asm.JNE.Imm(asm.R1, 4, noHash),
		asm.And.Imm(asm.R7, 15),
		asm.LSh.Imm(asm.R7, 2),
		asm.JLT.Imm(asm.R7, 20, v4Addrs),
		asm.LoadMem(asm.R1, asm.RFP, ip4At+6, asm.Half),
		asm.And.Imm(asm.R1, bigEndian16(0x3fff)), // more fragments, or an offset
		asm.JNE.Imm(asm.R1, 0, v4Addrs),
		asm.LoadMem(asm.R1, asm.RFP, ip4At+9, asm.Byte),
	)
	p = append(p, protocols(types&backend.HashTCPv4 != 0, types&backend.HashUDPv4 != 0, v4Ports, v4Addrs)...)
	if types&(backend.HashTCPv4|backend.HashUDPv4) != 0 {
		p = append(p, label(v4Ports, asm.Instructions{
			asm.Mov.Reg(asm.R2, asm.R7),
			asm.Add.Imm(asm.R2, ether),
		})...)
		p = append(p, loadBytesAtR2(ports4, 4, v4Addrs)...)
		p = append(p, hash(m, input4, 12)...)
	}
	p = append(p, label(v4Addrs, hashIf(types&backend.HashIPv4 != 0, m, input4, 8))...)
	p = append(p, label(v6, loadBytes(ether, ip6At, 40, noHash))...)
	p = append(p,
		asm.LoadMem(asm.R1, asm.RFP, ip6At, asm.Byte),
		asm.RSh.Imm(asm.R1, 4),
		asm.JNE.Imm(asm.R1, 6, noHash),
		asm.LoadMem(asm.R1, asm.RFP, ip6At+6, asm.Byte),
	)
	p = append(p, protocols(types&backend.HashTCPv6 != 0, types&backend.HashUDPv6 != 0, v6Ports, v6Addrs)...)
	if types&(backend.HashTCPv6|backend.HashUDPv6) != 0 {
		p = append(p, label(v6Ports, loadBytes(ether+40, ports6, 4, v6Addrs))...)
		p = append(p, hash(m, input6, 36)...)
	}
	p = append(p, label(v6Addrs, hashIf(types&backend.HashIPv6 != 0, m, input6, 32))...)
	p = append(p,
		asm.Mov.Reg(asm.R1, asm.R8).WithSymbol(choose),
		asm.And.Imm(asm.R1, int32(len(s.Table())-1)),
		asm.Add.Imm(asm.R1, tableAt),
	)
	p = append(p, lookUp(m)...)
	return append(p,
		asm.LoadMem(asm.R0, asm.R0, 0, asm.Word),
		asm.Return(),
		asm.Mov.Imm(asm.R0, int32(s.Unclassified())).WithSymbol(noHash),
		asm.Return(),
	)
}

// lookUp makes R0 point to the word whose index is R1.
func lookUp(m *ebpf.Map) asm.Instructions {
	return asm.Instructions{
		asm.StoreMem(asm.RFP, indexAt, asm.R1, asm.Word),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, indexAt),
		asm.LoadMapPtr(asm.R1, m.FD()),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, noHash), // never; the verifier insists
	}
}

// bigEndian16 is how a half word in network order reads on this host.
func bigEndian16(v uint16) int32 {
	return int32(binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, v)))
}

// label puts a label in front of instructions.
func label(name string, p asm.Instructions) asm.Instructions {
	p = slices.Clone(p)
	p[0] = p[0].WithSymbol(name)
	return p
}

// loadBytes copies size bytes of the packet to the stack, or jumps.
func loadBytes(off, to, size int32, short string) asm.Instructions {
	return append(asm.Instructions{asm.Mov.Imm(asm.R2, off)}, loadBytesAtR2(to, size, short)...)
}

func loadBytesAtR2(to, size int32, short string) asm.Instructions {
	return asm.Instructions{
		asm.Mov.Reg(asm.R1, asm.R6),
		asm.Mov.Reg(asm.R3, asm.RFP),
		asm.Add.Imm(asm.R3, to),
		asm.Mov.Imm(asm.R4, size),
		asm.FnSkbLoadBytes.Call(),
		asm.JNE.Imm(asm.R0, 0, short),
	}
}

// protocols jumps to where ports are hashed if R1 is a protocol for which that is asked, else to the other label.
func protocols(tcp, udp bool, ports, addrs string) (p asm.Instructions) {
	if tcp {
		p = append(p, asm.JEq.Imm(asm.R1, unix.IPPROTO_TCP, ports))
	}
	if udp {
		p = append(p, asm.JEq.Imm(asm.R1, unix.IPPROTO_UDP, ports))
	}
	return append(p, asm.Ja.Label(addrs))
}

// hash computes the hash of size bytes on the stack and goes to choose.
func hash(m *ebpf.Map, input, size int32) asm.Instructions {
	p := asm.Instructions{asm.Mov.Imm(asm.R8, 0)}
	for i := range size {
		p = append(p,
			asm.LoadMem(asm.R1, asm.RFP, int16(input+i), asm.Byte),
			asm.Add.Imm(asm.R1, i*rowLen),
		)
		p = append(p, lookUp(m)...)
		p = append(p,
			asm.LoadMem(asm.R1, asm.R0, 0, asm.Word),
			asm.Xor.Reg(asm.R8, asm.R1),
		)
	}
	return append(p, asm.Ja.Label(choose))
}

func hashIf(asked bool, m *ebpf.Map, input, size int32) asm.Instructions {
	if !asked {
		return asm.Instructions{asm.Ja.Label(noHash)}
	}
	return hash(m, input, size)
}
