module doorbell

go 1.26.3

require (
	github.com/bobuhiro11/gokvm v0.0.8-0.20231003020000-f53faca69d28 // register types; and the whole program is a baseline of make bench. The newest version that resolves
	github.com/creack/pty v1.1.24 // terminals: the lab gives one to its command, tests type on one, gokvm hangs without
	github.com/google/go-cmp v0.7.0 // tests: differences that can be read
	github.com/klauspost/compress v1.20.3 // kernel payloads: gzip and zstd
	github.com/klauspost/cpuid/v2 v2.4.2 // the hypervisor's signature in CPUID, which tells an emulated host
	github.com/pierrec/lz4/v4 v4.1.33 // kernel payloads: LZ4 blocks
	github.com/spf13/cobra v1.10.2 // the command line: commands, help with examples
	github.com/spf13/pflag v1.0.10 // cobra's flags
	github.com/ulikunitz/xz v0.5.17 // Debian packages: xz
	github.com/xi2/xz v0.0.0-20171230120015-48954b6210f8 // kernel payloads: the only xz that undoes the x86 branch filter
	golang.org/x/arch v0.32.0 // the instruction at a failed exit, disassembled
	golang.org/x/sys v0.49.0 // system calls
	golang.org/x/term v0.47.0 // raw terminals
	pgregory.net/rapid v1.3.0 // tests: state machines against models
)

require (
	github.com/BurntSushi/toml v1.6.0 // indirect
	github.com/alecthomas/kong v0.8.0 // indirect
	github.com/inconshreveable/mousetrap v1.1.0 // indirect
	github.com/chromedp/cdproto v0.159.0 // the same
	github.com/chromedp/chromedp v0.23.0 // in tests: Chromium looks at the reports' pages
	github.com/go-json-experiment/json v0.0.0-20260213210345-44df1a37e875 // indirect
	github.com/insomniacslk/dhcp v0.0.0-20260901064844-234b97448fae // user-mode network: DHCP messages
	golang.org/x/exp/typeparams v0.0.0-20260209203927-2842357ff358 // indirect
	golang.org/x/mod v0.41.0 // indirect
	golang.org/x/net v0.62.0 // user-mode network: DNS and ICMP messages; in tests, what a page of HTML says
	golang.org/x/sync v0.23.0 // indirect
	golang.org/x/tools v0.51.0 // indirect
	gvisor.dev/gvisor v0.0.0-20260905035102-160fafc42237 // user-mode network: the TCP/IP stack; a commit of its go branch, not to be upgraded blindly
	honnef.co/go/tools v0.8.2 // indirect
)

require (
	github.com/HdrHistogram/hdrhistogram-go v1.4.0 // latencies
	github.com/cilium/ebpf v0.22.0 // tap: RSS steering in the kernel
	github.com/google/btree v1.1.2 // indirect
	github.com/josharian/native v1.1.0 // indirect
	github.com/mdlayher/packet v1.1.2 // indirect
	github.com/mdlayher/socket v0.5.1 // indirect
	github.com/pmezard/go-difflib v1.0.1-0.20181226105442-5d4384ee4fb2 // indirect
	github.com/stretchr/testify v1.11.1 // indirect
	github.com/u-root/uio v0.0.0-20230220225925-ffce2a382923 // indirect
	github.com/vishvananda/netlink v1.3.1 // addresses, routes and links of a guest, and taps in tests
	github.com/vishvananda/netns v0.0.5 // indirect
	golang.org/x/exp v0.0.0-20250711185948-6ae5c78190dc // indirect
	golang.org/x/time v0.15.0 // indirect
)

tool (
	github.com/bobuhiro11/gokvm
	honnef.co/go/tools/cmd/staticcheck
)
