package bochs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
)

// Disc writes into the folder dir, which is the caller's alone, the disc that a host starts from: GRUB, the kernel (a bzImage), its initramfs and its
// command line. It returns the disc's path.
func (r Root) Disc(dir, kernel string, initramfs *os.File, commandLine string) (string, error) {
	config := fmt.Sprintf("linux /vmlinuz %s\ninitrd /initrd\nboot\n", commandLine)
	configPath, loader, disc := filepath.Join(dir, "grub.cfg"), filepath.Join(dir, "loader"), filepath.Join(dir, "disc.iso")
	if err := os.WriteFile(configPath, []byte(config), 0o600); err != nil {
		return "", err
	}
	if err := r.run("grub-mkimage", "-O", "i386-pc-eltorito", "-d", r.path("usr/lib/grub/i386-pc"), "-p", "/", "-c", configPath, "-o", loader,
		"biosdisk", "iso9660", "linux"); err != nil {
		return "", err
	}
	// The initramfs is a memory file, and xorriso wants names.
	if err := copyTo(filepath.Join(dir, "initrd"), initramfs); err != nil {
		return "", err
	}
	err := r.run("xorriso", "-as", "mkisofs", "-quiet", "-graft-points", "-o", disc,
		"-b", "loader", "-no-emul-boot", "-boot-load-size", "4", "-boot-info-table",
		"/loader="+loader, "/vmlinuz="+kernel, "/initrd="+filepath.Join(dir, "initrd"))
	return disc, err
}

// copyTo copies a file from its beginning; its position is left where it was.
func copyTo(path string, from *os.File) error {
	to, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(to, io.NewSectionReader(from, 0, math.MaxInt64))
	return errors.Join(err, to.Close())
}

// run runs one of the root's programs to its end.
func (r Root) run(program string, args ...string) error {
	cmd := r.command("", program, args...)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Run(); err != nil {
		lines := strings.Split(strings.TrimSpace(said.String()), "\n")
		return fmt.Errorf("%s: %w: %s", program, err, lines[len(lines)-1])
	}
	return nil
}
