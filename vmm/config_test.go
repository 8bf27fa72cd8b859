package vmm

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"doorbell/guest/memory"
	"doorbell/internal/pci"
)

func TestConfigErrorsNameTheFlag(t *testing.T) {
	good := Config{Kernel: "vmlinuz", Memory: 512 << 20, VCPUs: 2, IRQChip: "kernel"}
	if err := good.Validate(8); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		flag   string
		change func(*Config)
	}{
		{"-m", func(c *Config) { c.Memory = 0 }},
		{"-m", func(c *Config) { c.Memory = 1 << 20 }},
		{"-m", func(c *Config) { c.Memory = 512<<20 + 1 }},
		{"-m", func(c *Config) { c.Memory = 1 << 60 }},
		{"-c", func(c *Config) { c.VCPUs = 0 }},
		{"-c", func(c *Config) { c.VCPUs = 9 }},
		{"--irqchip", func(c *Config) { c.IRQChip = "8259" }},
		{"-k", func(c *Config) { c.Kernel = "" }},
		{"-p", func(c *Config) { c.Cmdline = strings.Repeat("x", 2048) }},
	} {
		cfg := good
		c.change(&cfg)
		var ce *ConfigError
		if err := cfg.Validate(8); !errors.As(err, &ce) || ce.Flag != c.flag {
			t.Errorf("%+v: %v, want an error of %s", cfg, err, c.flag)
		}
	}
}

// TestFirstReasonWins: a reset that follows a power-off does not change how the run ended.
func TestFirstReasonWins(t *testing.T) {
	m := &Machine{ended: make(chan ending, 1)}
	m.end(PoweredOff, "by the sleep register")
	m.end(Reset, "by the keyboard controller")
	if e := <-m.ended; e.end != PoweredOff || e.reason != "by the sleep register" {
		t.Errorf("ended %+v", e)
	}
}

// TestAgentTextIsOneCleanLine: what a guest sends does not move the terminal's cursor or fill it.
func TestAgentTextIsOneCleanLine(t *testing.T) {
	for in, want := range map[string]string{
		"userspace":          "userspace",
		"a\nb\r\x1b[2Jc\x7f": "a b  [2Jc",
		"\xff\xfe":           "?",
	} {
		if got := clean([]byte(in)); got != want {
			t.Errorf("clean(%q) = %q, want %q", in, got, want)
		}
	}
	if n := len(clean(make([]byte, 1<<20))); n > 200 {
		t.Errorf("%d bytes kept", n)
	}
}

func TestParseNet(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"none", "{     [] 0}"},
		{"user", "{user  0 poll  [] 0}"},
		{"user,queues=4,io=block", "{user  4 block  [] 0}"},
		{"tap=tap0,queues=2,io=spin,mac=02:00:00:00:00:09", "{tap tap0 2 spin 02:00:00:00:00:09 [] 0}"},
		{"user,off=ring_packed+EVENT_IDX+csum", fmt.Sprintf("{user  0 poll  [] %d}", uint64(1<<34|1<<29|1<<0))},
		{"user,off=rss,off=mq", fmt.Sprintf("{user  0 poll  [] %d}", uint64(1<<60|1<<22))},
		{"user,hostfwd=tcp::2222-:22", "{user  0 poll  [tcp:127.0.0.1:2222-10.0.2.15:22] 0}"},
	} {
		got, err := ParseNet(c.in)
		if err != nil {
			t.Errorf("%s: %v", c.in, err)
			continue
		}
		if c.in == "none" {
			if got.Backend != "" {
				t.Errorf("none: %+v", got)
			}
			continue
		}
		if s := fmt.Sprint(got); s != c.want {
			t.Errorf("%s: %s, want %s", c.in, s, c.want)
		}
	}
	for _, in := range []string{
		"", "users", "tap", "tap=", "none,queues=2", "user=x", "user,", "user,queues=0", "user,queues=65", "user,queues=x", "user,io=fast",
		"user,mac=1", "user,mac=01:00:00:00:00:00", "user,mac=00:00:00:00:00:00", "tap=t,hostfwd=tcp::1-:1", "user,hostfwd=x", "user,vhost=on",
		"tap=a\nb,x", "tap=\x1b[2J,queues=0", "user,\x1b", "user,hostfwd=\x1b", "user,off=\x1b\n", "user,off=", "user,off", "user,off=packed", "user,off=mq+", "user,off=version_1",
	} {
		var bad *ConfigError
		if _, err := ParseNet(in); !errors.As(err, &bad) || strings.ContainsAny(err.Error(), "\n\x1b") {
			t.Errorf("%q: %v, want a ConfigError", in, err)
		}
	}
}

// TestUnknownFeature: who does not know a feature's name is told all of them, in the spelling that works.
func TestUnknownFeature(t *testing.T) {
	_, err := ParseNet("user,off=packed")
	const want = `--net: "user,off=packed": off: there is no feature "packed": there are csum `
	if err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Fatalf("%v", err)
	}
	_, names, _ := strings.Cut(err.Error(), "there are ")
	if _, err := ParseNet("user,off=" + strings.ReplaceAll(names, " ", "+")); err != nil {
		t.Error(err)
	}
	for _, name := range []string{"mrg_rxbuf", "indirect_desc", "event_idx", "ring_packed", "ring_reset", "vq_notf_coal"} {
		if !slices.Contains(strings.Fields(names), name) {
			t.Errorf("%s is not among %s", name, names)
		}
	}
}

// TestMemory64Window: the window follows the RAM, stays within the processor's addresses and out of HyperTransport's.
func TestMemory64Window(t *testing.T) {
	for _, c := range []struct {
		ram  uint64
		bits int
		want pci.Window
		ok   bool
	}{
		{512 << 20, 40, pci.Window{Base: 4 << 30, Size: 64 << 30}, true},
		{4<<30 + 1<<20, 40, pci.Window{Base: 6 << 30, Size: 64 << 30}, true},
		{512 << 20, 36, pci.Window{Base: 4 << 30, Size: 60 << 30}, true},
		{63 << 30, 36, pci.Window{}, false},
		{1000 << 30, 40, pci.Window{Base: 1001 << 30, Size: 11 << 30}, true},
		{512 << 20, 32, pci.Window{}, false},
	} {
		ram := []memory.Region{{GPA: 0, Size: min(c.ram, memory.HoleStart)}}
		if c.ram > memory.HoleStart {
			ram = append(ram, memory.Region{GPA: memory.HoleEnd, Size: c.ram - memory.HoleStart})
		}
		if got, ok := memory64Window(ram, c.bits); got != c.want || ok != c.ok {
			t.Errorf("%d bytes, %d bits: %+v %v, want %+v %v", c.ram, c.bits, got, ok, c.want, c.ok)
		}
	}
}
