package vmm

import (
	"errors"
	"strings"
	"testing"
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
