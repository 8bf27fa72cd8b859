package images
import ("testing";"os";"context")
func TestTry(t *testing.T){ g,err:=DefaultGuest(context.Background(),os.Stderr); if err!=nil {t.Fatal(err)}; os.Remove("/tmp/agentscratch/initrd"); os.Symlink(g.Initrd,"/tmp/agentscratch/initrd"); os.Remove("/tmp/agentscratch/vmlinuz"); os.Symlink(g.Kernel,"/tmp/agentscratch/vmlinuz") }
