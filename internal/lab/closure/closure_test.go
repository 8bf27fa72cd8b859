package closure

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// image describes an ELF file for these tests.
type image struct {
	machine     elf.Machine // 0: x86-64
	executable  bool
	interpreter string
	needed      []string
	runpath     string
	rpath       string
}

// bytes builds the file: the ELF header, one PT_INTERP, and the sections that
// name what is needed, as the gABI lays them out.
func (m image) bytes() []byte {
	machine, kind := m.machine, elf.ET_DYN
	if machine == 0 {
		machine = elf.EM_X86_64
	}
	if m.executable {
		kind = elf.ET_EXEC
	}
	names := []byte("\x00")
	index := func(s string) uint64 {
		at := len(names)
		names = append(append(names, s...), 0)
		return uint64(at)
	}
	var dynamic []elf.Dyn64
	for _, library := range m.needed {
		dynamic = append(dynamic, elf.Dyn64{Tag: int64(elf.DT_NEEDED), Val: index(library)})
	}
	if m.runpath != "" {
		dynamic = append(dynamic, elf.Dyn64{Tag: int64(elf.DT_RUNPATH), Val: index(m.runpath)})
	}
	if m.rpath != "" {
		dynamic = append(dynamic, elf.Dyn64{Tag: int64(elf.DT_RPATH), Val: index(m.rpath)})
	}
	dynamic = append(dynamic, elf.Dyn64{})

	const headerSize, programSize, sectionSize = 64, 56, 64
	interpreter := []byte(m.interpreter + "\x00")
	interpreterAt := uint64(headerSize + programSize)
	dynamicAt := interpreterAt + uint64(len(interpreter))
	namesAt := dynamicAt + uint64(16*len(dynamic))
	sectionsAt := namesAt + uint64(len(names))

	var b bytes.Buffer
	put := func(v any) { _ = binary.Write(&b, binary.LittleEndian, v) } // a Buffer takes everything
	header := elf.Header64{
		Type: uint16(kind), Machine: uint16(machine), Version: 1, Ehsize: headerSize,
		Phoff: headerSize, Phentsize: programSize, Phnum: 1,
		Shoff: sectionsAt, Shentsize: sectionSize, Shnum: 3, Shstrndx: 2,
	}
	copy(header.Ident[:], []byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), 1})
	put(header)
	program := elf.Prog64{Type: uint32(elf.PT_NULL)}
	if m.interpreter != "" {
		program = elf.Prog64{Type: uint32(elf.PT_INTERP), Off: interpreterAt, Filesz: uint64(len(interpreter))}
	}
	put(program)
	put(interpreter)
	put(dynamic)
	put(names)
	put([]elf.Section64{
		{},
		{Type: uint32(elf.SHT_DYNAMIC), Off: dynamicAt, Size: uint64(16 * len(dynamic)), Link: 2, Entsize: 16},
		{Type: uint32(elf.SHT_STRTAB), Off: namesAt, Size: uint64(len(names))},
	})
	return b.Bytes()
}

// root makes a root folder with those files.
func root(t *testing.T, files map[string]any) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		var b []byte
		switch c := content.(type) {
		case image:
			b = c.bytes()
		case string:
			b = []byte(c)
		}
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, b, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

const loader = "/lib64/ld.so"

func program(needed ...string) image {
	return image{executable: true, interpreter: loader, needed: needed}
}

func library(needed ...string) image { return image{needed: needed} }

func TestFiles(t *testing.T) {
	for _, test := range []struct {
		name     string
		files    map[string]any
		resolver Resolver
		program  string
		want     []string
		err      string
	}{
		{
			name:    "a static program needs itself",
			files:   map[string]any{"/bin/p": image{executable: true}},
			program: "/bin/p",
			want:    []string{"/bin/p"},
		},
		{
			name: "libraries of libraries, each once",
			files: map[string]any{
				"/bin/p": program("libb.so", "liba.so"), loader: library(),
				"/usr/lib/libb.so": library("liba.so", "libc.so"), "/lib/liba.so": library("libc.so"), "/usr/lib64/libc.so": library("libb.so"),
			},
			program: "/bin/p",
			want:    []string{"/bin/p", loader, "/usr/lib/libb.so", "/lib/liba.so", "/usr/lib64/libc.so"},
		},
		{
			name: "ld.so.conf and what it includes come before the defaults",
			files: map[string]any{
				"/bin/p": program("liba.so", "libb.so"), loader: library(),
				"/etc/ld.so.conf":          "# comment\ninclude ld.so.conf.d/*.conf\n/opt/lib # more\n",
				"/etc/ld.so.conf.d/1.conf": "/multiarch\n", "/multiarch/liba.so": library(), "/lib/liba.so": library(), "/opt/lib/libb.so": library(),
			},
			program: "/bin/p",
			want:    []string{"/bin/p", loader, "/multiarch/liba.so", "/opt/lib/libb.so"},
		},
		{
			name: "a configuration that includes itself ends",
			files: map[string]any{
				"/bin/p": program("liba.so"), loader: library(), "/etc/ld.so.conf": "include /etc/ld.so.conf\n", "/lib/liba.so": library(),
			},
			program: "/bin/p",
			want:    []string{"/bin/p", loader, "/lib/liba.so"},
		},
		{
			name: "the run path is the object's own",
			files: map[string]any{
				"/app/bin/p": image{executable: true, interpreter: loader, needed: []string{"liba.so"}, runpath: "/none:$ORIGIN/../lib"}, loader: library(),
				"/app/lib/liba.so": library("libb.so"), "/app/lib/libb.so": library(), "/usr/lib/libb.so": library(),
			},
			program: "/app/bin/p",
			want:    []string{"/app/bin/p", loader, "/app/lib/liba.so", "/usr/lib/libb.so"},
		},
		{
			name: "the older path holds for what the object loads",
			files: map[string]any{
				"/app/p": image{executable: true, interpreter: loader, needed: []string{"liba.so"}, rpath: "${ORIGIN}"}, loader: library(),
				"/app/liba.so": library("libb.so"), "/app/libb.so": library(), "/usr/lib/libb.so": library(),
			},
			program: "/app/p",
			want:    []string{"/app/p", loader, "/app/liba.so", "/app/libb.so"},
		},
		{
			name: "LD_LIBRARY_PATH comes before the system's folders",
			files: map[string]any{
				"/bin/p": program("liba.so"), loader: library(), "/mine/liba.so": library(), "/lib/liba.so": library(),
			},
			resolver: Resolver{LibraryPath: "relative:/mine"},
			program:  "/bin/p",
			want:     []string{"/bin/p", loader, "/mine/liba.so"},
		},
		{
			name: "libraries of other machines and other files are passed over",
			files: map[string]any{
				"/bin/p": program("liba.so", "libb.so"), loader: library(),
				"/lib64/liba.so": image{machine: elf.EM_AARCH64}, "/lib/liba.so": library(),
				"/lib64/libb.so": "INPUT(libb.a)", "/usr/lib/libb.so": library(),
			},
			program: "/bin/p",
			want:    []string{"/bin/p", loader, "/lib/liba.so", "/usr/lib/libb.so"},
		},
		{
			name: "a library by its path",
			files: map[string]any{
				"/bin/p": program("/opt/x/liba.so"), loader: library(), "/opt/x/liba.so": library(),
			},
			program: "/bin/p",
			want:    []string{"/bin/p", loader, "/opt/x/liba.so"},
		},
		{
			name:    "a missing library",
			files:   map[string]any{"/bin/p": program("liba.so"), loader: library(), "/lib/liba.so": library("libmissing.so.1")},
			program: "/bin/p",
			err:     "/lib/liba.so: needs the library libmissing.so.1, which is in none",
		},
		{
			name:    "a missing loader",
			files:   map[string]any{"/bin/p": program()},
			program: "/bin/p",
			err:     "/bin/p: interpreter: open ",
		},
		{
			name:    "a loader that is no path",
			files:   map[string]any{"/bin/p": image{executable: true, interpreter: "ld.so"}},
			program: "/bin/p",
			err:     `/bin/p: PT_INTERP "ld.so" is not an absolute path`,
		},
		{
			name:    "a script",
			files:   map[string]any{"/bin/s": "#! /bin/sh -e\necho\n", "/bin/sh": program("liba.so"), loader: library(), "/lib/liba.so": library()},
			program: "/bin/s",
			want:    []string{"/bin/s", "/bin/sh", loader, "/lib/liba.so"},
		},
		{
			name: "a script by env",
			files: map[string]any{
				"/bin/s": "#!/usr/bin/env -S A=b tool -x\n", "/usr/bin/env": image{executable: true}, "/opt/tool": image{executable: true},
			},
			resolver: Resolver{Path: "/none:relative:/opt"},
			program:  "/bin/s",
			want:     []string{"/bin/s", "/usr/bin/env", "/opt/tool"},
		},
		{
			name:    "a script by env whose program is missing",
			files:   map[string]any{"/bin/s": "#!/usr/bin/env tool\n", "/usr/bin/env": image{executable: true}},
			program: "/bin/s",
			err:     "/bin/s: interpreter: tool: not found in PATH",
		},
		{
			name:    "scripts that interpret each other",
			files:   map[string]any{"/a": "#!/b\n", "/b": "#!/a\n"},
			program: "/a",
			want:    []string{"/a", "/b"},
		},
		{
			name: "a chain of scripts that the kernel refuses",
			files: map[string]any{
				"/0": "#!/1\n", "/1": "#!/2\n", "/2": "#!/3\n", "/3": "#!/4\n", "/4": "#!/5\n", "/5": "#!/6\n", "/6": "#!/7\n",
			},
			program: "/0",
			err:     "interpreters are nested too deeply",
		},
		{
			name:    "no program at all",
			files:   map[string]any{"/bin/text": "just text"},
			program: "/bin/text",
			want:    []string{"/bin/text"},
		},
		{
			name:    "a folder",
			files:   map[string]any{"/bin/p": "x"},
			program: "/bin",
			err:     "/bin: is not a regular file",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			resolver := test.resolver
			resolver.Root = root(t, test.files)
			got, err := resolver.Files(test.program)
			if test.err != "" {
				if err == nil || !strings.Contains(err.Error(), test.err) || strings.Contains(err.Error(), "\n") {
					t.Errorf("got %v, want %q", err, test.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(test.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

// FuzzFiles gives the resolver any file for a program.
func FuzzFiles(f *testing.F) {
	f.Add(program("liba.so").bytes())
	f.Add(image{executable: true, interpreter: loader, needed: []string{"liba.so"}, runpath: "$ORIGIN", rpath: "/x"}.bytes())
	f.Add([]byte("#!/usr/bin/env sh\n"))
	f.Add([]byte("#!"))
	f.Add(program("liba.so").bytes()[:100])
	f.Fuzz(func(t *testing.T, b []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "p"), b, 0o755); err != nil {
			t.Fatal(err)
		}
		resolver := Resolver{Root: dir, Path: "/"}
		files, err := resolver.Files("/p")
		if err == nil && (len(files) == 0 || files[0] != "/p") {
			t.Fatalf("files %q", files)
		}
	})
}
