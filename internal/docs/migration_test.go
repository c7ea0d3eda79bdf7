package docs

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestMigrationNamesWhatStopsPrograms checks that the migration page names every change
// that breaks an older program, with its replacement.
func TestMigrationNamesWhatStopsPrograms(t *testing.T) {
	for _, name := range []string{"migration.md", "migration_zh_CN.md"} {
		b, err := os.ReadFile(filepath.Join("..", "..", "docs", name))
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{
			"`replace`", "golang.org/x/", "Go 1.26", "WithHandshakeValidator(func(_ *session.Session, handshake []byte) error",
			"examples/cluster/protocol", "benchmark/testdata", "`Group.Members()`", "`[]`",
			"nano.Register(", "nano.SetSerializer(", "nano.ListenWS(", "nano.ListenWSTLS(", "nano.OnSessionClosed(", "nano.SetLogger(",
			"nano.NewPipeline(", "nano.EnableDebug(", "nano.SetHeartbeatInterval(", "nano.SetDictionary(", "nano.SetCheckOriginFunc(", "nano.SetWSPath(",
		} {
			if !strings.Contains(string(b), want) {
				t.Errorf("%s does not say %q", name, want)
			}
		}
	}
	for _, path := range []string{"examples/cluster/protocol/protocol.go", "benchmark/testdata/test.pb.go"} {
		if _, err := os.Stat(filepath.Join("..", "..", filepath.FromSlash(path))); err != nil {
			t.Errorf("a package that programs import is gone: %v", err)
		}
	}
}
